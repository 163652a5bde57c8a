"""Good runs go on several times from where they were before they were best."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from torch.utils._pytree import tree_flatten

from temperance.search.race import Race, State, Trial
from temperance.search.rungs import FEWEST, keep
from temperance.search.space import Config, seed_of
from temperance.train.ways import parse_memory

if TYPE_CHECKING:
    from temperance.search.engine import Engine

POINTS = (0.25, 0.5)  # shares of the run at which it may fork; from the half on the learning rate comes down
BEFORE = 0.85  # a run forks at the last point that is at most this share of the way to its best check
AFTER = 1.3  # forks end this much later than the best checks of their parents
REMEMBERED = 12  # beginnings
EACH = 4  # forks of one beginning in a wave
CHANGED = 1.25  # strengths and the learning rate are multiplied by a number between its inverse and this
MEMORY = 0.25  # share of the memory that first halves may take


@dataclass(frozen=True, eq=False)
class Beginning:
    """The beginning of a run: the trial, its state there, the share of the run, the step and the epoch where that is, and its forks so far."""

    trial: Trial
    state: State
    share: float
    step: int
    epoch: float
    forks: list[Trial] = field(default_factory=list)


class Forks:
    """Waves as of ``keep``, and in turn with them waves of forks: the best runs so far once more, from a quarter or a half of their way on.

    How well a run ends is for a good part decided by its middle (scores there and at the end have a rank correlation of 0.3 to 0.8), and by then half
    of the work is done. So the runs that ended best go on from there again, four times each, with rows, masks and noise of their own, and with every
    strength that is on and the learning rate multiplied by a number between 0.8 and 1.25. They start at the last quarter of the run that lies well
    before its best check, and end when that is well behind. Of three waves at least one is of forks and one of whole runs; the third is of the kind
    whose last wave ended better.

    A fork is a trial with a parent: its score counts its own checks alone, the sampler is not told of it, and trained again it gets its own strengths
    for the whole run. Only compiled populations fork, whose programs hold all strengths; others run as ``keep`` does.

    Source: the idea of going on from good states is population-based training's (Jaderberg et al., 2017).
    """

    def __init__(self) -> None:
        self.roots = keep()
        self.random = np.random.default_rng(3)
        self.known: list[Beginning] = []
        self.waves: list[tuple[bool, float]] = []  # whether each was one of forks, and its best score

    def run(self, engine: Engine) -> None:
        self.random = np.random.default_rng([engine.seed, 3])
        number = 0
        while True:
            count = self.forks(engine) if self.turn() else 0
            wave = (0, None) if count else self.roots.plan(engine, first=number == 0)
            if not count and wave[0] <= 0:
                count = self.forks(engine)  # half a run may still fit where a whole one does not
                if not count:
                    return
            number += 1
            race = self.fork(engine, number, count) if count else self.root(engine, number, *wave)
            top = max((engine.sign * t.score for t in race.trials if t.score == t.score), default=-math.inf)
            self.waves.append((count > 0, top))

    def turn(self) -> bool:
        """Whether it is the forks' turn: of the two kinds of waves the one whose last wave ended better goes on, the other is every third."""
        last = [forked for forked, _ in self.waves[-2:]]
        if len(set(last)) < 2:
            return bool(last) and (len(last) == 1 or not last[0])
        tops = dict(self.waves)
        return tops[True] >= tops[False]

    def root(self, engine: Engine, number: int, count: int, length: float | None) -> Race:
        """A wave of whole runs, whose beginnings are remembered."""
        found: list[Beginning] = []

        def remember(share: float) -> Callable[[Race], None]:
            return lambda race: found.extend(self.beginnings(engine, race, share))

        pauses = {max(1, round(share * epochs)): remember(share) for share in POINTS for epochs in engine.epochs.values()}
        race = self.roots.wave(engine, number, count, length, pauses)
        usable = [b for b in found if b.share == self.point(b.trial)]
        self.rank(engine, [*self.known, *usable])
        return race

    def rank(self, engine: Engine, known: list[Beginning]) -> None:
        """Remember the most promising: by a good score among their forks (the mean and one standard deviation), or where there are none by their own.

        A run that ended well was also lucky, so that beginnings without forks are tried first; those whose forks do well go on being forked.
        """

        def promise(beginning: Beginning) -> float:
            scores = [engine.sign * t.score for t in beginning.forks if t.score == t.score]
            return statistics.mean(scores) + statistics.stdev(scores) if len(scores) > 1 else engine.sign * beginning.trial.score

        self.known = sorted(known, key=promise, reverse=True)[:REMEMBERED]

    def point(self, trial: Trial) -> float | None:
        """Where a run forks, if it does."""
        if trial.score != trial.score:
            return None
        best = trial.best_step / (trial.config.length * trial.population.total_steps) if trial.population is not None else 0.0
        return max((share for share in POINTS if share <= BEFORE * best), default=None)

    def beginnings(self, engine: Engine, race: Race, share: float) -> list[Beginning]:
        """The states of the whole runs among the living, where they are compiled and fit into memory."""
        out: list[Beginning] = []
        room = MEMORY * parse_memory(engine.memory) / len(POINTS) - sum(size(b.state) for b in self.known)
        for plan, population, trials in race.groups:
            step = max((chunk.group.step for chunk in population.chunks), default=0)
            here = max(1, round(share * engine.epochs[plan.name])) * race.steps_an_epoch(plan)
            if abs(step - here) > 0.5 or not all(group.compiled for group in population.plans):
                continue  # the pause is for plans with other lengths
            for trial in trials:
                if trial.alive and trial.config.length == 1.0:
                    state = race.state(trial)
                    room -= size(state)
                    if room < 0:
                        return out
                    out.append(Beginning(trial, state, share, step, step / race.steps_an_epoch(plan)))
        return out

    def forks(self, engine: Engine) -> int:
        """How many forks the next wave of them may have; zero where there is nothing to fork or no time."""
        parents = self.parents()
        if not parents:
            return 0
        plan = parents[0].trial.config.plan
        most = max(16, round(engine.costs.filling(plan) / len(engine.folds)))
        most = most if engine.limit is None else min(most, engine.limit - len(engine.trials))
        epochs = self.end(engine, parents) - parents[0].epoch
        if epochs < 1:
            return 0
        for count in range(most, min(FEWEST, most) - 1, -1):
            if count > 0 and engine.seconds(plan, count * len(engine.folds), epochs) <= engine.left():
                return count
        return 0

    def parents(self) -> list[Beginning]:
        """The best beginnings that can go on as one population: of one plan, from one step."""
        first = self.known[0] if self.known else None
        return [b for b in self.known if first is not None and b.trial.config.plan is first.trial.config.plan and b.step == first.step]

    def end(self, engine: Engine, parents: list[Beginning]) -> int:
        """The epoch at which forks of these end."""
        whole = round(engine.epochs[parents[0].trial.config.plan.name])
        return min(whole, math.ceil(AFTER * max(b.trial.best_epoch for b in parents)))

    def fork(self, engine: Engine, number: int, count: int) -> Race:
        """A wave of forks, to its end or the end of the time."""
        parents = self.parents()[: max(1, -(-count // EACH))]
        chosen = [parents[i % len(parents)] for i in range(count)]
        configs = [self.changed(b.trial.config, len(engine.trials) + i, engine.seed) for i, b in enumerate(chosen)]
        race = engine.start(configs, f"round {number}, forks")
        for trial, beginning in zip(race.trials, chosen, strict=True):
            trial.parent = beginning.trial
        race.go_on_from([b.state for b in chosen], chosen[0].step)
        end = self.end(engine, parents)
        engine.train(race, parents[0].epoch, end)
        engine.close("out of time" if engine.late() else "finished")
        for trial, beginning in zip(race.trials, chosen, strict=True):
            beginning.forks.append(trial)
        self.rank(engine, self.known)
        engine.rungs.append({"round": number, "epoch": end, "members": count, "kept": 1})
        return race

    def changed(self, config: Config, number: int, seed: int) -> Config:
        """The configuration with every strength that is on, and the learning rate, somewhat changed."""
        strengths = dict(config.strengths)
        for name, spec in config.plan.cocktail.specs().items():
            if strengths[name] != spec.off:
                strengths[name] = min(max(strengths[name] * self._factor(), spec.low), spec.high)
        lr = min(max(config.lr * self._factor(), config.plan.lr[0]), config.plan.lr[1])
        return replace(config, number=number, strengths=strengths, lr=lr, seed=seed_of(seed, number))

    def _factor(self) -> float:
        return float(CHANGED ** self.random.uniform(-1.0, 1.0))


def size(state: State) -> int:
    """Bytes of a state."""
    return sum(t.numel() * t.element_size() for t in tree_flatten(state)[0])
