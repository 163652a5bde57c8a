"""Trials that race: they train in step, some are dropped on the way, the others go on."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from temperance.core.errors import ConfigError
from temperance.core.shown import shown
from temperance.data.dataset import Dataset
from temperance.search.programs import Programs, settings_of
from temperance.search.space import Config, StaticPlan
from temperance.train.member import Member
from temperance.train.metrics import Metric
from temperance.train.outcome import Outcome
from temperance.train.population import Population
from temperance.train.stopping import EarlyStopping

STRIDE = 64  # steps
LOST = "lost"  # with the worker that trained it
Folds = Sequence[tuple[Any, Any]]


class Trained(Protocol):
    """What is asked of a population once it is trained."""

    outcomes: list[Outcome]
    total_steps: int

    def model(self, index: int, state: dict[str, Tensor] | None = None) -> nn.Module:
        """A plain network with a member's best state."""
        ...


class Elsewhere(Protocol):
    """Workers that train populations in other processes."""

    def population(self, *arguments: Any, **settings: Any) -> Population:
        """What does in a race as a population of these arguments does, with the same bits."""
        ...

    def begin(self, population: Population, until: int) -> None:
        """Have a population train to a step without waiting for it; its ``run`` does."""
        ...

    def size(self) -> int:
        """How many workers there are."""
        ...


@shown
@dataclass(eq=False)
class Trial:
    """A configuration and what became of it: over folds, the mean of the curves.

    Attributes:
        config: what was trained.
        outcomes: one per fold.
        status: how it ended.
        best: index of the best check of the mean curve.
        rule: the stopping rule in force.
    """

    config: Config
    outcomes: list[Outcome] = field(default_factory=list)
    status: str = "running"
    best: int = -1
    rule: EarlyStopping | None = None
    population: Trained | None = field(default=None, repr=False)
    indices: tuple[int, ...] = ()

    def checks(self) -> int:
        """How many checks all folds have reached at the same step: at the end of the time they may stand at different ones."""
        n = min((len(o.history) for o in self.outcomes), default=0)
        return next((i for i in range(n) if len({o.history[i]["step"] for o in self.outcomes}) > 1), n)

    def curve(self, key: str = "validation_score") -> list[float]:
        """The mean over folds at every check that all folds have reached."""
        n = self.checks()
        return [sum(float(o.history[i][key]) for o in self.outcomes) / len(self.outcomes) for i in range(n)]

    @property
    def score(self) -> float:
        return self.at_best("validation_score")

    @property
    def given_up(self) -> bool:
        """Whether it was dropped, never begun or lost."""
        return self.status.startswith(("dropped", "not started", LOST))

    @property
    def level(self) -> float:
        """The score as trials are compared by it: see :func:`levels`."""
        return levels([self.score], len(self.outcomes))[0]

    def at_best(self, key: str) -> float:
        """A number of the best check: the mean over folds, of a standard error that of the mean; NaN before the first check."""
        if self.best < 0 or any(len(o.history) <= self.best for o in self.outcomes):
            return math.nan
        values = [float(o.history[self.best].get(key, math.nan)) for o in self.outcomes]
        return math.hypot(*values) / len(values) if key == "validation_se" else sum(values) / len(values)

    @property
    def best_epoch(self) -> float:
        return 0.0 if self.best < 0 else float(self.outcomes[0].history[self.best]["epoch"])

    @property
    def best_step(self) -> int:
        return 0 if self.best < 0 else int(self.outcomes[0].history[self.best]["step"])

    @property
    def epochs(self) -> float:
        history = self.outcomes[0].history if self.outcomes else []
        return float(history[-1]["epoch"]) if history else 0.0

    @property
    def alive(self) -> bool:
        return self.status == "running"

    def history(self) -> list[dict[str, Any]]:
        """The checks, numbers averaged over folds."""
        n = self.checks()
        return [{key: sum(float(o.history[i][key]) for o in self.outcomes) / len(self.outcomes) for key in self.outcomes[0].history[i]} for i in range(n)]

    def row(self) -> dict[str, Any]:
        """The trial for tables."""
        return {
            "trial": self.config.number,
            "score": self.score,
            "status": self.status,
            "epochs": round(self.epochs, 3),
            "steps": max((o.steps for o in self.outcomes), default=0),
            "checked": self.outcomes[0].history[n - 1]["step"] if (n := self.checks()) else 0,
            "best_epoch": round(self.best_epoch, 3),
            "plan": self.config.plan.name,
            "strengths": dict(self.config.strengths),
            "learning_rate": self.config.lr,
            "seed": self.config.seed,
            "length": self.config.length,
            "planned_steps": 0 if self.population is None else self.population.total_steps,
            "compiled": any(o.compiled for o in self.outcomes),
        }


