"""How fast what ships will train, measured on a few steps of it while the search goes on."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING

from temperance.core.device import out_of_memory
from temperance.core.errors import ConfigError
from temperance.search.averaging import MOST_SHIPPED, greedy
from temperance.search.pool import pool_of, usable
from temperance.search.space import Config, StaticPlan

if TYPE_CHECKING:
    from temperance.search.engine import Engine
    from temperance.search.race import Trial

WARM, TIMED = 2, 4  # steps: the first ones allocate
EVERY = 0.1  # of the budget between two measurements
MOST = 0.01  # of the budget for choosing what would ship, and for the steps of a plan


def shipping(engine: Engine, top: Trial, most: int | None = None) -> list[Trial]:
    """The trials that would ship if the search ended now: an average as last chosen, before that the best ones, or the winner with its seeds.

    Args:
        engine: of the search.
        top: its best trial.
        most: networks, over which the trials are repeated; without it, each as often as it is picked, and at least the networks that are asked for.
    """
    asked = engine.settings
    if asked.ensemble == 1:
        picks = [top] * asked.refits
    elif engine.average:
        picks = engine.average * math.ceil(asked.refits / len(engine.average))
    else:
        picks = engine.top_trials()[: asked.ensemble]
    return picks if most is None else list(itertools.islice(itertools.cycle(picks), most))


def chosen(engine: Engine, top: Trial, seconds: float) -> list[Trial]:
    """What greedy selection picks of the best trials; what it picked the last time where there is nothing to choose from, or no time to choose.

    Which trials an average takes tells how long its training takes: the best ones may be of plans that cost several times as much.

    Args:
        engine: of a search, between two waves.
        top: its best trial.
        seconds: half of them for the predictions of those that are chosen from.
    """
    asked, task, greater = engine.settings, engine.data.task, engine.metric.greater_is_better
    if asked.ensemble == 1 or not isinstance(task, str):
        return []
    ready, began = usable(engine.top_trials(), engine.folds), time.monotonic()
    spent = itertools.accumulate((engine.costs.check(t.config.plan) or math.inf) * len(engine.folds) for t in ready)
    known = [t for t, cost in zip(ready, spent, strict=True) if cost <= seconds / 2]
    try:
        pool = pool_of(known, top, engine.data, engine.folds, engine.scored_by, greater=greater, deadline=began + seconds / 2)
        if pool is None or not pool.offers(top):
            return engine.average
        order, _ = greedy(pool, top, engine.metric, task, asked.ensemble, began + seconds)
    except TimeoutError:
        return engine.average
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        return engine.average
    return [pool.trials[i] for i in order]


def look(engine: Engine) -> None:
    """Choose what would ship, train it for a few steps, and note what a step takes.

    A step of a wave has the regularizers of all its members in it, and waves have more checks. Estimates by waves were up to three times too long, so that
    a search of three minutes ended half a minute early.

    Nothing is measured without a budget, where nothing is trained after the search, where few runs are all there is, or soon after the last time; nor when
    the time for searching is over, unless nothing has been measured yet.

    Args:
        engine: of a search, between two waves.
    """
    top, seconds = engine.best(), engine.clock.seconds
    if seconds is None or engine.settings.retrain is None or engine.few is not None or top is None or engine.clock.spent < engine.paced:
        return
    if engine.late() and engine.paced:
        return
    engine.paced = engine.clock.spent + EVERY * seconds
    engine.average = chosen(engine, top, MOST * seconds)
    configs = [t.config for t in shipping(engine, top, MOST_SHIPPED)]
    for plan in engine.tried:
        picks = [c for c in configs if c.plan is plan]
        while len(picks) > 1 and (WARM + TIMED) * engine.costs.step(plan, len(picks)) > MOST * seconds:  # a part of them tells the pace, too
            picks = picks[: len(picks) // 2]
        if picks and 0 < (WARM + TIMED) * engine.costs.step(plan, len(picks)) <= MOST * seconds:
            _measure(engine, plan, picks)


def _measure(engine: Engine, plan: StaticPlan, picks: Sequence[Config]) -> None:
    """Train them for a few steps. The median of single steps leaves out what is rare among them, such as a check."""
    steps: list[float] = []
    try:
        race = engine.race_on([replace(c, number=-1 - i, seed=c.seed + i) for i, c in enumerate(picks)], engine.folds[:1])
        _, population, _ = race.groups[0]
        for step in range(1, WARM + TIMED + 1):
            members, began = len(population.alive), time.monotonic()
            population.run(until=step)
            if members == len(picks):
                steps.append(time.monotonic() - began)
    except ConfigError:  # together they need more memory than the trials of a wave
        return
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        return
    if len(steps) > WARM:
        engine.costs.pace(plan, len(picks), median(steps[WARM:]))
