"""The end of a search: its networks are scored on test rows, the winner is trained again on all rows, and its control without the cocktail."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean as mean
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from temperance.core.device import out_of_memory
from temperance.core.errors import ConfigError
from temperance.data.dataset import Dataset
from temperance.data.splits import Split
from temperance.search.averaging import MOST_SHIPPED, Selected, describe, fitting, further, select
from temperance.search.few_runs import are_short, last_epochs, more_networks, networks_of
from temperance.search.notes import told
from temperance.search.pool import pool_of
from temperance.search.race import Trial, scored
from temperance.search.refit import ENOUGH, Refit, control, from_search, refit
from temperance.search.result import Search
from temperance.search.score import counted, heads_table, predict, score_table, test_rows
from temperance.train.remember import remembers
from temperance.train.rows import drawn

CLEAN = 2000
POOL_SHARE = 0.15  # of the time left at the end, for the predictions that averages are selected on
SELECTION_SHARE = 0.25  # and until the selection must be done
AT_ONCE = 2.0  # seconds for a selection after an interruption
SELECTION, SELECTION_MOST = 1.0, 0.05  # seconds for a selection after which nothing is trained, and the share of the time that they are at most
FEW = 2  # networks on all rows that are worth more than the average of the search

KEEPS_ROWS = (
    "the model keeps the rows it was trained on, as numbers and codes (with their weights, if any), because some of its networks answer from similar ones; "
    "--without neighbors (without=['neighbors'] in Python) searches without such networks"
)
ENDED, CHOOSING, SCORING = "search done", "choosing an average", "scoring"
"""Phases of the progress that follow a search, a selection and a refit, whether they were done or interrupted."""
_FROM = {CHOOSING: 0.9, "refit": 0.92, "control": 0.96, SCORING: 0.99}  # the share of the whole that is done, where nothing looks at the clock

if TYPE_CHECKING:
    from temperance.search.engine import Engine


@dataclass(frozen=True)
class Last:
    """What is trained after a search.

    Attributes:
        made: the networks that ship.
        wanted: the trials that were to be trained again.
        without: the control.
        selected: what was found when averages were weighed.
        ended: ``"done"`` or ``"interrupted"``.
        notes: of the search and of this.
        seconds: it took.
    """

    made: Refit
    wanted: list[Trial]
    without: Trial | None
    selected: Selected | None
    ended: str
    notes: list[str]
    seconds: float


def finish(engine: Engine, ended: str) -> Search:
    """Train the winner again, and its control; score, on test rows, networks that have not seen them.

    Called again after an interruption, it goes on with what was trained.
    """
    top = engine.best()
    if top is None:
        raise ConfigError("No trial of the search can be used. Check the data, or lower the learning rates.")
    again = engine.last is not None
    last = engine.last = engine.last or _last(engine, top, ended)
    ended = "interrupted" if again else last.ended
    split, task, made, began = engine.split, engine.data.task, last.made, time.monotonic()
    _tell(engine, SCORING)
    scored = _unbiased(engine, made, last.wanted)
    scores: dict[str, dict[str, float]] = {}
    held = test_rows(engine.data, engine.split)
    if held is not None:
        predictions = predict(scored.model, engine.scored_by, held.x)
        if isinstance(task, str):
            assert isinstance(held.y, torch.Tensor)
            scores = score_table(predictions, held.y, task, weight=held.weight, seed=engine.settings.seed)
        else:
            scores = heads_table(predictions, held, engine.metric, seed=engine.settings.seed)
    gap = _gap(engine, top, last.without)
    ensemble = describe(made, scored, top, last.selected, held, engine.metric, engine.scored_by, task)
    timing = {"search": engine.searched, "refit": last.seconds + time.monotonic() - began}
    found = (made.model, top, engine.trials, engine.metric, engine.scored_by, split, scores, gap, made, scored, engine.rungs)
    return Search(*found, ended, timing, last.without, last.notes, ensemble, engine.data, engine.settings.criterion)


def _last(engine: Engine, top: Trial, ended: str) -> Last:
    """Weigh averages, train what ships, and the control."""
    retrain = engine.settings.retrain
    began = time.monotonic()
    engine.say(ENDED, engine.share_done())
    made: Refit | None = None
    wanted: list[Trial] = []
    without: Trial | None = None
    selected: Selected | None = None
    refits = engine.settings.refits
    picks = [top] if retrain is None else [top] * refits
    notes = [*engine.notes, *told(engine)]
    try:
        if engine.settings.ensemble > 1 and (engine.few is None or retrain is None):
            _tell(engine, CHOOSING)
            selected = _selected(engine, top, notes, _ends(engine, ended, retrain))
            if selected is not None and selected.better:
                picks = selected.picks * math.ceil(refits / len(selected.picks))
        if retrain is not None and ended == "done" and engine.few is not None:
            wanted = [top]
            made = _longer(engine, top, retrain, notes)
            without = _control(engine, top, notes)
        elif retrain is not None and ended == "done":
            wanted = picks if selected is None or not selected.better else _in_time(engine, picks, [top] * refits, notes)
            since = time.monotonic()
            made = _again(engine, wanted, retrain, notes) if wanted else None
            if made is not None:  # one after the other, so that an interruption keeps the first networks
                made = _with_more(engine, made, wanted, retrain, time.monotonic() - since, _left(engine, top))
            without = _control(engine, top, notes)
    except KeyboardInterrupt:
        ended = "interrupted"
    made = made or from_search(picks, engine.data.task)
    if any(remembers(network) for network in made.networks):
        notes.append(KEEPS_ROWS)
    return Last(made, wanted, without, selected, ended, notes, time.monotonic() - began)


def final_rows(split: Split, n: int, keep_test: bool) -> np.ndarray:
    """Which of ``n`` rows train what ships: all, but for test rows that were given as such or are to be kept."""
    return np.unique(np.concatenate([np.concatenate(pair) for pair in split.folds])) if keep_test or split.given else np.arange(n)


def _unbiased(engine: Engine, made: Refit, picks: Sequence[Trial]) -> Refit:
    """What ships, if it has not seen the test rows; else the best states of its configurations, as the search left them."""
    if made.how == "none" or not np.isin(engine.split.test, engine.everything).any():
        return made
    trial = {t.config.number: t for t in picks}
    return from_search([trial[config.number] for config in made.configs], engine.data.task)


def _tell(engine: Engine, phase: str, share: float = 0.0) -> None:
    """Report progress, with a share of this phase."""
    later = [start for start in _FROM.values() if start > _FROM[phase]]
    done = _FROM[phase] + share * (min(later, default=1.0) - _FROM[phase])
    engine.say(phase, max(engine.share_done(), min(done, 0.99)))


def _again(engine: Engine, picks: list[Trial], how: str, notes: list[str]) -> Refit:
    """The picks trained again on the final rows, or as the search left them."""
    _tell(engine, "refit")
    made = _trained(engine, picks, how)
    if made.how == "none":
        why = made.why or ("diverged" if engine.clock.left(engine.settings.spare * 0.7) > 0 else "ran out of time")
        several = len({c.number for c in made.configs}) > 1
        notes.append(f"the refit {why}; {'the model averages the best states of the search' if several else 'the model is the best state of the search'}")
    return made


def _with_more(engine: Engine, made: Refit, picks: list[Trial], how: str, seconds: float, left: float) -> Refit:
    """The networks with those of further seeds, where the time left would go unused: what they take is known from the first."""
    if engine.clock.seconds is None or made.how == "none":
        return made
    more = further(picks, engine.retraining, seconds, left, MOST_SHIPPED)
    return made.with_more(_trained(engine, more, how, first=len(picks)), engine.data.task) if more else made


def _longer(engine: Engine, top: Trial, how: str, notes: list[str]) -> Refit:
    """Where the search had time for few runs: the winner trained on the final rows for as long as there is time, and once more if a whole run fits again.

    Of short runs several networks are trained instead, and the one of the search, which differs from them in its rows too, is one of the average.
    """
    _tell(engine, "refit")
    control = engine.controlling(top)
    left, since = _left(engine, top), time.monotonic()
    if ENOUGH * engine.grown * engine.again(top.config.plan, 1, top.epochs) > left:
        notes.append("there was no time to train the winner again; the model is the best state of the search")
        return from_search([top], engine.data.task)
    count, short = networks_of(engine, top, left), are_short(engine, top.config.plan)
    epochs = last_epochs(engine, top, left, count)
    made = _trained(engine, [top] * count, how, first=int(short), epochs=epochs, kept=control)
    if made.how == "none":
        return made
    epochs = made.courses[0].epochs
    notes.append(f"what ships was trained for {epochs:.3g} epochs, the configurations of the search for {top.epochs:.3g}")
    if short:
        return made.with_more(replace(from_search([top], engine.data.task), how=how), engine.data.task)
    more = more_networks(engine, top, epochs, time.monotonic() - since, _left(engine, top))
    return made.with_more(_trained(engine, list(more), how, first=1, epochs=epochs, kept=control), engine.data.task) if more else made


def _trained(engine: Engine, picks: list[Trial], how: str, first: int = 0, epochs: float | None = None, kept: float = 0.0) -> Refit:
    """The picks trained again, with so many seconds kept for what follows: in two parts where they need too much memory together."""
    task = engine.data.task
    try:
        return refit(
            picks,
            engine.data.take(engine.everything),
            how=how,
            memory=engine.settings.memory,
            criterion=engine.settings.criterion,
            metric=engine.metric,
            task=task,
            first=first,
            epochs=epochs,
            deadline=engine.clock.deadline(engine.settings.spare * 0.7 + kept),
            programs=engine.programs,
            on_progress=lambda share: _tell(engine, "refit", share),
        )
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
    if len(picks) < 2:
        return replace(from_search(picks, task), why="ran out of memory")
    half = (len(picks) + 1) // 2
    made = _trained(engine, picks[:half], how, first, epochs, kept)
    if made.how == "none":
        return replace(from_search(picks, task), why=made.why)
    return made.with_more(_trained(engine, picks[half:], how, first + half, epochs, kept), task)


def _control(engine: Engine, top: Trial, notes: list[str]) -> Trial | None:
    """The winner's network without its cocktail, on the first fold only where time is short; nothing where it needs more memory than there is."""
    late = engine.clock.seconds is not None and engine.clock.left(engine.settings.spare) < engine.controlling(top)
    assert top.population is not None
    _tell(engine, "control")
    try:
        return control(
            top,
            engine.data,
            engine.folds[:1] if late else engine.folds,
            memory=engine.settings.memory,
            total_steps=top.population.total_steps,
            criterion=engine.settings.criterion,
            metric=engine.metric,
            deadline=engine.clock.deadline(engine.settings.spare * 0.7),
            programs=engine.programs,
            on_progress=lambda share: _tell(engine, "control", share),
        )
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
    notes.append("there was not enough memory to train the winner without its cocktail")
    return None


