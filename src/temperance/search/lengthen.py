"""Longer full runs where the best trials needed all of one, and the time holds more of that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from temperance.search.reserve import KEPT

if TYPE_CHECKING:
    from temperance.search.engine import Engine
    from temperance.search.space import StaticPlan

FACTOR = 2.0
AT_END = 0.75  # share of a full run from which a best state lies at its end: scores are noisy, so that the best of the last checks may be an early one
FEWEST = 2  # best trials that lie there
ROOM = 0.25  # share of the time left that a full run of two may take
SHIPPED = 8  # networks that can be trained so long for what ships: an average of five is worth less than one of many that learned for half as long


def lengthen(engine: Engine) -> None:
    """Twice the epochs for full runs, up to each plan's bound, where half of the leading plan's best trials have their best state at the end of one.

    The length of a run is a range like any other: a search whose best trials lie at its end has not found the best length. All plans that have a bound
    grow alike, so that their trials stay comparable at a rung. The trials' shares of a full run stay what they are, of the new one.

    Args:
        engine: of a search with a budget, between two waves.
    """
    top = engine.best()
    if engine.clock.seconds is None or engine.few is not None or top is None or not at_end(engine, top.config.plan):
        return
    longer = {plan.name: min(FACTOR * engine.epochs[plan.name], plan.longest) for plan in engine.tried if plan.longest > engine.epochs[plan.name]}
    if top.config.plan.name in longer and _fits(engine, top.config.plan, longer[top.config.plan.name], engine.clock.seconds):
        engine.epochs.update(longer)


def at_end(engine: Engine, plan: StaticPlan) -> bool:
    """Whether the best states of the plan's best trials lie at the end of a full run."""
    done = [t for t in engine.top_trials() if t.config.plan is plan and not t.given_up]
    best = done[: max(FEWEST, len(done) // 4)]
    late = [t for t in best if t.best_epoch >= AT_END * engine.epochs[plan.name]]
    return len(late) >= max(FEWEST, len(best) / 2)


def _fits(engine: Engine, plan: StaticPlan, epochs: float, budget: float) -> bool:
    """Whether there is time for runs of so many epochs, with the most that may be kept for what is trained after them, and for that as well."""
    kept = 0.0 if engine.settings.retrain is None else KEPT * budget
    ships = 0.0 if engine.settings.retrain is None else engine.grown * engine.again(plan, SHIPPED, epochs)
    return engine.seconds(plan, 2 * len(engine.folds), epochs) <= ROOM * engine.clock.left(kept) and ships <= kept
