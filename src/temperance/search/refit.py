"""The networks that ship, trained again on all rows, and the winner's control without the cocktail."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import nn

from temperance.core.shown import shown
from temperance.data.dataset import Dataset
from temperance.nets.average import Average
from temperance.search.costs import CHECKS
from temperance.search.programs import Programs, settings_of
from temperance.search.race import Folds, Race, Trial, judge, scored
from temperance.search.space import Config
from temperance.train.chunk import NOT_STARTED
from temperance.train.follow import planned_steps, train_to
from temperance.train.metrics import Metric
from temperance.train.outcome import Outcome
from temperance.train.population import Population
from temperance.train.recipe import Course
from temperance.train.retrain import steps_for

Task = str | dict[str, str]
ENOUGH = 0.8  # of the epochs of the search, below which its network is better than one that was trained again
PACE = 0.95  # of the pace of the first steps, at which the others are planned


@shown
@dataclass(eq=False)
class Refit:
    """The networks that ship.

    Attributes:
        model: a plain network; the average of several where several were trained.
        how: the retraining strategy, or ``"none"``.
        steps: steps done by the first.
        outcomes: their histories.
        networks: each network by itself.
        configs: what each was trained with.
        courses: how to train them again; where several are one trial on different rows, that trial once.
        why: why they were not trained again, where that is known.
    """

    model: nn.Module
    how: str
    steps: int
    outcomes: list[Outcome]
    networks: list[nn.Module]
    configs: list[Config] = field(default_factory=list)
    courses: list[Course] = field(default_factory=list)
    why: str = ""

    def with_more(self, other: Refit, task: Task) -> Refit:
        """These networks and the other ones, of equal weight; these alone where the others were not trained to their end."""
        if other.how == "none" or len(other.networks) < len(other.outcomes):
            return self
        networks = [*self.networks, *other.networks]
        model = _as_one(networks, task, [1.0] * len(networks))
        outcomes, configs, courses = [*self.outcomes, *other.outcomes], [*self.configs, *other.configs], [*self.courses, *other.courses]
        return Refit(model, self.how, self.steps, outcomes, networks, configs, courses)


def refit(
    picks: Sequence[Trial],
    data: Dataset,
    *,
    how: str,
    memory: str | int,
    criterion: Any,
    metric: Metric,
    task: Task,
    first: int = 0,
    epochs: float | None = None,
    deadline: float | None = None,
    programs: Programs | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> Refit:
    """Train configurations from the start on all rows, every one with a seed of its own, and average their predictions.

    Configurations of one static plan train as one population, each for its own number of steps and through its own schedule.

    Args:
        picks: the trials, as often as their configuration is wanted; the seeds count up from the first one's.
        data: training and validation rows together.
        how: ``"same_epochs"`` or ``"same_steps"`` as the best state of the search.
        memory: setting for the populations.
        criterion: the loss.
        metric: for the history.
        task: decides how several networks are averaged.
        first: how many networks were trained before: the seeds count on from there.
        epochs: so many through the whole of the schedules, instead of those of each best state.
        deadline: a ``time.monotonic()`` at which to end; unless nearly everything is trained by then, the networks of the search are taken.
        programs: compiled steps to use and add to.
        on_progress: called after every check with the share that is done.
    """
    outcomes: dict[int, Outcome] = {}
    networks: dict[int, nn.Module] = {}
    groups: dict[int, list[int]] = {}
    for i, trial in enumerate(picks):
        groups.setdefault(id(trial.config.plan), []).append(i)
    for nth, places in enumerate(groups.values()):
        plan = picks[places[0]].config.plan
        size = min(plan.batch_size, len(data))
        if epochs is None:
            steps = [steps_for(how, picks[i].best_step, picks[i].best_epoch, len(data), size) for i in places]
            planned = [planned_steps(n, _progress(picks[i])) for i, n in zip(places, steps, strict=True)]
        else:
            planned = steps = [steps_for("same_epochs", 0, epochs, len(data), size)] * len(places)
        members = [
            picks[i].config.member(length=whole / max(planned), seed=seed, initial=plan.initial(seed), name=f"refit {first + i}")
            for i, whole in zip(places, planned, strict=True)
            for seed in (picks[i].config.seed + first + i,)
        ]
        population = Population(
            plan.build(picks[places[0]].config.seed),
            members,
            data,
            criterion=criterion,
            metric=metric,
            batch_size=size,
            total_steps=max(planned),
            check_every=max(1, math.ceil(max(steps) / CHECKS)),
            clean_rows=scored(len(data)),
            memory=memory,
            **settings_of(programs, plan, making=False),
        )
        if epochs is not None and deadline is not None:
            fewest = steps_for("same_epochs", 0, ENOUGH * picks[places[0]].epochs, len(data), size)
            steps = paced(population, steps, deadline, fewest)
        done = train_to(population, steps, deadline=deadline, on_progress=telling(on_progress, steps, nth, len(groups)))
        for k, (i, outcome) in enumerate(zip(places, done, strict=True)):
            outcomes[i] = outcome
            if outcome.status == NOT_STARTED:  # the time was over when its turn came
                return from_search(picks, task)
            if outcome.final is not None and not outcome.status.startswith("diverged"):
                if outcome.steps < 0.9 * steps[k]:  # cut short before its learning rate came down: what the search has is better
                    return from_search(picks, task)
                networks[i] = population.model(k, outcome.final)
    good = sorted(networks)
    if not good:
        return from_search(picks, task)
    found = [networks[i] for i in good]
    histories = [outcomes[i] for i in range(len(picks))]
    whole = None if epochs is None else outcomes[good[0]].history[-1]["epoch"]
    courses = [_course(picks[i], picks[i].config.seed + first + i, 1.0, whole) for i in good]
    return Refit(_as_one(found, task, [1.0] * len(found)), how, outcomes[good[0]].steps, histories, found, [picks[i].config for i in good], courses)


def paced(population: Population, steps: list[int], deadline: float, fewest: int) -> list[int]:
    """A tenth of the steps, and then as many as the time until the deadline allows at this pace, if that is fewer: schedules come to their end by then.

    Args:
        population: whose members all train for as long.
        steps: of each, the same.
        deadline: a ``time.monotonic()``.
        fewest: steps that are worth anything; where there is not even time for these, nothing is planned anew.
    """
    began, first = time.monotonic(), max(1, steps[0] // 10)
    population.run(until=first, deadline=deadline)
    now = time.monotonic()
    possible = first + int(PACE * max(deadline - now, 0.0) / max(now - began, 1e-9) * first)
    if not fewest <= possible < steps[0]:
        return steps
    population.plan_steps(possible)
    return [possible] * len(steps)


def telling(on_progress: Callable[[float], None] | None, steps: Sequence[int], nth: int = 0, of: int = 1) -> Callable[[Population], None] | None:
    """What tells the share done of several populations, in the nth of which every member trains for so many steps."""
    if on_progress is None:
        return None

    def tell(population: Population) -> None:
        done = sum(min(int(o.history[-1]["step"]), n) for o, n in zip(population.outcomes, steps, strict=True) if o.history)
        on_progress((nth + done / max(sum(steps), 1)) / of)

    return tell


def _progress(trial: Trial) -> float:
    """How far the best state had come through the schedules, which refer to the steps planned in the search."""
    assert trial.population is not None
    if trial.best < 0:
        return 1.0
    return min(1.0, max(trial.best_step, 1) / max(1.0, trial.population.total_steps * trial.config.length))


def _course(trial: Trial, seed: int, weight: float, epochs: float | None = None) -> Course:
    """How to train a trial's configuration again, for as many epochs as were best, or for these."""
    config = trial.config
    best = trial.best_epoch if trial.best >= 0 else config.plan.epochs * config.length
    length, progress = (best, _progress(trial)) if epochs is None else (epochs, 1.0)
    return Course(config.plan.spec, config.cocktail, config.optimizer, config.plan.batch_size, length, progress, seed, weight)


