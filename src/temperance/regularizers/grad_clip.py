"""GradClip: a cap on the length of the gradient, of all parameters together or of every unit beside its weights."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from temperance.core.regularizer import Context, Params, Regularizer, register
from temperance.core.selector import AllParameters
from temperance.core.strength import Strength, strength

LEAST = 1e-3  # the length that weights near zero count as, so that they can grow


@register
class GradClip(Regularizer):
    """Shortens gradients that are too long, without turning them.

    What: before the optimizer's step, the gradient of all selected parameters together is scaled back to a given length if it is longer. With ``ratio`` the
    gradient of each unit is first scaled back where it is long beside the unit's weights (adaptive gradient clipping), so that one cap suits layers
    of all scales.

    Formula: g <- g · min(1, norm / ‖g‖₂), one ‖g‖₂ over all selected parameters. Before it g_i <- g_i · min(1, ratio · max(‖w_i‖₂, 0.001) / ‖g_i‖₂) for
    every unit i: a row of a matrix, a filter of a convolution; a vector, such as the biases of a layer, counts as a whole.

    When: recurrent networks, cliffs of the loss, noisy targets, large learning rates. A norm below the usual length turns training into
    descent with nearly constant step length, which has to be annealed. ``ratio`` is for deep networks without BatchNorm: ``GradClip(float("inf"),
    ratio=0.01)``. Adam divides most of a constant factor out again.

    Composes: sees the gradient of the whole loss with penalties, after SAM. Decoupled decay and proximal steps are not clipped.

    Cost: reductions and multiplications over the gradients and the weights.

    Reference: Pascanu, Mikolov & Bengio (2013), On the difficulty of training recurrent neural networks; Brock, De, Smith & Simonyan (2021),
    High-performance large-scale image recognition without normalization, for ``ratio``.

    Args:
        norm: the largest length; infinity switches it off.
        where: the parameters whose gradients count and are scaled; by default all.
        ratio: the largest length of a unit's gradient over that of its weights; infinity switches it off.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> w, g = {"w": torch.tensor([[3.0, 4.0], [3.0, 4.0]])}, {"w": torch.tensor([[0.0, 1.0], [0.0, 0.1]])}
        >>> tp.GradClip(float("inf"), ratio=0.1).bind().grads(g, w, None)["w"].tolist() == [[0.0, 0.5], [0.0, float(g["w"][1, 1])]]
        True
        >>> tp.GradClip(1.0).bind().grads({"w": torch.tensor([3.0, 4.0])}, {"w": torch.ones(2)}, None)
        {'w': tensor([0.6000, 0.8000])}
    """

    spec: ClassVar[str] = "7 clipping"
    reference: ClassVar[str] = "Pascanu, Mikolov & Bengio 2013; Brock, De, Smith & Simonyan 2021"

    norm: Strength = strength(1.0, off=float("inf"), low=0.05, high=10.0, log=True, valid="(0, inf]", meaning="largest norm of the gradient")
    where: Any = AllParameters()
    ratio: Strength = strength(
        float("inf"), off=float("inf"), low=0.003, high=0.3, log=True, valid="(0, inf]", meaning="largest length of a unit's gradient over that of its weights"
    )

    def grads(self, grads: Params, params: Params, ctx: Context) -> Params:
        if not grads:
            return grads
        if params:
            grads = {name: _scaled(g, _lengths(g), self.ratio * _lengths(params[name]).clamp_min(LEAST)) for name, g in grads.items()}
        length = torch.stack([g.square().sum() for g in grads.values()]).sum().sqrt()
        return {name: _scaled(g, length, self.norm) for name, g in grads.items()}


def _scaled(g: Tensor, length: Tensor, cap: Tensor) -> Tensor:
    """The gradient brought from a length to its cap where it is longer."""
    outside = length > cap
    one = torch.ones_like(length)
    return g * torch.where(outside, cap / torch.where(outside, length, one), one)


def _lengths(w: Tensor) -> Tensor:
    """Euclidean lengths of the units, each of size one along all dimensions but the first; of a vector one length."""
    dims = tuple(range(1, w.dim())) if w.dim() > 1 else tuple(range(w.dim()))
    return w.square().sum(dims, keepdim=True).sqrt() if dims else w.abs()
