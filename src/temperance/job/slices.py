"""Groups of test rows, by the levels of each category, on which a model is worse than on the others."""

from __future__ import annotations

import numpy as np
from scipy import stats
from torch import Tensor

from temperance.data import TableEncoder
from temperance.diagnose.finding import Finding
from temperance.job.prepare import Prepared

FEWEST, CLUSTERS = 30, 10  # rows of a level, and of the others; groups of rows, where these stay together
LEVEL = 0.99  # of all intervals together
WORSE = 0.25  # by what share of the others' error a group's must be worse at least
SHARE = 0.03  # of wrong answers, likewise
NAMED = 3


def slices(ready: Prepared, predictions: Tensor | None) -> list[Finding]:
    """Compares the error on the test rows of each level of each category with that on all others.

    Formula: the error of a class is 0 or 1, that of a value its distance. The difference of the two means has Welch's interval, at the level
    1 - 0.01 / m for m groups (Bonferroni), with one wrong and one right answer added to either share (Agresti and Caffo). Told where the
    lower end is above a quarter of the others' error, and of classes above 0.03. Rows that stay together (``--group``) are no evidence of their own:
    their sum is one number, as in :func:`by_cluster`.

    Args:
        ready: the rows.
        predictions: of the scored networks for the test rows, ``None`` where there are none.

    Source:
        Agresti and Caffo, *Simple and effective confidence intervals for proportions and differences of proportions* (2000).
    """
    data, encoder = ready.data, ready.encoder
    classes = data.task == "classification"
    if predictions is None or not isinstance(encoder, TableEncoder) or not isinstance(data.y, Tensor) or not encoder.levels:
        return []
    if not classes and (data.task != "regression" or data.y.shape[1] != 1):
        return []
    rows = np.asarray(ready.split.test)
    known = np.ones(len(rows), bool) if not isinstance(data.labeled, Tensor) else data.labeled[rows].numpy()
    rows, out, y = rows[known], predictions.cpu()[known].double(), data.y[rows[known]].double()
    error = ((out.argmax(1) != y.argmax(1)).double() if classes else (out - y).abs()[:, 0]).numpy()
    assert isinstance(data.x, dict)
    codes = data.x["cat"][rows].numpy()
    groups = [(k, code) for k in range(codes.shape[1]) for code in np.unique(codes[:, k]) if FEWEST <= int((codes[:, k] == code).sum()) <= len(rows) - FEWEST]
    together = None if ready.split.groups is None else np.asarray(ready.split.groups)[rows]
    groups = [(k, code) for k, code in groups if _clusters(together, codes[:, k] == code) >= CLUSTERS]
    found: list[tuple[float, str]] = []
    value: dict[str, dict[str, float]] = {}
    for k, code in groups:
        (name, levels), inside = encoder.levels[k], codes[:, k] == code
        level = levels[code - 1] if code else "missing or new" if k < len(encoder.categorical) else "another value"
        one, two = (by_cluster(error[side], None if together is None else together[side]) for side in (inside, ~inside))
        _, low, high = difference(one, two, 1 - (1 - LEVEL) / len(groups), share=classes)
        rest = float(error[~inside].mean())
        if low <= max(WORSE * rest, SHARE if classes else 0.0) or not (classes or rest > 0):
            continue
        value[f"{name}={level}"] = {"rows": int(inside.sum()), "error": float(error[inside].mean()), "others": rest, "low": low, "high": high}
        what = f"`{name}` {level!r} ({int(inside.sum()):,} test rows): "
        if classes:
            what += f"{error[inside].mean():.0%} wrong against {rest:.0%} of the others (by {low:.0%} to {high:.0%} more)"
        else:
            what += f"errors are {error[inside].mean() / rest:.1f} times those of the others ({1 + low / rest:.1f} to {1 + high / rest:.1f} times)"
        found.append((low / max(rest, 1e-12), what))
    if not found:
        return [Finding("groups", "groups", {"groups": len(groups)}, f"no group among {len(groups)} is worse off than the others beyond noise")]
    told = "; ".join(what for _, what in sorted(found, reverse=True)[:NAMED])
    more = f"; and {len(found) - NAMED} more groups" if len(found) > NAMED else ""
    text = f"the model is worse on some groups of rows, surely among {len(groups)}: {told}{more}"
    mend = "give more rows of them, weigh them with --weight, or do not rely on the model there"
    return [Finding("groups", "weak_groups", value, text, "look", mend, 0.5)]


def by_cluster(values: np.ndarray, clusters: np.ndarray | None) -> np.ndarray:
    """A number for each cluster of rows, with the mean of the rows: that mean, and the sum of the cluster's deviations from it in mean cluster sizes.

    Example:
        >>> by_cluster(np.array([1.0, 1.0, 0.0, 0.0]), np.array([7, 7, 8, 9])).round(2).tolist()
        [1.25, 0.12, 0.12]
    """
    if clusters is None:
        return values
    place = np.unique(clusters, return_inverse=True)[1]
    sums = np.bincount(place, weights=values - values.mean())
    return values.mean() + sums * len(sums) / len(values)


def _clusters(clusters: np.ndarray | None, inside: np.ndarray) -> float:
    """In how many clusters the rows of a level are, or the others, whichever is fewer."""
    return np.inf if clusters is None else min(len(np.unique(clusters[side])) for side in (inside, ~inside))


def difference(one: np.ndarray, two: np.ndarray, level: float, *, share: bool) -> tuple[float, float, float]:
    """By how much the mean of one sample is above that of the other, with Welch's interval.

    Args:
        one: numbers; where ``share``, 0 or 1 for each row or cluster means of these.
        two: likewise.
        level: of the interval.
        share: whether to add a success and a failure to either side for the interval.

    Example:
        >>> middle, low, high = difference(np.ones(40), np.zeros(40), 0.95, share=True)
        >>> middle, round(low, 2), round(high, 2)
        (1.0, 0.89, 1.02)
    """
    a, b = (np.concatenate([part, [0.0, 1.0]]) if share else part for part in (one, two))
    va, vb = a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)
    if va + vb == 0:
        same = float(one.mean() - two.mean())
        return same, same, same
    freedom = (va + vb) ** 2 / (va**2 / (len(a) - 1) + vb**2 / (len(b) - 1))
    half = float(stats.t.ppf(0.5 + level / 2, freedom)) * float(np.sqrt(va + vb))
    middle = float(a.mean() - b.mean())
    return float(one.mean() - two.mean()), middle - half, middle + half
