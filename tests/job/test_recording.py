"""The trials of a fit in TensorBoard and MLflow, read back from what was written."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from tests.job.conftest import Fit

from temperance.core.errors import ConfigError
from temperance.job import Job
from temperance.job.recording import record_fit
from temperance.report import recording
from temperance.report.recording import Run, record, record_runs, runs_of


@pytest.fixture(scope="module")
def made(fit: Fit) -> Job:
    return fit("rich", trials=4)


def test_every_trial_is_a_run_with_what_the_fit_knows_of_it(made: Job) -> None:
    found = made.search
    runs = {run.name: run for run in runs_of([t.row() for t in found.trials], found.history(), found.scores)}
    assert set(runs) == {*(f"trial {i}" for i in range(4)), "without the cocktail", "test rows"}
    for trial in found.trials:
        run = runs[f"trial {trial.config.number}"]
        assert run.final == {"score": trial.score} and run.status == trial.status
        assert {name: run.hypers[name] for name in trial.config.strengths} == dict(trial.config.strengths)
        assert (run.hypers["learning_rate"], run.hypers["seed"], run.hypers["plan"]) == (trial.config.lr, trial.config.seed, trial.config.plan.name)
        assert [step for step, _ in run.curves] == [row["step"] for row in trial.history()]
        assert [values["validation_score"] for _, values in run.curves] == [row["validation_score"] for row in trial.history()]
    assert runs["test rows"].final["test_accuracy"] == found.scores["accuracy"]["value"]


def test_numbers_that_are_none_are_left_out() -> None:
    row = {"trial": 0, "score": math.nan, "status": "diverged at step 1", "strengths": {}, "learning_rate": 0.1, "length": 1.0, "plan": "a", "seed": 7}
    history = pd.DataFrame([{"run": "search", "trial": 0, "step": 1, "train_loss": math.inf, "validation_loss": 2.0}])
    (run,) = runs_of([row], history, {})
    assert run.final == {} and run.curves == [(1, {"validation_loss": 2.0})]


def test_what_was_never_started_has_no_curves() -> None:
    row = {"trial": 0, "score": None, "status": "not started", "strengths": {}, "learning_rate": 0.1, "length": 1.0, "plan": "a", "seed": 7}
    assert runs_of([row], pd.DataFrame(), {}) == [Run("trial 0", {"learning_rate": 0.1, "length": 1.0, "plan": "a", "seed": 7}, status="not started")]


@pytest.mark.parametrize(
    ("module", "extra", "given"), [("tensorboard", "tensorboard", {"tensorboard": "runs"}), ("mlflow.tracking", "mlflow", {"mlflow": "file:///runs"})]
)
def test_an_extra_that_is_missing_is_named(module: str, extra: str, given: dict[str, Any], made: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=rf"pip install 'temperance\[{extra}\]'"):
        record(made.search, **given)


def test_nowhere_to_write_is_refused(made: Job) -> None:
    with pytest.raises(ConfigError, match="got neither"):
        record_fit(made.folder)


class Server:
    """A tracking server that stops to answer after so many questions."""

    def __init__(self, answers: int) -> None:
        self.answers, self.ended = answers, dict[str, str]()

    def get_experiment_by_name(self, name: str) -> Any:
        return self._answer(None)

    def create_experiment(self, name: str) -> Any:
        return self._answer("1")

    def create_run(self, experiment: str, run_name: str, tags: Any) -> Any:
        return self._answer(SimpleNamespace(info=SimpleNamespace(run_id=run_name)))

    def log_batch(self, run: str, **numbers: Any) -> Any:
        return self._answer(None)

    def set_terminated(self, run: str, status: str) -> None:
        self.ended[run] = status

    def _answer(self, what: Any) -> Any:
        self.answers -= 1
        if self.answers < 0:
            raise ConnectionError("no answer from http://ada:s3cr3t@host")
        return what


@pytest.mark.parametrize(
    ("answers", "ended", "words"),
    [
        (0, {}, "a place in which MLflow keeps runs, got: no answer from"),
        (1, {}, "wrote 0 of 2 runs into its experiment 'x', then got: no answer from"),
        (2, {}, "wrote 0 of 2 runs"),
        (3, {"a": "FAILED"}, "wrote 0 of 2 runs"),
        (4, {"a": "FINISHED"}, "wrote 1 of 2 runs"),
        (5, {"a": "FINISHED", "b": "FAILED"}, "wrote 1 of 2 runs"),
    ],
)
def test_an_export_that_stops_half_way_says_how_far_it_came(answers: int, ended: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow.entities", SimpleNamespace(Metric=SimpleNamespace, Param=lambda key, value: (key, value)))
    server = Server(answers)
    with pytest.raises(ConfigError, match=words) as error:
        recording._to_mlflow([Run("a", {"lam": 0.1}), Run("b", {"lam": 0.2})], server, "x")
    assert server.ended == ended and "s3cr3t" not in str(error.value)


def test_no_message_repeats_an_address() -> None:
    """Those of MLflow do, and an address may hold a password."""
    error = recording._refused(RuntimeError("no answer from\nhttp://ada:s3cr3t@host:5000/api\n"))
    assert "s3cr3t" not in str(error) and "got: no answer from" in str(error)


@pytest.mark.slow  # it needs an extra, which `make test-slow` installs
def test_tensorboard_reads_it_back(made: Job, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="TensorBoard is an extra: pip install 'temperance[tensorboard]'")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # pyright: ignore[reportMissingImports]

    found = made.search
    assert record_fit(made.folder, tensorboard=tmp_path / "runs") == 6
    assert len(list((tmp_path / "runs").iterdir())) == 6
    for trial in found.trials:
        events = EventAccumulator(str(tmp_path / "runs" / f"trial {trial.config.number}"))
        events.Reload()
        read = [(event.step, event.value) for event in events.Scalars("validation_loss")]
        assert [step for step, _ in read] == [row["step"] for row in trial.history()]
        assert [value for _, value in read] == pytest.approx([row["validation_loss"] for row in trial.history()], rel=1e-6)
        assert events.Scalars("score")[0].value == pytest.approx(trial.score, rel=1e-6)
        assert any("hparams" in name for name in events.summary_metadata), "strengths are hyper-parameters"
    with pytest.raises(ConfigError, match="new or empty folder"):
        record_fit(made.folder, tensorboard=tmp_path / "runs")


@pytest.mark.slow  # likewise
def test_mlflow_reads_it_back(made: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tracking = pytest.importorskip("mlflow.tracking", reason="MLflow is an extra: pip install 'temperance[mlflow]'")
    monkeypatch.setattr(recording, "MOST_AT_ONCE", 7)
    found, place = made.search, f"sqlite:///{tmp_path / 'runs.db'}"
    assert record_fit(made.folder, mlflow=place) == 6
    client = tracking.MlflowClient(tracking_uri=place)
    experiment = client.get_experiment_by_name("out")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert len(runs) == 6
    for trial in found.trials:
        run = runs[f"trial {trial.config.number}"]
        assert run.data.metrics["score"] == trial.score
        assert {name: float(run.data.params[name]) for name in trial.config.strengths} == dict(trial.config.strengths)
        history = client.get_metric_history(run.info.run_id, "validation_loss")
        assert [(m.step, m.value) for m in history] == [(row["step"], row["validation_loss"]) for row in trial.history()]
    assert runs["test rows"].data.metrics["test_accuracy"] == found.scores["accuracy"]["value"]
    with pytest.raises(ConfigError, match="a place in which MLflow keeps runs"):
        record_runs([Run("x")], tensorboard=None, mlflow="ftp://ada:s3cr3t@host", name="x")
