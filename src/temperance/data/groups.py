"""Splits that keep the rows of a group together, and splits that learn from the past and are judged on the future."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from temperance.core.ambient import quiet
from temperance.core.errors import DataError

MOST_PLACED = 20_000  # groups times folds that are placed one after another; of more, each is like any other
DRAWS = 20  # of groups, from which the one nearest to the wanted shares is taken


def group_codes(groups: Any, n: int) -> np.ndarray:
    """A whole number for every group; a row without one is a group of its own.

    Raises:
        DataError: another number of rows.

    Example:
        >>> group_codes(["ann", "bob", None, "ann", None], 5).tolist()
        [0, 1, 2, 0, 3]
    """
    series = _series("groups", groups, n)
    try:
        codes, names = pd.factorize(series)
    except TypeError:
        raise DataError("Expected `groups` to be numbers or text, got values that cannot be compared. Give one name or number for each row.") from None
    alone = codes < 0
    codes = np.asarray(codes, np.int64)
    codes[alone] = len(names) + np.arange(int(alone.sum()))
    return codes


def moments(time: Any, n: int) -> np.ndarray:
    """Times as float64, NaN where missing: numbers as they are, dates in days.

    Raises:
        DataError: another number of rows, or neither numbers nor dates.

    Example:
        >>> moments(np.array(["1970-01-02", "NaT"], "datetime64[D]"), 2)
        array([ 1., nan])
    """
    series = _series("time", time, n)
    try:
        if pd.api.types.is_datetime64_any_dtype(series.dtype):
            stamps = series.to_numpy("datetime64[us]")
            return np.where(np.isnat(stamps), np.nan, stamps.astype(np.int64) / 86_400e6)
        return series.to_numpy(np.float64, na_value=np.nan)
    except (TypeError, ValueError):
        raise DataError(f"Expected `time` to be numbers or dates, got {series.dtype}. Read text with pandas.to_datetime first.") from None


def latest_of_group(when: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """The time of the latest row of each row's group: so no row of a group lies before a cut that another lies behind.

    Example:
        >>> latest_of_group(np.array([1.0, 5.0, np.nan]), np.array([0, 0, 1])).tolist()
        [5.0, 5.0, nan]
    """
    return pd.Series(when).groupby(codes).transform("max").to_numpy(np.float64)


def group_folds(strata: np.ndarray, codes: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """A fold for every row, all rows of a group in the same: the strata as alike as whole groups allow.

    Args:
        strata: of the rows ``(n,)``.
        codes: their groups.
        count: folds, at most as many as groups.
        rng: decides among equals.

    Source:
        scikit-learn's ``StratifiedGroupKFold``; ``GroupKFold`` where groups are very many, or no stratum has ``count`` rows.
    """
    from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

    groups, codes = np.unique(codes, return_inverse=True)
    codes = rng.permutation(len(groups))[codes.reshape(-1)]
    _, strata = np.unique(strata, return_inverse=True)
    size = np.bincount(strata.reshape(-1))
    fold = np.zeros(len(codes), np.int64)
    if len(groups) * count <= MOST_PLACED and size.max() >= count:
        ways = StratifiedGroupKFold(count)  # the codes are shuffled; in scikit-learn 1.6 its own shuffle loses the strata
        with quiet:  # of strata with fewer rows than folds
            for k, (_, held) in enumerate(ways.split(codes, strata.reshape(-1), codes)):
                fold[held] = k
        if len(np.unique(fold)) == count:
            return fold
    for k, (_, held) in enumerate(GroupKFold(count).split(codes, groups=codes)):
        fold[held] = k
    return fold


def draw_groups(strata: np.ndarray, codes: np.ndarray, fraction: float, rng: np.random.Generator) -> np.ndarray:
    """Mark whole groups that come nearest to this share of the rows and of every stratum, and leave some rows of each stratum.

    Example:
        >>> codes = np.repeat(np.arange(10), 5)
        >>> taken = draw_groups(np.tile([0, 1, 0, 1, 0], 10), codes, 0.2, np.random.default_rng(0))
        >>> int(taken.sum()), len(set(codes[taken]) & set(codes[~taken]))
        (10, 0)
    """
    groups, codes = np.unique(codes, return_inverse=True)
    codes, size = codes.reshape(-1), np.bincount(codes.reshape(-1))
    most = max(1, len(groups) - 2)  # one stays to learn from, and one to validate
    whole = np.bincount(strata) / len(strata)

    def drawn() -> np.ndarray:
        order = rng.permutation(len(groups))
        share = size[order].cumsum()[:most] / len(codes)
        return np.isin(codes, order[: 1 + int(np.abs(share - fraction).argmin())])

    def far(taken: np.ndarray) -> float:
        part = np.bincount(strata[taken], minlength=len(whole)) / taken.sum()
        lost = len(np.setdiff1d(strata, strata[~taken]))
        return lost + abs(float(taken.mean()) - fraction) + 0.5 * float(np.abs(part - whole).sum())

    return min((drawn() for _ in range(DRAWS)), key=far)


def latest(when: np.ndarray, fraction: float) -> np.ndarray:
    """Mark the latest rows, as near to this share as the times allow: rows of the same time stay together.

    Example:
        >>> latest(np.array([2020, 2021, 2021, 2022, 2023]), 0.2).tolist(), latest(np.array([1, 1, 1, 2, 2]), 0.2).tolist()
        ([False, False, False, False, True], [False, False, False, True, True])
    """
    times, counts = np.unique(when, return_counts=True)
    share = counts[::-1].cumsum()[::-1] / len(when)  # of the rows from each time on
    return when >= times[1 + int(np.abs(share[1:] - fraction).argmin())]


def check_many(kind: str, name: str, found: int, least: int) -> None:
    """Refuse fewer groups (or times) than parts.

    Raises:
        DataError: with the way out.
    """
    if found < least:
        option, what = ("`groups` (--group)", "groups") if kind == "group" else ("`time` (--time)", "different times")
        more = "" if least == 2 else ", or give test rows with --test FILE"
        raise DataError(
            f"Expected at least {least} {what} among the rows with a target{f' in `{name}`' if name else ''}, got {found}: no part may share one. "
            f"Name a column with more of them, leave {option} out{more}."
        )


def _series(name: str, values: Any, n: int) -> pd.Series:
    """One value for each row."""
    values = values.detach().cpu().numpy() if isinstance(values, Tensor) else values
    if not isinstance(values, pd.Series):
        values = np.asarray(values, dtype=object if isinstance(values, (list, tuple)) and name == "groups" else None)
    if values.ndim != 1 or len(values) != n:
        got = f"an array of shape {values.shape}"
        raise DataError(f"Expected `{name}` to have one value for each of the {n} rows, got {got}. Give a column with a value for every row.")
    return pd.Series(values).reset_index(drop=True)
