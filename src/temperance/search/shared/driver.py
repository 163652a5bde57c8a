"""A process that works on a shared study: it takes in what others finished, and takes turns with them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from temperance.core.errors import ConfigError
from temperance.search.race import Trial, stopping_rule
from temperance.search.resume import CUT, recompile, restored
from temperance.search.shared import study as shared
from temperance.search.shared.study import Round, SharedStudy
from temperance.search.space import Config

if TYPE_CHECKING:
    from temperance.search.engine import Engine
    from temperance.search.rungs import Rungs

WAITING = "waiting for others"


class Driver:
    """What a search knows of the study that it shares.

    Args:
        study: in its database.
    """

    def __init__(self, study: SharedStudy) -> None:
        self.study = study
        self._known: dict[int, list[Config]] = {}  # by the number of their round
        self._epochs: dict[int, dict[str, float]] = {}  # of full runs, likewise
        self._taken = set[int]()  # rounds whose end this search knows

    def join(self, engine: Engine, *, ship: bool) -> int:
        """Bring a new search to where the study is.

        Args:
            engine: which has done nothing yet.
            ship: whether no training follows: then the finished trials of rounds that have not ended count too.

        Returns:
            the number of rounds.
        """
        if not ship:
            self.study.watch(lambda: engine.say(WAITING, engine.share_done()))
        with self.study.turn((), running=ship) as rounds:
            pass
        self._take_in(engine, rounds, ship=ship)
        return len(rounds)

    def rounds(self, engine: Engine, strategy: Rungs) -> Iterator[tuple[int, list[Config]]]:
        """What this driver trains: what others left, then what the strategy plans, until nothing is left and nobody trains any more."""
        while True:
            begun = self._begin(engine, strategy)
            if begun is not None:
                yield begun
                self._taken.add(begun[0])
            elif not self._waits(engine):
                break
        with self.study.turn(self._taken, running=True) as rest:  # where the time is over before others end what they train
            pass
        self._take_in(engine, rest, ship=True)

    def _begin(self, engine: Engine, strategy: Rungs) -> tuple[int, list[Config]] | None:
        while True:
            with self.study.turn(self._taken) as rounds:
                if all(r.number in self._known and r.closed is None for r in rounds):
                    mark = (len(engine.rungs), {epoch: len(scores) for epoch, scores in engine.past.items()})
                    left = None if engine.late() else next((r for r in rounds if r.left), None)
                    if left is None:
                        return self._new(engine, strategy, mark)
                    self.study.lease(left.number, None, mark, engine.clock.spent)
                    break
            self._take_in(engine, rounds)
        return left.number, self._take_over(engine, left)

    def _new(self, engine: Engine, strategy: Rungs, mark: tuple[int, dict[int, int]]) -> tuple[int, list[Config]] | None:
        number = max(self._known, default=0) + 1
        engine.epochs.update(self._epochs[max(self._epochs)] if self._epochs else {})  # also after a round of shorter runs that another driver left
        count, length = strategy.plan(engine, first=number == 1)
        if count <= 0:
            return None
        configs = engine.propose(count, first=number == 1, length=length)
        sampler = {name: proposer.state() for name, proposer in engine.proposers.items()}
        start = {"configs": [c.to_dict() for c in configs], "epochs": engine.epochs, "sampler": sampler}
        self.study.lease(number, start, mark, engine.clock.spent)
        self._known[number], self._epochs[number] = configs, dict(engine.epochs)
        return number, configs

    def _take_over(self, engine: Engine, left: Round) -> list[Config]:
        """The trials to train of a round that another driver left: all, so that the same ones go on as if it had trained them.

        Where the clock decides, those that it finished stay as they are.
        """
        configs = self._known[left.number]
        engine.epochs.update(left.start["epochs"])
        if engine.clock.seconds is None or not left.trials:
            return configs
        done = {int(t["trial"]) for t in left.trials}
        self._restore(engine, [c for c in configs if c.number in done], left)
        return [c for c in configs if c.number not in done]

    def _waits(self, engine: Engine) -> bool:
        """Wait a moment for those that still train; whether there are any, and time."""
        with self.study.turn(self._taken) as rounds:
            pass
        if not rounds or engine.late():
            return False
        engine.say(WAITING, engine.share_done())
        time.sleep(shared.POLL)
        return True

    def _take_in(self, engine: Engine, rounds: Sequence[Round], *, ship: bool = False) -> None:
        for r in rounds:
            if r.number not in self._known:
                self._enter(engine, r)
        for r in rounds:
            if r.closed is None and not ship:
                continue
            ended = r.closed or {"rungs": [], "past": {}}
            engine.rungs = sorted([*engine.rungs, *ended["rungs"]], key=lambda row: row["round"])
            for epoch, scores in ended["past"].items():
                engine.past.setdefault(int(epoch), []).extend(scores)
            self._restore(engine, self._known[r.number], r)
            self._taken.add(r.number)

    def _enter(self, engine: Engine, r: Round) -> None:
        """A round that began: its trials are running somewhere, and the sampler is where its driver left it."""
        plans, rule = {plan.name: plan for plan in engine.plans}, stopping_rule(engine.patience())
        try:
            configs = [_config(said, plans) for said in r.start["configs"]]
            engine.epochs.update({name: float(r.start["epochs"][name]) for name in plans})
            engine.first_epochs = engine.first_epochs or dict(engine.epochs)
            self._epochs[r.number] = dict(engine.epochs)
            for name, proposer in engine.proposers.items():
                proposer.restore(r.start["sampler"][name], [c for c in configs if c.plan.name == name])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ConfigError(f"Expected round {r.number} of {self.study.place} to be of this search, got {error!r}. Choose another --study-name.") from None
        engine.enter([Trial(config, status=CUT, rule=rule) for config in configs])
        engine.begun = True
        self._known[r.number] = configs

    def _restore(self, engine: Engine, configs: Sequence[Config], r: Round) -> None:
        """Trials as they ended."""
        trials = restored(engine, configs, r.trials, r.states)
        engine.enter(trials)
        self.study.know([int(t["trial"]) for t in r.trials], r.states)
        recompile(engine, configs, r.trials)
        engine.over(trials, [], closed=True)


def _config(said: dict[str, Any], plans: dict[str, Any]) -> Config:
    return Config(int(said["trial"]), plans[said["plan"]], said["strengths"], float(said["learning_rate"]), int(said["seed"]), float(said["length"]))
