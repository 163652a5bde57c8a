"""Whether a row's target says something of the next row's, so that rows cannot be split at random."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from temperance.data.columns import Column
from temperance.data.parse import days, numbers
from temperance.diagnose.finding import Finding

FEWEST, LEAST = 100, 0.1  # rows, and the correlation from which neighbors are alike
CHANCE, CERTAIN = 5.0, 3.3  # standard errors: beyond chance, and of the interval (99.9 %)
MOST_CLASSES = 20
_TIME = re.compile(r"(^|[\W_\d])(time|times|date|day|week|month|year|period|timestamp|hour|minute|second|epoch)s?($|[\W_\d])", re.IGNORECASE)


def order(frame: pd.DataFrame, columns: Sequence[Column], targets: Mapping[str, np.ndarray], task: Mapping[str, str]) -> list[Finding]:
    """Looks whether targets of neighboring rows are alike, so that a split at random lets a model look at a test row's neighbors.

    Formula: r is the correlation of the target's ranks (of a class: of its indicator, the largest) in a row and the next one. In exchangeable
    rows r is within 5/√n of -1/n but for one table in a million. Told where r less 3.3/√n is above 0.1.

    Nothing is told where the file is merely sorted by the target or by a feature; that of the target is noted.

    Args:
        frame: the table in plain form, in the order of its file.
        columns: how its inputs were understood.
        targets: values ``(n,)``, or codes of classes, by name, NaN where missing.
        task: of each.

    Source:
        Wald and Wolfowitz, *An exact test for randomness in the non-parametric case based on serial correlation* (1943).
    """
    out: list[Finding] = []
    for name, values in targets.items():
        known = np.flatnonzero(~np.isnan(values))
        n = len(known)
        if n < FEWEST:
            continue
        y = values[known]
        r = _serial(y, task[name])
        noise = CHANCE / np.sqrt(n)
        value = {"correlation": r, "low": r - CERTAIN / np.sqrt(n), "high": r + CERTAIN / np.sqrt(n)}
        between = f"correlation {r:.2f}, {max(-1.0, value['low']):.2f} to {min(1.0, value['high']):.2f}"
        if r < noise or value["low"] < LEAST:
            text = f"targets of neighboring rows are no more alike than others in `{name}` ({between})"
            out.append(Finding("order", "order", value, text))
            continue
        if _ordered(y, named=task[name] == "classification"):
            text = f"the rows are sorted by `{name}`: the split here is drawn at random, so that does no harm"
            out.append(Finding("order", "sorted_by_target", value, text))
            continue
        by = [c for c in columns if c.kind != "ignored" and c.name not in targets and _in_order(frame[c.name].iloc[known], c)]
        times = [c.name for c in by if c.kind == "date" or _TIME.search(c.name)]
        if by and not times:
            text = f"the rows are sorted by `{by[0].name}`, and so targets of neighboring rows are alike ({between})"
            out.append(Finding("order", "sorted_by_feature", value, text))
            continue
        text = f"targets of neighboring rows are alike in `{name}` ({between})"
        start = f"the rows follow `{times[0]}` and " if times else ""
        way = f"--time {shlex.quote(times[0])}" if times else "--time or --group"
        why = "if neighbors belong together, a split at random makes the score too good"
        out.append(Finding("order", "order", value, start + text, "look", f"{why}; split with {way}", min(1.0, r)))
    return out


def _serial(y: np.ndarray, task: str) -> float:
    """The correlation of a row with the next one: of ranks, or the largest one among the classes' indicators."""
    if task == "regression":
        return _lagged(stats.rankdata(y))
    return max((_lagged((y == code).astype(np.float64)) for code in np.unique(y)[:MOST_CLASSES]), default=0.0)


def _lagged(values: np.ndarray) -> float:
    centered = values - values.mean()
    total = float(np.square(centered).sum())
    return float((centered[1:] * centered[:-1]).sum()) / total if total > 0 else 0.0


def _ordered(values: np.ndarray, *, named: bool) -> bool:
    """Whether values only rise or only fall; of codes that are mere names, whether equal ones stand together."""
    steps = np.diff(values)
    if named:
        return int((steps != 0).sum()) + 1 == len(np.unique(values))
    return bool((steps >= 0).all() or (steps <= 0).all())


def _in_order(series: pd.Series, column: Column) -> bool:
    """Whether the rows are sorted by a column that does not merely count them."""
    if column.kind in ("number", "date"):
        values = (days(series, column.order) if column.kind == "date" else numbers(series, column.form))[0]
        values = values[~np.isnan(values)]
        steps = np.diff(values)
        if len(values) < FEWEST or not steps.any() or (column.kind == "number" and (steps == steps[0]).all() and not _TIME.search(column.name)):
            return False
        return _ordered(values, named=False)
    codes = pd.factorize(series)[0]
    return 1 < len(np.unique(codes)) < 0.5 * len(codes) and _ordered(codes, named=True)
