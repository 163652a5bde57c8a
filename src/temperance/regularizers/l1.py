"""L1: weights that become exactly zero."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from temperance.core.prior import Laplace, Prior
from temperance.core.regularizer import Context, Params, Regularizer, register
from temperance.core.selector import Weights
from temperance.core.strength import Strength, option, strength
from temperance.regularizers._norms import soft_threshold


@register
class L1(Regularizer):
    """Pulls every weight towards zero by a constant, and keeps at exactly zero those that get there (Lasso).

    What: penalizes the sum of absolute weights. By default not through the gradient, which makes weights hover around zero for ever, but by
    its proximal step after the optimizer's: soft-thresholding.

    Formula: J + lam · Σ |w|. ``mode="prox"``: w <- sign(w) max(|w| - lr lam, 0), where lr is the learning rate of this step.
    ``mode="subgradient"``: the gradient gains lam · sign(w). On a quadratic J with diagonal curvature H the minimizer is
    sign(w*) max(|w*| - lam/H, 0). J is the mean loss over rows; a penalty lam/n · Σ |w| on that mean is ``L1(per_row(lam, n))``, which is lam / n.
    Read as a prior: Laplace of scale 1/(n lam).

    When: to select inputs and thin out networks. Among correlated inputs it keeps one, more or less by chance (L2 spreads over all). Under
    Adam the threshold is the same for every coordinate while the step is not, so the result is sparse but not the minimizer of J + lam · Σ |w|;
    ``metric="adam"`` divides the threshold like the step, lr lam / (√v̂ + eps), and ends there. It thresholds hard where gradients are small: a weight that
    nothing pulls at is zero at once. RMSProp, AdaGrad and NAdam are followed likewise; optimizers that divide by nothing have no other metric.

    Composes: with L2 it is the elastic net (see ElasticNet): L2 in the loss, L1 as a proximal step. It runs after decay and before projections;
    averages of weights (EMA, SWA) have fewer zeros than the weights themselves. In the proximal mode the loss and its report hold no term for it.

    Cost: two element-wise passes over the weights.

    Reference: Tibshirani (1996), Regression shrinkage and selection via the lasso; Daubechies, Defrise & De Mol (2004) for the iteration.

    Args:
        lam: strength.
        mode: ``"prox"`` for exact zeros, ``"subgradient"`` for a term of the loss.
        metric: of the proximal step: ``"plain"``, or ``"adam"`` for that of an optimizer that divides each coordinate of its step.
        where: the parameters meant; by default weight matrices and kernels.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> from temperance.core.regularizer import Context
        >>> tp.L1(1.0).bind().after_step({"w": torch.tensor([[0.25, -2.0]])}, Context(lr=torch.tensor(0.5)))
        {'w': tensor([[ 0.0000, -1.5000]])}
    """

    spec: ClassVar[str] = "1 L1"
    reference: ClassVar[str] = "Tibshirani 1996; Daubechies, Defrise & De Mol 2004"
    rank: ClassVar[int] = 1
    reading: ClassVar[tuple[Prior, ...]] = (Laplace("lam"),)

    lam: Strength = strength(1e-4, off=0.0, low=1e-7, high=1e-2, log=True, meaning="weight of the sum of absolute values")
    mode: str = option("prox", choices=("prox", "subgradient"), meaning="soft-threshold after the step, or a term of the loss")
    metric: str = option("plain", choices=("plain", "adam"), meaning="one threshold for all weights, or divided like the optimizer's step")
    where: Any = Weights()

    def wants(self, site: str) -> bool:
        return site != ("penalty" if self.mode == "prox" else "after_step")

    def wants_metric(self) -> bool:
        return self.metric == "adam"

    def after_step(self, params: Params, ctx: Context) -> Params:
        threshold = ctx.lr * self.lam
        if self.metric == "adam":
            return {name: soft_threshold(w, threshold / ctx.metric[name] if name in ctx.metric else threshold) for name, w in params.items()}
        return {name: soft_threshold(w, threshold) for name, w in params.items()}

    def penalty(self, params: Params, taps: Mapping[str, Tensor], ctx: Context) -> Tensor:
        total = torch.stack([w.abs().sum() for w in params.values()]).sum()
        return torch.where(self.lam > 0, self.lam * total, torch.zeros_like(total))
