"""``temperance fit``."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from temperance.core.ambient import plainly
from temperance.core.device import CPU, device_of, precision_of, told
from temperance.core.errors import ConfigError, expected
from temperance.core.regularizer import Regularizer
from temperance.core.shown import shown
from temperance.data import Dataset
from temperance.data.cells import named_markers
from temperance.data.dataset import fingerprint
from temperance.job.backbone import OPTION, remembered
from temperance.job.folder import Claimed, claimed, kept
from temperance.job.prepare import Prepared, prepare
from temperance.job.resuming import command_of, named, options_of, path_of, refuse_changed, unfinished
from temperance.job.rivals import Rival, train_rivals
from temperance.job.shapes import MOST_THREADS
from temperance.job.summary import images_row, space_rows, split_row
from temperance.job.writing import write_fit
from temperance.search.budget import Clock
from temperance.search.cluster.ray_crew import check_engine
from temperance.search.journal import Journal
from temperance.search.result import Search
from temperance.search.search import check_effort, check_settings, search_plans, shared_study
from temperance.search.shared.study import SharedStudy
from temperance.search.strategy import DEFAULT_STRATEGY
from temperance.train.ways import parse_memory

Callback = Callable[[Mapping[str, Any]], None]
STUDY = "study.db"


@shown
@dataclass(eq=False)
class Job:
    """What :func:`fit_table` returns.

    Attributes:
        folder: with the model, the report and everything else.
        summary: as in ``summary.json``.
        search: the search itself.
    """

    folder: Path
    summary: dict[str, Any]
    search: Search


@contextmanager
def using_threads(threads: int | None) -> Generator[None]:
    """Torch's threads for the time of a job."""
    if threads is None:
        yield
        return
    if isinstance(threads, bool) or not 1 <= threads <= MOST_THREADS:
        raise ConfigError(expected("threads", "fit", f"to be a whole number in [1, {MOST_THREADS}]", threads))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@plainly
