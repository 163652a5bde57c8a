"""Orthogonality: weight matrices that turn without stretching."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from temperance.core.regularizer import Context, Params, Regularizer, register
from temperance.core.selector import Weights
from temperance.core.strength import Strength, strength


@register
class Orthogonality(Regularizer):
    """Pulls the rows or columns of every weight matrix towards length one and right angles.

    What: penalizes how far the products of a matrix's columns (of its rows, if it is wider than high) are from those of an orthonormal set.

    Formula: J + lam · Σ ‖WᵀW - I‖_F², with W Wᵀ where W has more columns than rows; in singular values Σ (s² - 1)², so at its minimum every s is one.
    The gradient gains 4 lam W (WᵀW - I). A kernel counts as the matrix (out, rest).

    When: deep and recurrent networks, whose signals and gradients then neither vanish nor explode, and layers whose units are to differ. It does not pull
    to zero: combine it with a penalty that does, or with early stopping, where data are few. At the start of training matrices far from length one are
    pulled hard (the gradient is cubic): keep lr · lam below about 0.1.

    Composes: it and L2 want different lengths, and meet in between. With SpectralNorm of c = 1 the largest singular value is one
    and the others are pulled up to it.

    Cost: one product of each matrix with its transpose forward, two backward; as much as a minibatch of as many rows as the layer has units.

    Reference: Brock et al. (2017), Neural photo editing with introspective adversarial networks; Bansal, Chen & Wang (2018), Can we gain more from
    orthogonality regularizations in training deep networks?

    Args:
        lam: strength.
        where: the parameters meant; by default weight matrices and kernels.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> tp.Orthogonality(0.5).bind().penalty({"w": torch.tensor([[1.0, 0.0], [0.0, 2.0]])}, {}, None)
        tensor(4.5000)
    """

    spec: ClassVar[str] = "1 orthogonality"
    reference: ClassVar[str] = "Brock et al. 2017; Bansal, Chen & Wang 2018"

    lam: Strength = strength(1e-3, off=0.0, low=1e-6, high=1e-1, log=True, meaning="weight of the distance from orthonormal")
    where: Any = Weights()

    def penalty(self, params: Params, taps: Mapping[str, Tensor], ctx: Context) -> Tensor:
        total = torch.stack([self._gap(w) for w in params.values()]).sum()
        return torch.where(self.lam > 0, self.lam * total, torch.zeros_like(total))

    def _gap(self, w: Tensor) -> Tensor:
        matrix = w.reshape(w.shape[0], -1)
        matrix = torch.where(self.lam > 0, matrix, torch.zeros_like(matrix))  # fourth powers of huge weights overflow, and 0 · inf is NaN
        gram = matrix.mT @ matrix if matrix.shape[0] >= matrix.shape[1] else matrix @ matrix.mT
        return (gram - torch.eye(gram.shape[-1], dtype=w.dtype, device=w.device)).square().sum()
