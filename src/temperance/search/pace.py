"""How fast what ships will train, measured on a few steps of it while the search goes on."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING

from temperance.core.device import out_of_memory
from temperance.core.errors import ConfigError
from temperance.search.averaging import MOST_SHIPPED
from temperance.search.space import Config, StaticPlan

if TYPE_CHECKING:
    from temperance.search.engine import Engine
    from temperance.search.race import Trial

WARM, TIMED = 2, 4  # steps: the first ones allocate
EVERY = 0.1  # of the budget between two measurements
MOST = 0.01  # of the budget for one


def shipping(engine: Engine, top: Trial, most: int | None = None) -> list[Trial]:
    """The trials that would ship if the search ended now, of which the average is not chosen yet: the best ones, or the winner with its seeds.

    Args:
        engine: of the search.
        top: its best trial.
        most: networks, over which the trials are repeated; each once without it.
    """
    asked = engine.settings
    picks = engine.top_trials()[: asked.ensemble] if asked.ensemble > 1 else [top] * asked.refits
    return picks if most is None else list(itertools.islice(itertools.cycle(picks), most))


def look(engine: Engine) -> None:
    """Train the networks that would ship for a few steps, and note what a step takes.

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
    configs = [t.config for t in shipping(engine, top, MOST_SHIPPED)]
    for plan in engine.tried:
        picks = [c for c in configs if c.plan is plan]
        guess = engine.costs.step(plan, len(picks))
        if picks and 0 < (WARM + TIMED) * guess <= MOST * seconds:
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
        if isinstance(error, RuntimeError) and not out_of_memory(error):
            raise
        return
    if len(steps) > WARM:
        engine.costs.pace(plan, len(picks), median(steps[WARM:]))