def levels(scores: Sequence[float], folds: int) -> list[float]:
    """Scores so that equal ones are equal: means over several folds to six digits, because the same number of right rows in other folds rounds otherwise.

    Example:
        >>> levels([0.95000001, 0.95], 5), levels([0.95000001, 0.95], 1)
        ([0.95, 0.95], [0.95000001, 0.95])
    """
    return [float(f"{s:.6g}") for s in scores] if folds > 1 else list(scores)


def best_first(greater: bool) -> Callable[[Trial], tuple[bool, float, float]]:
    """The key that sorts trials best first: by score, equal ones by validation loss, those without a score last."""
    sign = -1.0 if greater else 1.0

    def key(trial: Trial) -> tuple[bool, float, float]:
        score, loss = trial.level, trial.at_best("validation_loss")
        return (score != score, 0.0 if score != score else sign * score, math.inf if loss != loss else loss)

    return key


def steps_an_epoch(rows: int, batch_size: int) -> float:
    """Steps in which so many rows are seen once.

    Example:
        >>> steps_an_epoch(160, 64), steps_an_epoch(40, 64)
        (2.5, 1.0)
    """
    return rows / min(batch_size, rows)


def stopping_rule(patience: int | None) -> EarlyStopping:
    """The rule of so many checks without improvement; with ``None`` all steps are done."""
    return EarlyStopping(patience=f"{patience or 10**9} evals", optimum=patience is not None)


