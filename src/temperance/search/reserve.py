"""How much of the time a search keeps for what is trained after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from temperance.search.averaging import MOST_SHIPPED
from temperance.search.confirm import cost
from temperance.search.ending import selection_seconds
from temperance.search.pace import shipping

if TYPE_CHECKING:
    from temperance.search.engine import Engine

SETTLING = 0.2  # most of the time that is kept for further seeds
KEPT = 0.4  # most of the time that is kept for what is trained after the search
SURELY = 1.5  # times the estimate: an average that is not trained again for want of time is worth a whole round


def reserved(engine: Engine, seconds: float) -> float:
    """Seconds that the refit, the control and the caller will need: surely for a first round, and as estimated for the most networks that ship.

    The average that was chosen last stands for what will ship, or seeds of the best trial of a leading plan where these take longer: the last wave may
    change the choice. With time for few full runs, it is a run of each like those of the search: what is left beside makes the last one longer.

    Args:
        engine: of the search.
        seconds: the budget.
    """
    asked = engine.settings
    short = asked.spare + min(0.5, 0.05 * seconds) + (min(cost(engine), SETTLING * seconds) if asked.seeds > 1 and not engine.settling else 0.0)
    if asked.retrain is None:
        return short + (0.0 if asked.ensemble == 1 else selection_seconds(seconds))
    if engine.few is not None:
        plan = engine.few.plan
        epochs = engine.epochs[plan.name]
        return short + engine.again(plan, len(engine.folds), epochs) + engine.grown * engine.again(plan, 1, epochs)
    top = engine.best()
    if top is None:
        plan = engine.tried[0]
        control = engine.again(plan, len(engine.folds), engine.mean_epochs(plan))
        ships = whole = engine.grown * engine.again(plan, asked.refits, engine.mean_epochs(plan))
    else:
        control = engine.controlling(top)
        dear = {t.config.plan.name: t for t in reversed(engine.top_trials()[: asked.ensemble])}  # the best one of each plan among the leading trials
        ships = max(map(engine.retraining, [shipping(engine, top), *([t] * asked.refits for t in dear.values())]))
        whole = engine.retraining(shipping(engine, top, MOST_SHIPPED))
    return short + min(max(SURELY * (ships + control), whole + control), KEPT * seconds)
