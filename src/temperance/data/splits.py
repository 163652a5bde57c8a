"""Which rows train, which validate, and which stay untouched until the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from torch import Tensor

from temperance.core.errors import ConfigError, DataError, expected
from temperance.core.shown import shown
from temperance.data.groups import check_many, draw_groups, group_codes, group_folds, latest, latest_of_group, moments

HOLD_OUT_ROWS = 1500
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
        groups: a code for every row, where rows of a group stay together.
    """

    train: np.ndarray
    validation: np.ndarray | None
    folds: list[tuple[np.ndarray, np.ndarray]]
    test: np.ndarray
    kind: Literal["hold-out", "k-fold"]
    reason: str
    given: bool = True
    groups: np.ndarray | None = None


def plan_split(
    y: Any,
    task: str | Mapping[str, str],
    *,
    seed: int,
    test: bool = True,
    test_fraction: float = 0.2,
    folds: int | None = None,
    labeled: Any = None,
    groups: Any = None,
    time: Any = None,
) -> Split:
    """Put test rows aside, then validate on a hold-out (1,500 rows and more) or in 5 folds (fewer).

    Test and hold-out rows are 20 %, at most 10,000 for a hold-out. Classes keep their shares in every part, and at least one row of
    each class stays to learn from; regression targets are kept alike by tenths of their range. Rows without a target only train.

    Args:
        y: one code or value per row (codes below 0 and NaN are missing), or the ``(n, outputs)`` targets of a
            :class:`~temperance.data.targets.TargetEncoder`; a dict of such targets for several heads, whose classes and gaps all parts share alike.
        task: ``"classification"``, ``"regression"`` or ``"multilabel"``; a dict for several heads.
        seed: a whole number; the same seed gives the same rows.
        test: whether to put test rows aside.
        test_fraction: their share.
        folds: number of folds; chosen by size by default.
        labeled: bool ``(n,)``, false for rows without a target (``None``: all have one); a dict for several heads.
        groups: ``(n,)``; no two parts share a group, and classes are kept alike as well as whole groups allow. A missing one is a group of its own.
        time: numbers or dates ``(n,)``; test rows are the latest, and the latest of the rest validate, in a hold-out. Rows without a time only
            train. With ``groups`` too, a group counts by its latest row.

    Raises:
        DataError: fewer than 10 rows, fewer rows than classes times folds (two at least), or fewer groups or times than parts.
        ConfigError: a seed, fraction or number of folds out of range.

    Example:
        >>> split = plan_split([0, 1] * 50, "classification", seed=0)
        >>> split.kind, len(split.test), len(split.train), len(split.folds)
        ('k-fold', 20, 80, 5)
    """
    _check(seed, test_fraction, folds)
    strata, known = _strata(y, task, labeled)
    if groups is not None or time is not None:
        return _apart(strata, known, groups, time, seed=seed, test=test, test_fraction=test_fraction, folds=folds)
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


def _apart(strata: np.ndarray, known: np.ndarray, groups: Any, time: Any, *, seed: int, test: bool, test_fraction: float, folds: int | None) -> Split:
    """A split by groups, by time, or by both."""
    n = len(strata)
    codes = np.arange(n) if groups is None else group_codes(groups, n)
    kept = None if groups is None else codes
    when = None if time is None else moments(time, n)
    if when is not None:
        known, when = known & np.isfinite(when), latest_of_group(when, codes)
        if folds is not None:
            raise ConfigError(expected("folds", "plan_split", "to be None with `time`", folds, "The latest rows validate; leave it out."))
    rows = np.flatnonzero(known)
    if len(rows) < LEAST_ROWS:
        raise DataError(f"Expected at least {LEAST_ROWS} rows with a target{'' if time is None else ' and a time'}, got {len(rows)}. Add rows.")
    kind, column = ("group", groups) if when is None else ("time", time)
    name = str(getattr(column, "name", None) or "")
    check_many(kind, name, len(np.unique(codes[rows] if when is None else when[rows])), 2 + test)
    idle = np.flatnonzero(~known)

    def drawn(among: np.ndarray, fraction: float, stream: int) -> np.ndarray:
        if when is not None:
            return latest(when[among], fraction)
        return draw_groups(strata[among], codes[among], fraction, np.random.default_rng([seed, stream]))

    def beside(held: np.ndarray) -> np.ndarray:
        """The rows that cannot be judged on but belong to these: of their groups, or not earlier."""
        with_them = np.isin(codes[idle], codes[held]) if when is None else when[idle] >= when[held].min() if len(held) else np.zeros(len(idle), bool)
        return idle[with_them]

    taken = drawn(rows, test_fraction, 0) if test else np.zeros(len(rows), bool)
    tested, rest = rows[taken], rows[~taken]
    untouched = np.sort(np.concatenate([tested, beside(tested)]))
    idle = np.setdiff1d(idle, untouched)
    said = [_said_of_groups(name, codes, rows, tested)] if when is None else [_said_of_time(name, time, when, tested)]
    if groups is not None and when is not None:
        said.append(_said_of_groups(str(getattr(groups, "name", None) or ""), codes, rows, tested))
    if when is not None or (folds is None and len(rest) >= HOLD_OUT_ROWS):
        held = drawn(rest, min(0.2, MOST_VALIDATION_ROWS / len(rest)), 1)
        validation = rest[held]
        train = np.sort(np.concatenate([rest[~held], np.setdiff1d(idle, beside(validation))]))
        size = f"a hold-out of {len(validation):,} rows"
        return Split(train, validation, [(train, validation)], untouched, "hold-out", f"{size}; {'; '.join(said)}.", given=False, groups=kept)
    many = len(np.unique(codes[rest]))
    if folds is not None and folds > many:
        raise DataError(f"Expected at least as many groups as folds ({folds}), got {many}. Use fewer folds.")
    fold = group_folds(strata[rest], codes[rest], min(folds or FOLDS, many), np.random.default_rng([seed, 1]))
    pairs: list[tuple[np.ndarray, np.ndarray]] = []
    for k in range(int(fold.max()) + 1):
        validation = rest[fold == k]
        pairs.append((np.sort(np.concatenate([rest[fold != k], np.setdiff1d(idle, beside(validation))])), validation))
    reason = f"{len(pairs)} folds of {len(rest):,} rows; {'; '.join(said)}."
    return Split(np.sort(np.concatenate([rest, idle])), None, pairs, untouched, "k-fold", reason, given=False, groups=kept)


def _said_of_groups(name: str, codes: np.ndarray, rows: np.ndarray, tested: np.ndarray) -> str:
    many, apart = len(np.unique(codes[rows])), len(np.unique(codes[tested]))
    text = f"split by group{f' `{name}`' if name else ''}: {many:,} groups, none of them in two parts"
    return text + (f", {apart:,} in the test rows" if apart else "")


def _said_of_time(name: str, time: Any, when: np.ndarray, tested: np.ndarray) -> str:
    text = f"split by time{f' `{name}`' if name else ''}: the latest rows "
    if not len(tested):
        return text + "validate"
    values = pd.Series(time).reset_index(drop=True)
    start = values.iloc[int(np.flatnonzero(moments(time, len(when)) == when[tested].min())[0])]
    shown = start.isoformat(" ").removesuffix(" 00:00:00") if isinstance(start, pd.Timestamp) else f"{start:.15g}"
    return f"{text}are the test rows, from {shown} on, and the latest before them validate"


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
