"""How fast what ships will train, measured on a few steps of it while the search goes on."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from temperance.search.averaging import MOST_SHIPPED

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

    Steps of a wave have the regularizers of all its members in them, and checks between them; estimates by these kept up to three times what was needed,
    which a search of three minutes did without.

    Args:
        engine: of a search, between two waves. Nothing is measured without a budget, where nothing is trained after the search or few runs are all
            there is, soon after the last time, and of networks of which a few steps take long.
    """
    top, seconds = engine.best(), engine.clock.seconds
    if seconds is None or engine.settings.retrain is None or engine.few is not None or top is None or engine.clock.spent < engine.paced:
        return
    engine.paced = engine.clock.spent + EVERY * seconds
    for plan in engine.tried:
        picks = [t.config for t in shipping(engine, top, MOST_SHIPPED) if t.config.plan is plan]
        if not picks or (WARM + TIMED) * engine.costs.step(plan, len(picks)) > MOST * seconds:
            continue
        race = engine.race_on([replace(c, number=-1 - i, seed=c.seed + i) for i, c in enumerate(picks)], engine.folds[:1])
        _, population, _ = race.groups[0]
        population.run(until=WARM)
        began = time.monotonic()
        population.run(until=WARM + TIMED)
        engine.costs.pace(plan, len(picks), (time.monotonic() - began) / TIMED)
