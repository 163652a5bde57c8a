"""``tp.search``: hundreds of cocktails for anyone's own network, and the one that generalizes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from temperance.core.ambient import plainly
from temperance.core.criterion import criterion_for
from temperance.core.device import device_of, precision_of
from temperance.core.errors import ConfigError, expected
from temperance.core.regularizer import Regularizer
from temperance.core.torch_losses import trainer_criterion
from temperance.data.dataset import Dataset
from temperance.data.splits import Split, plan_split
from temperance.search.budget import Clock, parse_budget
from temperance.search.cluster.ray_crew import check_engine, crew_for
from temperance.search.defined import on_defined_folds
from temperance.search.ending import finish
from temperance.search.engine import Engine, Progress
from temperance.search.journal import Journal
from temperance.search.plans import network_plans
from temperance.search.programs import Programs
from temperance.search.race import Race, Trial
from temperance.search.result import Search
from temperance.search.settings import Settings
from temperance.search.shared.asked import enter
from temperance.search.shared.study import SharedStudy
from temperance.search.space import Config, StaticPlan
from temperance.search.strategy import DEFAULT_STRATEGY, strategy_for
from temperance.search.study import Ledger
from temperance.train.fitting import to_dataset
from temperance.train.metrics import Metric, heads_metric, metric_for

DEFAULT_TRIALS = 64


@plainly
def search(
    build: Callable[[Dataset], nn.Module],
    data: Any,
    *,
    budget: str | float | None = None,
    trials: int | None = None,
    metric: str | None = None,
    seed: int = 0,
    use: Sequence[str | Regularizer] = (),
    without: Sequence[str] = (),
    split: Split | None = None,
    criterion: Any = None,
    batch_size: int | None = None,
    epochs: float | None = None,
    lr: tuple[float, float] = (3e-4, 3e-2),
    refits: int = 1,
    retrain: str | None = "same_epochs",
    memory: str | int = "4G",
    study: str | Path | None = None,
    on_progress: Progress | None = None,
    strategy: str = DEFAULT_STRATEGY,
    ensemble: int = 8,
    seeds: int = 1,
    keep_test: bool = False,
    device: str | torch.device | None = None,
    precision: str = "fp32",
    engine: str = "local",
    address: str | None = None,
    storage: str | None = None,
    study_name: str | None = None,
) -> Search:
    """Find the cocktail with which your own network generalizes best.

    Trials are trained as populations, in waves that a Parzen estimator proposes, of which the best go on. Validation is a hold-out or folds, chosen by size; a
    fifth of the rows is kept apart and scored once, at the end, by the networks of the search. Then what ships is trained on all rows.

    Args:
        build: ``build(data) -> nn.Module``; called again for every seed.
        data: a Dataset or a pair (X, y).
        budget: seconds, or ``"90s"``, ``"5m"``, ``"1h"``.
        trials: how many configurations (default 64 without a budget); without a budget nothing depends on the clock.
        metric: what decides; the task's default if not given. Among networks with several heads it is the mean over heads of the accuracy of classes
            and the R2 of values, on the rows where a head's target is known.
        seed: of everything.
        use: regularizers to search over beside the default ones, by name or as objects.
        without: names to leave out.
        split: your own split, whose test rows are never trained on; planned from the seed if not given.
        criterion: the loss: of temperance, of torch, or any ``(out, y) -> scalar``; the task's default if not given.
        batch_size: rows per step (by size of the data if not given).
        epochs: passes of a full run (by size of the data if not given).
        lr: range of the learning rate.
        refits: seeds of the final training whose predictions are averaged.
        retrain: ``"same_epochs"``, ``"same_steps"``, or ``None`` to ship the states of the search.
        memory: what populations may plan for, such as ``"4G"``.
        study: where to write the SQLite file of all trials.
        on_progress: called after every check with a dict: ``phase``, ``done`` in [0, 1], ``left`` seconds, ``trials`` begun, ``best`` score,
            ``best_trial`` (its ``population.model(index)`` for each of its ``indices`` is the best network now), ``each`` trial so far, ``metric``.
        strategy: how trials are dropped: ``"keep"`` (all train at least an epoch and 32 steps, 128 on tables, a twentieth of a long run,
            and the best quarter goes on) or ``"rungs"`` (the best quarter goes on at a sixteenth and at a quarter of the run, noise taken into account).
        ensemble: at most so many networks of different trials are averaged, unless that is worse than the winner alone, beyond noise, on rows that took
            no part in choosing them; 1 for the winner alone, as always with several heads.
        seeds: where several configurations lie within one standard error of the best score, how many seeds each is trained with; their means decide.
        keep_test: leave the test rows out of the training of what ships, and score that.
        device: where the networks train: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, or ``"auto"`` for a graphics card where there is one; by default where
            the data are. What comes out is where the data are.
        precision: ``"bf16"`` for products of 16 bits in training, with parameters, moments and losses as they are.
        engine: ``"ray"`` to train the trials on a Ray cluster, a worker for every ``torch.get_num_threads()`` cores; without a budget with the same
            bits as ``"local"``, on like processors.
        address: of the cluster, ``"auto"`` for the one that runs on this machine; by default ``RAY_ADDRESS``, or one of this machine's cores.
        storage: a database for the finished trials, ``"postgresql://USER@HOST/DATABASE"`` or ``"sqlite:///FILE"``: the same call goes on with what is
            there, and several processes may share the work (docs/storage.md).
        study_name: of the study in it.

    Raises:
        ConfigError: settings that cannot work, or every trial failed.
        KeyboardInterrupt: interrupted before the first finished evaluation; later it ends the search and keeps the best so far.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> X, y = torch.randn(60, 5).numpy(), torch.arange(60).numpy() % 2
        >>> found = tp.search(lambda data: tp.nets.MLP(data.in_features, data.out_features, hidden=(8,)), (X, y), trials=3, epochs=2)
        >>> len(found.trials), sorted(found.score)
        (3, ['high', 'low', 'value'])
    """
    check_settings(strategy, refits=refits, ensemble=ensemble, seeds=seeds)
    check_engine(engine, address)
    shared = shared_study(storage, study_name)
    with nullcontext() if shared is None else shared:
        rows = to_dataset(data)
        plans = network_plans(build, rows, use=use, without=without, batch_size=batch_size, epochs=epochs, lr=lr)
        return search_plans(
            plans,
            rows,
            budget=budget,
            trials=trials,
            metric=metric,
            seed=seed,
            split=split,
            criterion=criterion,
            refits=refits,
            retrain=retrain,
            memory=memory,
            study=study,
            on_progress=on_progress,
            strategy=strategy,
            ensemble=ensemble,
            seeds=seeds,
            keep_test=keep_test,
            device=device,
            precision=precision,
            engine=engine,
            address=address,
            journal=shared,
        )


def shared_study(storage: str | None, name: str | None, mode: str = "join") -> SharedStudy | None:
    """The study of this name in a database; ``None`` without one.

    Raises:
        ConfigError: one without the other, or a database that cannot be used.
    """
    if (storage is None) != (name is None):
        got, lacks = ("storage", "study_name") if name is None else ("study_name", "storage")
        raise ConfigError(f"Expected `storage` and `study_name` together, got `{got}` alone. Add `{lacks}`, or leave out both.")
    return None if storage is None or name is None else SharedStudy(storage, name, mode)


def check_effort(budget: str | float | None, trials: int | None) -> tuple[float | None, int | None]:
    """Seconds and number of trials, at least one of them set.

    Raises:
        ConfigError: a bad budget or number.
    """
    seconds = parse_budget(budget)
    if trials is not None and (isinstance(trials, bool) or not isinstance(trials, (int, np.integer)) or trials < 1):
        raise ConfigError(expected("trials", "search", "to be a whole number in [1, inf)", trials))
    return seconds, (DEFAULT_TRIALS if trials is None and seconds is None else None if trials is None else int(trials))


def check_settings(strategy: str, *, refits: int = 1, ensemble: int = 1, seeds: int = 1) -> None:
    """Refuse settings that cannot work, before anything is read or computed.

    Raises:
        ConfigError: an unknown strategy, or a number that is not whole and positive.
    """
    strategy_for(strategy)
    for name, value in (("refits", refits), ("ensemble", ensemble), ("seeds", seeds)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
            raise ConfigError(expected(name, "search", "to be a whole number in [1, inf)", value))


@plainly
def search_plans(
    plans: Sequence[StaticPlan],
    data: Dataset,
    *,
    budget: str | float | None = None,
    trials: int | None = None,
    metric: str | Metric | None = None,
    seed: int = 0,
    split: Split | None = None,
    criterion: Any = None,
    refits: int = 1,
    retrain: str | None = "same_epochs",
    memory: str | int = "4G",
    study: str | Path | None = None,
    on_progress: Progress | None = None,
    clock: Clock | None = None,
    spare: float = 0.0,
    strategy: str = DEFAULT_STRATEGY,
    ensemble: int = 1,
    seeds: int = 1,
    keep_test: bool = False,
    journal: Journal | SharedStudy | None = None,
    ship: bool = False,
    device: str | torch.device | None = None,
    precision: str = "fp32",
    engine: str = "local",
    address: str | None = None,
) -> Search:
    """The engine of :func:`search`, over given static plans; ``spare`` seconds of the budget are left for the caller.

    A ``journal`` takes in every finished trial, and what it holds of an earlier process is not trained again; with ``ship`` nothing is trained. A shared
    study is let go of when the search is over.
    """
    if retrain not in ("same_epochs", "same_steps", None):
        raise ConfigError(expected("retrain", "search", "to be 'same_epochs', 'same_steps' or None", retrain))
    check_settings(strategy, refits=refits, ensemble=ensemble, seeds=seeds)
    check_engine(engine, address)
    way, place = strategy_for(strategy), device_of(device, "search")
    seconds, limit = check_effort(budget, trials)
    judge = _judge(metric, data)
    loss = criterion_for(data.task) if criterion is None else trainer_criterion(criterion)
    if split is None:
        split = plan_split(data.y, data.task, seed=seed, labeled=data.labeled)
    split, notes = on_defined_folds(split, data, judge)
    settings = Settings(judge, loss, seed, memory, limit, refits, retrain, int(ensemble) if isinstance(data.task, str) else 1, seeds, keep_test, spare)
    ledger = Ledger(None if study is None else Path(study), judge.greater_is_better)
    programs = Programs(seconds is not None, place, precision_of(precision, "search"))
    timer = clock or Clock(seconds)
    if data.further is not None and engine != "local":
        mend = "Give more --memory, so that the rows are held in memory and travel, or leave the engine out."
        raise ConfigError(f"Expected engine 'local' for rows that are read from a disk, got {engine!r}. {mend}")
    with crew_for("local" if ship else engine, address, place) as crew, journal if isinstance(journal, SharedStudy) else nullcontext():
        if isinstance(journal, SharedStudy):
            enter(journal, plans, data, split, settings, strategy, seconds, programs.where["precision"])
            timer.start -= journal.spent
        running = Engine(list(plans), data, split, settings, timer, ledger, programs, on_progress, journal, crew)
        running.notes += notes
        ended = _run(running, None if ship else way.run)
    try:
        return finish(running, ended)
    except KeyboardInterrupt:  # once more, while scoring: the search is done and must not be lost
        running.settings = replace(settings, ensemble=1, retrain=None)
        return finish(running, "interrupted")


def _run(engine: Engine, strategy: Callable[[Engine], None] | None) -> str:
    """Search, and say how that ended; without a strategy only take in what an earlier process finished."""
    try:
        engine.run(strategy)
    except KeyboardInterrupt:
        if engine.race is not None:
            engine.race.judge()
        if engine.best() is None:
            raise
        engine.close("interrupted")
        return "interrupted"
    return "done" if strategy is not None else "interrupted"


def _judge(metric: str | Metric | None, data: Dataset) -> Metric:
    """What decides; with several heads the mean of their scores."""
    if isinstance(metric, Metric) or isinstance(data.task, str):
        return metric if isinstance(metric, Metric) else metric_for(metric, data.task)
    if metric is not None:
        mend = "The mean of their accuracies and R2 decides; for another score search each target by itself."
        raise ConfigError(expected("metric", "search", "to be None for data with several heads", metric, mend))
    return heads_metric(data.task)


def replay_member(config: Config, data: Dataset, folds: Any, metric: Metric, *, keep: bool = False, **settings: Any) -> Trial:
    """Train one trial alone for its whole run; the same keys give the same networks as in its population.

    Steps are plain, unless ``programs`` among the settings compile those of its plan: for the same bits as ``outcome.compiled`` says.
    With ``keep``, Ctrl-C after the first check leaves the best so far, as ``"interrupted"``.
    """
    race, status = Race([config], data, folds, metric, **settings), "finished"
    try:
        for epoch in range(1, math.ceil(config.plan.epochs) + 2):
            race.epoch(epoch, None)
            if not race.alive:
                break
    except KeyboardInterrupt:
        race.judge()
        if not keep or race.trials[0].score != race.trials[0].score:
            raise
        status = "interrupted"
    race.finish(status)
    return race.trials[0] if status == "finished" else replace(race.trials[0], status=status)


__all__ = ["Search", "check_effort", "replay_member", "search", "search_plans"]
