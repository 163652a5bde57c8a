"""TargetNoise: noise on the targets of regression."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from temperance.core.batch import Batch, map_leaves
from temperance.core.regularizer import Context, Regularizer, register
from temperance.core.strength import Strength, strength
from temperance.regularizers._targets import by_task


@register
class TargetNoise(Regularizer):
    """Adds fresh Gaussian noise to the targets of a regression in every step.

    What: no target can be fitted to its last digit, because it is another one in every step; what remains is the noise in the gradient.

    Formula: y <- y + sigma · s · n, n ~ N(0, 1), with s the standard deviation of that target over the training rows. For squared error the
    expected loss is that of the clean targets plus sigma² s², which no weight can change: the minimizer stays, and only the path to it is
    noisier, by a gradient noise of standard deviation 2 sigma s ‖∇f‖ a row.

    When: small regression data on which a network would reach a training error of zero; to try how much noise of the targets a network bears; with
    absolute error or other losses, whose minimizer it does move. Alone it does not replace a penalty. Classes have LabelNoise and LabelSmoothing.

    Composes: after MixUp the noise is full-size; before it, it is averaged with the targets. Heads for classes are left alone.

    Cost: one normal number for each target.

    Reference: Bishop (1995), Training with noise is equivalent to Tikhonov regularization; An (1996), The effects of adding noise during backpropagation
    training on a generalization performance.

    Args:
        sigma: standard deviation of the noise, in that of the target. The estimators and the command line standardize targets; in your own loop, and
            where the trainer knows no scale of the targets, the unit is that of the targets as given.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> from temperance.core.batch import full_batch
        >>> from temperance.core.regularizer import Context
        >>> noisy = tp.TargetNoise(0.1).bind().batch(full_batch(torch.zeros(4096, 1), torch.zeros(4096, 1)), Context())
        >>> round(noisy.y.std().item(), 2)
        0.1
    """

    spec: ClassVar[str] = "2 targets"
    reference: ClassVar[str] = "Bishop 1995; An 1996"
    keeps_inputs: ClassVar[bool] = True
    tasks: ClassVar[tuple[str, ...]] = ("regression",)
    soft_targets: ClassVar[bool] = True

    sigma: Strength = strength(0.1, off=0.0, low=0.005, high=0.5, log=True, meaning="standard deviation, in that of the target")

    def batch(self, batch: Batch, ctx: Context) -> Batch:
        scale: Any = ctx.constants.get("target_scale")
        if scale is None:
            scale = map_leaves(lambda y: torch.ones((), dtype=y.dtype, device=y.device), batch.y)
        return by_task(lambda y, task, unit: self._noisy(y, task, unit, ctx), batch, ctx, scale)

    def _noisy(self, y: Tensor, task: str, unit: Tensor, ctx: Context) -> Tensor:
        if task not in ("regression", ""):
            return y
        noise = self.sigma.to(y.dtype) * torch.as_tensor(unit, dtype=y.dtype, device=y.device) * ctx.rng.normal(tuple(y.shape), y.dtype)
        return torch.where(self.sigma > 0, y + noise, y)