def _ends(engine: Engine, ended: str, retrain: str | None) -> tuple[float, float] | tuple[None, None]:
    """Until when the pool grows, and until when the selection must be done: soon after an interruption, and where a training is yet to come."""
    now, left = time.monotonic(), max(engine.clock.left(engine.settings.spare), 0.0)
    if ended != "done":
        return now + AT_ONCE / 2, now + AT_ONCE
    if engine.clock.seconds is None:
        return None, None
    if retrain is None:  # a search that ended late has what was kept for it all the same
        left = max(left, selection_seconds(engine.clock.seconds))
        return now + left / 2, now + left
    return now + POOL_SHARE * left, now + SELECTION_SHARE * left


def selection_seconds(budget: float) -> float:
    """What is kept of a budget for a selection after which nothing is trained."""
    return min(SELECTION, SELECTION_MOST * budget)


def _selected(engine: Engine, top: Trial, notes: list[str], ends: tuple[float | None, float | None]) -> Selected | None:
    """What greedy selection makes of everything that was trained; ``None`` where there is nothing to choose from, or no time or memory to choose."""
    greater = engine.metric.greater_is_better
    try:
        pool = pool_of(engine.trials, top, engine.data, engine.folds, engine.scored_by, greater=greater, deadline=ends[0])
        if pool is None or not pool.offers(top):
            return None
        asked, task = engine.settings, str(engine.data.task)
        return select(pool, top, engine.metric, task, most=asked.ensemble, seed=asked.seed, deadline=ends[1], groups=engine.split.groups)
    except TimeoutError:
        short = "time"
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        short = "memory"
    notes.append(f"there was not enough {short} to weigh averages of several configurations, so the winner's configuration ships")
    return None


