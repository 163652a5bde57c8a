"""Answers on test rows as points: predicted and true values with residuals, and precision against recall of a rare class."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from temperance.core.random import Rng, key_of, stream_of
from temperance.job.prepare import Prepared
from temperance.job.summary import held_out

POINTS, TARGETS, CURVE = 500, 4, 200
RARE = 0.4  # of an even share: 20 % of two classes


def residuals(ready: Prepared, predictions: Tensor | None, seed: int) -> dict[str, Any]:
    """Of up to four targets, in their units: mean, middle 90 % of predicted - true, and points (true, predicted); empty where values are not predicted."""
    if ready.target.task != "regression" or predictions is None:
        return {}
    p, y, _ = held_out(ready, predictions)
    if not len(y):
        return {}
    drawn = Rng(key_of(seed), stream_of("residuals", "rows")).permutation(len(y))[:POINTS].sort().values.numpy()
    names = [str(name) for name in ready.target.names][:TARGETS]
    return {"targets": [residual_facts(name, y[:, k].double().numpy(), p[:, k].double().numpy(), drawn) for k, name in enumerate(names)]}


def residual_facts(name: str, true: np.ndarray, guess: np.ndarray, drawn: np.ndarray) -> dict[str, Any]:
    """Of one target; ``drawn`` are the rows that become points.

    Example:
        >>> residual_facts("price", np.array([1.0, 2.0]), np.array([1.5, 2.5]), np.array([0, 1]))
        {'name': 'price', 'n': 2, 'mean': 0.5, 'low': 0.5, 'high': 0.5, 'points': [[1.0, 1.5], [2.0, 2.5]]}
    """
    rest = guess - true
    low, high = np.quantile(rest, [0.05, 0.95])
    points = np.stack([true[drawn], guess[drawn]], 1).tolist()
    return {"name": name, "n": len(true), "mean": float(rest.mean()), "low": float(low), "high": float(high), "points": points}


def rare_class(ready: Prepared) -> int | None:
    """The rarest class, where it has less than 40 % of an even share of the rows (20 % of two classes); of several labels one with less than 20 %."""
    y, labels = ready.data.y, ready.target.task == "multilabel"
    if ready.target.task == "regression" or not isinstance(y, Tensor):
        return None
    shares = (y[ready.data.labeled] if isinstance(ready.data.labeled, Tensor) else y).mean(0)
    rarest = int(shares.argmin())
    return rarest if float(shares[rarest]) < RARE / (2 if labels else len(shares)) else None


def precision_recall(ready: Prepared, predictions: Tensor | None) -> dict[str, Any]:
    """The curve of the rarest class or label against the rest, where they are unbalanced; else empty.

    Returns:
        ``class``, ``kind`` (``"class"`` or ``"label"``), ``n``, ``positives``, ``base_rate``, ``average_precision``, ``weighted``, ``points``
        (recall, precision; recall rising) and ``scored``: what the score of that name is instead, empty where it is the same.
    """
    k = rare_class(ready)
    if k is None or predictions is None:
        return {}
    p, y, weight = held_out(ready, predictions)
    true = y[:, k] > 0.5
    if not bool((weight * true).sum() > 0):
        return {}
    kind = "label" if ready.target.task == "multilabel" else "class"
    classes = [str(c) for c in (ready.target.names if kind == "label" else ready.target.classes)]
    facts = {"class": classes[k], "kind": kind, "n": len(y), "positives": int(true.sum()), "weighted": ready.weight is not None}
    if kind == "label":
        facts["scored"] = "the mean over all labels" if len(classes) > 1 else ""
    else:
        facts["scored"] = "" if k == 1 == len(classes) - 1 else f"that of “{classes[1]}”" if len(classes) == 2 else "the mean over all classes"
    return facts | curve(p[:, k].double().numpy(), true.numpy(), weight.double().numpy())


def curve(score: np.ndarray, true: np.ndarray, weight: np.ndarray) -> dict[str, Any]:
    """Base rate, average precision and at most about 200 points of the curve.

    Example:
        >>> curve(np.array([0.9, 0.8, 0.1]), np.array([True, False, True]), np.ones(3))["points"]
        [[0.0, 1.0], [0.5, 1.0], [0.5, 0.5], [1.0, 0.6666666666666666]]
    """
    from sklearn.metrics import average_precision_score, precision_recall_curve

    precision, recall, _ = precision_recall_curve(true, score, sample_weight=weight)
    precision, recall = precision[::-1], recall[::-1]
    kept = np.unique(np.linspace(0, len(recall) - 1, min(len(recall), CURVE)).round().astype(int))
    return {
        "base_rate": float(weight[true].sum() / weight.sum()),
        "average_precision": float(average_precision_score(true, score, sample_weight=weight)),
        "points": np.stack([recall[kept], precision[kept]], 1).tolist(),
    }
