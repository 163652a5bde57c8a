"""A difference of two scores by row and seed, its interval over new rows and new seeds, and what it answers."""

from __future__ import annotations

from typing import Any

import torch
from scipy import stats
from torch import Tensor

from temperance.core.batch import map_leaves
from temperance.train.metrics import Metric

LEVEL = 0.95
FEWEST_ROWS, FEWEST_GROUPS, FEWEST_SEEDS = 30, 10, 2
FEWEST_DIFFERENT = 10
"""Rows on which two networks must differ: below, the mean of a score such as accuracy is far from normal."""
HELPS, HURTS, NONE, UNKNOWN = "helps", "hurts", "no difference", "cannot tell"


def by_row(metric: Metric, predictions: Any, y: Any, weight: Any) -> Tensor:
    """The score as a mean over rows: one number per row, whose mean is the score and whose spread is that of the score.

    Row i has θ + n · ∂θ/∂c_i, where c_i is how often the row counts: its share of a mean (log-loss, accuracy), and the linear part of what leaving it
    out changes of any other score (AUC, R²).

    Args:
        metric: the score θ.
        predictions: ``(n, outputs)``, or a dict by head.
        y: targets, likewise.
        weight: of the rows ``(n,)``, likewise.

    Returns:
        ``(n,)`` in double precision; NaN where the score is not defined.

    Source:
        Efron, *The jackknife, the bootstrap and other resampling plans* (1982), chapter 6: the infinitesimal jackknife.

    Example:
        >>> from temperance.train.metrics import metric_for
        >>> right, y = torch.eye(2)[[0, 1, 1, 1]], torch.eye(2)[[0, 1, 0, 1]]
        >>> by_row(metric_for("accuracy", "classification"), right, y, torch.ones(4)).tolist()
        [1.0, 1.0, 0.0, 1.0]
    """
    n = len(next(iter(y.values())) if isinstance(y, dict) else y)
    counts = torch.ones(n, dtype=torch.float64, requires_grad=True)
    p, true = (map_leaves(lambda leaf: leaf.detach().cpu().double(), tree) for tree in (predictions, y))
    with torch.enable_grad():
        value = metric(p, true, map_leaves(lambda leaf: leaf.detach().cpu().double() * counts, weight))
        if not value.requires_grad:  # a constant, such as the NaN of a class that is not there
            return value.detach().double().expand(n).clone()
        (slope,) = torch.autograd.grad(value, counts)
    return value.detach() + n * slope


def estimate(table: Tensor, comparisons: int = 1) -> dict[str, Any]:
    """The mean of a table of differences, with an interval for other rows and other seeds.

    Rows and seeds cross: every seed's network is measured on every row. With a the variance of the mean over rows, b that over seeds and c that of the
    remainder, each divided by how many there are, the variance of the mean is a + b - c, and at least each of them. Student's t has the degrees of freedom of
    Satterthwaite for it, at least those of the shorter side. Its quantile is that of 1 - 0.05 / (2 · comparisons), so that by Bonferroni all intervals of
    a family hold together in 95 % of cases.

    Args:
        table: ``(seeds, rows)``.
        comparisons: intervals in the family.

    Returns:
        ``value``, ``low`` and ``high``; no ends from one seed or one row, and nothing of a table with numbers that are not finite.

    Source:
        Cameron, Gelbach & Miller, *Robust inference with multiway clustering* (2011); Satterthwaite (1946).

    Example:
        >>> found = estimate(torch.tensor([[1.0, 2.0, 3.0], [1.0, 2.0, 6.0]]))
        >>> found["value"], found["low"] < 2.5 < found["high"], estimate(torch.ones(1, 3))["low"]
        (2.5, True, None)
    """
    table = table.double()
    if not table.numel() or not bool(torch.isfinite(table).all()):
        return {"value": None, "low": None, "high": None}
    seeds, rows = table.shape
    middle = float(table.mean())
    if min(seeds, rows) < 2:
        return {"value": middle, "low": None, "high": None}
    over_rows, over_seeds = table.mean(0), table.mean(1)
    rest = table - over_rows - over_seeds.unsqueeze(1) + table.mean()
    a, b = float(over_rows.var()) / rows, float(over_seeds.var()) / seeds
    c = float(rest.square().sum()) / ((rows - 1) * (seeds - 1)) / (rows * seeds)
    variance = max(a + b - c, a, b, c)
    if variance == 0.0:
        return {"value": middle, "low": middle, "high": middle}
    spread = a**2 / (rows - 1) + b**2 / (seeds - 1) + c**2 / ((rows - 1) * (seeds - 1))
    freedom = max(variance**2 / spread, min(rows, seeds) - 1)
    half = float(stats.t.ppf(1 - (1 - LEVEL) / (2 * max(comparisons, 1)), freedom)) * variance**0.5
    return {"value": middle, "low": middle - half, "high": middle + half}


def grouped(table: Tensor, groups: Tensor | None) -> Tensor:
    """A column per group in place of one per row, with the same mean: rows of a group are no evidence of their own.

    Example:
        >>> grouped(torch.tensor([[1.0, 2.0, 6.0, 7.0]]), torch.tensor([4, 4, 4, 9])).tolist()
        [[4.5, 3.5]]
    """
    if groups is None:
        return table
    found, place = groups.unique(return_inverse=True)
    sums = torch.zeros(len(table), len(found), dtype=table.dtype).index_add_(1, place, table)
    return sums * (len(found) / table.shape[1])


def answer(found: dict[str, Any], table: Tensor, rows: int, margin: float) -> str:
    """What a difference answers, + being for the regularizer: it helps, it hurts, it makes no difference, or nobody can tell.

    A difference of which the whole interval is as small as the margin is none, be it surely above zero.

    Args:
        found: its estimate.
        table: ``(seeds, rows or groups)`` from which it was estimated.
        rows: held-out rows.
        margin: a difference as small as this counts as none.

    Example:
        >>> even = torch.linspace(0.9, 1.1, 40).repeat(3, 1)
        >>> answer(estimate(even), even, 40, margin=0.1), answer(estimate(even - 1.0), even - 1.0, 40, margin=0.1)
        ('helps', 'no difference')
    """
    low, high = found["low"], found["high"]
    few = rows < FEWEST_ROWS or table.shape[1] < (FEWEST_ROWS if table.shape[1] == rows else FEWEST_GROUPS) or len(table) < FEWEST_SEEDS
    if low is None or few or int((table.mean(0) != 0).sum()) < min(FEWEST_DIFFERENT, table.shape[1]):
        return UNKNOWN
    if -margin <= low and high <= margin:
        return NONE
    return HELPS if low > 0 else HURTS if high < 0 else UNKNOWN
