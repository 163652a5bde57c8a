"""Near-equal configurations are trained again under further seeds, and their means decide."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from temperance.search.race import Trial

if TYPE_CHECKING:
    from temperance.search.engine import Engine

RIVALS = 3


def rivals(trials: list[Trial], top: Trial, greater: bool) -> list[Trial]:
    """The best trial and at most two others within one standard error of its score, by validation loss."""
    error, sign = top.at_best("validation_se"), 1.0 if greater else -1.0
    close = [t for t in trials if t is not top and not t.status.startswith("dropped") and sign * (top.score - t.score) <= error]
    return [top, *sorted(close, key=lambda t: t.at_best("validation_loss"))[: RIVALS - 1]]


def cost(engine: Engine) -> float:
    """Seconds to set aside for it."""
    top = engine.best()
    plan = engine.tried[0] if top is None else top.config.plan
    return 1.2 * engine.seconds(plan, RIVALS * (engine.settings.seeds - 1) * len(engine.folds), engine.epochs[plan.name])


def confirm(engine: Engine) -> None:
    """Train the best trial and its rivals under further seeds, one race of all; the best mean score decides, and the best of its seeds is shipped.

    A maximum over hundreds of noisy scores is optimistic, and what lies within one standard error of it may be as good or better. Where nothing lies
    so near, there is nothing to decide and nothing is trained.
    """
    top = engine.best()
    if top is None:
        return
    close = rivals([t for t in engine.trials if t.score == t.score], top, engine.metric.greater_is_better)
    if len(close) < 2:
        return
    first, more = len(engine.trials), engine.settings.seeds - 1
    again = [replace(t.config, length=t.config.length * _planned(engine, t)) for t in close]
    configs = [replace(c, number=first + i * more + s, seed=c.seed + 1 + s) for i, c in enumerate(again) for s in range(more)]
    race = engine.start(configs, "further seeds")
    epoch = 0
    while race.alive and not engine.late():
        epoch += race.stride
        engine.advance(race, epoch)
    complete = not race.alive
    trained = race.trials
    engine.close("out of time")
    reached, number = min(epoch, round(engine.longest)), len({r["round"] for r in engine.rungs}) + 1
    engine.rungs.append({"round": number, "epoch": reached, "members": len(trained), "kept": 1})
    if not complete:
        return
    families = [[t, *trained[i * more : (i + 1) * more]] for i, t in enumerate(close)]
    sound = [family for family in families if all(t.score == t.score for t in family)]
    if sound:
        engine.settled = max(sound, key=lambda family: (engine.metric.sign * sum(t.level for t in family), -sum(t.at_best("validation_loss") for t in family)))


def _planned(engine: Engine, trial: Trial) -> float:
    """The epochs of a full run when the trial was trained, as a share of what they are now."""
    steps = engine.epochs[trial.config.plan.name] * engine.steps_an_epoch(trial.config.plan)
    return 1.0 if trial.population is None else trial.population.total_steps / max(1, round(steps))
