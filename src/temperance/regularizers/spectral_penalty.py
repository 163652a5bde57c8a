"""SpectralPenalty: a price on how much a layer can stretch its input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from temperance.core.regularizer import Context, Params, Regularizer, register
from temperance.core.selector import Weights
from temperance.core.strength import Strength, strength
from temperance.regularizers._spectral import followed, started, stretch


@register
class SpectralPenalty(Regularizer):
    """Pulls the largest singular value of every weight matrix towards zero, and leaves the others alone.

    What: adds half the square of each matrix's largest singular value to the loss.

    Formula: J + lam/2 · Σ s(W)², s the largest singular value with its singular vectors u and v; the gradient gains lam · s u vᵀ, a matrix of rank one. v is
    improved by one power iteration a step and held constant in the gradient; s = ‖W v‖. A kernel counts as the matrix (out, rest).

    When: like L2 against outputs that change too fast with the input, where the network is to keep its freedom in all directions but the steepest. L2
    shrinks all singular values alike. For a bound that holds instead of a price take SpectralNorm.

    Composes: with everything; with L2 the steepest direction is pulled by both.

    Cost: two products of each matrix with a vector forward and one backward, and two for the iteration; a vector as long as a row as state.

    Reference: Yoshida & Miyato (2017), Spectral norm regularization for improving the generalizability of deep learning.

    Args:
        lam: strength.
        where: the parameters meant; by default weight matrices and kernels.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> from temperance.core.regularizer import Context
        >>> tp.SpectralPenalty(0.5).bind().penalty({"w": torch.tensor([[4.0, 0.0], [0.0, 2.0]])}, {}, Context())
        tensor(4.)
    """

    spec: ClassVar[str] = "1 spectral norm"
    reference: ClassVar[str] = "Yoshida & Miyato 2017"

    lam: Strength = strength(1e-2, off=0.0, low=1e-5, high=1.0, log=True, meaning="weight of half the squared largest singular value")
    where: Any = Weights()

    def init(self, params: Params) -> dict[str, Tensor]:
        return started(params)

    def penalty(self, params: Params, taps: Mapping[str, Tensor], ctx: Context) -> Tensor:
        state = ctx.state or self.init(params)
        total = torch.stack([stretch(w, state[name]) for name, w in params.items()]).sum()
        return torch.where(self.lam > 0, 0.5 * self.lam * total, torch.zeros_like(total))

    def track(self, state: Mapping[str, Tensor], params: Params, ctx: Context) -> dict[str, Tensor]:
        return followed(state, params)
