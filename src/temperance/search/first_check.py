"""What a search does whose time is over before anything was evaluated: one check of one network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from temperance.search.journal import Journal
from temperance.search.race import Race
from temperance.search.resume import FIRST_CHECK_PHASE

if TYPE_CHECKING:
    from temperance.search.engine import Engine


def first_check(engine: Engine) -> None:
    """Train the likely cocktail of the leading plan to its first check, by plain steps and however long that takes, so that there is a model.

    Raises:
        ConfigError: it diverged.
    """
    engine.begun, engine.phase = False, FIRST_CHECK_PHASE
    configs = engine.propose(1, first=True)
    if isinstance(engine.journal, Journal):
        engine.journal.start(engine.asked, engine.phase, engine.epochs, engine.clock.spent)
    settings = {"memory": engine.settings.memory, "criterion": engine.settings.criterion, "programs": engine.programs.plain()}
    race = engine.race = Race(configs, engine.data, engine.folds, engine.metric, patience=None, **settings)
    engine.trials += race.trials
    race.epoch(1, None, engine.tick)
    race.check_all_failed()
    engine.close("out of time")
    engine.notes.append(
        f"the budget of {engine.clock.seconds:g} seconds was over before a network was evaluated, so one was trained for a single epoch; "
        "a larger budget tries more"
    )
