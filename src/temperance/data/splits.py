"""Which rows train, which validate, and which stay untouched until the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from torch import Tensor

from temperance.core.errors import ConfigError, DataError, expected
from temperance.core.shown import shown

HOLD_OUT_ROWS = 3000
MOST_VALIDATION_ROWS = 10_000
FOLDS = 5
LEAST_ROWS = 10
_BINS = 10


@shown
@dataclass(frozen=True, eq=False)
class Split:
    """Row positions, sorted, every one in the original table.

    Attributes:
        train: rows to learn from: without the validation rows for a hold-out, all but the test rows for folds.
        validation: the hold-out; ``None`` for folds.
        folds: pairs (train, validation); for a hold-out the one pair.
        test: rows that nothing has looked at; empty where none were asked for.
        kind: ``"hold-out"`` or ``"k-fold"``.
        reason: why so, in a sentence.
        given: whether the test rows were given as such: no model is ever trained on them.
    """

    train: np.ndarray
    validation: np.ndarray | None
    folds: list[tuple[np.ndarray, np.ndarray]]
    test: np.ndarray
    kind: Literal["hold-out", "k-fold"]
    reason: str
    given: bool = True


def plan_split(
    y: Any, task: str | Mapping[str, str], *, seed: int, test: bool = True, test_fraction: float = 0.2, folds: int | None = None, labeled: Any = None
) -> Split:
    """Put test rows aside, then validate on a hold-out (3,000 rows and more) or in 5 folds (fewer).

    Test and hold-out rows are 20 %, at most 10,000 for a hold-out. Classes keep their shares in every part, and at least one row of
    each class stays to learn from; regression targets are kept alike by tenths of their range. Rows without a target only train.

    Args:
        y: one code or value a row (codes below 0 and NaN are missing), or the ``(n, outputs)`` targets of a
            :class:`~temperance.data.targets.TargetEncoder`; a dict of such targets for several heads, whose classes and gaps all parts share alike.
        task: ``"classification"``, ``"regression"`` or ``"multilabel"``; a dict for several heads.
        seed: a whole number; the same seed gives the same rows.
        test: whether to put test rows aside.
        test_fraction: their share.
        folds: number of folds; chosen by size by default.
        labeled: bool ``(n,)``, false for rows without a target (``None``: all have one); a dict for several heads.

    Raises:
        DataError: fewer than 10 rows, or fewer rows than classes times folds (two at least).
        ConfigError: a seed, fraction or number of folds out of range.

    Example:
        >>> split = plan_split([0, 1] * 50, "classification", seed=0)
        >>> split.kind, len(split.test), len(split.train), len(split.folds)
        ('k-fold', 20, 80, 5)
    """
    _check(seed, test_fraction, folds)
    strata, known = _strata(y, task, labeled)
    rows = np.flatnonzero(known)
    if len(rows) < LEAST_ROWS:
        raise DataError(f"Expected at least {LEAST_ROWS} rows with a target, got {len(rows)}. Add rows, or split them by hand.")
    order = np.random.default_rng([seed, 0])
    taken = _draw(strata[rows], test_fraction, order, keep=2) if test else np.zeros(len(rows), bool)
    untouched, rest = rows[taken], rows[~taken]
    unlabeled = np.flatnonzero(~known)
    classes = len(np.unique(strata[rows])) if task == "classification" else 1
    if folds is None and len(rest) >= HOLD_OUT_ROWS:
        fraction = min(0.2, MOST_VALIDATION_ROWS / len(rest))
        held = _draw(strata[rest], fraction, np.random.default_rng([seed, 1]), keep=1)
        train, validation = np.sort(np.concatenate([rest[~held], unlabeled])), rest[held]
        reason = f"{len(rest):,} rows are enough ({HOLD_OUT_ROWS:,} or more) for one hold-out of {len(validation):,} rows."
        return Split(train, validation, [(train, validation)], untouched, "hold-out", reason, given=False)
    count, reason = _folds(len(rest), classes, folds)
    fold = _deal(strata[rest], count, np.random.default_rng([seed, 1]))
    pairs = [(np.sort(np.concatenate([rest[fold != k], unlabeled])), rest[fold == k]) for k in range(count)]
    return Split(np.sort(np.concatenate([rest, unlabeled])), None, pairs, untouched, "k-fold", reason, given=False)


def bootstrap_rows(n: int, seed: int) -> np.ndarray:
    """Positions of ``n`` rows drawn from ``n`` with replacement.

    Example:
        >>> sorted(set(bootstrap_rows(5, 0).tolist()) - set(range(5)))
        []
    """
    return np.random.default_rng([seed, 2]).integers(0, n, size=n)


def _check(seed: Any, test_fraction: float, folds: Any) -> None:
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ConfigError(expected("seed", "plan_split", "to be a whole number from 0", seed, "Give an integer such as 0."))
    if not 0 < test_fraction < 1:
        raise ConfigError(expected("test_fraction", "plan_split", "in (0, 1)", test_fraction, "Use test=False for no test rows."))
    if folds is not None and (isinstance(folds, bool) or not isinstance(folds, (int, np.integer)) or folds < 2):
        raise ConfigError(expected("folds", "plan_split", "to be a whole number from 2", folds, "Leave it out to have it chosen by size."))


def joint_strata(y: Mapping[str, Any], task: Mapping[str, str], labeled: Any) -> tuple[np.ndarray, np.ndarray]:
    """For several heads: a stratum of every row and whether any of its targets is known.

    Rows of a stratum have the same classes and the same gaps; combinations that are too rare for every fold to have one are a stratum together.

    Args:
        y: targets ``(n, outputs)`` by head.
        task: likewise.
        labeled: bool ``(n,)`` likewise, or ``None``.

    Example:
        >>> y = {"kind": [[1, 0], [0, 1]] * 5, "price": [[0.5]] * 10}
        >>> joint_strata(y, {"kind": "classification", "price": "regression"}, None)[0].tolist()
        [0, 1, 0, 1, 0, 1, 0, 1, 0, 1]
    """
    columns: list[np.ndarray] = []
    for name, kind in task.items():
        values = np.asarray(y[name].detach().cpu() if isinstance(y[name], Tensor) else y[name])
        known = np.ones(len(values), bool) if labeled is None else np.asarray(labeled[name].cpu() if isinstance(labeled[name], Tensor) else labeled[name])
        columns.append(np.where(known, values.argmax(axis=1) if kind == "classification" else 0, -1))
    codes = np.stack(columns, axis=1)
    _, strata, count = np.unique(codes, axis=0, return_inverse=True, return_counts=True)
    strata = strata.reshape(-1)
    return np.where(count[strata] < FOLDS, len(count), strata), np.any(codes >= 0, axis=1)


def _strata(y: Any, task: str | Mapping[str, str], labeled: Any) -> tuple[np.ndarray, np.ndarray]:
    """A stratum for every row and whether its target is known."""
    if not isinstance(task, str):
        strata, known = joint_strata(y, task, labeled)
        return np.unique(strata, return_inverse=True)[1].reshape(-1), known
    values = np.asarray(y.detach().cpu() if isinstance(y, Tensor) else y)
    known = np.ones(len(values), bool) if labeled is None else np.asarray(labeled.cpu() if isinstance(labeled, Tensor) else labeled, dtype=bool)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if np.issubdtype(values.dtype, np.floating):
        known = known & ~(np.isnan(values) if values.ndim == 1 else np.isnan(values).any(axis=1))
    if task == "classification":
        if values.ndim == 2:
            values = values.argmax(axis=1)
        elif np.issubdtype(values.dtype, np.number):
            known = known & (values >= 0)
        strata = np.zeros(len(values), np.int64)
        strata[known] = np.unique(values[known], return_inverse=True)[1]
        return strata, known
    strata = np.zeros(len(values), np.int64)
    if task == "regression" and values.ndim == 1 and known.any():
        edges = np.quantile(values[known], np.linspace(0, 1, _BINS + 1)[1:-1])
        strata[known] = np.searchsorted(edges, values[known])
    return strata, known


def _ranked(strata: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Row positions, stratum by stratum, in random order within each."""
    return np.lexsort((rng.random(len(strata)), strata))


