"""Variants of a network, trained as one population and measured on rows that none of them has seen."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from temperance.data.dataset import Dataset
from temperance.search.attribution.estimate import by_row
from temperance.search.attribution.variants import Variant
from temperance.search.programs import Programs
from temperance.search.race import Folds, Race, Trial
from temperance.search.refit import telling
from temperance.search.score import counted, predict
from temperance.search.space import Config
from temperance.train.metrics import Metric
from temperance.train.population import Population

OTHER_SEEDS = 50  # from the winner's own seed on: it was chosen, and its refits count up from it
Cell = tuple[Variant, int]


class OutOfTimeError(Exception):
    """The deadline came before the networks were trained."""


@dataclass(eq=False)
class Bench:
    """Where variants of one winner are trained and measured.

    Attributes:
        winner: its configuration.
        steps: planned in the search, to which schedules and its length refer.
        data: all rows.
        folds: pairs (train, validation), as in the search: the second decides the best state.
        held: rows to measure on.
        metric: the score.
        criterion: that training minimizes.
        scored_by: that turns outputs into predictions.
        memory: setting for the populations.
        programs: compiled steps to use and add to.
        pace: seconds a network took, the last time.
    """

    winner: Config
    steps: int
    data: Dataset
    folds: Folds
    held: Dataset
    metric: Metric
    criterion: Any
    scored_by: Any
    memory: str | int
    programs: Programs
    pace: float | None = field(default=None, init=False)

    def measure(self, cells: Sequence[Cell], deadline: float | None, tell: Callable[[float], None]) -> dict[tuple[str, int], Tensor | None]:
        """Train every variant and seed on every fold, as one population, and score the networks by row: the mean over folds.

        Args:
            cells: variants and seeds.
            deadline: a ``time.monotonic()`` until which they must be trained.
            tell: called with the share of the training that is done.

        Raises:
            OutOfTimeError: they were not.
        """
        began = time.monotonic()
        configs = [
            replace(self.winner, number=i, strengths=variant.strengths, seed=self.winner.seed + OTHER_SEEDS + seed) for i, (variant, seed) in enumerate(cells)
        ]
        race = Race(configs, self.data, self.folds, self.metric, patience=None, memory=self.memory, criterion=self.criterion, programs=self.programs)
        _, population, trials = race.groups[0]
        population.plan_steps(self.steps)
        until = max(1, round(self.steps * self.winner.length))
        population.run(until, deadline=deadline, on_progress=telling(tell, [until] * len(population.outcomes)))
        steps = [chunk.group.step for chunk in population.chunks if chunk.indices]
        if any(step < until for step in steps):
            share = sum(steps) / (until * len(steps))
            self.pace = (time.monotonic() - began) / share / len(cells) if share else None
            raise OutOfTimeError
        population.end()
        found = {(variant.name, seed): self._scored(trial, population) for (variant, seed), trial in zip(cells, trials, strict=True)}
        self.pace = (time.monotonic() - began) / len(cells)
        return found

    def _scored(self, trial: Trial, population: Population) -> Tensor | None:
        """The scores by row of a trial's networks, averaged over folds; ``None`` where one of them diverged."""
        if any(not o.usable or o.status.startswith("diverged") for o in trial.outcomes):
            return None
        weight = counted(self.held)
        each = [by_row(self.metric, predict(population.model(i), self.scored_by, self.held.x), self.held.y, weight) for i in trial.indices]
        return torch.stack(each).mean(0)

    def constant(self) -> float:
        """The score of a network that answers the mean target of its training rows, whatever the row."""
        rows = self.data.take(self.folds[0][0])
        weight = counted(rows)

        def mean(y: Tensor, w: Tensor) -> Tensor:
            known = torch.where(w.unsqueeze(-1) > 0, y, torch.zeros_like(y)).double()
            return ((known * w.unsqueeze(-1)).sum(0) / w.sum().clamp_min(1e-12)).expand(len(self.held), -1)

        if not isinstance(rows.y, dict):
            return float(by_row(self.metric, mean(rows.y, weight), self.held.y, counted(self.held)).mean())
        return float(by_row(self.metric, {name: mean(y, weight[name]) for name, y in rows.y.items()}, self.held.y, counted(self.held)).mean())
