"""MaxNorm: a cap on the length of each unit's incoming weights."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from temperance.core.regularizer import Context, Params, Regularizer, register
from temperance.core.selector import Weights
from temperance.core.strength import Strength, strength


@register
class MaxNorm(Regularizer):
    """Keeps the incoming weights of every unit within a ball.

    What: after each step, a row of a weight matrix (or a kernel of a convolution) that is longer than c is scaled back to length c.

    Formula: w_u <- w_u · min(1, c / ‖w_u‖₂) for each unit u, the Euclidean projection on the constraint ‖w_u‖₂ <= c.

    When: with large learning rates and dropout, where it stops weights from blowing up yet leaves small ones alone; unlike a penalty it never
    pulls towards zero. A c larger than any row does nothing. Before a normalization layer it limits only the scale, which that layer undoes.

    Composes: runs last, after decay and proximal steps, so the constraint holds for the weights that are kept; zeros stay zeros.

    Cost: one reduction and one multiplication over the weights.

    Reference: Srebro, Rennie & Jaakkola (2004), Maximum-margin matrix factorization; Srivastava et al. (2014), Dropout.

    Args:
        c: the largest length; infinity switches it off.
        where: the parameters meant; by default weight matrices and kernels. A row is everything but the first dimension.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> tp.MaxNorm(1.0).bind().after_step({"w": torch.tensor([[3.0, 4.0], [0.3, 0.4]])}, None)
        {'w': tensor([[0.6000, 0.8000],
                      [0.3000, 0.4000]])}
    """

    spec: ClassVar[str] = "1 max-norm"
    reference: ClassVar[str] = "Srebro, Rennie & Jaakkola 2004; Srivastava et al. 2014"
    short: ClassVar[str] = "maxnorm"
    rank: ClassVar[int] = 2

    c: Strength = strength(3.0, off=float("inf"), low=0.5, high=8.0, log=True, valid="(0, inf]", meaning="largest norm of a unit's incoming weights")
    where: Any = Weights()

    def after_step(self, params: Params, ctx: Context) -> Params:
        return {name: self._project(w) for name, w in params.items()}

    def _project(self, w: Tensor) -> Tensor:
        length = torch.linalg.vector_norm(w, dim=tuple(range(1, w.dim())) or None, keepdim=True) if w.dim() > 1 else w.abs()
        outside = length > self.c
        return w * torch.where(outside, self.c / torch.where(outside, length, torch.ones_like(length)), torch.ones_like(length))
