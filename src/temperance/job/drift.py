"""Columns whose values in the test rows are not those of the rows that train."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from temperance.data.columns import Column
from temperance.data.parse import days, numbers
from temperance.diagnose.finding import Finding

ERROR = 0.001  # chance that a sound table is accused of anything
LEAST = 0.05  # by how much the distributions must differ at least
MOST_ROWS = 5000  # of either part
NAMED = 5
LEVELS = 20  # of a category, the most frequent ones


def drift(
    frame: pd.DataFrame, columns: Sequence[Column], train: np.ndarray, test: np.ndarray, *, given: bool, groups: np.ndarray | None = None
) -> list[Finding]:
    """Compares every column's values in the test rows with those in the rows that train.

    Formula: D is the largest difference of the two distribution functions (Kolmogorov and Smirnov), for categories that of the shares of a level;
    missing cells are a level. D lies within ε of its value in the population, with ε = √(log(4m/α) / 2n₁) + √(log(4m/α) / 2n₂), in all of the m
    comparisons at once with probability 1 - α = 0.999 (Dvoretzky, Kiefer and Wolfowitz, with Massart's constant; Hoeffding; Bonferroni over both
    parts of every comparison). Told where D - ε > 0.05.

    Rows of a group are no evidence of their own: with groups of sizes s, n is (Σ s)² / Σ s², the number of groups where all are of one size.

    Args:
        frame: the table in plain form.
        columns: how its inputs were understood.
        train: positions of the rows that train and validate.
        test: positions of the test rows.
        given: whether the test rows were given as such; else they are those of a split by time or group.
        groups: a code for every row, where rows of a group stay together.

    Source:
        Massart, *The tight constant in the Dvoretzky-Kiefer-Wolfowitz inequality* (1990).
    """
    if min(len(train), len(test)) < 2:
        return []
    rng = np.random.default_rng(0)
    ours, theirs = (np.sort(rng.choice(rows, MOST_ROWS, replace=False)) if len(rows) > MOST_ROWS else rows for rows in (train, test))
    tried: dict[str, list[tuple[float, str]]] = {}
    for column in (c for c in columns if c.kind != "ignored"):
        tried[column.name] = _differences(frame[column.name], column, ours, theirs)
    many = sum(map(len, tried.values()))
    if not many:
        return []
    slack = sum(np.sqrt(np.log(4 * many / ERROR) / (2 * _independent(rows, groups))) for rows in (ours, theirs))
    worst = {name: max(found) for name, found in tried.items() if found}
    told = sorted(((d, name, what) for name, (d, what) in worst.items() if d - slack > LEAST), reverse=True)
    value = {"comparisons": many, "uncertainty": slack, "columns": {name: d for d, name, _ in told}}
    if not told:
        largest = max(worst.items(), key=lambda item: item[1])
        text = f"no column of the test rows differs from the rows that train beyond noise: at most by {largest[1][0]:.2f} (± {slack:.2f}), `{largest[0]}`"
        return [Finding("drift", "drift", value, text)]
    each = "; ".join(f"`{name}` by {d:.2f} (at least {d - slack:.2f}), {what}" for d, name, what in told[:NAMED])
    more = f"; and {len(told) - NAMED} more" if len(told) > NAMED else ""
    text = f"the test rows differ from those that train in {len(told)} of {len(tried)} columns: {each}{more}"
    way = "the score is that of rows like the test rows, and validation rows say little of it"
    mend = "have rows like them train too" if given or groups is not None else "if new rows will look like either, split without --time"
    return [Finding("drift", "drift", value, text, "look", f"{way}; {mend}", told[0][0])]


def _independent(rows: np.ndarray, groups: np.ndarray | None) -> float:
    """How many independent rows these are worth."""
    if groups is None:
        return float(len(rows))
    sizes = np.unique(groups[rows], return_counts=True)[1].astype(np.float64)
    return float(sizes.sum() ** 2 / np.square(sizes).sum())


def _differences(series: pd.Series, column: Column, ours: np.ndarray, theirs: np.ndarray) -> list[tuple[float, str]]:
    """Every difference of a column that is tried, with what it is in words."""
    gone = series.isna().to_numpy()
    lost = float(gone[theirs].mean()), float(gone[ours].mean())
    out = [(abs(lost[0] - lost[1]), f"missing in {lost[0]:.0%} against {lost[1]:.0%}")] if gone.any() else []
    if column.kind in ("number", "date"):
        values = (days(series, column.order) if column.kind == "date" else numbers(series, column.form))[0]
        a, b = (np.where(np.isnan(values[rows]), np.inf, values[rows]) for rows in (ours, theirs))
        cuts = np.unique(np.concatenate([a, b]))
        cuts = cuts[np.isfinite(cuts)]
        if len(cuts) < 2:
            return out
        below = [np.searchsorted(np.sort(part), cuts, side="right") / len(part) for part in (a, b)]
        at = int(np.abs(below[1] - below[0]).argmax())
        shown = pd.Timestamp(cuts[at] * 86_400e9).date().isoformat() if column.kind == "date" else f"{cuts[at]:.4g}"
        what = f"{below[1][at]:.0%} of them up to {shown} against {below[0][at]:.0%}"
        return [*out, (abs(float(below[1][at] - below[0][at])), what)]
    codes, levels = pd.factorize(series)
    counts = [np.bincount(codes[rows][codes[rows] >= 0], minlength=len(levels)) for rows in (ours, theirs)]
    common = np.argsort(-(counts[0] + counts[1]), kind="stable")[:LEVELS]
    for k in common:
        a, b = (float(count[k]) / len(rows) for count, rows in zip(counts, (ours, theirs), strict=True))
        out.append((abs(b - a), f"{b:.0%} of them {str(levels[k])!r} against {a:.0%}"))
    return out