def fit_table(
    source: Any,
    target: str | Sequence[str] | None = None,
    *,
    out: str | Path,
    overwrite: bool = False,
    resume: bool = False,
    budget: str | float | None = None,
    trials: int | None = None,
    metric: str | None = None,
    task: str | None = None,
    model: str | None = None,
    backbone: str | None = None,
    test: Any = None,
    ignore: Sequence[str] = (),
    weight: str | None = None,
    na: str | Sequence[str] | None = None,
    dates: str | None = None,
    keep: Sequence[str] = (),
    group: str | None = None,
    time: str | None = None,
    use: Sequence[str | Regularizer] = (),
    without: Sequence[str] = (),
    seed: int = 0,
    threads: int | None = None,
    memory: str | int = "4G",
    refits: int = 4,
    ensemble: int = 8,
    strategy: str | None = None,
    space: str | None = None,
    keep_test: bool = False,
    device: str | None = None,
    precision: str = "fp32",
    engine: str = "local",
    address: str | None = None,
    storage: str | None = None,
    study_name: str | None = None,
    on_progress: Callback | None = None,
    on_understood: Callback | None = None,
) -> Job:
    """Fit a table or images and write a folder: ``model/``, ``cocktail.json``, ``study.db``, ``history.csv``, ``summary.json``, ``report.html``.

    Args:
        source: a file, or anything that :func:`temperance.data.read_table` or :func:`temperance.data.read_images` takes.
        target: the column to predict, or several; none for images, which come with their labels.
        out: the folder.
        overwrite: replace an earlier fit there.
        resume: go on with a fit there that was not finished and had the same arguments; without one, begin. With trials and no budget the same
            trials, networks and predictions follow as if it had never ended; of a budget, the time that is used counts.
        budget: seconds, or ``"90s"``, ``"5m"``, ``"1h"``: of the whole job.
        trials: how many configurations; without a budget nothing depends on the clock.
        metric: what decides.
        task: overrides the task inferred from the target.
        model: ``FILE.py:build`` for a network of your own.
        backbone: of images, ``"timm:NAME"`` or ``FILE.py:build`` for a network without its last layer: every image passes through it once, and the
            networks of the search read its features.
        test: a file of test rows, instead of a fifth of the data; what ships is never trained on them.
        ignore: columns to leave out.
        weight: column with row weights.
        na: cells that count as missing, in place of the usual markers (:func:`temperance.data.read_table`).
        dates: ``"dayfirst"`` or ``"monthfirst"``, where the cells leave it open.
        keep: columns to learn from though they name the rows, or split them.
        group: a column of which rows with the same value stay together: no two of the parts that train, validate and test share one.
        time: a column of dates or numbers: the test rows are the latest, and the latest of the rest validate.
        use: regularizers to search over beside the default ones.
        without: regularizers to leave out; of tables ``"neighbors"`` too, the networks that keep training rows in the model.
        seed: of everything.
        threads: of torch.
        memory: what populations may plan for. A Parquet file that does not fit is read in parts: see docs/memory.md.
        refits: seeds of the final training whose predictions are averaged.
        ensemble: at most so many networks of different trials are averaged, unless that is worse than the winner alone, beyond noise; 1 for the winner alone.
        strategy: how trials are dropped, as in :func:`temperance.search`; its default if not given.
        space: ``"kadra2021"`` for the search space of Kadra et al. (2021) in place of the usual one, :func:`temperance.search.kadra_plans`;
            then ``"balanced_accuracy"`` decides unless ``metric`` says otherwise.
        keep_test: train what ships without the test rows, and score that. By default the networks of the search are scored on the test rows, and
            then what ships is trained on all rows.
        device: where networks train: ``"cpu"`` (the default), ``"cuda"``, ``"cuda:1"``, or ``"auto"`` for a graphics card where there is one. The model's
            files are the same kind of files and load anywhere.
        precision: ``"bf16"`` for products of 16 bits in training, with parameters, moments and losses as they are.
        engine: ``"ray"`` to train the trials on a Ray cluster, as in :func:`temperance.search`; a fit may go on with another one.
        address: of the cluster.
        storage: a database for the finished trials in place of ``out``, as in :func:`temperance.search`. With ``resume`` a fit goes on with what is
            there, in another folder or on another machine, or takes part while others train.
        study_name: of the study in it; by default the name of ``out``.
        on_progress: called with ``phase``, ``done``, ``left``, ``trials``, ``best``, ``metric``.
        on_understood: called once, before training, with the data as understood and the resolved space.

    Raises:
        ConfigError, DataError: with the way out; nothing is left behind.
        Exception: anything else; what was computed stays in the folder, and a note of the exception says where.
        KeyboardInterrupt: before the first finished evaluation.
    """
    asked: dict[str, Any] = {"target": target, "test": test, "task": task, "metric": metric, "model": model, "backbone": backbone, "seed": seed}
    asked.update({"ignore": list(ignore), "weight": weight, "use": list(use), "without": list(without)})
    asked.update({"na": named_markers(na), "dates": dates, "keep": list(keep), "space": space, "group": group, "time": time})
    effort: dict[str, Any] = {"budget": budget, "trials": trials, "refits": refits, "ensemble": ensemble, "strategy": strategy or DEFAULT_STRATEGY}
    effort.update({"memory": memory, "threads": threads, "keep_test": keep_test})
    effort.update({"device": str(device_of(device) or CPU), "precision": precision_of(precision)})
    where = {"engine": engine, "address": address}
    kept_in = {"storage": storage, "study_name": study_name}
    return _fit(source, asked, effort, out, on_progress, on_understood, where, kept_in, overwrite=overwrite, resume=resume)


