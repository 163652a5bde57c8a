"""The largest singular value of every weight matrix, by power iteration.

Of each matrix, kernels flattened to (out, rest), one vector is kept: an estimate of the right singular vector v of the largest singular value. The value
itself is ‖W v‖; with v held constant its gradient is u vᵀ, u = W v / ‖W v‖, which is the gradient of the singular value once v has converged.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from temperance.core.regularizer import Params

FIRST = 50  # iterations before the first step; afterwards one per step follows the weights


def flat(w: Tensor) -> Tensor:
    """A matrix (out, rest)."""
    return w.reshape(w.shape[0], -1)


def stretch(w: Tensor, v: Tensor) -> Tensor:
    """The squared length of W v."""
    return (flat(w) @ v.unsqueeze(-1)).square().sum()


def turned(w: Tensor, v: Tensor, times: int = 1) -> Tensor:
    """Power iterations: each makes v WᵀW v at length one; it stays where the matrix sends it to zero."""
    matrix = flat(w).detach()
    for _ in range(times):
        u = _unit(matrix @ v.unsqueeze(-1), None)
        v = _unit((matrix.mT @ u).squeeze(-1), v)
    return v


def _unit(x: Tensor, otherwise: Tensor | None) -> Tensor:
    length = x.square().sum().sqrt()
    found = length > 0
    return torch.where(found, x / torch.where(found, length, torch.ones_like(length)), x if otherwise is None else otherwise)


def started(params: Params) -> dict[str, Tensor]:
    """A vector for every matrix, from a fixed start that is no eigenvector of anything in sight."""
    out: dict[str, Tensor] = {}
    for name, w in params.items():
        start = torch.arange(1, flat(w).shape[1] + 1, dtype=torch.float64, device=w.device).cos()
        v = _unit(start, None).to(w.dtype)
        for _ in range(FIRST):
            v = turned(w, v)
        out[name] = v
    return out


def followed(state: Mapping[str, Tensor], params: Params, times: int = 1) -> dict[str, Tensor]:
    """Every vector so many iterations on."""
    return {name: turned(w, state[name], times) for name, w in params.items()}
