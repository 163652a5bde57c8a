"""Which rows validate."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from temperance.data import Split, plan_split
from temperance.data.splits import FOLDS, LEAST_ROWS

_NONE = np.zeros(0, np.int64)


def validation_rows(y: Tensor, task: str, *, seed: int, fraction: float | None = None) -> Split:
    """Folds or a hold-out; no row is kept apart for testing.

    By default :func:`~temperance.data.plan_split` decides, which wants 10 rows and two rows a class. Fewer are dealt to folds all the same: up
    to 5, two rows each, classes spread over them as far as they go.

    Args:
        y: encoded targets ``(n, outputs)``.
        task: ``"classification"``, ``"multilabel"`` or ``"regression"``.
        seed: the same seed gives the same rows.
        fraction: share of a hold-out; a class that is there only once stays in the training rows.

    Example:
        >>> import torch
        >>> split = validation_rows(torch.eye(3).repeat(2, 1), "classification", seed=0)
        >>> split.kind, [len(held) for _, held in split.folds], len(split.test)
        ('k-fold', [2, 2, 2], 0)
    """
    n = len(y)
    strata = y.argmax(1).numpy() if task == "classification" else np.zeros(n, np.int64)
    classes = len(np.unique(strata))
    if fraction is not None:
        return _hold_out(strata, fraction, seed)
    if n >= LEAST_ROWS and n >= 2 * classes:
        return plan_split(y, task, seed=seed, test=False)
    count = min(FOLDS, max(2, n // 2))
    fold = np.empty(n, np.int64)
    fold[np.lexsort((np.random.default_rng([seed, 1]).random(n), strata))] = np.arange(n) % count
    everyone = np.arange(n)
    pairs = [(everyone[fold != k], everyone[fold == k]) for k in range(count)]
    return Split(everyone, None, pairs, _NONE, "k-fold", f"{count} folds of {n} rows: too few for a stratified split.")


def given_rows(n: int, held: int) -> Split:
    """The first ``n`` rows train, the ``held`` rows behind them validate."""
    train, validation = np.arange(n), np.arange(n, n + held)
    return Split(train, validation, [(train, validation)], _NONE, "hold-out", f"{held} rows of X_val validate and never train.")


def _hold_out(strata: np.ndarray, fraction: float, seed: int) -> Split:
    n = len(strata)
    rng = np.random.default_rng([seed, 1])
    order = np.lexsort((rng.random(n), strata))
    several = order[np.bincount(strata)[strata[order]] > 1]
    pool = several if len(several) else order
    count = min(max(1, round(fraction * n)), len(pool), n - 1)
    held = np.sort(pool[np.floor((np.arange(count) + rng.random()) * len(pool) / count).astype(np.int64)])
    train = np.setdiff1d(np.arange(n), held)
    return Split(train, held, [(train, held)], _NONE, "hold-out", f"{count} of {n} rows, as asked for with validation_fraction={fraction:g}.")
