"""GradClip: a cap on the length of the gradient."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from temperance.core.regularizer import Context, Params, Regularizer, register
from temperance.core.selector import AllParameters
from temperance.core.strength import Strength, strength


@register
class GradClip(Regularizer):
    """Shortens gradients that are too long, without turning them.

    What: before the optimizer's step, the gradient of all selected parameters together is scaled back to a given length if it is longer.

    Formula: g <- g · min(1, norm / ‖g‖₂), one ‖g‖₂ over all selected parameters.

    When: recurrent networks, cliffs of the loss, noisy targets, large learning rates. A norm below the usual length turns training into
    descent with nearly constant step length, which has to be annealed. Adam divides most of a constant factor out again.

    Composes: sees the gradient of the whole loss with penalties, after SAM. Decoupled decay and proximal steps are not clipped.

    Cost: one reduction and one multiplication over the gradients.

    Reference: Pascanu, Mikolov & Bengio (2013), On the difficulty of training recurrent neural networks.

    Args:
        norm: the largest length; infinity switches it off.
        where: the parameters whose gradients count and are scaled; by default all.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> tp.GradClip(1.0).bind().grads({"w": torch.tensor([3.0, 4.0])}, {}, None)
        {'w': tensor([0.6000, 0.8000])}
    """

    spec: ClassVar[str] = "7 clipping"
    reference: ClassVar[str] = "Pascanu, Mikolov & Bengio 2013"

    norm: Strength = strength(1.0, off=float("inf"), low=0.05, high=10.0, log=True, valid="(0, inf]", meaning="largest norm of the gradient")
    where: Any = AllParameters()

    def grads(self, grads: Params, params: Params, ctx: Context) -> Params:
        if not grads:
            return grads
        length = torch.stack([g.square().sum() for g in grads.values()]).sum().sqrt()
        outside = length > self.norm
        factor = torch.where(outside, self.norm / torch.where(outside, length, torch.ones_like(length)), torch.ones_like(length))
        return {name: g * factor for name, g in grads.items()}
