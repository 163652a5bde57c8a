"""First weights of linear layers and convolutions, by the rules that have names."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

INCOMING = 15  # connections of a unit under "sparse"


def _uniform(weight: Tensor, generator: torch.Generator) -> None:
    bound = 1 / math.sqrt(weight[0].numel())
    weight.uniform_(-bound, bound, generator=generator)


def _xavier(weight: Tensor, generator: torch.Generator) -> None:
    fans = weight[0].numel() + weight[:, 0].numel()
    bound = math.sqrt(6 / fans)
    weight.uniform_(-bound, bound, generator=generator)


def _he(weight: Tensor, generator: torch.Generator) -> None:
    weight.normal_(0, math.sqrt(2 / weight[0].numel()), generator=generator)


def _orthogonal(weight: Tensor, generator: torch.Generator) -> None:
    rows, columns = len(weight), weight[0].numel()
    normal = torch.empty(max(rows, columns), min(rows, columns), dtype=weight.dtype).normal_(generator=generator)
    q, r = torch.linalg.qr(normal)
    q = q * torch.where(r.diagonal() < 0, -1.0, 1.0)  # without the signs q would depend on how it was computed
    weight.copy_((q if rows >= columns else q.T).reshape(weight.shape))


def _sparse(weight: Tensor, generator: torch.Generator) -> None:
    rows, columns = len(weight), weight[0].numel()
    kept = torch.rand(rows, columns, generator=generator).argsort(1)[:, :INCOMING]
    values = torch.empty(kept.shape, dtype=weight.dtype).normal_(generator=generator)
    weight.copy_(torch.zeros(rows, columns, dtype=weight.dtype).scatter(1, kept, values).reshape(weight.shape))


SCHEMES: dict[str, Callable[[Tensor, torch.Generator], None]] = {
    "uniform": _uniform,
    "xavier": _xavier,
    "he": _he,
    "orthogonal": _orthogonal,
    "sparse": _sparse,
}