def finish_fit(
    out: str | Path,
    source: Any = None,
    *,
    model: str | None = None,
    backbone: str | None = None,
    storage: str | None = None,
    study_name: str | None = None,
    on_progress: Callback | None = None,
    on_understood: Callback | None = None,
) -> Job:
    """Make a model of the finished trials of a fit that was not finished, without training: what Ctrl-C would have made of them.

    The trials stay, so that the fit can go on later.

    Args:
        out: the folder of the fit.
        source: its rows; by default the file that it was given.
        model: the ``FILE.py:build`` given to the fit, where the network is the user's own: that file is run, so it has to be named.
        backbone: likewise, where the features are those of a file of the user's own.
        storage: the database that the fit was given.
        study_name: of the study in it; by default the name of ``out``.
        on_progress: as in :func:`fit_table`.
        on_understood: likewise.

    Raises:
        ConfigError, DataError: no finished trials there, other rows, or ``model`` is missing.
    """
    with _study(out, False, True, storage, study_name) as study:
        said = unfinished(out, study)
    if said["model"] is not None and model is None:
        mend = "Give the FILE.py:build of the fit with --model; that file is run."
        raise ConfigError(f"Expected `--model` for the unfinished fit in {str(out)!r}, whose network is your own, got none. {mend}")
    if backbone is None and (backbone := said.get("backbone")) is not None and remembered(backbone) is None:
        mend = f"Give the one of the fit with {OPTION}; a file is run."
        raise ConfigError(f"Expected `{OPTION}` for the unfinished fit in {str(out)!r}, which has one, got none. {mend}")
    source = said["source"] if source is None else source
    if source is None:
        raise ConfigError(f"Expected the rows of the unfinished fit in {str(out)!r}, which were not read from a file, got none. Name a file with them.")
    asked, effort = options_of(said)
    kept_in = {"storage": storage, "study_name": study_name}
    return _fit(source, {**asked, "model": model, "backbone": backbone}, effort, out, on_progress, on_understood, None, kept_in, resume=True, ship=True)


def _fit(
    source: Any,
    asked: dict[str, Any],
    effort: dict[str, Any],
    out: str | Path,
    on_progress: Callback | None,
    on_understood: Callback | None,
    where: Mapping[str, Any] | None,
    kept_in: Mapping[str, Any],
    *,
    overwrite: bool = False,
    resume: bool = False,
    ship: bool = False,
) -> Job:
    """A fit, or what remains of it; ``where`` says which engine trains, ``kept_in`` where trials are kept; with ``ship`` nothing is trained."""
    seed, where = asked["seed"], where or {}
    check_engine(**where)
    check_settings(effort["strategy"], refits=effort["refits"], ensemble=effort["ensemble"])
    clock = Clock(check_effort(effort["budget"], effort["trials"])[0])
    with using_threads(effort["threads"]), claimed(out, overwrite, resume) as folder, _study(out, overwrite, resume, **kept_in) as study:
        try:
            journal, ready = _begin(source, asked, effort, folder, clock, on_progress, on_understood, study, resume=resume, ship=ship)
            effort = effort | ({"device": CPU} if ship else {})  # nothing is trained
            rivals = _rivals(ready, seed, clock)
            found = search_plans(
                ready.plans,
                ready.data,
                **{name: effort[name] for name in ("budget", "trials", "refits", "ensemble", "strategy", "keep_test", "device", "precision")},
                memory=effort["memory"] if ready.data.further is None else parse_memory(effort["memory"]) // 2,
                metric=ready.metric,
                seed=seed,
                split=ready.split,
                study=folder.run / STUDY,
                on_progress=on_progress,
                clock=clock,
                spare=1.5 + 2e-5 * len(ready.data) + 0.03 * (clock.seconds or 0.0),
                journal=journal,
                ship=ship,
                **where,
            )
            summary = write_fit(folder, ready, found, rivals, _run(source, asked, effort, ready, found), clock)
        except BaseException as error:
            if text := kept(folder.path) or ("" if study is None else study.kept()):
                error.add_note(text)
            raise
    return Job(folder.path, summary, found)


def _study(out: str | Path, overwrite: bool, resume: bool, storage: str | None, study_name: str | None) -> AbstractContextManager[SharedStudy | None]:
    """The study of a fit whose trials are kept in a database."""
    study = shared_study(storage, named(out, storage, study_name), "join" if resume else "over" if overwrite else "new")
    return nullcontext() if study is None else study


