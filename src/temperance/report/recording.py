"""The trials of a search for TensorBoard and MLflow: each a run, with its strengths, its curves and its score."""

from __future__ import annotations

import importlib
import math
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from temperance.core.ambient import quiet
from temperance.core.errors import ConfigError
from temperance.search.result import Search

MOST_AT_ONCE = 1000  # numbers in a request to MLflow
LONGEST = 200  # characters of what it says
_PLACES = ("run", "trial", "step")


@dataclass(frozen=True)
class Run:
    """A trial as a tracker shows it.

    Attributes:
        name: ``"trial 7"``.
        hypers: its strengths, learning rate, length, plan and seed.
        curves: numbers at a step of training.
        final: the score that decides, at its best check; of what ships the scores on test rows.
        status: how it ended.
    """

    name: str
    hypers: Mapping[str, Any] = field(default_factory=dict)
    curves: Sequence[tuple[int, Mapping[str, float]]] = ()
    final: Mapping[str, float] = field(default_factory=dict)
    status: str = "finished"


def record(found: Search, *, tensorboard: str | Path | None = None, mlflow: str | None = None, name: str = "temperance") -> int:
    """Write the trials of a search for TensorBoard or MLflow.

    Each trial is a run with its strengths as hyper-parameters, every number of :meth:`Search.history` over the steps of training, and its score. The
    control without the cocktail is a run of its own, and so are the scores of what ships on the test rows.

    Args:
        found: the search.
        tensorboard: a new or empty folder, for ``tensorboard --logdir``.
        mlflow: where MLflow keeps its runs, ``"http://HOST:5000"`` or ``"sqlite:///FILE"``.
        name: of the experiment in MLflow.

    Returns:
        how many runs were written.

    Raises:
        ConfigError: nowhere to write, a tracker that is not installed, or one that refuses.
    """
    rows = [t.row() for t in found.trials]
    return record_runs(runs_of(rows, found.history(), found.scores), tensorboard=tensorboard, mlflow=mlflow, name=name)


def record_runs(runs: Sequence[Run], *, tensorboard: str | Path | None, mlflow: str | None, name: str) -> int:
    """Write runs; see :func:`record`."""
    if tensorboard is None and mlflow is None:
        raise ConfigError("Expected `tensorboard` or `mlflow` to say where the trials are recorded, got neither. Name a folder, or an address.")
    writers = [_tensorboard()] if tensorboard is not None else []
    client = None if mlflow is None else _mlflow(mlflow)
    if tensorboard is not None:
        _to_tensorboard(runs, Path(tensorboard), *writers)
    if client is not None:
        with quiet:
            _to_mlflow(runs, client, name)
    return len(runs)


def runs_of(rows: Sequence[Mapping[str, Any]], history: pd.DataFrame, scores: Mapping[str, Mapping[str, Any]]) -> list[Run]:
    """The runs of a search.

    Args:
        rows: of its trials.
        history: every check of every trial.
        scores: of what ships, on the test rows: metric to ``value``, ``low``, ``high``.
    """
    numbers = [column for column in history if column not in _PLACES]
    curves: dict[tuple[bool, int], list[tuple[int, dict[str, float]]]] = {}
    for row in history.to_dict("records"):
        found = {str(column): float(row[column]) for column in numbers if _finite(row[column])}
        curves.setdefault((row["run"] == "without", int(row["trial"])), []).append((int(row["step"]), found))
    runs: list[Run] = []
    for row in rows:
        hypers = {**row["strengths"], **{key: row[key] for key in ("learning_rate", "length", "plan", "seed")}}
        score = {"score": float(row["score"])} if _finite(row["score"]) else {}
        runs.append(Run(f"trial {int(row['trial'])}", hypers, curves.get((False, int(row["trial"])), ()), score, str(row["status"])))
    runs += [Run("without the cocktail", curves=own) for (without, _), own in curves.items() if without]
    tests = {f"test_{metric}": float(score["value"]) for metric, score in scores.items() if _finite(score["value"])}
    return [*runs, Run("test rows", final=tests)] if tests else runs


def _finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _missing(what: str, extra: str) -> ConfigError:
    return ConfigError(f"Expected {what} to be installed, found none. Install it with `pip install 'temperance[{extra}]'`.")


def _tensorboard() -> tuple[Any, Any]:
    try:
        importlib.import_module("tensorboard")
        return importlib.import_module("torch.utils.tensorboard"), importlib.import_module("torch.utils.tensorboard.summary")
    except ImportError:
        raise _missing("TensorBoard", "tensorboard") from None


def _to_tensorboard(runs: Sequence[Run], folder: Path, modules: tuple[Any, Any]) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"Expected `tensorboard` to name a new or empty folder, got {str(folder)!r}, which holds files. Choose another name.")
    board, summary = modules
    for run in runs:
        with board.SummaryWriter(str(folder / run.name)) as writer:
            for part in summary.hparams(dict(run.hypers), dict.fromkeys(run.final)) if run.hypers else ():
                writer.file_writer.add_summary(part)
            for step, found in run.curves:
                for key, value in found.items():
                    writer.add_scalar(key, value, step)
            for key, value in run.final.items():
                writer.add_scalar(key, value, run.curves[-1][0] if run.curves else 0)
            writer.add_text("status", run.status)


def _mlflow(place: str) -> Any:
    try:
        tracking = importlib.import_module("mlflow.tracking")
    except ImportError:
        raise _missing("MLflow", "mlflow") from None
    try:
        with quiet:
            return tracking.MlflowClient(tracking_uri=place)
    except Exception as error:  # of several packages
        raise _refused(error) from None


def _to_mlflow(runs: Sequence[Run], client: Any, name: str) -> None:
    entities = importlib.import_module("mlflow.entities")
    now = int(time.time() * 1000)
    try:
        known = client.get_experiment_by_name(name)
    except Exception as error:  # of several packages
        raise _refused(error) from None
    made, written = None, 0
    try:
        experiment = client.create_experiment(name) if known is None else known.experiment_id
        for run in runs:
            made = None
            made = client.create_run(experiment, run_name=run.name, tags={"status": run.status}).info.run_id
            params = [entities.Param(key, str(value)) for key, value in run.hypers.items()]
            last = run.curves[-1][0] if run.curves else 0
            numbers = [entities.Metric(key, value, now, step) for step, found in [*run.curves, (last, run.final)] for key, value in found.items()]
            for i in range(0, len(params), 100):
                client.log_batch(made, params=params[i : i + 100])
            for i in range(0, len(numbers), MOST_AT_ONCE):
                client.log_batch(made, metrics=numbers[i : i + MOST_AT_ONCE])
            client.set_terminated(made, status="FAILED" if run.status.startswith("diverged") else "FINISHED")
            written += 1
    except Exception as error:
        if made is not None:
            with suppress(Exception):  # the server may be gone
                client.set_terminated(made, status="FAILED")
        wrote = f"wrote {written} of {len(runs)} runs into its experiment {name!r}, then"
        raise ConfigError(f"Expected MLflow to take every run, {wrote} got: {_said(error)}. Delete these, and record again when it answers.") from None


def _refused(error: Exception) -> ConfigError:
    return ConfigError(f"Expected `mlflow` to name a place in which MLflow keeps runs, got: {_said(error)}. Write http://HOST:5000 or sqlite:///FILE.")


def _said(error: Exception) -> str:
    """What MLflow says, without its address, which may hold a password."""
    return " ".join(re.sub(r"\S+://\S+", "...", str(error)).split())[:LONGEST].rstrip(". ")
