"""What is doubtful about the columns of a table, before anything is trained: identifiers, columns that give the target away, free text."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

import numpy as np
import pandas as pd
from pandas.api import types

from temperance.data.columns import Column
from temperance.data.messages import listing
from temperance.data.parse import days, numbers

LEAST_ROWS = 50
NAMED = 0.2  # share of different values from which a column that is named like an identifier is taken for one
ONCE = 0.5  # share of values that occur once from which a category names rows
WORDS, LENGTH = 4.5, 40  # of an average cell of free text
FIRST, MOST = 500, 4000  # rows a half, of a first look at a column and of the second
WRONG, SHARE = 0.005, 0.02  # what a column that gives the target away may have wrong: of all rows, and of those that the largest class has wrong
EXPLAINED = 0.998  # share of the variance; |correlation| 0.999
FEW = 10  # rows outside the largest class
_CAMEL = re.compile(r"[a-z](Id|ID|UUID|GUID)$")
_SNAKE = re.compile(r"(^|[\W_\d])(ids?|uuid|guid|index|idx|rowid|rownum|row|key)$", re.IGNORECASE)


def column_warnings(frame: pd.DataFrame, columns: Sequence[Column], targets: Sequence[str], rows: np.ndarray, task: str, seed: int) -> list[str]:
    """A sentence for each doubtful column, with the way out.

    Args:
        frame: the table in plain form.
        columns: how its inputs were understood.
        targets: names of the targets.
        rows: positions of the rows that may be looked at: not the test rows.
        task: of the target.
        seed: of the halves in which a column is tried.
    """
    used = [c for c in columns if c.kind != "ignored"]
    seen = frame.iloc[rows]
    leaks = _leaks(seen, used, targets, task, seed)
    texts = [c for c in columns if _is_text(frame[c.name], c)]
    known = {*leaks, *(c.name for c in texts)}
    names = {c.name: why for c in used if c.name not in known and (why := _identifies(frame[c.name], c))}
    return [*_each(leaks), *_each(names), *_text(texts)]


def _each(found: dict[str, str]) -> list[str]:
    """A sentence for each of the first columns, and one for the others."""
    out = [f"column `{name}` {why}, leave it out with --ignore {shlex.quote(name)}" for name, why in list(found.items())[:5]]
    rest = list(found)[5:]
    if rest:
        out.append(f"likewise {listing(rest, most=20)}: leave them out with {' '.join(f'--ignore {shlex.quote(name)}' for name in rest[:20])}")
    return out


def _is_text(series: pd.Series, column: Column) -> bool:
    """Whether most cells differ and hold several words."""
    known = len(series) - column.n_missing
    text = isinstance(series.dtype, (pd.StringDtype, pd.CategoricalDtype)) or types.is_object_dtype(series.dtype)
    asked = column.notes == "left out on request"
    if not text or asked or column.kind not in ("category", "ignored") or known < LEAST_ROWS or column.n_unique < 0.5 * known:
        return False
    some = [str(cell) for cell in series.dropna().iloc[:1000]]
    spaces = sum(len(cell.split()) for cell in some) / len(some)
    return spaces >= WORDS or (spaces >= 2 and sum(map(len, some)) / len(some) >= LENGTH)


def _text(columns: Sequence[Column]) -> list[str]:
    if not columns:
        return []
    what = "1 column holds free text" if len(columns) == 1 else f"{len(columns)} columns hold free text"
    use = "not used" if all(c.kind == "ignored" for c in columns) else "used as bare names at most"
    how = "encode it as numbers first, for example with a sentence embedding, or scikit-learn's TfidfVectorizer and TruncatedSVD, and join these as columns"
    return [f"{what} ({listing([c.name for c in columns], most=5)}), {use}: {how}"]


def named_like_an_identifier(name: str) -> bool:
    """Whether a name says that a column names rows.

    Example:
        >>> [named_like_an_identifier(name) for name in ("id", "user_id", "CustomerId", "row", "paid", "acid", "grid", "width")]
        [True, True, True, True, False, False, False, False]
    """
    return _SNAKE.search(name) is not None or _CAMEL.search(name) is not None


def _identifies(series: pd.Series, column: Column) -> str:
    """Why a column looks like an identifier; empty where it does not."""
    known = len(series) - column.n_missing
    if known < LEAST_ROWS or column.kind not in ("number", "category"):
        return ""
    where = "if it names or counts the rows"
    named = named_like_an_identifier(column.name) and column.n_unique >= NAMED * known
    if column.kind == "number":
        values = numbers(series, column.form)[0]
        values = values[~np.isnan(values)]
        if (values != np.floor(values)).any():
            return ""
        spread = float(values.max() - values.min())
        # So many independent draws from a range so small would nearly always hold a value twice (the birthday problem).
        if column.n_unique == known and spread < known**2 / 10:
            return f"has another whole number in each of {known:,} rows ({values.min():.0f} to {values.max():.0f}): {where}"
    elif not named:
        once = int((series.value_counts() == 1).sum())
        return f"has {once:,} values that occur once in {known:,} rows: {where}" if once > ONCE * known else ""
    return f"is named like an identifier and has {column.n_unique:,} different values in {known:,} rows: {where}" if named else ""


def _leaks(seen: pd.DataFrame, used: Sequence[Column], targets: Sequence[str], task: str, seed: int) -> dict[str, str]:
    """Columns that alone give a target away, tried on rows that did not serve to learn it."""
    out: dict[str, str] = {}
    order = np.random.default_rng([seed, 3]).permutation(len(seen))
    for target in targets[:20]:
        values = seen[target].iloc[order]
        rows = order[values.notna().to_numpy()][: 2 * MOST]
        y = seen[target].iloc[rows]
        codes = numbers(y)[0] if task == "regression" else pd.factorize(y)[0]
        if len(rows) < LEAST_ROWS:
            continue
        for column in (c for c in used if c.name not in out):
            series = seen[column.name].iloc[rows]
            small = slice(0, 2 * FIRST)
            if not _gives_away(series.iloc[small], column, codes[small], task, 5.0):
                continue
            why = _gives_away(series, column, codes, task)
            if why:
                of = "the target" if len(targets) == 1 else f"`{target}`"
                out[column.name] = why.format(of=of)
    return out


def _gives_away(series: pd.Series, column: Column, y: np.ndarray, task: str, slack: float = 1.0) -> str:
    ordered = column.kind in ("number", "date")
    if ordered:
        x = (days(series, column.order) if column.kind == "date" else numbers(series, column.form))[0]
    else:
        x = pd.factorize(series)[0].astype(np.float64)
    half = len(x) // 2
    (xa, ya), (xb, yb) = (x[:half], y[:half]), (x[half:], y[half:])
    n = len(xb)
    late = "if it is not known before {of} is"
    if task == "regression":
        guess = _means(xa, ya, xb, ordered)
        there = ~np.isnan(guess)
        if there.sum() < max(20, 0.9 * n):
            return ""
        total = float(np.square(yb[there] - yb[there].mean()).sum())
        share = 1.0 - float(np.square(yb[there] - guess[there]).sum()) / total if total > 0 else 0.0
        if share < 1 - slack * (1 - EXPLAINED):
            return ""
        return f"alone explains {_percent(share)} of the variance of {{of}} on {int(there.sum()):,} rows: {late}"
    wrong = int((_nearest(xa, ya, xb, ordered) != yb).sum())
    others = n - int(np.bincount(yb).max())
    if others < (FEW if slack == 1.0 else 1) or wrong > slack * min(WRONG * n, SHARE * others):
        return ""
    return f"alone predicts {{of}} in {_percent(1 - wrong / n)} of {n:,} rows, where the largest class has {_percent(1 - others / n)}: {late}"


def _percent(share: float) -> str:
    return f"{100 * share:.4g} %"


def _nearest(xa: np.ndarray, ya: np.ndarray, xb: np.ndarray, ordered: bool) -> np.ndarray:
    """The class that most rows with the nearest value (for categories the same one) have; -1 where there is none."""
    xa, xb = (np.where(np.isnan(x), -np.inf, x) for x in (xa, xb))
    levels, place = np.unique(xa, return_inverse=True)
    pairs, count = np.unique(place * (int(ya.max()) + 1) + ya, return_counts=True)
    level, label = np.divmod(pairs, int(ya.max()) + 1)
    best = np.empty(len(levels), np.int64)
    order = np.lexsort((-label, count))
    best[level[order]] = label[order]  # the most frequent one is written last
    at = np.searchsorted(levels, xb).clip(0, len(levels) - 1)
    if not ordered:
        return np.where(levels[at] == xb, best[at], -1)
    before = (at - 1).clip(0)
    with np.errstate(invalid="ignore"):
        closer = (xb - levels[before]) < (levels[at] - xb)
    return best[np.where(closer, before, at)]


def _means(xa: np.ndarray, ya: np.ndarray, xb: np.ndarray, ordered: bool) -> np.ndarray:
    """The mean target at a value, on a line between the two nearest ones (for categories of the same one); NaN where there is none."""
    there = ~np.isnan(xa)
    if there.sum() < 2:
        return np.full(len(xb), np.nan)
    levels, place = np.unique(xa[there], return_inverse=True)
    mean = np.bincount(place, weights=ya[there]) / np.bincount(place)
    if ordered:
        return np.where(np.isnan(xb), np.nan, np.interp(xb, levels, mean))
    at = np.searchsorted(levels, xb).clip(0, len(levels) - 1)
    return np.where(levels[at] == xb, mean[at], np.nan)
