"""One search: its trials, its clock and its sampler, at the service of a strategy."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from temperance.core.criterion import Opaque, criterion_for
from temperance.data.dataset import Dataset
from temperance.data.splits import Split
from temperance.search.budget import Clock
from temperance.search.calibration import calibrate, compiled, head_start, likely_config, measure
from temperance.search.confirm import confirm
from temperance.search.costs import CHECKS, Costs
from temperance.search.ending import Last, final_rows
from temperance.search.few_runs import FewRuns
from temperance.search.first_check import first_check
from temperance.search.journal import Journal
from temperance.search.plans import FEW_ROWS
from temperance.search.programs import Programs
from temperance.search.race import Elsewhere, Race, Rows, Trial, best_first, steps_an_epoch
from temperance.search.reserve import reserved
from temperance.search.resume import resume
from temperance.search.settings import Settings
from temperance.search.shared.driver import Driver
from temperance.search.shared.study import SharedStudy
from temperance.search.space import Config, StaticPlan, seed_of
from temperance.search.study import Ledger, Proposer

WAVE, MOST_WAVE = 32, 512
LATER = 0.3  # each plan's share of a later wave, relative to the plan ranked before it
FEWEST_OF_A_PLAN = 2  # trials of the first wave
COSTLY = 0.5  # after the first wave, a plan whose epochs take four times as long gets half as many trials
HEAVIER = 1.5  # times what a compiled step of a wave takes: up to 1.8 was seen, with scoring
PATIENCE, LONG_PATIENCE = 0.3, 0.7  # of a full run without progress, after which a trial stops; the second where rows are few
TICK = 0.1  # seconds between two reports of progress
REMEMBERED = 64  # networks of the best trials that are kept: averages are chosen among them
Progress = Callable[[Mapping[str, Any]], None]


class Engine:
    """One search, and what it offers to its strategy: ``propose``, ``start``, ``advance``, ``close``, ``seconds``, ``left`` and ``most``."""

    def __init__(
        self,
        plans: list[StaticPlan],
        data: Dataset,
        split: Split,
        settings: Settings,
        clock: Clock,
        ledger: Ledger,
        programs: Programs,
        on_progress: Progress | None = None,
        journal: Journal | SharedStudy | None = None,
        crew: Elsewhere | None = None,
    ) -> None:
        self.plans = plans = [replace(plan, ranges=dict(plan.ranges)) for plan in plans]  # ranges that a search widens are its own
        self.data, self.split, self.folds, self.settings, self.metric = data, split, split.folds, settings, settings.metric
        self.clock, self.ledger, self.programs, self.tell, self.journal, self.crew = clock, ledger, programs, on_progress, journal, crew
        self.driver = Driver(journal) if isinstance(journal, SharedStudy) else None
        self.asked, self.past = dict[str, Any](), dict[int, list[float]]()
        self.settling, self.settled = False, list[Trial]()
        self.scored_by = criterion_for(data.task) if isinstance(settings.criterion, Opaque) else settings.criterion
        self.everything = final_rows(split, len(data), settings.keep_test)
        self.grown = len(self.everything) / len(self.folds[0][0])  # steps of the last training, for one of an equal epoch of the search
        self.trials: list[Trial] = []
        self.rungs: list[dict[str, Any]] = []
        self.notes: list[str] = [f"networks train on {programs.card}"] if programs.card else []
        self.race: Race | None = None
        self.record: list[Trial] = []  # the best trial of the races that are over
        self.proposers = {
            plan.name: Proposer(plan, settings.seed + 17 * i, settings.metric.greater_is_better, startup=WAVE if plan.known else 12)
            for i, plan in enumerate(plans)
        }
        self.epochs = {plan.name: plan.epochs for plan in plans}
        self.first_epochs = dict[str, float]()  # of the first wave: rungs stay where they are when full runs are lengthened
        self.resting, self._behind = set[str](), set[int]()  # plans that nothing is tried of; those surely behind the leading one
        self.few: FewRuns | None = None
        self.costs = Costs(plans)
        self.average: list[Trial] = []  # what would ship if the search ended now, as last chosen
        self.last: Last | None = None  # what was trained after the search
        self.asking = 0.0  # seconds that the sampler took for a configuration, the last time
        self.search_start, self.searched, self.paced = self.clock.spent, 0.0, 0.0  # the last: seconds before which the pace of what ships is not measured
        self.phase, self.epoch, self.begun, self._told = "", 0.0, False, -math.inf
        self._order: list[int] | None = None
        self._sorted: tuple[tuple[int, float, bool], list[Trial]] | None = None

    @property
    def tried(self) -> list[StaticPlan]:
        """The plans of which something is tried."""
        return [plan for plan in self.plans if plan.name not in self.resting]

    @property
    def longest(self) -> float:
        """Epochs of the longest full run."""
        return max(self.epochs[plan.name] for plan in self.tried)

    def run(self, strategy: Callable[[Engine], None] | None) -> None:
        """Let the strategy spend the trials or the time that an earlier process left; without one only take in what that finished."""
        resumed = resume(self, ship=strategy is None) > 0
        if strategy is None:
            return
        if self.clock.seconds is not None and not (resumed and self.late()):
            if not resumed:
                head_start(self)
            self.say("measuring", self.share_done())
            calibrate(self, shorten=not self.first_epochs)
        strategy(self)
        if self.clock.seconds is not None and self.best() is None:
            first_check(self)
        if self.settings.seeds > 1:
            self.settling = True
            confirm(self)
        self.searched = self.clock.spent - self.search_start

    def best(self) -> Trial | None:
        """The trial with the best score so far, of equal ones that of the lowest validation loss, that has a network to ship.

        Once further seeds have decided, it is among those of the configuration chosen.
        """
        return self._best_of([] if self.race is None else self.race.trials)

    def _best_of(self, running: Sequence[Trial]) -> Trial | None:
        pool = [t for t in self.settled or [*self.record, *running] if t.score == t.score and any(o.usable for o in t.outcomes)]
        return min(pool, key=best_first(self.metric.greater_is_better), default=None)

    def say(self, phase: str, done: float) -> None:
        """Report progress, with the best trial so far."""
        if self.journal is not None:
            self.journal.beat(self.clock.spent)
        if self.tell is not None:
            top = self.best()
            self.tell(
                {
                    "phase": phase,
                    "done": done,
                    "left": self.clock.left(),
                    "trials": len(self.trials),
                    "best": None if top is None else top.score,
                    "best_trial": top,
                    "each": self.trials,
                    "metric": self.metric.name,
                }
            )

    def tick(self) -> None:
        """Report progress between two judgments, not oftener than a display can show it: groups that train wait meanwhile."""
        now = time.monotonic()
        if now - self._told >= TICK:
            self._told = now
            self.say(self.phase, self.share_done())

    def share_done(self) -> float:
        """The share of the work that is done, up to the refit."""
        running = 0 if self.race is None else len(self.race.trials)
        inside = 0.0 if self.race is None else running * min(1.0, self.epoch / self.longest)
        by_trials = 0.0 if self.settings.trials is None else 0.9 * (len(self.trials) - running + inside) / self.settings.trials
        by_time = 0.0 if self.clock.seconds is None else self.clock.spent / self.clock.seconds
        return min(0.99, max(by_trials, by_time))

    # Time

    def most(self, surviving: float = 1.0) -> int:
        """How many trials may start together: so many that the share of them that survives to the end still fills its steps, and no more than are left."""
        workers = 1 if self.clock.seconds is None else self.workers  # without a budget the same trials follow, whoever trains them
        filling = max(self.costs.filling(plan) for plan in self.tried) / len(self.folds)
        wave = min(workers * max(WAVE, round(filling / surviving)), MOST_WAVE)
        return wave if self.settings.trials is None else max(0, min(wave, self.settings.trials - len(self.trials)))

    def room(self, plan: StaticPlan) -> int:
        """Trials of a plan that the memory setting holds at once; one at least, so that its training says where not even that fits."""
        if plan.name not in self.costs.holds:
            self.costs.know(plan, self.race_on([likely_config(self, plan, 0)], self.folds[:1]))
        return self.workers * max(1, self.costs.holds[plan.name] // len(self.folds))

    def steps_an_epoch(self, plan: StaticPlan) -> float:
        """Steps in which the first fold's rows are seen once."""
        return steps_an_epoch(len(self.folds[0][0]), plan.batch_size)

    def seconds(self, plan: StaticPlan, members: int, epochs: float) -> float:
        """Estimated seconds of training a population of the search, checks included."""
        return self.costs.seconds(plan, self.each(members), epochs)

    @property
    def workers(self) -> int:
        """How many processes train."""
        return 1 if self.crew is None else self.crew.size()

    def each(self, members: int) -> int:
        """How many of so many networks a worker trains."""
        return math.ceil(members / self.workers)

    def reserve(self) -> float:
        """Seconds that the refit, the control and the caller will need."""
        return 0.0 if self.clock.seconds is None else reserved(self, self.clock.seconds)

    def top_trials(self) -> list[Trial]:
        """The trials with a score, best first; sorted once a check, because a wave is planned by asking for many sizes."""
        mark = (len(self.trials), self.epoch, self.race is None)
        if self._sorted is None or self._sorted[0] != mark:
            self._sorted = mark, sorted((t for t in self.trials if t.score == t.score), key=best_first(self.metric.greater_is_better))
        return self._sorted[1]

    def retraining(self, picks: Sequence[Trial]) -> float:
        """Estimated seconds of training the picks on all rows: those of a plan together, each for its own epochs."""
        plans = {id(t.config.plan): (t.config.plan, [u.best_epoch for u in picks if u.config.plan is t.config.plan]) for t in picks}
        return self.grown * sum(self.again(plan, sum(epochs) / longest, longest) for plan, epochs in plans.values() if (longest := max(epochs)) > 0)

    def again(self, plan: StaticPlan, members: float, epochs: float, checks: float = CHECKS) -> float:
        """Estimated seconds of training what ships, or with more checks the control."""
        return self.costs.again(plan, members, epochs, checks, otherwise=HEAVIER if self.programs.compiles(plan) else plan.alone)

    def controlling(self, trial: Trial) -> float:
        """Estimated seconds of a trial's control, which has a check in every epoch."""
        return self.again(trial.config.plan, len(self.folds), trial.epochs, checks=trial.epochs)

    def left(self) -> float:
        """Seconds that a strategy may still spend; infinite without a budget."""
        return self.clock.left(self.reserve())

    def late(self) -> bool:
        """Whether the time for searching is over."""
        return self.left() <= 0

    def planned(self, plan: StaticPlan) -> float:
        """Epochs of a full run in the first wave."""
        return self.first_epochs.get(plan.name, self.epochs[plan.name])

    def mean_epochs(self, plan: StaticPlan) -> float:
        """Epochs of a run, over the lengths that trials are given."""
        return self.epochs[plan.name] * sum(plan.lengths) / len(plan.lengths)

    # Configurations

    def propose(self, count: int, first: bool = False, length: float | None = None, shares: Sequence[int] | None = None) -> list[Config]:
        """Configurations of the sampler, shared out over the plans.

        Args:
            count: how many.
            first: begin with what every plan begins with.
            length: share of the full run that all are given, instead of their own.
            shares: how many of them each plan gets, instead of what the clock says now.
        """
        out: list[Config] = []
        began = time.monotonic()
        shares = self.shares(count) if shares is None else shares
        for plan, share in zip(self.plans, shares, strict=True):
            given = plan.begin(self.epochs[plan.name]) if first and not self.begun else []
            proposer, number = self.proposers[plan.name], len(self.trials) + len(out)
            for strengths, lr, own in given[:share]:
                n = len(self.trials) + len(out)
                out.append(proposer.adopt(Config(n, plan, strengths, lr, seed_of(self.settings.seed, n), length or own)))
            out += proposer.ask(range(len(self.trials) + len(out), number + share), self.settings.seed, length)
        self.asking, self.begun = (time.monotonic() - began) / max(count, 1), True
        self.asked = {"count": count, "first": first, "length": length, "shares": list(shares)}
        return out

    def shares(self, count: int) -> list[int]:
        """How many of so many trials each plan gets: in the first wave for equal time, later falling with what an epoch of it costs and with its rank.

        No plan gets more than the memory setting holds. A plan whose best trial is more than a standard error behind the leading plan's falls by one rank more.
        """
        order, tried = self._ranked(), [i for i, plan in enumerate(self.plans) if plan.name not in self.resting]
        raw = [0.0] * len(order)
        each = {i: self.costs.member(self.plans[i]) for i in tried}
        for i in tried:
            raw[i] = 1.0 if not self.trials else LATER ** (order.index(i) + (i in self._behind))
            if all(each.values()):
                raw[i] *= (min(each.values()) / each[i]) ** (COSTLY if self.trials else 1.0)
        least = 0 if self.trials else min(FEWEST_OF_A_PLAN, count // len(tried))  # what costs much is tried all the same
        free = count - least * len(tried)
        shares = [least * (i in each) + int(free * w / sum(raw)) for i, w in enumerate(raw)]
        largest = sorted(tried, key=lambda i: -raw[i])
        for i in range(count - sum(shares)):
            shares[largest[i % len(tried)]] += 1
        return [share and min(share, self.room(plan)) for plan, share in zip(self.plans, shares, strict=True)]

    def _ranked(self) -> list[int]:
        """The plans by the best score of their trials; between two waves looked up once, because a wave is planned by asking for many sizes."""
        n = len(self.plans)
        if n == 1:
            return [0]
        if self.race is not None or self._order is None:
            place = best_first(self.metric.greater_is_better)
            tops = [min((t for t in self.trials if t.config.plan is plan), key=place, default=None) for plan in self.plans]
            self._order = sorted(range(n), key=lambda i: (True, 0.0, math.inf) if (top := tops[i]) is None else place(top))
            best = tops[self._order[0]]
            error = math.nan if best is None else best.at_best("validation_se")
            self._behind = {i for i, top in enumerate(tops) if best and top and self.metric.sign * (best.score - top.score) > error}
        return self._order

    # Races

    def race_on(self, configs: Sequence[Config], folds: Any) -> Race:
        """A race that measures what training costs on this machine, on these of the folds."""
        return self._race(configs, self.rows if len(folds) == len(self.folds) else self.data, folds)

    def race_of(self, configs: Sequence[Config]) -> Race:
        """A race of these configurations with the settings of a trial."""
        race = self._race(configs, self.rows, self.folds, patience=self.patience(), crew=self.crew)
        race.stretch(self.epochs)
        return race

    def _race(self, configs: Sequence[Config], rows: Dataset | Rows, folds: Any, patience: int | None = None, crew: Elsewhere | None = None) -> Race:
        asked, shared = self.settings, {"programs": self.programs, "crew": crew}
        return Race(configs, rows, folds, self.metric, patience=patience, memory=asked.memory, criterion=asked.criterion, **shared)

    @cached_property
    def rows(self) -> Rows:
        """What races know of the data."""
        return Rows(self.data, self.folds)

    def patience(self) -> int:
        """Checks without progress after which a trial stops: on few rows it may come only when the learning rate falls; of few runs each is whole."""
        share = 1.0 if self.few is not None else PATIENCE if len(self.folds[0][0]) >= FEW_ROWS else LONG_PATIENCE
        return max(10, round(share * self.longest))

    def start(self, configs: Sequence[Config], phase: str) -> Race:
        """A race of new trials; one runs at a time."""
        top = self.best()
        if top is not None and compiled(self, top.config.plan):
            measure(self, top.config.plan)
        if isinstance(self.journal, Journal):
            self.journal.start(self.asked, phase, self.epochs, self.clock.spent)
        self.first_epochs = self.first_epochs or dict(self.epochs)
        race = self.race = self.race_of(configs)
        self.enter(race.trials)
        self.phase, self.epoch = phase, 0.0
        return race

    def enter(self, trials: Sequence[Trial]) -> None:
        """Trials in the places of their numbers."""
        for trial in trials:
            self.trials[trial.config.number : trial.config.number + 1] = [trial]

    def advance(self, race: Race, epoch: float) -> None:
        """Bring the living trials of a race to the end of this epoch, or of the time.

        Raises:
            ConfigError: not one trial of the search can be used.
        """
        self.epoch = epoch
        for plan, members, epochs, seconds in race.epoch(epoch, self.clock.deadline(self.reserve()), self.tick):
            self.costs.observe(plan, self.each(members), epochs, seconds)
        if self.best() is None:
            race.check_all_failed()
        if self.journal is not None and self.journal.due():
            self.save()
        self.say(self.phase, self.share_done())

    def save(self) -> None:
        """Put the finished trials of the race on disk."""
        if self.journal is not None and self.race is not None:
            self.journal.add(self.race.trials, self._remembered, self.clock.spent)

    def _remembered(self) -> set[int]:
        """Numbers of the trials whose networks are kept."""
        usable = sorted((t for t in self.trials if t.score == t.score), key=best_first(self.metric.greater_is_better))
        return {t.config.number for t in usable[:REMEMBERED]}

    def close(self, status: str) -> None:
        """End what still runs, tell the sampler, write the trials."""
        race = self.race
        if race is None:
            return
        if status == "interrupted":  # what has not ended is trained again, if the search goes on later
            self.save()
        race.finish(status)
        said = [note for _, population, _ in race.groups for note in population.notes]
        self.over(race.trials, said, closed=status == "interrupted")

    def over(self, trials: Sequence[Trial], said: Sequence[str], *, closed: bool) -> None:
        """Trials of a race that is over: tell the sampler, write them, let go of networks that nothing will ask for again.

        Args:
            trials: of the race.
            said: what its populations had to say.
            closed: whether the journal has its end already, or is not to have one.
        """
        if self.journal is not None and not closed:
            self.journal.add(trials, self._remembered, self.clock.spent)
        top = self._best_of(trials)
        self.record, self.race, self._order, self._sorted = [] if top is None else [top], None, None, None
        for trial in trials:
            loss = trial.at_best("validation_loss")
            self.proposers[trial.config.plan.name].tell(trial.config.number, trial.level, pruned=trial.given_up, epochs=trial.epochs, loss=loss)
        self.ledger.write([(t.config, t.row()) for t in trials])
        self.notes += [note for note in dict.fromkeys([*self.programs.refusals(), *said]) if note not in self.notes]
        if self.settling:  # the networks of the configuration that further seeds choose need not be among the best
            return
        kept = self._remembered()
        for trial, outcome in ((t, o) for t in self.trials for o in t.outcomes):
            outcome.final = outcome.final if outcome.state is None and trial.score == trial.score else None
            outcome.state = outcome.state if trial.config.number in kept else None
        if self.journal is not None and not closed:
            self.journal.end({"rungs": self.rungs, "past": self.past}, kept, self.clock.spent)
