"""AdaptiveGradClip: a cap on the gradient of every unit, in proportion to its weights."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from temperance.core.regularizer import Context, Params, Regularizer, register
from temperance.core.selector import AllParameters
from temperance.core.strength import Strength, strength

LEAST = 1e-3  # the length that weights near zero count as, so that they can grow


@register
class AdaptiveGradClip(Regularizer):
    """Shortens the gradient of every unit to a share of the length of its weights.

    What: before the optimizer's step, the gradient of a unit's incoming weights is scaled back where it is long beside these weights, so that no step changes
    any unit by more than a share. One cap suits layers of all scales, as one GradClip does not.

    Formula: g_i <- g_i · min(1, ratio · max(‖w_i‖₂, 0.001) / ‖g_i‖₂) for every unit i: a row of a matrix, a filter of a convolution; a vector, such as the
    biases of a layer, counts as a whole.

    When: networks without BatchNorm, large learning rates and large minibatches. The last layer may be left alone: ``where=tp.selectors.Named(...)``.
    Adam divides most of a constant factor out again.

    Composes: sees the gradient of the whole loss with penalties, after SAM. Decoupled decay and proximal steps are not clipped.

    Cost: two reductions and one multiplication over the gradients.

    Reference: Brock, De, Smith & Simonyan (2021), High-performance large-scale image recognition without normalization.

    Args:
        ratio: the largest length of a unit's gradient over that of its weights; infinity switches it off.
        where: the parameters whose gradients are scaled; by default all.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> w, g = torch.tensor([[3.0, 4.0], [3.0, 4.0]]), torch.tensor([[0.0, 1.0], [0.0, 0.1]])
        >>> tp.AdaptiveGradClip(0.1).bind().grads({"w": g}, {"w": w}, None)["w"]
        tensor([[0.0000, 0.5000],
                [0.0000, 0.1000]])
    """

    spec: ClassVar[str] = "7 clipping"
    reference: ClassVar[str] = "Brock, De, Smith & Simonyan 2021"

    ratio: Strength = strength(
        0.01, off=float("inf"), low=0.003, high=0.3, log=True, valid="(0, inf]", meaning="largest length of a unit's gradient over that of its weights"
    )
    where: Any = AllParameters()

    def grads(self, grads: Params, params: Params, ctx: Context) -> Params:
        return {name: self._clipped(g, params[name]) for name, g in grads.items()}

    def _clipped(self, g: Tensor, w: Tensor) -> Tensor:
        length, size = _lengths(g), _lengths(w).clamp_min(LEAST)
        outside = length > self.ratio * size
        factor = torch.where(outside, self.ratio * size / torch.where(outside, length, torch.ones_like(length)), torch.ones_like(length))
        return g * factor.to(g.dtype)


def _lengths(w: Tensor) -> Tensor:
    """Euclidean lengths of the units, each of size one along all dimensions but the first; of a vector one length."""
    dims = tuple(range(1, w.dim())) if w.dim() > 1 else tuple(range(w.dim()))
    return w.square().sum(dims, keepdim=True).sqrt() if dims else w.abs()
