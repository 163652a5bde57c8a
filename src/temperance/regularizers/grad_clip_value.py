"""GradClipValue: a cap on every entry of the gradient."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from temperance.core.regularizer import Context, Params, Regularizer, register
from temperance.core.selector import AllParameters
from temperance.core.strength import Strength, strength


@register
class GradClipValue(Regularizer):
    """Cuts every entry of the gradient to an interval around zero.

    What: before the optimizer's step, entries of the gradient beyond a given size are set to that size, each by itself.

    Formula: g_i <- min(max(g_i, -value), value).

    When: single entries that explode, as in recurrent networks and embeddings of rare codes. It turns the gradient, toward the diagonals of the coordinate
    system; where the direction matters take GradClip, which shortens it as a whole.

    Composes: in list order with GradClip. Sees the gradient of the whole loss with penalties, after SAM. Decoupled decay and proximal steps are not clipped.

    Cost: one pass over the gradients.

    Reference: Mikolov (2012), Statistical language models based on neural networks.

    Args:
        value: the largest size of an entry; infinity switches it off.
        where: the parameters whose gradients are clipped; by default all.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> tp.GradClipValue(1.0).bind().grads({"w": torch.tensor([3.0, -0.5])}, {}, None)
        {'w': tensor([ 1.0000, -0.5000])}
    """

    spec: ClassVar[str] = "7 clipping"
    reference: ClassVar[str] = "Mikolov 2012"

    value: Strength = strength(0.5, off=float("inf"), low=1e-3, high=1.0, log=True, valid="(0, inf]", meaning="largest size of an entry of the gradient")
    where: Any = AllParameters()

    def grads(self, grads: Params, params: Params, ctx: Context) -> Params:
        return {name: torch.where(self.value < float("inf"), g.clamp(-self.value, self.value), g) for name, g in grads.items()}
