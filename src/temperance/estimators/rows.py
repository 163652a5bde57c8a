"""Which rows validate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from temperance.data import Split, plan_split
from temperance.data.groups import check_many, draw_groups
from temperance.data.splits import FOLDS, LEAST_ROWS, joint_strata

_NONE = np.zeros(0, np.int64)


def known_targets(y: Any) -> tuple[Any, np.ndarray | None]:
    """The targets of the rows that have one, and which rows these are (``None``: all).

    Missing are NaN, None and pandas' NA; of several columns, rows with a gap in any. Whole numbers and truth values stay what they are, whatever holds
    them: as floats they would lose digits. What is no plain column or table is returned as it is.

    Example:
        >>> known_targets([1, None, 0])
        (array([1, 0]), array([ True, False,  True]))
        >>> known_targets(["a", "b"])
        (['a', 'b'], None)
        >>> known_targets(pd.Series([2**53, 2**53 + 1], dtype="Int64"))
        (array([9007199254740992, 9007199254740993]), None)
    """
    if y is None or hasattr(y, "toarray"):
        return y, None
    try:
        values: Any = y if isinstance(y, (pd.Series, pd.DataFrame)) else np.asarray(y)
        known: Any = np.array(pd.notna(values), dtype=bool, ndmin=1)
    except (TypeError, ValueError):  # ragged lists and the like, which the checks of targets name
        return y, None
    if known.all():
        return _whole(y), None
    known = known.reshape(len(known), -1).all(1)
    some = values[known]
    array = some.to_numpy() if isinstance(some, (pd.Series, pd.DataFrame)) else some
    if array.dtype == object and len({type(value) for value in array.reshape(-1)}) == 1:
        array = np.array(array.tolist())
    return array, known


def _whole(y: Any) -> Any:
    """Whole numbers and truth values out of frames and arrays that hold them in another way than as such; anything else as it is."""
    kind = getattr(y, "dtype", None)
    if not isinstance(y, (pd.Series, pd.DataFrame, np.ndarray)) or (isinstance(kind, np.dtype) and kind.kind != "O"):
        return y
    array = y if isinstance(y, np.ndarray) else y.to_numpy()
    if array.dtype == object and {type(value) for value in array.reshape(-1)} in ({int}, {bool}):
        array = np.array(array.tolist())
    return array if array.dtype.kind in "iub" else y


def validation_rows(
    y: Tensor, task: str, *, seed: int, fraction: float | None = None, labeled: np.ndarray | None = None, groups: np.ndarray | None = None
) -> Split:
    """Folds or a hold-out; no row is kept apart for testing.

    By default :func:`~temperance.data.plan_split` decides, which wants 10 rows and two rows per class. Fewer are dealt to folds all the same: up
    to 5, two rows each, classes spread over them as far as they go.

    Args:
        y: encoded targets ``(n, outputs)``.
        task: ``"classification"``, ``"multilabel"`` or ``"regression"``.
        seed: the same seed gives the same rows.
        fraction: share of a hold-out; a class that is there only once stays in the training rows.
        labeled: which rows have a target (``None``: all); the others only train.
        groups: of the rows; those of a group train or validate together. Then there are at least 10 rows and two groups.

    Example:
        >>> import torch
        >>> split = validation_rows(torch.eye(3).repeat(2, 1), "classification", seed=0)
        >>> split.kind, [len(held) for _, held in split.folds], len(split.test)
        ('k-fold', [2, 2, 2], 0)
    """
    if groups is not None:
        return _by_group(y, task, groups, seed, fraction, labeled)
    if labeled is not None:
        return _with_unlabeled(validation_rows(y[labeled], task, seed=seed, fraction=fraction), labeled)
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


def rows_of_heads(
    y: Mapping[str, Tensor], task: Mapping[str, str], labeled: Any, *, seed: int, fraction: float | None = None, groups: np.ndarray | None = None
) -> Split:
    """Folds or a hold-out for several heads, whose classes and gaps all parts share alike; rows without any target only train."""
    strata, known = joint_strata(y, task, labeled)
    codes = F.one_hot(torch.from_numpy(np.unique(strata, return_inverse=True)[1].reshape(-1)))
    return validation_rows(codes, "classification", seed=seed, fraction=fraction, labeled=None if known.all() else known, groups=groups)


def _by_group(y: Tensor, task: str, groups: np.ndarray, seed: int, fraction: float | None, labeled: np.ndarray | None) -> Split:
    """Folds or a hold-out of whole groups; a row without a target does not train beside the validation rows of its group."""
    if fraction is None:
        return plan_split(y, task, seed=seed, test=False, labeled=labeled, groups=groups)
    known = np.ones(len(y), bool) if labeled is None else labeled
    check_many("group", "", len(np.unique(groups[known])), 2)
    strata = y.argmax(1).numpy() if task == "classification" else np.zeros(len(y), np.int64)
    rows = np.flatnonzero(known)
    held = rows[draw_groups(strata[rows], groups[rows], fraction, np.random.default_rng([seed, 1]))]
    train = np.flatnonzero(~np.isin(groups, groups[held]))
    reason = f"{len(held)} of {len(rows)} rows, as near as whole groups come to validation_fraction={fraction:g}; split by group."
    return Split(train, held, [(train, held)], _NONE, "hold-out", reason)


def _with_unlabeled(split: Split, labeled: np.ndarray) -> Split:
    """A split of the rows that have a target, in the positions of all rows; the others join every training part."""
    rows, others = np.flatnonzero(labeled), np.flatnonzero(~labeled)

    def training(part: np.ndarray) -> np.ndarray:
        return np.sort(np.concatenate([rows[part], others]))

    folds = [(training(a), rows[b]) for a, b in split.folds]
    held = None if split.validation is None else rows[split.validation]
    return Split(training(split.train), held, folds, _NONE, split.kind, f"{split.reason} {len(others):,} rows without a target only train.")


def learned_rows(split: Split | None) -> np.ndarray | None:
    """The rows that means may be learned from: of a hold-out those that train, else all (``None``)."""
    return np.sort(split.train) if split is not None and split.validation is not None else None


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