def _as_one(networks: list[nn.Module], task: Task, weights: list[float]) -> nn.Module:
    return networks[0] if len(networks) == 1 else Average(networks, task, weights).eval()


def from_search(picks: Sequence[Trial], task: Task) -> Refit:
    """The networks of the search itself: the best states of the picks on every fold, averaged; a pick counts as often as it is named."""
    networks: list[nn.Module] = []
    weights: list[float] = []
    configs: list[Config] = []
    courses: list[Course] = []
    for trial in dict.fromkeys(picks):
        assert trial.population is not None
        courses.append(_course(trial, trial.config.seed, float(list(picks).count(trial))))
        usable = [i for i in trial.indices if trial.population.outcomes[i].usable]
        networks += [trial.population.model(i) for i in usable]
        weights += [list(picks).count(trial) / len(usable)] * len(usable)
        configs += [trial.config] * len(usable)
    return Refit(_as_one(networks, task, weights), "none", picks[0].best_step, [], networks, configs, courses)


def control(
    trial: Trial,
    data: Dataset,
    folds: Folds,
    *,
    memory: str | int,
    total_steps: int,
    criterion: Any,
    metric: Metric,
    deadline: float | None = None,
    programs: Programs | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> Trial:
    """The winner's network, seed, rows, steps and early stopping with every strength at its off value."""
    config = replace(trial.config, strengths={name: spec.off for name, spec in trial.config.plan.cocktail.specs().items()})
    steps = max(1, int(trial.outcomes[0].history[-1]["step"]))
    race = Race([config], data, folds, metric, patience=None, memory=memory, criterion=criterion, programs=programs)
    _, population, (alone,) = race.groups[0]
    population.plan_steps(total_steps)
    if deadline is not None and time.monotonic() >= deadline:  # one step of it would be no comparison
        return alone
    population.run(until=steps, deadline=deadline, on_progress=telling(on_progress, [steps] * len(population.outcomes)))
    population.end()
    judge(alone, race.rule, metric, total_steps)
    return alone
