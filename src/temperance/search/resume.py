"""A search goes on where it was: finished waves are read back instead of trained."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from temperance.core.errors import ConfigError
from temperance.search.journal import Journal, Wave, outcome_of
from temperance.search.race import Trial, stopping_rule
from temperance.search.space import Config
from temperance.train.outcome import Outcome
from temperance.train.remember import with_state

if TYPE_CHECKING:
    from temperance.search.engine import Engine

CUT = "not started"
MEND = "Start over with --overwrite, or in another folder."
HEAD_START_PHASE, FIRST_CHECK_PHASE = "first networks", "first check"


class Restored:
    """What is left of a population that was trained by an earlier process: its outcomes and their networks."""

    def __init__(self, network: nn.Module, total_steps: int, members: int) -> None:
        self._network, self.total_steps = network, total_steps
        self.outcomes = [Outcome(status=CUT) for _ in range(members)]

    def model(self, index: int, state: dict[str, Tensor] | None = None) -> nn.Module:
        """A plain network with a member's best state."""
        state = state or self.outcomes[index].state
        if state is None:
            raise ConfigError(f"Member {self.outcomes[index].name} has no state: {self.outcomes[index].status}.")
        return with_state(self._network, state)


def resume(engine: Engine, *, ship: bool) -> int:
    """Bring a new engine to where the search was when it ended.

    The sampler is asked for the same configurations again and told the same scores, so that it goes on with the same random numbers. A wave that was cut
    is trained again from its start, so that the same trials follow; where the clock decides how many they are, or where what there is is to ship, its
    finished trials are kept and the others are given up.

    Args:
        engine: which has done nothing yet, with the journal of the earlier process, or as a driver of a shared study.
        ship: whether no training follows.

    Returns:
        the number of waves.

    Raises:
        ConfigError: the trials of the journal are not those of this search, or a file is missing.
    """
    if engine.driver is not None:
        return engine.driver.join(engine, ship=ship)
    journal = engine.journal
    if not isinstance(journal, Journal):
        return 0
    if journal.waves and journal.waves[-1].closed is None and not ship and engine.clock.seconds is None:
        journal.drop_last()
    for wave in journal.waves:
        engine.epochs.update(wave.epochs)
        if wave.phase != HEAD_START_PHASE:
            engine.first_epochs = engine.first_epochs or dict(engine.epochs)
        _check_plans(engine, wave)
        engine.begun = engine.begun and wave.phase != FIRST_CHECK_PHASE  # which begins with what every plan begins with, whatever came before
        configs = engine.propose(**wave.asked)
        _check(configs, wave, len(engine.folds))
        trials = restored(engine, configs, wave.trials, _states(wave, journal))
        engine.trials += trials
        journal.know(wave)
        recompile(engine, configs, wave.trials)
        if wave.closed is None and wave.phase != HEAD_START_PHASE:
            reached = max((row["round"] for row in engine.rungs), default=0) + 1
            engine.rungs.append({"round": reached, "epoch": round(engine.longest), "members": len(trials), "kept": 1})
        elif wave.closed is not None:
            engine.rungs = [dict(row) for row in wave.closed["rungs"]]
            engine.past = {int(epoch): list(scores) for epoch, scores in wave.closed["past"].items()}
        engine.over(trials, [], closed=ship or wave.closed is not None)
        engine.begun = wave.phase != HEAD_START_PHASE
    return len(journal.waves)


def _check_plans(engine: Engine, wave: Wave) -> None:
    """Refuse a search over other static plans, as that of another version may be."""
    own = [plan.name for plan in engine.plans]
    if list(wave.epochs) != own:
        were, are = ", ".join(wave.epochs), ", ".join(own)
        raise ConfigError(f"The earlier run searched over the plans {were}; this search would be over {are}: the data or the package is another. {MEND}")


def _check(configs: Sequence[Config], wave: Wave, folds: int) -> None:
    """Refuse trials that this search would not have proposed."""
    proposed = {c.number: json.loads(json.dumps(c.to_dict())) for c in configs}
    for said in wave.trials:
        mine = proposed.get(said["trial"])
        if mine is None or len(said["outcomes"]) != folds or any(said.get(name) != value for name, value in mine.items()):
            raise ConfigError(
                f"Trial {said['trial']} of the earlier run is not what this search proposes: the data, a package or the machine is another. {MEND}"
            )


def _states(wave: Wave, journal: Journal) -> dict[int, dict[int, dict[str, Tensor]]]:
    try:
        return journal.states(wave)
    except (OSError, ValueError) as error:
        raise ConfigError(f"The networks of the earlier run cannot be read: {error}. {MEND}") from None


def restored(
    engine: Engine, configs: Sequence[Config], finished: Sequence[Mapping[str, Any]], states: Mapping[int, Mapping[int, dict[str, Tensor]]]
) -> list[Trial]:
    """The trials of a wave as they ended; those that had not are not started.

    Args:
        engine: of the search.
        configs: of the wave.
        finished: what was written of those that had.
        states: of those that may still ship: trial, fold, name.
    """
    said = {t["trial"]: t for t in finished}
    rule, folds = stopping_rule(engine.patience()), len(engine.folds)
    populations: dict[int, Restored] = {}
    places: dict[int, int] = {}
    trials: list[Trial] = []
    for config in configs:
        key = id(config.plan)
        place, places[key] = places.get(key, 0), places.get(key, 0) + folds
        known = said.get(config.number)
        if known is None:
            trials.append(Trial(config, status=CUT, rule=rule))
            continue
        if key not in populations:
            members = folds * sum(c.plan is config.plan for c in configs)
            seed = next(c.seed for c in configs if c.plan is config.plan)
            populations[key] = Restored(config.plan.build(seed), known["planned"], members)
        population, indices = populations[key], tuple(range(place, place + folds))
        own: Mapping[int, dict[str, Tensor]] = states.get(config.number, {})
        outcomes = [outcome_of(o, own.get(fold)) for fold, o in enumerate(known["outcomes"])]
        population.outcomes[place : place + folds] = outcomes
        trials.append(Trial(config, outcomes, known["status"], known["best"], rule, population, indices))
    return trials


def recompile(engine: Engine, configs: Sequence[Config], finished: Sequence[Mapping[str, Any]]) -> None:
    """Later waves and the last training use the compiled steps of earlier ones: where these had some, they are made again."""
    compiled = {t["plan"] for t in finished if any(o["compiled"] for o in t["outcomes"])}
    for plan in (plan for plan in engine.plans if plan.name in compiled):
        if engine.clock.seconds is not None:
            engine.programs.add(plan)
            continue
        race = engine.race_of([c for c in configs if c.plan is plan])
        for _, population, _ in race.groups:
            population.compile()
        race.finish()
