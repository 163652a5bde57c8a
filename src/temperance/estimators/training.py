"""From encoded rows and a split to a plain network: a cocktail is searched, or a given one trained."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from temperance.core.cocktail import Cocktail
from temperance.core.criterion import Criterion, criterion_for
from temperance.core.errors import ConfigError
from temperance.core.regularizer import Regularizer
from temperance.data import Split
from temperance.data.dataset import Dataset
from temperance.estimators.explaining import Basis
from temperance.estimators.report import Report, Trained
from temperance.nets import Average
from temperance.search.image_plans import image_plans
from temperance.search.kadra import SPACES
from temperance.search.plans import image_channels, network_plans, table_network, table_spec, tabular_plans, unlabeled_rows
from temperance.search.programs import Programs
from temperance.search.race import Trial
from temperance.search.refit import Refit, from_search, refit
from temperance.search.score import counted, predict
from temperance.search.search import replay_member, search_plans
from temperance.search.space import Config, StaticPlan
from temperance.train.follow import follow
from temperance.train.member import Member
from temperance.train.metrics import Metric
from temperance.train.outcome import history_frame
from temperance.train.population import Population
from temperance.train.recipe import Recipe

SMALL = 500
SMALL_HIDDEN = (64, 64)
SMALL_EPOCHS = 40.0
SMALL_RATE, SMALL_RATES = 5e-3, (1e-3, 2e-2)


@dataclass(frozen=True)
class Effort:
    """How long and with what an estimator trains; ``None`` is chosen by the size of the data."""

    trials: int
    steps: int | None
    epochs: float | None
    batch_size: int | None
    lr: float | None
    early_stopping: bool
    refits: int
    memory: str | int
    seed: int
    verbose: int
    device: torch.device | None = None
    precision: str = "fp32"


def static_plans(
    build: Callable[[Dataset], nn.Module] | None,
    data: Dataset,
    rows: np.ndarray,
    fold_rows: int,
    effort: Effort,
    *,
    use: Sequence[str | Regularizer] = (),
    without: Sequence[str] = (),
    folds: int = 1,
    space: str | None = None,
) -> list[StaticPlan]:
    """A space by name, anyone's own network, the plans for images, one small network for less than 500 rows, or the plans for tables.

    Their lengths are those asked for.

    Args:
        build: makes the network, or ``None``.
        data: all rows.
        rows: positions of the rows that the final training uses.
        fold_rows: rows of one training run of the search.
        effort: the settings.
        use: regularizers wanted beside the default ones.
        without: regularizers to leave out.
        folds: networks of a trial.
        space: a key of :data:`temperance.search.kadra.SPACES`, or ``None``.
    """
    n = len(rows)
    small = n < SMALL and space is None
    if space is not None:
        plans = SPACES[space](data, rows.tolist(), use=use, without=without)
    elif build is not None:
        plans = network_plans(build, data, use=use, without=without)
    elif image_channels(data):
        plans = image_plans(data, rows.tolist(), folds=folds, use=use, without=without)
    elif n >= SMALL:
        plans = tabular_plans(data, rows.tolist(), use=use, without=without)
    else:
        made = network_plans(partial(table_network, hidden=SMALL_HIDDEN), data, use=use, without=without, lr=SMALL_RATES)[0]
        words = f"MLP {'-'.join(map(str, SMALL_HIDDEN))}, plain numbers"
        spec = table_spec(data, hidden=SMALL_HIDDEN)
        plans = [replace(made, name="small", network=words, optimizer=made.optimizer.replace(lr=SMALL_RATE), spec=spec)]
    out: list[StaticPlan] = []
    for plan in plans:
        size = effort.batch_size or (min(32, max(4, n // 4)) if small else plan.batch_size)
        epochs = effort.epochs or (SMALL_EPOCHS if small else plan.epochs)
        if effort.steps is not None:
            epochs = effort.steps * min(size, fold_rows) / fold_rows
        rate = effort.lr
        if rate is not None:
            plan = replace(plan, lr=(rate, rate), optimizer=plan.optimizer.replace(lr=rate))
        if effort.steps is not None or effort.epochs is not None:
            plan = replace(plan, lengths=(1.0,))
        out.append(replace(plan, batch_size=size, epochs=epochs))
    return out


def train(
    data: Dataset,
    split: Split | None,
    metric: Metric,
    effort: Effort,
    *,
    cocktail: Cocktail | None = None,
    build: Callable[[Dataset], nn.Module] | None = None,
    use: Sequence[str | Regularizer] = (),
    without: Sequence[str] = (),
    keep_apart: bool = False,
    criterion: Criterion | None = None,
    space: str | None = None,
    groups: np.ndarray | None = None,
) -> Trained:
    """A plain network, what led to it, its curves, and what explains it.

    Args:
        data: all rows.
        split: which of them validate; ``None`` trains on all without looking.
        metric: what decides.
        effort: how long, how often, with which seed.
        cocktail: the regularizers; searched if ``None``.
        build: the network; by the size of the data if ``None``.
        use: regularizers to search over beside the default ones.
        without: regularizers to leave out of the search.
        keep_apart: the validation rows are never trained on.
        criterion: the loss; the task's default if ``None``.
        space: the search space by name, in place of the usual one.
        groups: of the rows, where those of one stay together.

    Raises:
        ConfigError: settings that cannot work, a cocktail that the network cannot take, or training that diverged.
    """
    loss = criterion_for(data.task) if criterion is None else criterion
    everyone = split.train if split is not None and keep_apart else np.arange(len(data))
    fold_rows = len(everyone) if split is None else len(split.folds[0][0])
    folds = 1 if split is None else len(split.folds)
    plans = static_plans(build, data, everyone, fold_rows, effort, use=use, without=without, folds=folds, space=space)
    if cocktail is not None:
        # one network has time for convolutions, the last of the plans for images
        found = _with_cocktail(cocktail, plans[-1 if image_channels(data) else 0], data, split, metric, effort, loss)
    else:
        assert split is not None
        found = _searched(plans, data, split, metric, effort, loss)
    trial, config, notes = found.trial, active_only(found.config), found.notes
    if trial is not None and not trial.score == trial.score:
        raise ConfigError(f"Training with the given cocktail failed: {trial.status}. Lower the learning rate or the strengths, or check the scale of the data.")
    made, ended = _final(replace(found, config=config), data.take(everyone), fold_rows, metric, effort, loss, keep_apart)
    if isinstance(data.labeled, Tensor) and not data.labeled.all():
        notes.append(unlabeled_rows(data, config.cocktail))
    report = Report(
        _table(found.trials),
        config.number,
        config.cocktail,
        config.plan.network,
        config.lr,
        config.plan.batch_size,
        metric.name,
        math.nan if trial is None else trial.score,
        math.nan if trial is None else trial.best_epoch,
        "no row validates" if split is None else split.reason,
        found.rungs,
        made.how,
        made.steps,
        notes,
        ended == "interrupted",
    )
    curves = [history_frame([] if trial is None else trial.outcomes, run="validation"), history_frame(made.outcomes, run="final")]
    plan = found.config.plan
    steps = _planned(plan, fold_rows, 1.0) if trial is None or trial.population is None else trial.population.total_steps
    basis = Basis(found.config, steps, data, split, metric, loss, cocktail is None, groups)
    return Trained(made.model, report, pd.concat([frame for frame in curves if len(frame)], ignore_index=True), basis)


@dataclass(frozen=True, eq=False)
class _Found:
    """The configuration to train in the end, the trial that it comes from (``None``: no row validates), and how its search went."""

    config: Config
    trial: Trial | None = None
    trials: list[Trial] = field(default_factory=list)
    ended: str = "done"
    rungs: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def _with_cocktail(cocktail: Cocktail, plan: StaticPlan, data: Dataset, split: Split | None, metric: Metric, effort: Effort, loss: Criterion) -> _Found:
    config = Config(0, replace(plan, cocktail=cocktail), cocktail.strengths(), plan.optimizer.hypers()["lr"], effort.seed)
    if split is None:
        return _Found(config)
    patience = max(8, round(0.3 * plan.epochs)) if effort.early_stopping else 10**9  # as in the search; no end without early stopping
    programs = Programs(True, effort.device, effort.precision)
    trial = replay_member(config, data, split.folds, metric, patience=patience, memory=effort.memory, criterion=loss, programs=programs, keep=True)
    return _Found(config, trial, [trial], "interrupted" if trial.status == "interrupted" else "done")


def _searched(plans: list[StaticPlan], data: Dataset, split: Split, metric: Metric, effort: Effort, loss: Criterion) -> _Found:
    found = search_plans(
        plans,
        data,
        trials=effort.trials,
        metric=metric,
        seed=effort.seed,
        split=split,
        criterion=loss,
        retrain=None,
        memory=effort.memory,
        on_progress=_Printer() if effort.verbose else None,
        device=effort.device,
        precision=effort.precision,
    )
    return _Found(found.winner.config, found.winner, found.trials, found.ended, found.rungs, list(found.notes))


def _final(found: _Found, rows: Dataset, fold_rows: int, metric: Metric, effort: Effort, loss: Criterion, keep_apart: bool) -> tuple[Refit, str]:
    """The network to keep, and how its training ended."""
    trial, config, task = found.trial, found.config, rows.task
    if trial is not None and found.ended == "interrupted":
        return from_search([trial], task), found.ended
    try:
        if trial is None or not effort.early_stopping:
            return _all_steps(config, rows, fold_rows, effort, metric, loss)
        if keep_apart and effort.refits == 1:
            return from_search([trial], task), found.ended
        again, programs = [replace(trial, config=config)] * effort.refits, Programs(True, effort.device, effort.precision)
        made = refit(again, rows, how="same_epochs", memory=effort.memory, criterion=loss, metric=metric, task=task, programs=programs)
    except KeyboardInterrupt:
        if trial is None:
            raise
        return from_search([trial], task), "interrupted"
    if made.how == "none":
        found.notes.append("the final training diverged; the model is the best state on the validation rows")
    return made, found.ended


def train_recipe(
    recipe: Recipe,
    data: Dataset,
    held: Dataset | None,
    metric: Metric,
    *,
    build: Callable[[Dataset], nn.Module] | None,
    seed: int | None,
    memory: str | int,
    device: torch.device | None = None,
    precision: str = "fp32",
) -> Trained:
    """The networks of a recipe, trained on all rows; ``held`` ones are scored."""
    made = follow(recipe, data, held, build=build, seed=seed, metric=metric, memory=memory, anew=True, device=device, precision=precision)
    score = math.nan
    if held is not None:
        assert isinstance(held.y, Tensor)
        score = float(metric(predict(made.model, criterion_for(data.task), held.x), held.y, counted(held)))
    first = recipe.courses[0]
    several = f", mean of {len(made.networks)} networks" if len(made.networks) > 1 else ""
    network = ("a network of your own" if first.network is None else str(first.network["network"])) + several
    rows = "no row validates" if held is None else f"{len(held)} rows of X_val are scored and decide nothing"
    report = Report(
        pd.DataFrame(),
        0,
        recipe.cocktail,
        network,
        first.optimizer.hypers()["lr"],
        first.batch_size,
        metric.name,
        score,
        math.nan,
        rows,
        [],
        "recipe",
        made.outcomes[0].steps,
        [],
    )
    return Trained(made.model, report, history_frame(made.outcomes, run="final"))


def active_only(config: Config) -> Config:
    """The same trial without the regularizers that are off: bit for bit the same training, in fewer operations."""
    off = [label for label, regularizer in config.cocktail.items() if regularizer.is_off()]
    cocktail = config.plan.cocktail
    for label in off:
        cocktail = cocktail.without(label)
    strengths = {name: value for name, value in config.strengths.items() if name.split(".")[0] not in off}
    return replace(config, plan=replace(config.plan, cocktail=cocktail), strengths=strengths)


def _all_steps(config: Config, data: Dataset, fold_rows: int, effort: Effort, metric: Metric, loss: Criterion) -> tuple[Refit, str]:
    """Train on all rows for the planned length, once per seed; and how that ended."""
    plan, rows = config.plan, len(data) if effort.steps is None else fold_rows
    steps = _planned(plan, rows, config.length)
    members: list[Member] = []
    for seed in range(config.seed, config.seed + effort.refits):
        members.append(config.member(length=1.0, seed=seed, initial=plan.initial(seed), name=f"final {seed - config.seed}"))
    every = max(1, math.ceil(steps / 20))
    network = plan.build(config.seed)
    population = Population(
        network,
        members,
        data,
        criterion=loss,
        metric=metric,
        batch_size=plan.batch_size,
        total_steps=steps,
        check_every=every,
        memory=effort.memory,
        device=effort.device,
        precision=effort.precision,
    )
    ended = "done"
    try:
        outcomes = population.run()
    except KeyboardInterrupt:
        ended, outcomes = "interrupted", population.end("interrupted")
        if not any(o.history for o in outcomes):
            raise
    good = [i for i, o in enumerate(outcomes) if o.final is not None and not o.status.startswith("diverged")]
    if not good:
        raise ConfigError(f"Training failed: {outcomes[0].status}. Lower the learning rate or the strengths, or check the scale of the data.")
    networks = [population.model(i, outcomes[i].final) for i in good]
    model = networks[0] if len(networks) == 1 else Average(networks, data.task).eval()
    return Refit(model, "all_steps", outcomes[good[0]].steps, outcomes, networks), ended


def _planned(plan: StaticPlan, rows: int, length: float) -> int:
    """Steps of a share of the plan's full run on so many rows."""
    return max(1, round(plan.epochs * length * rows / min(plan.batch_size, rows)))


def _table(trials: Sequence[Trial]) -> pd.DataFrame:
    rows = [t.row() for t in trials]
    return pd.DataFrame([{**{k: v for k, v in row.items() if k != "strengths"}, **row["strengths"]} for row in rows])


class _Printer:
    """One line a phase of the search."""

    def __init__(self) -> None:
        self.last = ""

    def __call__(self, state: Mapping[str, Any]) -> None:
        line = f"{state['phase']}: {state['trials']} trials"
        if state["best"] is not None:
            line += f", best {state['metric']} {state['best']:.5g}"
        if line != self.last:
            print(line, flush=True)
            self.last = line
