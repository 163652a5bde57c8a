"""Differences of two scores on the same rows, with the interval that resampled rows give."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from temperance.search.score import REPLICATES
from temperance.train.metrics import Metric

SLOW = ("auc", "average_precision")
"""Scores that sort the rows again for each draw: a quarter of the draws are made."""
_AT_ONCE = 2_000_000


def draws(metric: Metric, n: int, seed: int, replicates: int = REPLICATES) -> Tensor:
    """How often each of n rows is in each resample ``(replicates, n)``, as for the intervals of the scores."""
    few = replicates // 4 if metric.name in SLOW else replicates
    counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1.0 / n), size=replicates)[:few]
    return torch.from_numpy(counts.astype(np.float32))


def scores(metric: Metric, predictions: Sequence[Tensor], y: Tensor, weights: Tensor) -> np.ndarray:
    """The mean score of several networks under each of several row weights ``(draws, n)``."""
    size = max(1, _AT_ONCE // max(1, y.numel()))
    out = torch.zeros(len(weights), dtype=torch.float64)
    for p in predictions:
        parts = [weights[a : a + size] for a in range(0, len(weights), size)]
        out += torch.cat([metric(p.expand(len(w), *p.shape), y.expand(len(w), *y.shape), w).double() for w in parts]) / len(predictions)
    return out.numpy()


def interval(value: float, drawn: np.ndarray) -> dict[str, float | None]:
    """A value with the middle 95 % of what was drawn; without ends where the score is not defined for most draws.

    Example:
        >>> interval(0.5, np.linspace(0.0, 1.0, 401))
        {'value': 0.5, 'low': 0.025, 'high': 0.975}
    """
    known = drawn[np.isfinite(drawn)]
    if not np.isfinite(value):
        return {"value": None, "low": None, "high": None}
    if 2 * len(known) < len(drawn) or not len(known):
        return {"value": value, "low": None, "high": None}
    low, high = np.quantile(known, [0.025, 0.975])
    return {"value": value, "low": float(low), "high": float(high)}


def paired(
    metric: Metric, ours: Sequence[Tensor], theirs: Sequence[Tensor], y: Tensor, weight: Tensor, *, seed: int, replicates: int = REPLICATES
) -> dict[str, float | None]:
    """By how much our score is better than theirs, with its 95 % interval: every resample of the rows scores both.

    Args:
        metric: the score; where lower is better the sign is turned, so that + is better.
        ours: predictions ``(n, outputs)`` of each of our networks, whose scores are averaged.
        theirs: likewise.
        y: targets ``(n, outputs)``.
        weight: of the rows ``(n,)``.
        seed: of the resampling.
        replicates: how many resamples.

    Example:
        >>> from temperance.train.metrics import metric_for
        >>> y, wrong = torch.eye(2).repeat(50, 1), torch.eye(2).flip(0).repeat(50, 1)
        >>> paired(metric_for("accuracy", "classification"), [y], [wrong], y, torch.ones(100), seed=0)
        {'value': 1.0, 'low': 1.0, 'high': 1.0}
    """
    sign = metric.sign
    every = torch.cat([weight.unsqueeze(0), draws(metric, len(y), seed, replicates) * weight])
    found = sign * (scores(metric, ours, y, every) - scores(metric, theirs, y, every))
    return interval(float(found[0]), found[1:])
