"""ElasticNet: L2 and L1 together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from temperance.core.prior import Gaussian, Laplace, Prior
from temperance.core.regularizer import Context, Params, Regularizer, register
from temperance.core.selector import Weights
from temperance.core.strength import Strength, strength
from temperance.regularizers._norms import half_squares, soft_threshold


@register
class ElasticNet(Regularizer):
    """Shrinks every weight in proportion and by a constant, so that many become exactly zero and correlated ones share.

    What: half the squared norm of the weights is added to the loss; the sum of absolute values acts by its proximal step after the optimizer's.

    Formula: J + alpha/2 · Σ w² + beta · Σ |w|: the gradient gains alpha · w, and after the step w <- sign(w) max(|w| - lr beta, 0). With half the mean
    squared error and no hidden layer this is scikit-learn's ``ElasticNet(alpha=alpha + beta, l1_ratio=beta / (alpha + beta))``; with the mean
    squared error (without the half) it is the one of half of both strengths. Read as a prior: the product of a Gaussian of
    variance 1/(n alpha) and a Laplace of scale 1/(n beta).

    When: many inputs, groups of them correlated: L1 alone keeps one of a group by chance, here the group stays or goes together. Under Adam the
    threshold is the same for every coordinate while the step is not (see L1), so J + alpha/2 · Σ w² + beta · Σ |w| is not quite what is minimized.

    Composes: it is L2 and L1 in one; beside either of them the strengths add up. It runs after decay and before projections. The report holds the
    part of alpha alone. For strengths of each matrix's own see ``per_layer``.

    Cost: one pass over the weights forward, one backward, two element-wise passes after the step.

    Reference: Zou & Hastie (2005), Regularization and variable selection via the elastic net.

    Args:
        alpha: weight of half the squared norm.
        beta: weight of the sum of absolute values.
        where: the parameters meant; by default weight matrices and kernels.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> from temperance.core.regularizer import Context
        >>> net, w = tp.ElasticNet(0.5, 1.0).bind(), {"w": torch.tensor([[0.25, -2.0]])}
        >>> net.penalty(w, {}, Context()), net.after_step(w, Context(lr=torch.tensor(0.5)))
        (tensor(1.0156), {'w': tensor([[ 0.0000, -1.5000]])})
    """

    spec: ClassVar[str] = "1 elastic net"
    reference: ClassVar[str] = "Zou & Hastie 2005"
    rank: ClassVar[int] = 1
    decays: ClassVar[bool] = True
    reading: ClassVar[tuple[Prior, ...]] = (Gaussian("alpha"), Laplace("beta"))

    alpha: Strength = strength(1e-4, off=0.0, low=1e-7, high=1e-1, log=True, meaning="weight of half the squared norm")
    beta: Strength = strength(1e-4, off=0.0, low=1e-7, high=1e-2, log=True, meaning="weight of the sum of absolute values")
    where: Any = Weights()

    def drives(self, site: str) -> tuple[str, ...]:
        return ("alpha",) if site == "penalty" else ("beta",)

    def penalty(self, params: Params, taps: Mapping[str, Tensor], ctx: Context) -> Tensor:
        return half_squares(params.values(), self.alpha)

    def after_step(self, params: Params, ctx: Context) -> Params:
        threshold = ctx.lr * self.beta
        return {name: soft_threshold(w, threshold) for name, w in params.items()}
