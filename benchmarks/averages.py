"""What ships where several networks may: the package's greedy selection, for the package's networks and for a rival's alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from temperance.data.dataset import Dataset
from temperance.search.averaging import select
from temperance.search.pool import MOST, Pool
from temperance.train.metrics import metric_for

EVERY = 3.0  # seconds between two readings
LAST = 0.5  # seconds before the end
MOST_PICKS = 8  # as `tp.search` has it
TASK = "classification"


@dataclass(frozen=True)
class Shipped:
    """What a selection came to.

    Attributes:
        picks: positions among the networks, with repeats; the best one alone where averages are not better.
        validation: accuracy of the picks' average on the rows that they were chosen on.
        honest: accuracy of such an average, each fifth of the rows predicted by one that was chosen on the others.
    """

    picks: list[int]
    validation: float
    honest: float


def best_first(scores: Sequence[float]) -> list[int]:
    """The networks among which averages are chosen, best first, and of equal ones the earliest."""
    return sorted(range(len(scores)), key=lambda i: -scores[i])[:MOST]


def shipped(predictions: Tensor, y: Tensor, seed: int) -> Shipped:
    """Choose among networks as a search does at its end.

    Args:
        predictions: probabilities on validation rows ``(networks, n, classes)``, the best network first.
        y: classes of the rows ``(n,)``.
        seed: of the cross-fitting.

    Example:
        >>> shipped(torch.tensor([[[0.9, 0.1], [0.2, 0.8]]]), torch.tensor([0, 1]), 0).picks
        [0]
    """
    if len(predictions) == 1:
        score = accuracy(predictions[0], y)
        return Shipped([0], score, score)
    held = Dataset(torch.zeros(len(y), 1), torch.nn.functional.one_hot(y, predictions.shape[-1]).float(), TASK)
    numbers: Any = list(range(len(predictions)))  # a selection asks nothing of its trials but which is which
    found: Any = select(Pool(numbers, predictions, held, torch.arange(len(held))), numbers[0], metric_for("accuracy", TASK), TASK, most=MOST_PICKS, seed=seed)
    picks = found.picks if found.better else [0]
    return Shipped(picks, accuracy(predictions[picks].mean(0), y), found.checked.average if found.better else found.checked.single)


def accuracy(predictions: Tensor, y: Tensor) -> float:
    return float((predictions.argmax(-1) == y).sum()) / len(y)


def times(seconds: float) -> list[float]:
    """When a curve is read: every three seconds, and so long before the end that a selection fits in.

    Example:
        >>> times(7.0)
        [3.0, 6.0, 6.5]
    """
    last = seconds - LAST
    return [*[EVERY * (i + 1) for i in range(int(seconds / EVERY)) if EVERY * (i + 1) < last], last]
