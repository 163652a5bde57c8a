"""Least squares by exact minimization in one block of coordinates after another."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from temperance.core.ambient import plainly
from temperance.core.errors import ConfigError, DataError, expected


@plainly
def least_squares(X: Any, y: Any, *, l1: float | Tensor = 0.0, l2: float | Tensor = 0.0, block: int = 1, sweeps: int = 10_000, tol: float = 1e-10) -> Tensor:
    """Minimize 1/(2n) ‖y - Xw‖² + l1 ‖w‖₁ + l2/2 ‖w‖² by (block-)coordinate descent.

    Every step puts one block of coordinates at its minimum, the others held: a soft threshold for a single one, a small linear system for several. It is
    what a network without hidden layers reaches under ``SquaredError(half=True)`` with L1 and L2 of these strengths, to rounding and in milliseconds.
    There is no intercept: centre X and y, or add a column of ones (which is then shrunk too).

    Args:
        X: ``(n, d)``.
        y: ``(n,)``.
        l1: a number, or one for each of several solutions.
        l2: likewise.
        block: coordinates a step; with ``d`` one step is the whole solution. More than one only without ``l1``.
        sweeps: the most passes over all blocks; what is reached then is returned. Columns that are nearly alike need many, or a block for all of them.
        tol: ends once no coordinate moves by more than this share of the largest.

    Returns:
        weights ``(d,)`` in double precision, or ``(solutions, d)`` where a strength has several values. Coordinates without curvature stay at zero.

    Raises:
        ConfigError: strengths below zero, or a block that cannot be.
        DataError: X and y that do not fit.

    Example:
        >>> least_squares([[1.0, 0.0], [0.0, 2.0]], [3.0, 4.0])
        tensor([3., 2.], dtype=torch.float64)

    Source: Friedman, Hastie & Tibshirani 2010, Regularization paths for generalized linear models via coordinate descent.
    """
    X, y = torch.as_tensor(X, dtype=torch.float64), torch.as_tensor(y, dtype=torch.float64)
    if X.dim() != 2 or y.shape != X.shape[:1] or not len(y):
        raise DataError(expected("X and y", "least_squares", "to have the shapes (n, d) and (n,)", (tuple(X.shape), tuple(y.shape))))
    n, d = X.shape
    first, second = torch.broadcast_tensors(*(torch.as_tensor(values, dtype=torch.float64) for values in (l1, l2)))
    for name, values in (("l1", first), ("l2", second)):
        if values.dim() > 1 or not bool((values >= 0).all()):
            raise ConfigError(expected(name, "least_squares", "to be a number in [0, inf), or a row of such", values.tolist()))
    most = d if not bool(first.any()) else 1
    if not 1 <= block <= most:
        raise ConfigError(expected("block", "least_squares", f"in [1, {most}]", block, "With l1 a block is one coordinate." if most < d else ""))
    thresholds, decays = first.reshape(-1, 1), second.reshape(-1, 1, 1)
    curvature, pull = X.T @ X / n, X.T @ y / n
    parts = [slice(a, min(a + block, d)) for a in range(0, d, block)]
    inverse = [torch.linalg.pinv(curvature[b, b] + decays * torch.eye(b.stop - b.start, dtype=X.dtype), hermitian=True) for b in parts]
    w = torch.zeros(len(thresholds), d, dtype=X.dtype)
    for _ in range(sweeps):
        before = w.clone()
        for b, inverted in zip(parts, inverse, strict=True):
            wanted = pull[b] - w @ curvature[:, b] + w[:, b] @ curvature[b, b]
            shrunk = wanted.sign() * (wanted.abs() - thresholds).clamp_min(0.0)
            w[:, b] = (inverted @ shrunk.unsqueeze(2)).squeeze(2)
        if bool(((w - before).abs().amax(1) <= tol * w.abs().amax(1)).all()):
            break
    return w if first.dim() else w[0]
