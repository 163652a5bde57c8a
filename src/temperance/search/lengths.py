"""Short whole runs first: what does well in them is trained anew for longer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from temperance.search.rungs import FEWEST, FIRST, KEPT, SHARES

if TYPE_CHECKING:
    from temperance.search.engine import Engine
    from temperance.search.space import Config

LENGTHS = (1 / 4, 1.0)


class Lengths:
    """Waves of trials that train a quarter of the full run, each with its whole schedule in that time; the best quarter of them trains anew in full.

    A run whose learning rate has come down is a finished network: it can ship, and its score says more about a longer run of the same kind than the
    first epochs of that run do, in which regularization only costs and the fast starters lead.

    Args:
        lengths: shares of the full run, rising.

    Source: successive halving (Jamieson and Talwalkar, AISTATS 2016) over the length of annealed runs, as in Hyperband with a schedule that ends at each
    rung (Li et al., JMLR 2018).
    """

    def __init__(self, lengths: Sequence[float] = LENGTHS) -> None:
        self.lengths = tuple(lengths)

    def run(self, engine: Engine) -> None:
        number = 0
        while (wave := self.plan(engine, first=number == 0))[0] > 0:
            number += 1
            self.wave(engine, number, *wave)

    def plan(self, engine: Engine, first: bool) -> tuple[int, tuple[float, ...]]:
        """How many trials the next wave starts with, and the lengths it goes through; zero where none fits."""
        most = engine.most(KEPT ** (len(self.lengths) - 1))
        most = min(most, FIRST) if first else most
        if most <= 0 or engine.clock.seconds is None:
            within = self._within(engine, most)
            return (within, self.lengths) if within else (most, self.lengths[-1:])
        left = engine.left()
        fewest = min(most, 2 * len(engine.plans) if first else FEWEST)
        for lengths in (self.lengths, self.lengths[:1]):
            for share, least in SHARES if first else SHARES[1:]:
                for count in range(most, min(max(least, fewest), most) - 1, -1):
                    if self.cost(engine, count, lengths) <= left * share:
                        return count, lengths
        return (fewest, self.lengths[:1]) if first else (0, ())

    def _within(self, engine: Engine, most: int) -> int:
        """So many that those who train again are within the limit too."""
        if engine.limit is None:
            return most
        left = engine.limit - len(engine.trials)
        return next((n for n in range(most, 0, -1) if sum(self._counts(n, self.lengths)) <= left), 0)

    def _counts(self, count: int, lengths: Sequence[float]) -> list[int]:
        return [max(1, math.ceil(count * KEPT**i)) for i in range(len(lengths))]

    def cost(self, engine: Engine, count: int, lengths: Sequence[float]) -> float:
        """Estimated seconds of a wave."""
        total, folds = count * engine.asking, len(engine.folds)
        for members, length in zip(self._counts(count, lengths), lengths, strict=True):
            pairs = zip(engine.plans, engine.shares(members), strict=True)
            total += sum(engine.seconds(plan, n * folds, length * engine.epochs[plan.name]) for plan, n in pairs if n)
        return total

    def wave(self, engine: Engine, number: int, count: int, lengths: Sequence[float]) -> None:
        """One wave through its lengths, or to the end of the time."""
        configs = engine.propose(count, first=number == 1, length=lengths[0])
        for i, length in enumerate(lengths):
            race = engine.start(configs, f"round {number}" if i == 0 else f"round {number}, longer")
            engine.train(race)
            engine.close("out of time")
            going = self._counts(count, lengths)[i + 1] if i + 1 < len(lengths) and not engine.late() else 0
            engine.rungs.append({"round": number, "epoch": round(max(engine.epochs.values()) * length), "members": len(race.trials), "kept": going or 1})
            if not going:
                return
            best = [t.config for t in race.rank() if t.score == t.score][:going]
            configs = [engine.adopt(self._longer(config, len(engine.trials) + k, lengths[i + 1])) for k, config in enumerate(best)]
            if not configs:
                return

    def _longer(self, config: Config, number: int, length: float) -> Config:
        return replace(config, number=number, length=length)
