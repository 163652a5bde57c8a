"""Waves of trials that are thinned out at rungs: successive halving, with one epoch and keep the best as its simplest case."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from temperance.search.few_runs import left_of
from temperance.search.lengthen import lengthen
from temperance.search.pace import look
from temperance.search.race import Race, Trial
from temperance.search.space import EARLIEST, Config, StaticPlan

if TYPE_CHECKING:
    from temperance.search.engine import Engine

KEPT = 1 / 4
MOST_KEPT = 1.5  # times a quarter of those that reached a rung
FIRST = 32  # most trials of the first wave
FEWER = 12  # where more than a tenth of the time goes for them: few longer runs show more than many short ones
SHARES = ((0.1, 16), (0.25, 16), (0.5, 8), (1.0, 4))  # shares of the time left that a wave of at least so many trials may take, the first from the first on
FEWEST = 4


class Rungs:
    """Waves of trials; at early epochs of each wave the best quarter goes on, and the time of the others goes to the next wave.

    Every wave is proposed from what all waves before have shown. A wave trains as one population, so that its cost is that of its living members;
    nothing waits for it, and a slot that is freed is a slot of the next wave.

    With ``careful``, a trial is compared with everything that has reached the same rung, in earlier waves too (Li et al., 2020), and the noise of its
    validation score is taken into account: those within one standard error of the best quarter count as equal, are ranked by their validation
    loss, and go on as long as no more than one and a half quarters of the wave do; at least half a quarter goes on. Two trials that disagree on a
    tenth of the rows have a paired standard error about as large as that of one score, so that one is the right measure of the other.

    The clock of a population is steps, so a rung on a share of the rows is the same number of steps as a rung at a share of an epoch: there are no
    further rungs over rows.

    Args:
        shares: where the rungs are, as shares of the full run; each lies at one epoch and at the plan's earliest step or later, and at twice the
            epoch before. On few rows an epoch is so few steps that the scores after it say little: with 160 rows their rank correlation with the end
            on other rows was 0.71 after 6 steps, 0.79 after 20, 0.87 after 32 and 0.89 after 48.
        careful: compare over waves, and regard noise.

    Source: Jamieson and Talwalkar, "Non-stochastic best arm identification and hyperparameter optimization", AISTATS 2016; Li et al., "A system for
    massively parallel hyperparameter tuning", MLSys 2020; for a single early rung, Egele et al., "The unreasonable effectiveness of early discarding
    after one epoch", Neurocomputing 2024.
    """

    def __init__(self, shares: Sequence[float], *, careful: bool) -> None:
        self.shares, self.careful = tuple(shares), careful

    def run(self, engine: Engine) -> None:
        """Spend the trials or the time; what still runs then is ended and kept."""
        for number, configs in self.proposed(engine) if engine.driver is None else engine.driver.rounds(engine, self):
            self.wave(engine, number, configs, engine.past)

    def proposed(self, engine: Engine) -> Iterator[tuple[int, list[Config]]]:
        """The number and the configurations of one wave after the other."""
        number = max((row["round"] for row in engine.rungs), default=0)
        while (wave := self.plan(engine, first=number == 0))[0] > 0:
            number += 1
            yield number, engine.propose(wave[0], first=number == 1, length=wave[1])

    def rungs(self, epochs: float, steps: float, earliest: int = EARLIEST) -> list[int]:
        """The epochs at which trials are dropped, for a full run of so many epochs of so many steps: each at twice the one before or later.

        Example:
            >>> way = Rungs((1 / 16, 1 / 4), careful=True)
            >>> way.rungs(60.0, 100.0), way.rungs(60.0, 2.5), way.rungs(3.0, 100.0), way.rungs(60.0, 10.0, earliest=128)
            ([4, 15], [13, 26], [1, 2], [13, 26])
        """
        out: list[int] = []
        for share in self.shares:
            epoch = max(round(share * epochs), math.ceil(earliest / steps), 2 * out[-1] if out else 1)
            if epoch < epochs:
                out.append(epoch)
        return out

    def plan(self, engine: Engine, first: bool) -> tuple[int, float | None]:
        """How many trials the next wave starts with, and their length where it is not theirs to choose; zero where none fits."""
        if engine.few is not None:
            return left_of(engine, engine.few, first), None
        most = engine.most(KEPT ** len(self.shares))
        most = min(most, FIRST) if first else most
        if most <= 0 or engine.clock.seconds is None:
            return most, None
        before = dict(engine.epochs)
        if not first:
            lengthen(engine)
        found = self._sized(engine, most, first)
        if not found[0] and engine.epochs != before:
            engine.epochs.update(before)
            found = self._sized(engine, most, first)
        return found

    def _sized(self, engine: Engine, most: int, first: bool) -> tuple[int, float | None]:
        """:meth:`plan` for at most so many trials, by what they cost."""
        left = engine.left()
        shortest = min(min(plan.lengths) for plan in engine.tried)
        fewest = min(most, 2 * len(engine.tried) if first else FEWEST)
        for share, least in SHARES if first else SHARES[1:]:
            if first and share > SHARES[0][0]:
                most = min(most, max(fewest, FEWER * engine.workers))
            for count in range(most, min(max(least, fewest), most) - 1, -1):
                if self.cost(engine, count, None) <= left * share:
                    return count, None
        for count in range(most, fewest - 1, -1):
            if self.cost(engine, count, shortest) <= left:
                return count, shortest
        return (fewest, shortest) if first else (0, None)

    def cost(self, engine: Engine, count: int, length: float | None) -> float:
        """Estimated seconds of a wave."""
        total, folds = count * engine.asking, len(engine.folds)
        for plan, share in zip(engine.plans, engine.shares(count), strict=True):
            if plan not in engine.tried:
                continue
            whole = engine.mean_epochs(plan) if length is None else length * engine.epochs[plan.name]
            before, members = 0.0, float(share)
            for epoch in [*self.rungs(engine.planned(plan), engine.steps_an_epoch(plan), plan.earliest), math.inf]:
                total += engine.seconds(plan, math.ceil(members) * folds, min(epoch, whole) - before)
                before, members = min(epoch, whole), members * KEPT
        return total

    def wave(self, engine: Engine, number: int, configs: Sequence[Config], past: dict[int, list[float]]) -> None:
        """One wave, to its end or the end of the time.

        Args:
            engine: of the search.
            number: of the wave, from 1.
            configs: of the trials that start.
            past: the scores of every trial that reached a rung, by the rung's epoch; extended.
        """
        race = engine.start(configs, f"round {number}")
        longest, epoch = engine.longest, 0
        planned = max(map(engine.planned, engine.tried))
        rungs = self.rungs(planned, min(map(engine.steps_an_epoch, engine.tried)), max(plan.earliest for plan in engine.tried)) if engine.few is None else []
        while race.alive and not engine.late():
            epoch = min([epoch + race.stride, *(e for e in rungs if e > epoch)])
            engine.advance(race, epoch)
            if epoch in rungs and race.alive and not engine.late():
                members = len(race.alive)
                race.go_on(self.chosen(engine, race, past.setdefault(epoch, []), first=number == 1), epoch)
                engine.rungs.append({"round": number, "epoch": epoch, "members": members, "kept": len(race.alive)})
                engine.save()
        last = engine.rungs[-1]["kept"] if engine.rungs and engine.rungs[-1]["round"] == number else len(configs)
        engine.rungs.append({"round": number, "epoch": round(longest), "members": max(last, 1), "kept": 1})
        engine.close("out of time")
        look(engine)

    def chosen(self, engine: Engine, race: Race, past: list[float], first: bool) -> list[Trial]:
        """Who goes on. In the first wave the best of each static plan does: early scores rank trials within a plan better than plans.

        Where nothing is known of other data of its kind, as of images, the plan's likely cocktail goes on too: what regularizes may be behind at an
        early rung and ahead at the end. With 160 digits it was behind after 32 steps in one of two networks, and ended with 25 and 41 % less loss on the
        validation rows than the networks without it.

        ``past`` holds the scores of every trial that reached this rung in earlier waves, and is extended.
        """
        ranked = race.rank(race.alive)
        quarter = max(1, int(KEPT * len(ranked)))
        if self.careful:
            past += [t.score for t in ranked if t.score == t.score]
            ranked, quarter = near(ranked, past, quarter, engine.metric.greater_is_better)
        if first and quarter >= len(engine.tried):
            firsts = [t for plan in engine.tried if (t := next((t for t in ranked if t.config.plan is plan), None)) is not None]
            firsts += [t for plan in engine.tried if (t := likely(plan, ranked)) is not None and t not in firsts]
            ranked = [*firsts, *(t for t in ranked if t not in firsts)]
        return ranked[:quarter]


def likely(plan: StaticPlan, trials: Sequence[Trial]) -> Trial | None:
    """The trial of a plan's likely cocktail, where nothing is known of other data of its kind."""
    if plan.known or not plan.likely_on:
        return None
    wanted = plan.likely()
    return next((t for t in trials if t.config.plan is plan and t.config.strengths == plan.admitted(wanted, t.config.number)), None)