def _in_time(engine: Engine, picks: list[Trial], seeds: list[Trial], notes: list[str]) -> list[Trial]:
    """As many of the picks as can be trained again, with the control after them; else the winner with its seeds, if that can; else a few; else none."""
    left = _left(engine, seeds[0])
    wanted = fitting(picks, engine.retraining, left, len(seeds))
    if len(wanted) == len(picks):
        return wanted
    what = "the winner's configuration alone is"
    if not wanted:
        wanted = seeds if engine.retraining(seeds) <= left else fitting(picks, engine.retraining, left, FEW)
    if wanted is not seeds:
        what = f"the first {len(wanted)} are" if wanted else "the model averages the best states of the search"
    notes.append(f"there was no time to train all {len(picks)} networks of the average again; {what}")
    return wanted


def _left(engine: Engine, top: Trial) -> float:
    """Seconds for training what ships, with the control after it."""
    return engine.clock.left(engine.settings.spare) - engine.controlling(top)


def clean_rows(rows: Any) -> torch.Tensor:
    """At most :data:`CLEAN` of a fold's training rows, on which the training score of the gap is measured."""
    positions = torch.as_tensor(rows, dtype=torch.long)
    return positions[drawn(len(positions), CLEAN)]


def _gap(engine: Engine, top: Trial, without: Trial | None) -> dict[str, Any]:
    held = test_rows(engine.data, engine.split)

    def part(trial: Trial) -> dict[str, float]:
        assert trial.population is not None
        usable = [(f, i) for f, i in enumerate(trial.indices) if trial.population.outcomes[i].usable]
        networks = [(trial.population.model(i), clean_rows(engine.data.known(engine.folds[f][0]))) for f, i in usable]
        out = {"train": mean(score(network, engine.data.take(rows)) for network, rows in networks), "validation": trial.score}
        if held is not None:
            out["test"] = mean(score(network, held) for network, _ in networks)
        return out

    def score(network: nn.Module, rows: Dataset) -> float:
        return float(engine.metric(predict(network, engine.scored_by, rows.x), rows.y, counted(rows)))

    gap: dict[str, Any] = {
        "metric": engine.metric.name,
        "n_train_clean": min(CLEAN, len(engine.folds[0][0])),
        "n_train_curve": scored(len(engine.folds[0][0])),
        "n_validation": len(engine.folds[0][1]),
        "n_test": len(engine.split.test),
    }
    gap["with"] = part(top)
    if without is not None and without.best >= 0:
        gap["without"] = part(without)
        gap["note"] = _note(engine, top, without)
    return gap


def _note(engine: Engine, top: Trial, without: Trial) -> str:
    """What is the same about the control, and what is not."""
    planned, done = top.outcomes[0].history[-1]["step"], min(o.history[-1]["step"] for o in without.outcomes)
    short = f", cut short at step {done:,.0f} of {planned:,.0f}" if done < planned else ""
    part = ", on the first fold only" if len(without.outcomes) < len(engine.folds) else ""
    same = "the same network, seed, rows and early stopping" if short else "the same network, seed, rows, steps and early stopping"
    return f"{same} with every strength off{part}{short}; both trained on the training rows alone"
