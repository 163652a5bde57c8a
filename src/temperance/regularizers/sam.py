"""SAM: minima with flat surroundings."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from temperance.core.batch import Batch
from temperance.core.regularizer import Context, Objective, Params, Regularizer, Result, register
from temperance.core.selector import Weights
from temperance.core.strength import Strength, strength
from temperance.regularizers._inputs import frozen


@register
class SAM(Regularizer):
    """Descends along the gradient taken at the worst point nearby, which leads to flat minima.

    What: one gradient climbs a short way uphill in weight space; the gradient found there is the one the optimizer gets, at the weights as they were.

    Formula: g = ∇J(w), e = rho · g / ‖g‖₂ over all selected weights together, gradient <- ∇J(w + e), with e held constant. It approximates the
    gradient of max J(w + e) over ‖e‖₂ <= rho.

    When: networks with more capacity than data, image networks above all; 0.01 to 0.2. On tiny networks or with much other regularization it gains
    little for its price.

    Composes: outermost: J holds everything else, penalties and attacks too, and both passes see the same minibatch and masks. BatchNorm
    statistics, taps and the report are those of the first pass at the weights themselves; the rise of the loss is reported on its own.

    Cost: twice a plain step.

    Reference: Foret et al. (2021), Sharpness-aware minimization for efficiently improving generalization.

    Args:
        rho: radius in weight space.
        where: the parameters that move; by default weight matrices and kernels (the paper moves all: ``AllParameters()``).

    Example:
        >>> import temperance as tp
        >>> tp.SAM(0.05)
        SAM(rho=0.05)
    """

    spec: ClassVar[str] = "7 SAM"
    reference: ClassVar[str] = "Foret et al. 2021"
    keeps_inputs: ClassVar[bool] = True
    perturbs: ClassVar[str | None] = "weights"

    rho: Strength = strength(0.05, off=0.0, low=0.005, high=0.5, log=True, meaning="radius in weight space")
    where: Any = Weights()

    def around(self, objective: Objective, params: Params, batch: Batch, ctx: Context) -> Result:
        still = frozen(params)
        chosen = {name: still[name] for name in ctx.names} if ctx.names else dict(still)

        def first(w: dict[str, Tensor]) -> tuple[Tensor, Any]:
            total, report, buffers, taps = objective({**still, **w}, batch)
            return total, (total, report, buffers, taps)

        slopes, (total, report, buffers, taps) = torch.func.grad(first, has_aux=True)(chosen)
        length = torch.stack([g.detach().square().sum() for g in slopes.values()]).sum().sqrt()
        stride = torch.where(length > 0, self.rho / torch.where(length > 0, length, torch.ones_like(length)), torch.zeros_like(length))
        climbed = {name: params[name] + stride.to(g.dtype) * g.detach() for name, g in slopes.items()}
        worse = objective({**params, **climbed}, batch)[0]
        return worse, {**report, self.label: (worse - total).detach()}, buffers, taps