def near(ranked: Sequence[Trial], past: Sequence[float], quarter: int, greater: bool) -> tuple[list[Trial], int]:
    """The trials in the order in which they go on, and how many do.

    Args:
        ranked: those at the rung, best first.
        past: the scores of everything that has reached it, theirs too.
        quarter: how many of them would go on by rank.
        greater: whether a greater score is better.
    """
    sign = 1.0 if greater else -1.0
    bar = sorted((sign * s for s in past), reverse=True)[: max(1, round(KEPT * len(past)))]
    if not bar:
        return list(ranked), quarter

    def over(trial: Trial) -> float:
        """How many standard errors above the bar; without a standard error, a mere difference decides."""
        gap, error = sign * trial.score - bar[-1], trial.at_best("validation_se")
        return gap / error if error > 0 else math.copysign(math.inf, gap) if gap else 0.0

    known = [t for t in ranked if t.score == t.score]
    sure = [t for t in known if over(t) > 1.0]
    equal = sorted((t for t in known if abs(over(t)) <= 1.0), key=lambda t: t.at_best("validation_loss"))
    rest = [t for t in ranked if t not in sure and t not in equal]
    fewest, most = max(1, quarter // 2), max(1, int(MOST_KEPT * quarter))
    return [*sure, *equal, *rest], min(max(len(sure) + len(equal), fewest), most)
