"""The rounds of one search: planned by trials or by measured time, and what follows them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from temperance.core.criterion import Criterion, Opaque, criterion_for
from temperance.core.errors import ConfigError
from temperance.data.dataset import Dataset
from temperance.data.splits import Split
from temperance.search.budget import Clock
from temperance.search.race import Race, Trial
from temperance.search.refit import Refit, control, from_search, refit
from temperance.search.result import Search
from temperance.search.score import predict, score_table
from temperance.search.space import Config, StaticPlan, default_strengths
from temperance.search.study import Ledger, Proposer
from temperance.train.metrics import Metric
from temperance.train.trace import REPAID

ROUND, KEPT = 32, 8
LATER = 0.3  # each plan's share of a later round, relative to the plan ranked before it
Progress = Callable[[Mapping[str, Any]], None]


class Engine:
    """The rounds of one search."""

    def __init__(
        self,
        plans: list[StaticPlan],
        data: Dataset,
        split: Split,
        metric: Metric,
        criterion: Criterion,
        seed: int,
        memory: str | int,
        limit: int | None,
        clock: Clock,
        ledger: Ledger,
        on_progress: Progress | None,
        refits: int,
        spare: float,
    ) -> None:
        self.plans, self.data, self.split, self.metric, self.criterion = plans, data, split, metric, criterion
        self.seed, self.memory, self.limit, self.clock, self.ledger, self.tell, self.refits, self.spare = (
            seed,
            memory,
            limit,
            clock,
            ledger,
            on_progress,
            refits,
            spare,
        )
        self.scored_by = criterion_for(str(data.task)) if isinstance(criterion, Opaque) else criterion
        self.folds = split.folds
        self.trials: list[Trial] = []
        self.rungs: list[dict[str, Any]] = []
        self.notes: list[str] = []
        self.race: Race | None = None
        self.proposers = {plan.name: Proposer(plan, seed + 17 * i, metric.greater_is_better, startup=12) for i, plan in enumerate(plans)}
        self.epochs = {plan.name: plan.epochs for plan in plans}
        self.cost = {plan.name: (0.0, 0.0) for plan in plans}
        self.steps = {plan.name: 1.0 for plan in plans}
        self.factor = 1.0
        self.search_start = self.clock.spent
        self.searched = 0.0
        self.epoch = 0

    def best(self) -> Trial | None:
        pool = [t for t in self.trials if t.score == t.score and any(o.usable for o in t.outcomes)]
        if not pool:
            return None
        sign = 1.0 if self.metric.greater_is_better else -1.0
        return max(pool, key=lambda t: sign * t.score)

    def say(self, phase: str, done: float) -> None:
        if self.tell is not None:
            top = self.best()
            self.tell(
                {
                    "phase": phase,
                    "done": done,
                    "left": self.clock.left(),
                    "trials": len(self.trials),
                    "best": None if top is None else top.score,
                    "metric": self.metric.name,
                }
            )

    # Time

    def calibrate(self) -> None:
        """Seconds a step of every plan, as a fixed part and a part a member, from a few steps of two populations; long runs are shortened."""
        for plan in self.plans:
            times: list[float] = []
            for members in (2, 10):
                race = Race(
                    [self.config(plan, -1 - i, {}, plan.lr[0]) for i in range(members)],
                    self.data,
                    self.folds[:1],
                    self.metric,
                    patience=10,
                    memory=self.memory,
                    criterion=self.criterion,
                )
                _, population, _ = race.groups[0]
                population.run(until=1)
                began = time.monotonic()
                population.run(until=4)
                times.append((time.monotonic() - began) / 3)
            steps = self.steps[plan.name] = race.rows / population.batch_size
            each = max((times[1] - times[0]) / 8, times[1] / 40)
            self.cost[plan.name] = (max(times[0] - 2 * each, 0.0) * steps, each * steps)
        for plan in self.plans:
            room = (self.clock.left(self.spare) - 2.0) * 0.12
            whole = self.seconds(plan, 2 * len(self.folds), self.epochs[plan.name])
            if whole > room:
                self.epochs[plan.name] = max(3.0, self.epochs[plan.name] * room / whole)

        short = [f"{p.name} {self.epochs[p.name]:.0f} of {p.epochs:g}" for p in self.plans if self.epochs[p.name] < 0.6 * p.epochs]
        if short:
            self.notes.append(f"for the budget, full runs are shorter than advised: {', '.join(short)} epochs; a longer budget may do better")

    def seconds(self, plan: StaticPlan, members: int, epochs: float) -> float:
        """Estimated seconds of training a population, checks included."""
        fixed, each = self.cost[plan.name]
        traced = epochs * self.steps[plan.name] > 2 * REPAID
        return 1.15 * self.factor * epochs * (fixed * (0.4 if traced else 1.0) + each * members) + (0.7 if traced else 0.1)

    def reserve(self) -> float:
        """Seconds that the refit, the control and the caller will need."""
        if self.clock.seconds is None:
            return 0.0
        top = self.best()
        plan = self.plans[0] if top is None else top.config.plan
        epochs = self.epochs[plan.name] if top is None else top.best_epoch
        last = self.epochs[plan.name] if top is None else top.epochs
        grown = 1.0 / (1.0 - 1.0 / max(len(self.folds), 5))
        return self.spare + 0.5 + 1.2 * (self.seconds(plan, self.refits, epochs) * grown + self.seconds(plan, len(self.folds), last))

    def round_size(self, first: bool) -> tuple[int, int]:
        """How many trials the next round starts with and how many go on, for the time left; zeros where none fits."""
        left = self.clock.left(self.reserve())
        if first:
            left *= 0.6
        shares = [1.0 / len(self.plans)] * len(self.plans) if first else self._weights()
        folds = len(self.folds)
        for kept in range(KEPT, 0, -1):
            start = max(4 * kept, 2 * len(self.plans) if first else 4)
            rung = sum(self.seconds(p, max(1, round(start * w)) * folds, self.rung(p)) for p, w in zip(self.plans, shares, strict=True) if start * w >= 0.5)
            rest = sum(
                self.seconds(p, max(1, round(kept * w)) * folds, self.mean_epochs(p) - self.rung(p))
                for p, w in zip(self.plans, shares, strict=True)
                if kept * w >= 0.3
            )
            if rung + rest <= left:
                return min(start, ROUND), kept
        return (2 * len(self.plans), 1) if first else (0, 0)

    def mean_epochs(self, plan: StaticPlan) -> float:
        """Epochs of a full run, over the lengths that trials are given."""
        return max(self.epochs[plan.name] * sum(plan.lengths) / len(plan.lengths), self.rung(plan) + 1.0)

    def rung(self, plan: StaticPlan) -> int:
        """The epoch after which the best go on: the first, or a twentieth of a long run."""
        return max(1, round(self.epochs[plan.name] / 20))

    # Rounds

    def config(self, plan: StaticPlan, number: int, strengths: Mapping[str, float], lr: float) -> Config:
        return Config(number, plan, {**default_strengths(plan.cocktail, ()), **strengths}, lr, self.seed * 1000 + 7)

    def propose(self, count: int, first: bool) -> list[Config]:
        """Configurations of one round, shared out over the plans."""
        shares = self._shares(count)
        out: list[Config] = []
        for plan, share in zip(self.plans, shares, strict=True):
            proposer = self.proposers[plan.name]
            for i in range(share):
                number = len(self.trials) + len(out)
                seed = self.seed * 1000 + 7
                lr, middle = plan.optimizer.hypers()["lr"], plan.lengths[len(plan.lengths) // 2]
                if first and i == 0:
                    out.append(
                        proposer.ask(
                            number,
                            seed,
                            plan.cocktail.strengths() if not plan.likely_on else {**default_strengths(plan.cocktail, ()), **plan.likely_on},
                            lr,
                            middle,
                        )
                    )
                elif first and i == 1:
                    out.append(proposer.ask(number, seed, default_strengths(plan.cocktail, ()), lr, middle))
                else:
                    out.append(proposer.ask(number, seed))
        return out

    def _weights(self) -> list[float]:
        """The share of each plan in the next round: equal at first, then falling with its rank."""
        n = len(self.plans)
        sign = 1.0 if self.metric.greater_is_better else -1.0
        tops = [max((sign * t.score for t in self.trials if t.config.plan is plan and t.score == t.score), default=-math.inf) for plan in self.plans]
        order = sorted(range(n), key=lambda i: -tops[i])
        raw = [1.0 if not self.trials else LATER ** order.index(i) for i in range(n)]
        return [w / sum(raw) for w in raw]

    def _shares(self, count: int) -> list[int]:
        weights = self._weights()
        shares = [int(count * w) for w in weights]
        order = sorted(range(len(weights)), key=lambda i: -weights[i])
        for i in range(count - sum(shares)):
            shares[order[i % len(order)]] += 1
        return shares

    def run(self) -> None:
        """Rounds until the trials or the time are spent."""
        if self.clock.seconds is not None:
            self.say("measuring", 0.0)
            self.calibrate()
        number = 0
        while True:
            wanted = ROUND if self.limit is None else min(ROUND, self.limit - len(self.trials))
            kept = max(1, KEPT * wanted // ROUND)
            if wanted <= 0:
                break
            if self.clock.seconds is not None:
                fits, kept = self.round_size(first=number == 0)
                wanted = min(wanted, fits)
                if wanted <= 0:
                    break
            self._round(number, wanted, kept)
            number += 1
        self.searched = self.clock.spent - self.search_start

    def _round(self, number: int, wanted: int, kept: int) -> None:
        configs = self.propose(wanted, first=number == 0)
        longest = max(self.epochs.values())
        rung = max(self.rung(plan) for plan in self.plans)
        race = self.race = Race(
            configs, self.data, self.folds, self.metric, patience=max(10, round(0.7 * longest)), memory=self.memory, criterion=self.criterion
        )
        race.stretch(self.epochs)
        self.trials.extend(race.trials)
        last = math.ceil(longest) + 1
        after_rung, rest = 0.0, 0.0
        began, guess = (
            time.monotonic(),
            sum(self.seconds(plan, len(trials) * len(self.folds), rung) for plan, _, trials in race.groups) if self.clock.seconds is not None else 0.0,
        )
        for epoch in range(1, last + 1):
            self.epoch = epoch
            race.epoch(epoch, self.clock.deadline(self.reserve()), lambda: self.say(f"round {number + 1}", self._done()))
            if epoch == 1 and self.best() is None:
                race.check_all_failed()
            if epoch == rung:
                if guess:
                    self.factor *= min(max((time.monotonic() - began) / guess, 0.4), 2.5)
                alive = len(race.alive)
                race.keep(kept, rung, every_plan=number == 0 and kept >= len(self.plans))
                self.rungs.append({"round": number + 1, "epoch": rung, "members": alive, "kept": len(race.alive)})
                if guess:
                    after_rung = time.monotonic()
                    rest = sum(
                        self.seconds(plan, sum(t.alive for t in trials) * len(self.folds), self.mean_epochs(plan) - rung)
                        for plan, _, trials in race.groups
                        if any(t.alive for t in trials)
                    )
            self.say(f"round {number + 1}", self._done())
            if not race.alive or self.clock.left(self.reserve()) <= 0:
                break
        if rest and not race.alive:
            self.factor *= min(max((time.monotonic() - after_rung) / rest, 0.5), 2.0) ** 0.5
        self.finish_round("finished" if not race.alive else "out of time")
        self.rungs.append({"round": number + 1, "epoch": round(longest), "members": min(kept, len(configs)), "kept": 1})

    def finish_round(self, status: str) -> None:
        """End what still runs, tell the sampler, write the trials."""
        race = self.race
        if race is None:
            return
        race.finish(status)
        for trial in race.trials:
            dropped = trial.status.startswith(("dropped", "not started"))
            self.proposers[trial.config.plan.name].tell(trial.config.number, trial.score, pruned=dropped)
        self.ledger.write([(t.config, t.row()) for t in race.trials])
        self.race = None

    def _done(self) -> float:
        """The share of the work that is done, up to the refit."""
        running = 0 if self.race is None else len(self.race.trials)
        inside = 0.0 if self.race is None else running * min(1.0, self.epoch / max(self.epochs.values()))
        by_trials = 0.0 if self.limit is None else 0.9 * (len(self.trials) - running + inside) / self.limit
        by_time = 0.0 if self.clock.seconds is None else self.clock.spent / self.clock.seconds
        return min(0.99, max(by_trials, by_time))

    # The end

    def result(self, ended: str, retrain: str | None) -> Search:
        """Refit the winner, train its control, score on untouched rows."""
        top = self.best()
        if top is None:
            if self.clock.seconds is not None and not any(o.steps for t in self.trials for o in t.outcomes):
                raise ConfigError(f"The budget of {self.clock.seconds:g} seconds was spent before the first evaluation was finished. Give it more time.")
            raise ConfigError("No trial of the search can be used. Check the data, or lower the learning rates.")
        data, split, task = self.data, self.split, str(self.data.task)
        assert top.population is not None
        began = time.monotonic()
        total = top.population.total_steps
        self.say("refit", self._done())
        everything = np.sort(np.unique(np.concatenate([np.concatenate(pair) for pair in self.folds])))
        made: Refit | None = None
        without: Trial | None = None
        notes = list(self.notes)
        try:
            if retrain is not None and ended == "done":
                deadline = self.clock.deadline(self.spare * 0.7)
                made = refit(
                    top,
                    data.take(everything),
                    how=retrain,
                    members=self.refits,
                    memory=self.memory,
                    total_steps=total,
                    first_steps=top.best_step,
                    criterion=self.criterion,
                    metric=self.metric,
                    task=task,
                    deadline=deadline,
                )
                if made.how == "none":
                    why = "diverged" if self.clock.left(self.spare * 0.7) > 0 else "ran out of time"
                    notes.append(f"the refit {why}; the model is the best state of the search")
                late = self.clock.seconds is not None and self.clock.left(self.spare) < self.seconds(top.config.plan, len(self.folds), top.epochs)
                folds = self.folds[:1] if late else self.folds
                without = control(
                    top,
                    data,
                    folds,
                    memory=self.memory,
                    total_steps=total,
                    criterion=self.criterion,
                    metric=self.metric,
                    deadline=self.clock.deadline(self.spare * 0.7),
                )
        except KeyboardInterrupt:
            ended = "interrupted"
        made = made or from_search(top, task)
        scores: dict[str, dict[str, float]] = {}
        held = self.untouched()
        if held is not None:
            assert isinstance(held.y, torch.Tensor)
            scores = score_table(predict(made.model, self.scored_by, held.x), held.y, task, weight=held.weight, seed=self.seed)
        gap = self._gap(top, without)
        timing = {"search": self.searched, "refit": time.monotonic() - began}
        return Search(made.model, top, self.trials, self.metric, self.scored_by, split, scores, gap, made, self.rungs, ended, timing, without, notes)

    def untouched(self) -> Dataset | None:
        """The test rows that have a target."""
        rows = torch.as_tensor(self.split.test, dtype=torch.long)
        if isinstance(self.data.labeled, torch.Tensor):
            rows = rows[self.data.labeled[rows]]
        return self.data.take(rows) if len(rows) else None

    def _gap(self, top: Trial, without: Trial | None) -> dict[str, Any]:
        held = self.untouched()

        def part(trial: Trial) -> dict[str, float]:
            assert trial.population is not None
            out = {"train": trial.curve("train_score")[trial.best], "validation": trial.score}
            usable = [i for i in trial.indices if trial.population.outcomes[i].usable]
            if held is not None and usable:
                assert isinstance(held.y, torch.Tensor)
                weight = torch.ones(len(held)) if held.weight is None else held.weight
                scores = [float(self.metric(predict(trial.population.module(i), self.scored_by, held.x), held.y, weight)) for i in usable]
                out["test"] = sum(scores) / len(scores)
            return out

        gap: dict[str, Any] = {
            "metric": self.metric.name,
            "n_train_clean": min(2000, len(self.folds[0][0])),
            "n_validation": len(self.folds[0][1]),
            "n_test": len(self.split.test),
        }
        gap["with"] = part(top)
        if without is not None and without.best >= 0:
            gap["without"] = part(without)
            gap["note"] = "the same network, seed, rows, steps and early stopping with every strength off; both trained on the training rows alone"
        return gap