def _deal(strata: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """A fold for every row: dealt in turn, so that the folds differ by one row at most, in all and in every stratum."""
    fold = np.empty(len(strata), np.int64)
    fold[_ranked(strata, rng)] = np.arange(len(strata)) % count
    return fold


def _draw(strata: np.ndarray, fraction: float, rng: np.random.Generator, keep: int) -> np.ndarray:
    """Mark this share of every stratum, to a row, but leave ``keep`` rows of each."""
    order = _ranked(strata, rng)
    steps = np.floor(np.arange(len(order) + 1) * fraction + rng.random())
    taken = np.zeros(len(order), bool)
    taken[order] = np.diff(steps) > 0
    size, drawn = np.bincount(strata), np.bincount(strata, weights=taken)
    for stratum in np.flatnonzero((drawn > 0) & (size - drawn < keep)):
        inside = np.flatnonzero(taken & (strata == stratum))
        taken[inside[: int(min(len(inside), keep - (size - drawn)[stratum]))]] = False
    return taken


def _folds(n: int, classes: int, asked: int | None) -> tuple[int, str]:
    """How many folds, and why."""
    count = asked or FOLDS
    if n >= classes * count:
        why = "as asked for" if asked else f"fewer than {HOLD_OUT_ROWS:,} rows are too few for one hold-out"
        return count, f"{count} folds of {n:,} rows: {why}."
    if asked or n < 2 * classes:
        least = asked or 2
        got = f"got {n} rows for {classes} classes in {least} folds"
        raise DataError(f"Expected at least as many rows as classes times folds ({classes * least}), {got}. Add rows, merge classes or use fewer folds.")
    count = n // classes
    return count, f"{count} folds of {n:,} rows: {classes} classes leave too few rows for {FOLDS} folds."
