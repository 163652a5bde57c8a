"""What penalties on the size of weights share: half a squared norm, and the proximal step of absolute values."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


def half_squares(tensors: Iterable[Tensor], lam: Tensor) -> Tensor:
    """Half of ``lam`` times the sum of squares; zero, with no gradient, where ``lam`` is zero or there are no tensors.

    Example:
        >>> half_squares([torch.tensor([1.0, 2.0]), torch.tensor([3.0])], torch.tensor(0.5))
        tensor(3.5000)
    """
    each = [w.square().sum() for w in tensors]
    if not each:
        return torch.zeros_like(lam)
    squares = torch.stack(each).sum()
    return torch.where(lam > 0, 0.5 * lam * squares, torch.zeros_like(squares))


def soft_threshold(w: Tensor, threshold: Tensor) -> Tensor:
    """sign(w) max(|w| - threshold, 0): the point that minimizes half the squared distance to ``w`` plus ``threshold`` times the absolute values.

    Example:
        >>> soft_threshold(torch.tensor([0.25, -2.0]), torch.tensor(0.5))
        tensor([ 0.0000, -1.5000])
    """
    return w - w.clamp(-threshold, threshold)
