"""The winner trained again on all rows, and its control without the cocktail."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from temperance.data.dataset import Dataset
from temperance.nets.average import Average
from temperance.search.race import Folds, Race, Trial, judge
from temperance.train.metrics import Metric
from temperance.train.outcome import Outcome
from temperance.train.population import Population
from temperance.train.retrain import steps_for
from temperance.train.stopping import EarlyStopping


@dataclass(eq=False)
class Refit:
    """The winner's networks after training on all rows.

    Attributes:
        model: a plain network; the average of several where several seeds were refitted.
        how: the retraining strategy, or ``"none"``.
        steps: steps done.
        outcomes: their histories.
        networks: each network by itself.
    """

    model: nn.Module
    how: str
    steps: int
    outcomes: list[Outcome]
    networks: list[nn.Module]


def refit(
    trial: Trial,
    data: Dataset,
    *,
    how: str,
    members: int,
    memory: str | int,
    total_steps: int,
    first_steps: int,
    criterion: Any,
    metric: Metric,
    task: str,
    deadline: float | None = None,
) -> Refit:
    """Train the winner's configuration from the start on all rows, once a seed.

    Args:
        trial: the winner.
        data: training and validation rows together.
        how: ``"same_epochs"`` or ``"same_steps"`` as the best state of the search.
        members: how many seeds; their predictions are averaged.
        total_steps: steps planned in the search, which the schedule refers to.
        first_steps: steps of the best state in the search.
        deadline: a ``time.monotonic()`` at which to end with what there is.
        memory: setting for the population.
        criterion: the loss.
        metric: for the history.
        task: decides how several networks are averaged.
    """
    config = trial.config
    size = min(config.plan.batch_size, len(data))
    steps = steps_for(how, trial.best_step, trial.best_epoch, len(data), size)
    planned = max(steps, round(total_steps * config.length * steps / max(first_steps, 1)))
    runners = [config.member(length=1.0, seed=config.seed + i, initial=config.plan.initial(config.seed + i), name=f"refit {i}") for i in range(members)]
    population = Population(
        config.plan.build(config.seed),
        runners,
        data,
        criterion=criterion,
        metric=metric,
        batch_size=size,
        total_steps=planned,
        check_every=max(1, math.ceil(steps / 8)),
        memory=memory,
    )
    population.run(until=steps, deadline=deadline)
    population.check()
    outcomes = population.end()
    good = [i for i, o in enumerate(outcomes) if o.final is not None and not o.status.startswith("diverged")]
    if not good or outcomes[good[0]].steps < 0.9 * steps:  # cut short before its learning rate came down: what the search has is better
        return from_search(trial, task)
    networks = [population.module(i, outcomes[i].final) for i in good]
    return Refit(networks[0] if len(networks) == 1 else Average(networks, task).eval(), how, outcomes[good[0]].steps, outcomes, networks)


def from_search(trial: Trial, task: str) -> Refit:
    """The networks of the search itself: the best state of every fold, averaged."""
    assert trial.population is not None
    networks = [trial.population.module(i) for i in trial.indices if trial.population.outcomes[i].usable]
    return Refit(networks[0] if len(networks) == 1 else Average(networks, task).eval(), "none", trial.best_step, [], networks)


def control(
    trial: Trial, data: Dataset, folds: Folds, *, memory: str | int, total_steps: int, criterion: Any, metric: Metric, deadline: float | None = None
) -> Trial:
    """The winner's network, seed, rows, steps and early stopping with every strength at its off value."""
    config = replace(trial.config, strengths={name: spec.off for name, spec in trial.config.plan.cocktail.specs().items()})
    steps = max(1, int(trial.outcomes[0].history[-1]["step"]))
    race = Race([config], data, folds, metric, patience=10**9, memory=memory, criterion=criterion)
    _, population, (alone,) = race.groups[0]
    population.plan_steps(total_steps)
    population.run(until=steps, deadline=deadline)
    population.end()
    judge(alone, EarlyStopping(patience=10**9, optimum=False), metric, total_steps)
    return alone
