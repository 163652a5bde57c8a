"""Population-based training: one population, in which the worst copy the best and change their strengths and learning rates."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from temperance.search.race import Race, Trial
from temperance.search.rungs import SHARES
from temperance.search.space import Config, draw, one_average

if TYPE_CHECKING:
    from temperance.search.engine import Engine

INTERVALS = 12
EXPLOITED = 1 / 4
FACTORS = (0.8, 1.25)
RESAMPLED = 0.25
FIRST_LENGTH = 0.25
FEWEST = 4
STARTED = 1 / 3  # of a given number of trials: the others are copies


class Evolve:
    """Generations of one population each, all of whose members train for the whole of their schedule.

    At twelve times in a run the worst quarter ends, and its slots go on from the states (weights, moments, averages) of the best quarter: a copy in
    place, so that the batched program never changes its shape. Of a copy, every strength that is on and the learning rate are multiplied by 0.8 or 1.25,
    or, with probability 1/4 each, drawn anew from the prior. Copies keep the place of their schedule, so that the learning rate comes down for all
    of them at the end of the run.

    The first generation is short, a quarter of the full run; half of each later one starts from the configurations that ended best, half is
    proposed by the sampler. A copy is a trial with a parent: its score counts its own checks alone, and trained again it gets its own strengths
    for the whole run.

    Source: Jaderberg et al., "Population based training of neural networks", 2017.
    """

    def __init__(self) -> None:
        self.random = np.random.default_rng(2)

    def run(self, engine: Engine) -> None:
        self.random = np.random.default_rng([engine.seed, 2])
        number = 0
        while (size := self.plan(engine, first=number == 0))[0] > 0:
            number += 1
            self.generation(engine, number, *size)

    def plan(self, engine: Engine, first: bool) -> tuple[int, float]:
        """How many members the next generation has, and their share of the full run; zero where none fits."""
        most = engine.most()
        if most <= 0:
            return 0, 1.0
        if engine.clock.seconds is None:
            return min(most, max(2 * len(engine.plans), round(STARTED * (engine.limit or most)))), 1.0
        left = engine.left()
        fewest = min(most, 2 * len(engine.plans) if first else FEWEST)
        for length in (FIRST_LENGTH,) if first else (1.0, 0.5, FIRST_LENGTH):
            for share, least in SHARES if first else SHARES[1:]:
                for count in range(most, min(max(least, fewest), most) - 1, -1):
                    if self.cost(engine, count, length) <= left * share:
                        return count, length
        return (fewest, FIRST_LENGTH) if first else (0, 1.0)

    def cost(self, engine: Engine, count: int, length: float) -> float:
        """Estimated seconds of a generation."""
        pairs = zip(engine.plans, engine.shares(count), strict=True)
        return count * engine.asking + sum(engine.seconds(plan, n * len(engine.folds), length * engine.epochs[plan.name]) for plan, n in pairs if n)

    def generation(self, engine: Engine, number: int, count: int, length: float) -> None:
        """One population, to the end of its schedule or of the time."""
        if number == 1:
            configs = engine.propose(count, first=True, length=length)
        else:
            asked = engine.propose(count - count // 2, length=length)
            tops = self._ranked(engine, [t for t in engine.trials if t.score == t.score])[: count // 2]
            first = len(engine.trials) + len(asked)
            configs = [*asked, *(engine.adopt(self.explored(t.config, first + i, length, frozenset())) for i, t in enumerate(tops))]
        race = engine.start(configs, f"generation {number}")
        longest = max(engine.epochs.values()) * length
        every = max(1, round(longest / INTERVALS))
        epoch = 0
        while race.alive and not engine.late():
            epoch += 1
            engine.advance(race, epoch)
            if epoch % every == 0 and epoch + every <= longest and not engine.late():
                members = len(race.alive)
                copied = self.exploit(engine, race, epoch)
                engine.rungs.append({"round": number, "epoch": epoch, "members": members, "kept": members - copied})
        engine.close("out of time")

    def exploit(self, engine: Engine, race: Race, epoch: int) -> int:
        """Let the worst of every static plan copy the best; how many did."""
        copied = 0
        for plan, _, _ in race.groups:
            alive = [t for t in race.alive if t.config.plan is plan and t.outcomes[0].history]
            ranked = self._ranked(engine, alive, now=True)
            worst = min(max(1, int(EXPLOITED * len(ranked))), engine.limit - len(engine.trials) if engine.limit is not None else len(ranked))
            for loser in reversed(ranked[len(ranked) - worst :] if len(ranked) > 1 and worst > 0 else []):
                winner = ranked[int(self.random.integers(max(1, int(EXPLOITED * len(ranked)))))]
                fixed = race.fixed(loser) | race.fixed(winner)
                if winner is not loser and race.alike(loser, winner):
                    config = self.explored(winner.config, len(engine.trials), winner.config.length, fixed)
                    engine.trials.append(race.copy(loser, winner, config, epoch))
                    copied += 1
        return copied

    def explored(self, config: Config, number: int, length: float, fixed: frozenset[str]) -> Config:
        """The configuration with perturbed or redrawn numbers; those named in ``fixed`` cannot change while their program runs."""
        plan, random = config.plan, self.random
        drawn, rate, _ = draw(random, plan)
        strengths = dict(config.strengths)
        for name, spec in plan.cocktail.specs().items():
            redrawn, factor = random.random() < RESAMPLED, FACTORS[int(random.integers(2))]
            if name in fixed:
                continue
            if redrawn:
                strengths[name] = drawn[name]
            elif strengths[name] != spec.off:
                strengths[name] = min(max(strengths[name] * factor, spec.low), spec.high)
        lr = rate if random.random() < RESAMPLED else min(max(config.lr * FACTORS[int(random.integers(2))], plan.lr[0]), plan.lr[1])
        return replace(config, number=number, strengths=one_average(plan.cocktail, strengths), lr=lr, length=length)

    def _ranked(self, engine: Engine, trials: list[Trial], now: bool = False) -> list[Trial]:
        """Best first: by the last check where the members race now, by the best one elsewhere; without a score last."""

        def key(trial: Trial) -> tuple[bool, float]:
            score = trial.curve()[-1] if now else trial.score
            return (score != score, -engine.sign * score if score == score else 0.0)

        return sorted(trials, key=key)
