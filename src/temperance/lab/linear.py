"""Linear networks on half the mean squared error: the quadratics that several experiments descend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

import temperance as tp


def draws(seed: int, *shape: int) -> Tensor:
    """Standard normal numbers of a seed, in double precision.

    Example:
        >>> draws(0, 2).shape
        torch.Size([2])
    """
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def basis(seed: int, size: int) -> Tensor:
    """A random orthogonal matrix.

    Example:
        >>> q = basis(0, 3)
        >>> bool(torch.allclose(q @ q.T, torch.eye(3, dtype=q.dtype)))
        True
    """
    return torch.linalg.qr(draws(seed, size, size))[0]


def rows_of(curvature: Tensor, turn: Tensor | None = None) -> Tensor:
    """Rows X with XᵀX/n = Q diag(curvature) Qᵀ: half the mean squared error on them has this Hessian.

    Example:
        >>> rows_of(torch.tensor([4.0, 1.0]))
        tensor([[2.8284, 0.0000],
                [0.0000, 1.4142]])
    """
    axes = torch.diag((len(curvature) * curvature).sqrt())
    return axes if turn is None else axes @ turn.T


def descend(
    x: Tensor,
    y: Tensor,
    cocktails: Sequence[tp.Cocktail],
    steps: int | Sequence[int],
    optimizer: tp.optim.Optimizer | Sequence[tp.optim.Optimizer],
    seed: int = 0,
) -> Tensor:
    """Weights ``(cocktails, columns)`` of linear networks without intercept after full-batch steps from zero, all as one population.

    ``steps`` and ``optimizer`` are for all, or one for each cocktail.

    Example:
        >>> x = rows_of(torch.tensor([4.0, 1.0]))
        >>> descend(x, x @ torch.tensor([1.0, 2.0]), [tp.Cocktail(), tp.Cocktail(tp.L2(1.0))], 100, tp.optim.SGD(0.2))
        tensor([[1.0000, 2.0000],
                [0.8000, 1.0000]])
    """
    net: Any = nn.Linear(x.shape[1], 1, bias=False, dtype=x.dtype)
    nn.init.zeros_(net.weight)
    optimizers = [optimizer] * len(cocktails) if isinstance(optimizer, tp.optim.Optimizer) else list(optimizer)
    counts = [steps] * len(cocktails) if isinstance(steps, int) else list(steps)
    most = max(counts)
    members = [tp.Member(cocktail, each, seed, length=count / most) for cocktail, each, count in zip(cocktails, optimizers, counts, strict=True)]
    data = tp.data.Dataset(x, y.reshape(-1, 1), "regression")
    half = tp.losses.SquaredError(half=True)
    done = tp.fit(net, members, data, validation=None, early_stopping=None, steps=most, batch_size=len(x), criterion=half, check_every=most)
    finals = [outcome.final for outcome in done.outcomes]
    return torch.stack([state["weight"][0] for state in finals if state is not None])