def scored(rows: int) -> int:
    """How many of so many training rows are scored at every check, for curves; the gap of the result is measured on more.

    A quarter costs a twelfth of the training between two checks.

    Example:
        >>> scored(100), scored(1000), scored(100_000)
        (100, 250, 512)
    """
    return min(rows, max(128, rows // 4), 512)


def judge(trial: Trial, rule: EarlyStopping, metric: Metric, total_steps: int) -> None:
    """Set a trial's best check, of equal ones that of the lowest loss, and its status, from its mean curve."""
    ended = [o.status for o in trial.outcomes if o.status.startswith("diverged")]
    if ended:
        trial.status, trial.best = ended[0], -1
        return
    lost = next((o.status for o in trial.outcomes if o.status.startswith(LOST)), None)
    trial.status = lost or trial.status
    scores = levels(trial.curve(), len(trial.outcomes))
    if not scores:
        return
    history = trial.outcomes[0].history[: len(scores)]
    verdict = rule.decide(scores, [row["epoch"] for row in history], [row["step"] for row in history], greater=metric.greater_is_better, optimum=metric.optimum)
    losses = trial.curve("validation_loss")
    trial.best = min(
        (i for i, s in enumerate(scores) if verdict.best >= 0 and s == scores[verdict.best]), key=lambda i: (losses[i] != losses[i], losses[i]), default=-1
    )
    if lost is not None:
        return
    if verdict.stop:
        trial.status = f"stopped: {verdict.why}"
    elif history[-1]["step"] >= max(1, round(total_steps * trial.config.length)):
        trial.status = "finished"


def seen(data: Dataset, folds: Folds) -> tuple[Dataset, Folds]:
    """The rows that the folds name, and the folds among these: what a race knows of the data, test rows not even in its scales."""
    rows = np.unique(np.concatenate([np.concatenate(pair) for pair in folds]))
    return data.take(rows), [(np.searchsorted(rows, a), np.searchsorted(rows, b)) for a, b in folds]


class Rows:
    """What the races of a search know of the data: the rows that train, those held out where there is one fold, and the folds."""

    def __init__(self, data: Dataset, folds: Folds) -> None:
        self.train, self.folds = seen(data, folds)
        self.held: Dataset | None = None
        if len(folds) == 1:
            known = self.train
            self.train, self.held = known.take(self.folds[0][0]), known.take(self.folds[0][1])


class Race:
    """Trials of one wave: a population for each static plan, in step by epochs.

    Args:
        configs: the trials.
        data: all rows that the search may see, or what races of the same folds have made of them.
        folds: pairs (train, validation) of positions; one pair is a hold-out.
        metric: what decides.
        patience: checks without improvement of the mean curve after which a trial stops, or ``None`` where all steps are to be done.
        memory: setting for the populations.
        criterion: the loss.
        programs: compiled steps to use and add to.
        crew: whose workers train; this process without.
    """

    def __init__(
        self,
        configs: Sequence[Config],
        data: Dataset | Rows,
        folds: Folds,
        metric: Metric,
        *,
        patience: int | None,
        memory: str | int,
        criterion: Any = None,
        programs: Programs | None = None,
        crew: Elsewhere | None = None,
    ) -> None:
        known = data if isinstance(data, Rows) else Rows(data, folds)
        train, held, folds = known.train, known.held, known.folds
        self.metric, self.folds, self.crew = metric, folds, crew
        populate = Population if crew is None else crew.population
        pairs = [(torch.as_tensor(a), torch.as_tensor(b)) for a, b in folds]
        self.rule = stopping_rule(patience)
        self.trials = [Trial(config, rule=self.rule) for config in configs]
        self.rows = len(train) if held is not None else len(folds[0][0])
        self.groups: list[tuple[StaticPlan, Population, list[Trial]]] = []
        plans: dict[int, list[Trial]] = {}
        for trial in self.trials:
            plans.setdefault(id(trial.config.plan), []).append(trial)
        for trials in plans.values():
            plan = trials[0].config.plan
            members: list[Member] = []
            for trial in trials:
                initial = plan.initial(trial.config.seed)
                trial.indices = tuple(range(len(members), len(members) + len(folds)))
                for f, (a, b) in enumerate(pairs):
                    rows = {} if held is not None else {"rows": a, "validation": b}
                    members.append(trial.config.member(initial=initial, name=f"trial {trial.config.number}" + (f" fold {f}" if len(folds) > 1 else ""), **rows))
            population = populate(
                plan.build(trials[0].config.seed),
                members,
                train,
                held,
                criterion=criterion,
                metric=metric,
                batch_size=plan.batch_size,
                total_steps=max(1, round(plan.epochs * self.steps_an_epoch(plan))),
                check_every=max(1, round(self.steps_an_epoch(plan))),
                early_stopping=self.rule if len(folds) == 1 and patience is not None else None,
                memory=memory,
                clean_rows=scored(self.rows),
                **settings_of(programs, plan),
            )
            for trial in trials:
                trial.population, trial.outcomes = population, [population.outcomes[i] for i in trial.indices]
            self.groups.append((plan, population, trials))

    @property
    def alive(self) -> list[Trial]:
        return [trial for trial in self.trials if trial.alive]

    @property
    def stride(self) -> int:
        """Epochs to the next judgment: one where folds are judged by their mean curve; on few rows more, so that groups seldom wait for each other."""
        if len(self.folds) > 1:
            return 1
        return max(1, round(STRIDE / max(self.steps_an_epoch(plan) for plan, _, _ in self.groups)))

    def steps_an_epoch(self, plan: StaticPlan) -> float:
        """Steps in which the first fold's rows are seen once: a trial is judged on all folds at the same steps."""
        return steps_an_epoch(self.rows, plan.batch_size)

    def stretch(self, epochs: dict[str, float]) -> None:
        """Plan another number of epochs, by the name of the static plan; before training has gone far."""
        for plan, population, _ in self.groups:
            population.plan_steps(max(1, round(epochs[plan.name] * self.steps_an_epoch(plan))))

    def epoch(self, number: float, deadline: float | None, tick: Callable[[], None] | None = None) -> list[tuple[StaticPlan, int, float, float]]:
        """Bring every living trial to the end of this epoch, judge and stop.

        Returns:
            for every static plan that trained: the plan, its members, their epochs and the seconds.
        """
        spent: list[tuple[StaticPlan, int, float, float]] = []
        if self.crew is not None and deadline is None:  # the trials of every plan at once, not one plan after another
            for plan, population, trials in self.groups:
                if any(trial.alive for trial in trials):
                    self.crew.begin(population, self._steps(plan, population, number))
        for plan, population, trials in self.groups:
            if not any(trial.alive for trial in trials):
                continue
            population.compile()
            alive, before, began = population.alive, population.step, time.monotonic()
            steps = self._steps(plan, population, number)
            population.run(steps, deadline=deadline, on_progress=None if tick is None else lambda _: tick())
            going = set(population.alive)
            for trial in trials:
                if trial.alive:
                    judge(trial, self.rule, self.metric, population.total_steps)
            population.keep([i for trial in trials if trial.alive for i in trial.indices], "stopped")
            if deadline is not None and time.monotonic() >= deadline:
                break
            seconds, asked = time.monotonic() - began, steps - before
            trained = sum(asked if i in going else population.outcomes[i].steps - before for i in alive)  # those that stop on the way train less
            spent.append((plan, max(1, round(trained / max(asked, 1))), asked / self.steps_an_epoch(plan), seconds))
        return spent

    def _steps(self, plan: StaticPlan, population: Population, number: float) -> int:
        """The step at the end of an epoch."""
        return min(population.total_steps, max(1, round(number * self.steps_an_epoch(plan))))

    def rank(self, trials: Sequence[Trial] | None = None) -> list[Trial]:
        """Best first, of equal ones that of the lowest validation loss; those without a score last."""
        return sorted(self.trials if trials is None else trials, key=best_first(self.metric.greater_is_better))

    def go_on(self, chosen: Sequence[Trial], epoch: int) -> None:
        """Go on with these of the living; the others are dropped."""
        for trial in self.alive:
            if trial not in chosen:
                trial.status = f"dropped at epoch {epoch}"
        for _, population, trials in self.groups:
            population.keep([i for trial in trials if trial.alive for i in trial.indices], "dropped")

    def finish(self, status: str = "finished") -> None:
        """End whatever still runs."""
        for trial in self.trials:
            if trial.alive:
                trial.status = status if trial.best >= 0 else "not started"
        for _, population, _ in self.groups:
            population.end(status)

    def judge(self) -> None:
        """Judge what there is: after an interruption, the checks since the last epoch's end."""
        for _, population, trials in self.groups:
            for trial in trials:
                if trial.alive:
                    judge(trial, self.rule, self.metric, population.total_steps)

    def check_all_failed(self) -> None:
        """Fail fast: if not one trial of the race can be used, say why.

        Raises:
            ConfigError: with the first trial's cause.
        """
        if all(trial.status.startswith("diverged") for trial in self.trials):
            raise ConfigError(
                f"Every trial failed; the first one {self.trials[0].status}. Check the scale of the inputs and targets, or lower the learning rates."
            )
