"""The winner trained again on all rows, and its control without the cocktail."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from temperance.data.dataset import Dataset
from temperance.nets.average import Average
from temperance.search.race import Folds, Trial, judge, seen
from temperance.search.space import Config
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


def _initial(config: Config, seed: int) -> dict[str, Any]:
    return {name: t.detach() for name, t in config.plan.build(seed).state_dict().items()}


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
    runners = [config.member(length=1.0, seed=config.seed + i, initial=_initial(config, config.seed + i), name=f"refit {i}") for i in range(members)]
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
    data, folds = seen(data, folds)
    held = data.take(folds[0][1]) if len(folds) == 1 else None
    train = data.take(folds[0][0]) if held is not None else data
    members = [
        config.member(
            initial=_initial(config, config.seed),
            name="without",
            **({} if held is not None else {"rows": torch.as_tensor(a), "validation": torch.as_tensor(b)}),
        )
        for a, b in folds
    ]
    rows = len(folds[0][0])
    size = min(config.plan.batch_size, rows)
    population = Population(
        config.plan.build(config.seed),
        members,
        train,
        held,
        criterion=criterion,
        metric=metric,
        batch_size=size,
        total_steps=total_steps,
        check_every=max(1, round(rows / size)),
        memory=memory,
    )
    population.run(until=steps, deadline=deadline)
    alone = Trial(config, population.end(), population=population, indices=tuple(range(len(members))))
    judge(alone, EarlyStopping(patience=10**9, optimum=False), metric, total_steps)
    return alone
