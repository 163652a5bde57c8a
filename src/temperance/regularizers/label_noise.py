"""LabelNoise: labels that are wrong now and then."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from temperance.core.batch import Batch
from temperance.core.regularizer import Context, Regularizer, register
from temperance.core.strength import Strength, strength
from temperance.regularizers._targets import by_task


@register
class LabelNoise(Regularizer):
    """Replaces the label of a row by a random other one, with a small probability and again in every step.

    What: no label can be learned by heart, because each is wrong now and then; the network does best to leave every class some probability.

    Formula, for k classes: with probability p the row's classes are moved on cyclically by a number uniform in 1 .. k - 1, so that a one-hot label
    becomes any other class with probability p / (k - 1). The expected targets are (1 - p) y + p (1 - y) / (k - 1), which are those of
    ``LabelSmoothing(p, exclude_true=True)``; the loss is linear in the targets, so its expectation is exactly the loss on these. In Szegedy's
    form that is ``LabelSmoothing(p · k / (k - 1))``. Each output of a multi-label task is flipped by itself.

    When: as LabelSmoothing, whose noise-free loss is nearly always to be preferred: the expectation is the same and the gradient steadier. Where the
    noise itself is wanted, in the spirit of dropout, or to try how much label noise a network bears. Not where labels are noisy enough already.
    Regression has no classes: its heads are left alone (see TargetNoise).

    Composes: acts on soft targets, before or after MixUp and CutMix; row weights stay.

    Cost: two random numbers per row and one gather of the targets.

    Reference: Xie et al. (2016), DisturbLabel: Regularizing CNN on the loss layer (there the new label may be the true one: p · k / (k - 1)).

    Args:
        p: probability that a label is replaced.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> from temperance.core.batch import full_batch
        >>> from temperance.core.regularizer import Context
        >>> batch = full_batch(torch.zeros(3000, 1), torch.tensor([[1.0, 0.0, 0.0]]).repeat(3000, 1))
        >>> [round(share, 1) for share in tp.LabelNoise(0.4).bind().batch(batch, Context()).y.mean(0).tolist()]
        [0.6, 0.2, 0.2]
    """

    spec: ClassVar[str] = "2 targets"
    reference: ClassVar[str] = "Xie et al. 2016"
    keeps_inputs: ClassVar[bool] = True
    tasks: ClassVar[tuple[str, ...]] = ("classification", "multilabel")
    soft_targets: ClassVar[bool] = True

    p: Strength = strength(0.05, off=0.0, low=0.005, high=0.2, valid="[0, 1)", meaning="probability that a label is replaced by another")

    def batch(self, batch: Batch, ctx: Context) -> Batch:
        return by_task(lambda y, task: self._flipped(y, task, ctx), batch, ctx)

    def _flipped(self, y: Tensor, task: str, ctx: Context) -> Tensor:
        if task == "regression":
            return y
        if task == "multilabel":
            return torch.where(ctx.rng.uniform(tuple(y.shape)) < self.p, 1.0 - y, y)
        *rows, k = y.shape
        moved = ctx.rng.uniform((*rows, 1)) < self.p
        by = 1 + (ctx.rng.uniform((*rows, 1)) * (k - 1)).long()
        places = torch.arange(k, device=y.device) - torch.where(moved, by, torch.zeros_like(by))
        return y.gather(-1, places % k)