def _begin(
    source: Any,
    asked: dict[str, Any],
    effort: dict[str, Any],
    folder: Claimed,
    clock: Clock,
    on_progress: Callback | None,
    on_understood: Callback | None,
    study: SharedStudy | None,
    *,
    resume: bool,
    ship: bool,
) -> tuple[Journal | SharedStudy, Prepared]:
    """The journal of the fit, begun or read, and its data, once it is sure that both belong together."""
    journal = study or Journal(folder.trials)
    earlier, place = journal.command if resume else None, str(folder.path) if study is None else study.place
    if earlier is not None:
        refuse_changed(place, earlier, command_of(source, asked, effort))
        clock.start -= journal.spent if study is None else 0.0  # of a study, what is used when it is joined
    ready = prepare(source, **asked, budget=clock.seconds, told=_reading(on_progress), memory=effort["memory"], room=folder.path)
    ready.warnings += [folder.note] if folder.note else []
    command = command_of(source, asked, effort, ready)
    if earlier is not None:
        refuse_changed(place, earlier, command)
    if on_understood is not None:
        device = told(torch.device(CPU if ship else effort["device"]))
        on_understood({**understood(ready, effort["budget"], effort["trials"], effort["strategy"], keep_test=effort["keep_test"]), "device": device})
    folder.begin(resume=earlier is not None)
    if study is not None:
        study.asked = command
    elif earlier is None:
        journal = Journal(folder.trials)
        journal.begin(command)
    return journal, ready


def _reading(on_progress: Callback | None) -> Callable[[float], None] | None:
    """Tells of images that are read as of the rest of a fit, a hundred times at most."""
    if on_progress is None:
        return None
    last = -1

    def told(share: float) -> None:
        nonlocal last
        if int(100 * share) > last:
            last = int(100 * share)
            on_progress({"phase": "reading", "done": share, "left": None, "trials": 0, "best": None, "metric": None})

    return told


def _run(source: Any, asked: dict[str, Any], effort: dict[str, Any], ready: Prepared, found: Search) -> dict[str, Any]:
    """What ``run.json`` holds: all that a replay needs."""
    return {
        **asked,
        "source": path_of(source),
        "test": path_of(asked["test"]),
        "use": [r if isinstance(r, str) else r.to_dict() for r in asked["use"]],
        "memory": effort["memory"],
        "threads": torch.get_num_threads(),
        "strategy": effort["strategy"],
        "ensemble": int(effort["ensemble"]),
        "refits": int(effort["refits"]),
        "budget": f"{effort['budget']:g}s" if isinstance(effort["budget"], (int, float)) else effort["budget"],
        "trials": None if effort["trials"] is None else int(effort["trials"]),
        "keep_test": bool(effort["keep_test"]),
        "device": effort["device"],
        "precision": effort["precision"],
        "saw_test": found.saw_test,
        "data": fingerprint(ready.original()),
        "rows": fingerprint(_rows_of(ready, asked["test"])),
    }


def _rows_of(ready: Prepared, test: Any) -> Dataset:
    """The rows of the source itself, without weights."""
    n = len(ready.data) - (0 if test is None else len(ready.split.test))
    return replace(ready.original().take(np.arange(n)), weight=None)


def understood(ready: Prepared, budget: Any, trials: int | None, strategy: str, *, keep_test: bool = False) -> dict[str, Any]:
    """How the data was understood and what will be searched, for people."""
    return {
        "rows": ready.data.total,
        "columns": ready.columns,
        "images": images_row(ready),
        "target": ", ".join(ready.target.names),
        "task": ready.target.task,
        "classes": [str(c) for c in ready.target.classes],
        "split": split_row(ready),
        "keeps_test": keep_test or ready.split.given,
        "space": space_rows(ready.plans),
        "budget": budget,
        "trials": trials,
        "strategy": strategy,
        "metric": ready.metric.name,
        "notes": ready.notes,
        "warnings": ready.warnings,
    }


def _rivals(ready: Prepared, seed: int, clock: Clock) -> list[Rival]:
    split = ready.split
    if not len(split.test):
        return []
    rows = split.train if split.validation is None else sorted([*split.train.tolist(), *split.validation.tolist()])
    most = None if clock.seconds is None else 0.1 * max(0.0, min(clock.seconds, clock.left()))
    return train_rivals(ready.data.take(rows), ready.data.take(split.test), seed=seed, most_seconds=most)


__all__ = ["Job", "finish_fit", "fit_table"]
