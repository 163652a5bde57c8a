"""Searches in which one full run is a large part of the time: few trials of the best network, and the rest for training what ships."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from temperance.search.averaging import further
from temperance.search.resume import CUT
from temperance.search.space import EARLIEST, SHORT, Config, StaticPlan, seed_of

if TYPE_CHECKING:
    from temperance.search.engine import Engine
    from temperance.search.race import Trial

FULL_RUNS = 64.0  # full runs that the time must hold for a search in waves, which drop what regularizes well because it learns slowly
SEARCHED = 0.2  # share of the time for the trials; the control takes as much as one of them
UNTRAINED = 0.9  # likewise where nothing is trained afterwards
SHORTEST, SHORTEST_STEPS = 3.0, 5 * EARLIEST  # epochs and steps of a run that is worth having
MARGIN = 0.88  # times the estimate of the last training, which is careful: its first steps tell whether it must be shorter


@dataclass(frozen=True)
class FewRuns:
    """What a search does that has time for few full runs.

    Attributes:
        plan: the only one that is tried.
        trials: how many, all at once and to their end.
    """

    plan: StaticPlan
    trials: int


def choose(engine: Engine, shorten: bool) -> FewRuns | None:
    """The first of the best plans for which there is time, by the seconds that a step takes here; the others of them rest.

    Where its full run is so long that the time holds few of them, all other plans rest too, and the search is a few trials of what is known to do
    well. Their length is what a share of the time allows.

    Args:
        engine: of a search with a budget, before its first wave.
        shorten: whether the length of a run is still open.
    """
    rivals = [plan for plan in engine.plans if plan.best]
    if not rivals or engine.clock.seconds is None:
        return None
    room, chosen = engine.clock.seconds - engine.settings.spare, None
    for plan in rivals:
        if chosen is None:
            engine.costs.measure_one(plan, engine.race_on([recipe(engine, plan)], folds=engine.folds[:1]))
            chosen = plan if room >= _runs(engine) * engine.seconds(plan, len(engine.folds), shortest(engine, plan)) else None
        if plan is not chosen:
            engine.resting.add(plan.name)
    whole = 0.0 if chosen is None else engine.seconds(chosen, len(engine.folds), chosen.epochs)
    if chosen is None or room >= FULL_RUNS * whole:
        return None
    engine.resting |= {plan.name for plan in engine.plans if plan is not chosen}
    share = SEARCHED if engine.settings.retrain is not None else UNTRAINED
    trials = int(share * room / whole)
    if shorten and not trials:
        engine.epochs[chosen.name] = max(shortest(engine, chosen), chosen.epochs * share * room / whole)
    return FewRuns(chosen, max(1, trials))


def left_of(engine: Engine, few: FewRuns, first: bool) -> int:
    """How many of the trials start now: all at first, and where the search goes on, those that an earlier process had not finished."""
    if first:
        return min(few.trials, engine.most())
    done = sum(trial.status != CUT for trial in engine.trials)
    return 0 if engine.late() else max(0, min(few.trials - done, engine.most()))


def recipe(engine: Engine, plan: StaticPlan) -> Config:
    """What the first trial of a plan trains with."""
    strengths, rate, _ = plan.begin()[0]
    return Config(-1, plan, strengths, rate, seed_of(engine.settings.seed, 0))


def shortest(engine: Engine, plan: StaticPlan) -> float:
    """Epochs of the shortest run that is worth having."""
    return min(plan.epochs, max(SHORTEST, math.ceil(SHORTEST_STEPS / engine.steps_an_epoch(plan))))


def _runs(engine: Engine) -> float:
    """Runs of a trial that a search makes at least: the trial, and if anything is trained after it, its control and what ships."""
    return 1.0 if engine.settings.retrain is None else 2.0 + engine.grown / len(engine.folds)


def are_short(engine: Engine, plan: StaticPlan) -> bool:
    """Whether the runs of a plan are so short that an average of several is worth more than a longer one; over folds they are several as it is."""
    return engine.epochs[plan.name] < SHORT and len(engine.folds) == 1


def networks_of(engine: Engine, top: Trial, left: float) -> int:
    """How many networks ship beside that of the search: of short runs, which an average makes up for, as many as there is time for; else one."""
    each = MARGIN * engine.grown * engine.again(top.config.plan, 1, top.epochs)
    return max(1, min(engine.settings.refits, int(left / each) if each > 0 else 1)) if are_short(engine, top.config.plan) else 1


def last_epochs(engine: Engine, top: Trial, left: float, networks: int = 1) -> float:
    """Epochs of each network that ships: as many as the time left allows, but no more than a full run, and no fewer than the search had."""
    plan = top.config.plan
    once = MARGIN * engine.grown * engine.again(plan, networks, 1.0)
    return max(top.epochs, min(plan.epochs, left / once if once > 0 else math.inf))


def more_networks(engine: Engine, top: Trial, epochs: float, seconds: float, left: float) -> Sequence[Trial]:
    """The trial as often as there is time to train what ships with further seeds, up to as many networks as were asked for: each predicts slowly."""

    def cost(picks: Sequence[Trial]) -> float:
        return engine.grown * engine.again(top.config.plan, len(picks), epochs)

    return further([top], cost, seconds, left, engine.settings.refits)
