"""MixUp: rows between rows."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from temperance.core.batch import Batch, map_leaves, rows_of
from temperance.core.regularizer import Context, Regularizer, register
from temperance.core.strength import Strength, strength


@register
class MixUp(Regularizer):
    """Trains on convex combinations of pairs of rows and of their targets.

    What: every row is mixed with a partner, a random permutation of the minibatch, by one weight for all rows; so the network should behave
    linearly between training rows.

    Formula: x <- lam x + (1 - lam) x', y <- lam y + (1 - lam) y', likewise the row weights, lam ~ Beta(alpha, alpha). A category code cannot
    be averaged: each is taken from the partner with probability 1 - lam. A mixed row counts as labelled where both rows are.

    When: classification with few rows or noisy labels, and for calibration; small alpha (0.1 to 0.4) for mild, 1 for strong mixing. Where the truth is
    far from linear between rows, as in many low-dimensional tables, strong mixing under-fits. Training accuracy is then measured on rows that do not
    exist: judge on clean ones.

    Composes: with LabelSmoothing in either order; with CutMix one after the other. Any minibatch size; a single row is left alone.

    Cost: one gather and one interpolation of the inputs.

    Reference: Zhang et al. (2018), mixup: Beyond empirical risk minimization.

    Args:
        alpha: both parameters of the Beta distribution; towards 0 most weights are near 0 or 1.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> from temperance.core.batch import full_batch
        >>> from temperance.core.regularizer import Context
        >>> batch = full_batch(torch.randn(6, 2, generator=torch.Generator().manual_seed(0)), torch.eye(3).repeat(2, 1))
        >>> tp.MixUp(0.2).bind().batch(batch, Context()).y.sum(0)
        tensor([2., 2., 2.])
    """

    spec: ClassVar[str] = "3 any data"
    reference: ClassVar[str] = "Zhang et al. 2018"
    short: ClassVar[str] = "mixup"
    soft_targets: ClassVar[bool] = True

    alpha: Strength = strength(0.2, off=0.0, low=0.05, high=1.0, log=True, meaning="both parameters of the Beta distribution of the mixing weight")

    def batch(self, batch: Batch, ctx: Context) -> Batch:
        partner = partners(batch, self.alpha > 0, ctx)
        keep = ctx.rng.beta(self.alpha, self.alpha)
        keep = torch.where(self.alpha > 0, keep, torch.ones_like(keep))

        def mix(leaf: Tensor) -> Tensor:
            return torch.lerp(leaf[partner], leaf, keep.to(leaf.dtype))

        def mix_or_take(leaf: Tensor) -> Tensor:
            return mix(leaf) if leaf.is_floating_point() else torch.where(ctx.rng.uniform(tuple(leaf.shape)) < keep, leaf, leaf[partner])

        x: Any = map_leaves(mix_or_take, batch.x)
        labeled: Any = map_leaves(lambda marks: marks & marks[partner], batch.labeled)
        return Batch(x, map_leaves(mix, batch.y), mix(batch.weight), labeled, batch.row_id)


def partners(batch: Batch, on: Tensor, ctx: Context) -> Tensor:
    """A random permutation of the rows; each row is its own partner when off."""
    n = rows_of(batch.x)
    order = ctx.rng.permutation(n)
    return torch.where(on, order, torch.arange(n, device=order.device))
