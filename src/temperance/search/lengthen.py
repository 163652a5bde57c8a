"""Longer full runs where the best trials are those that trained longest, to their last epochs, and the time holds more of that."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from temperance.search.engine import Engine
    from temperance.search.space import StaticPlan

FACTOR = 2.0
AT_END = 0.75  # share of a full run from which a best state lies at its end: scores are noisy, so that the best of the last checks may be an early one
FEWEST = 2  # best trials that lie there
ROOM = 0.25  # share of the time left that a full run of two may take
SHIPPED = 4  # networks that can be trained so long for what ships


def lengthen(engine: Engine) -> None:
    """Twice the epochs for a plan's full run, up to the plan's own bound, where half of its best trials have their best state at the end of one.

    The length of a run is a range like any other: a search whose best trials lie at its end has not found the best length. Shorter lengths stay on offer,
    as shares of the new run.

    Args:
        engine: of a search with a budget, between two waves.
    """
    if engine.clock.seconds is None or engine.few is not None:
        return
    for plan in engine.tried:
        epochs = min(FACTOR * engine.epochs[plan.name], plan.longest)
        if epochs > engine.epochs[plan.name] and at_end(engine, plan) and _fits(engine, plan, epochs):
            engine.epochs[plan.name] = epochs


def at_end(engine: Engine, plan: StaticPlan) -> bool:
    """Whether the best states of the plan's best trials lie at the end of a full run."""
    done = [t for t in engine.top_trials() if t.config.plan is plan and not t.given_up]
    best = done[: max(FEWEST, len(done) // 4)]
    late = [t for t in best if t.best_epoch >= AT_END * engine.epochs[plan.name]]
    return len(late) >= max(FEWEST, len(best) / 2)


def _fits(engine: Engine, plan: StaticPlan, epochs: float) -> bool:
    """Whether there is time for runs of so many epochs, and for training what ships after them."""
    ships = engine.grown * engine.again(plan, SHIPPED, epochs)
    return engine.seconds(plan, 2 * len(engine.folds), epochs) <= ROOM * engine.left() and ships <= engine.reserve()
