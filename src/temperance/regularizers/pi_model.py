"""PiModel: two looks at a row should agree."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from temperance.core.batch import Batch, map_float, map_leaves
from temperance.core.regularizer import Context, Objective, Params, Regularizer, Result, register
from temperance.core.strength import Strength, strength
from temperance.regularizers._inputs import unit_of
from temperance.regularizers._predictions import disagreement


@register
class PiModel(Regularizer):
    """Asks the network for the same prediction twice, with other masks and other noise, for rows with and without a target.

    What: every row passes through the network two more times in a step; what dropout, hidden and weight noise and the noise on the inputs change
    in the prediction is penalized.

    Formula: J + lam · mean over all rows and outputs of (p(x + sigma s n₁; m₁) - p(x + sigma s n₂; m₂))², with p probabilities (for regression the
    values themselves), n Gaussian, s the standard deviation of each input, and m₁, m₂ two independent sets of masks, m₁ being that of the data
    loss. Both predictions are differentiated.

    When: few labels and many rows without; on full labels a mild smoother. Weights of rows do not count. lam should grow from zero, because agreement
    is easiest where nothing has been learned: ``PiModel(tp.schedules.WarmUp(10.0, fraction=0.3))``. MeanTeacher is the calmer target.

    Composes: needs something that differs between passes: sigma, Dropout, DropConnect or other noise of hidden units and weights. What changes the
    minibatch itself (InputNoise, image augmentation, MixUp) is done once, before, and is the same for both. Codes of categories get no noise.

    Cost: two more forward and backward passes.

    Reference: Laine & Aila (2017), Temporal ensembling for semi-supervised learning; Sajjadi, Javanmardi & Tasdizen (2016).

    Args:
        lam: weight of the squared difference.
        sigma: standard deviation of its own noise on the inputs, in standard deviations of the input; 0 leaves the masks alone.

    Example:
        >>> import temperance as tp
        >>> tp.PiModel(tp.schedules.WarmUp(10.0, fraction=0.3), sigma=0.1)
        PiModel(lam=WarmUp(value=10.0, fraction=0.3), sigma=0.1)
    """

    spec: ClassVar[str] = "3 semi-supervised"
    reference: ClassVar[str] = "Laine & Aila 2017"

    lam: Strength = strength(1.0, off=0.0, low=0.1, high=100.0, log=True, meaning="weight of the squared difference")
    sigma: Strength = strength(0.15, off=0.0, low=0.02, high=0.5, log=True, meaning="its own noise on the inputs")

    def is_off(self) -> bool:
        return self.peak("lam") == 0.0

    def around(self, objective: Objective, params: Params, batch: Batch, ctx: Context) -> Result:
        total, report, buffers, taps = objective(params, batch)
        first, second = (ctx.forward(params, self._noisy(batch.x, ctx), "train", draw)[0] for draw in (0, 1))
        apart = disagreement(ctx.criterion, first, second, type(self).__name__)
        extra = torch.where(self.lam > 0, self.lam * apart, torch.zeros_like(total))
        return total + extra, {**report, self.label: extra}, buffers, taps

    def _noisy(self, x: Any, ctx: Context) -> Any:
        still, unit = map_leaves(torch.Tensor.detach, x), unit_of(x, ctx)
        return map_float(lambda leaf, one: leaf + self.sigma.to(leaf.dtype) * one * ctx.rng.normal(tuple(leaf.shape), leaf.dtype), still, unit)
