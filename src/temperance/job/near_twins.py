"""Test rows that are nearly rows that train: the same in all columns but one, or but for rounding."""

from __future__ import annotations

import numpy as np
import pandas as pd
from torch import Tensor

from temperance.data.columns import Column
from temperance.data.dataset import Dataset
from temperance.data.parse import days, numbers
from temperance.data.splits import Split
from temperance.diagnose.finding import Finding

GRID = 1e-3  # of a column's standard deviation: numbers of one cell count as the same
LEAST, SHARE = 5, 0.01  # near twins, and their share of the test rows
MOST_COLUMNS, MOST_ROWS = 100, 50_000
_MIX = 0x9E3779B97F4A7C15


def near_twins(frame: pd.DataFrame, columns: list[Column], data: Dataset, split: Split) -> list[Finding]:
    """Counts the test rows of which a row that trains has every value but one, numbers up to a thousandth of their standard deviation.

    Rows that agree by chance do not count: were the columns independent, two rows would agree in all of them but column j with the probability
    Π Σ p², and as they are not, half the bits are taken. Column j may differ only where that leaves fewer than one pair in all by chance.

    Args:
        frame: the table in plain form.
        columns: how its inputs were understood.
        data: the encoded rows; twins in every value are counted elsewhere.
        split: which rows test.
    """
    used = [c for c in columns if c.kind != "ignored"]
    test, rest = split.test, np.setdiff1d(np.arange(len(frame)), split.test)
    if not 1 < len(used) <= MOST_COLUMNS or len(test) == 0 or len(rest) == 0 or len(frame) > MOST_ROWS or not isinstance(data.y, Tensor):
        return []
    cells = np.stack([_cells(frame[c.name], c) for c in used], axis=1)
    bits = np.array([-np.log2(np.square(np.unique(column, return_counts=True)[1] / len(cells)).sum()) for column in cells.T])
    parts = np.stack([_mixed(column, k) for k, column in enumerate(cells.T)], axis=1)
    whole = parts.sum(1, dtype=np.uint64)
    exact = np.isin(whole[test], whole[rest])
    near, which = np.zeros(len(test), bool), np.zeros(len(used), np.int64)
    telling = [j for j in range(len(used)) if 0.5 * (bits.sum() - bits[j]) > 2 * np.log2(len(cells))]
    if not telling:
        return [Finding("near_twins", "near_twins", {"near_twins": None}, "rows of so few different values agree by chance: near twins cannot be told")]
    for j in telling:
        left = whole - parts[:, j]
        found = np.isin(left[test], left[rest]) & ~exact
        which[j] = int(found.sum())
        near |= found
    count, share = int(near.sum()), float(near.mean())
    column = used[int(which.argmax())].name
    value = {"near_twins": count, "share": share, "column": column if count else None}
    if count < LEAST or share < SHARE:
        return [Finding("near_twins", "near_twins", value, f"{count:,} of {len(test):,} test rows are nearly a row that trains")]
    text = f"{count:,} of {len(test):,} test rows ({100 * share:.3g} %) agree with a row that trains in all columns but one, mostly `{column}`"
    mend = "the score on them may be remembered, not learned; if such rows belong together, name what they share with --group"
    return [Finding("near_twins", "near_twins", value, text, "look", mend, share)]


def _cells(series: pd.Series, column: Column) -> np.ndarray:
    """A whole number for every row: the level, or the cell of the grid that a number falls in."""
    if column.kind not in ("number", "date"):
        return pd.factorize(series)[0].astype(np.int64)
    values = (days(series, column.order) if column.kind == "date" else numbers(series, column.form))[0]
    known = ~np.isnan(values)
    values = values / max(np.abs(values[known]).max(initial=0.0), 1e-300)  # squares of the largest numbers overflow
    sd = float(values[known].std()) if known.any() else 0.0
    scaled = np.zeros(len(values)) if not sd > 0 else np.where(known, values - values[known].min(), 0.0) / (GRID * sd)
    return np.where(known, np.round(np.minimum(scaled, 2.0**52)), -1).astype(np.int64)


def _mixed(column: np.ndarray, k: int) -> np.ndarray:
    """A random-looking number for each value of the kth column, so that sums of them tell rows apart (splitmix64)."""
    z = column.astype(np.uint64) + np.uint64((k + 1) * _MIX % 2**64)
    for shift, times in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        z = (z ^ (z >> np.uint64(shift))) * np.uint64(times)
    return z ^ (z >> np.uint64(31))
