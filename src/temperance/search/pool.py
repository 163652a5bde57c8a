"""What a search has trained, as predictions on validation rows."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from temperance.core.criterion import Criterion
from temperance.data.dataset import Dataset
from temperance.nets.stacked import alike, outputs_of, state_of
from temperance.search.race import Folds, Trained, Trial, best_first
from temperance.search.score import BLOCK, predict

MOST = 64
MOST_NUMBERS = 2**25  # of predictions: with the copies that are made of them, some 400 MB
TOGETHER = 16
FEWEST_ROWS = 20  # on fewer validation rows nothing can be selected


@dataclass(eq=False)
class Pool:
    """The best trials of a search and their predictions on validation rows; over folds, each network predicts the rows that it has not trained on.

    Attributes:
        trials: the winner, then the others, best first.
        predictions: probabilities or values ``(trials, rows, outputs)``.
        held: the validation rows.
        places: where they are among all rows.
    """

    trials: list[Trial]
    predictions: Tensor
    held: Dataset
    places: Tensor

    def offers(self, winner: Trial) -> bool:
        """Whether there is something to choose beside this one, and enough rows to choose by."""
        return len(self.trials) >= 2 and len(self.held) >= FEWEST_ROWS and winner in self.trials


def usable(trials: Sequence[Trial], folds: Folds) -> list[Trial]:
    """Trials with a score and a best state on every fold."""
    return [t for t in trials if t.score == t.score and len(t.outcomes) == len(folds) and all(o.usable for o in t.outcomes)]


def pool_of(
    trials: Sequence[Trial], winner: Trial, data: Dataset, folds: Folds, criterion: Criterion, *, greater: bool, deadline: float | None = None
) -> Pool | None:
    """The pool of a search: the best trials that can be used, as many as time and memory allow.

    Args:
        trials: of the search.
        winner: one of them, which comes first.
        data: all rows.
        folds: pairs (train, validation) of positions.
        criterion: turns outputs into probabilities or values.
        greater: whether a greater score is better.
        deadline: a ``time.monotonic()`` after which no further trials are added.

    Returns:
        ``None`` without usable trials or rows.
    """
    parts = [data.take(_labeled(data, rows)) for _, rows in folds]
    n = sum(len(part) for part in parts)
    place, most = best_first(greater), max(2, min(MOST, MOST_NUMBERS // max(1, n * data.out_features)))
    best = sorted(usable(trials, folds), key=lambda t: (t is not winner, place(t)))[:most]
    found: list[Tensor] = []
    for a in range(0, len(best), TOGETHER):
        if a and deadline is not None and time.monotonic() >= deadline:
            break
        some = best[a : a + TOGETHER]
        found.append(torch.cat([_of_fold(some, f, criterion, part.x) for f, part in enumerate(parts) if len(part)], 1))
    if not found or not n:
        return None
    predictions = torch.cat(found)
    places = torch.cat([_labeled(data, rows) for _, rows in folds])
    return Pool(best[: len(predictions)], predictions, data.take(places), places)


def _labeled(data: Dataset, rows: np.ndarray) -> Tensor:
    index = torch.as_tensor(rows, dtype=torch.long)
    return index[data.labeled[index]] if isinstance(data.labeled, Tensor) else index


def _of_fold(trials: Sequence[Trial], fold: int, criterion: Criterion, x: Any) -> Tensor:
    """Predictions of the trials' networks of one fold, a population at a time."""
    places: dict[Trained, list[int]] = {}
    for i, trial in enumerate(trials):
        assert trial.population is not None
        places.setdefault(trial.population, []).append(i)
    found: list[Tensor] = []
    for population, own in places.items():
        indices = [trials[i].indices[fold] for i in own]
        states = [state for k in indices if (state := population.outcomes[k].state) is not None]
        found.append(predict_states(population.model(indices[0]), states, criterion, x))
    return torch.cat(found)[torch.argsort(torch.tensor([i for own in places.values() for i in own]))]


class _States(nn.Module):
    """One network with several states, whose outputs are ``(n, states, outputs)``."""

    def __init__(self, network: nn.Module, states: Sequence[Mapping[str, Tensor]]) -> None:
        super().__init__()
        self.network, self.states = network, states

    def forward(self, x: Any) -> Tensor:
        return outputs_of(self.network, self.states, x).transpose(0, 1)


def predict_states(network: nn.Module, states: Sequence[Mapping[str, Tensor]], criterion: Criterion, x: Any) -> Tensor:
    """Predictions ``(states, n, outputs)`` of one network with several states, in one batched program where it can."""
    n = len(next(iter(x.values())) if isinstance(x, dict) else x)
    return predict(_States(network, states), criterion, x, min(BLOCK, n)).transpose(0, 1)


def predict_each(networks: Sequence[nn.Module], criterion: Criterion, x: Any) -> Tensor:
    """Predictions ``(networks, n, outputs)`` of several networks, of those that are alike in one batched program.

    Args:
        networks: plain ones.
        criterion: turns outputs into probabilities or values.
        x: a tensor or a dict of tensors.
    """
    groups: list[list[int]] = []
    for i, network in enumerate(networks):
        host = next((g for g in groups if alike([networks[g[0]], network])), None)
        groups.append([i]) if host is None else host.append(i)
    found = torch.cat([predict_states(networks[g[0]], [state_of(networks[i]) for i in g], criterion, x) for g in groups])
    return found[torch.argsort(torch.tensor([i for g in groups for i in g]))]
