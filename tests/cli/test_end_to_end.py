"""From a file to predictions, with the real job on tiny data."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.cli.conftest import Run
from tests.cli.test_bad_input import NETWORK

FILES = {"model", "cocktail.json", "study.db", "history.csv", "summary.json", "report.html"}


def fit(run: Run, *arguments: Any) -> str:
    result = run("fit", "people.csv", "--trials", "2", "--threads", "1", *arguments)
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    return result.stdout


def predict(run: Run, *arguments: Any) -> pd.DataFrame:
    result = run("predict", *arguments, "--out", "p.csv")
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    return pd.read_csv("p.csv")


def test_classes(run: Run, people: pd.DataFrame, tmp_path: Path) -> None:
    text = fit(run, "--target", "rich", "--ignore", "price")
    folder = tmp_path / "people-temperance"
    assert {path.name for path in folder.iterdir()} >= FILES
    for part in (
        "Target   rich: classification, 2 classes (no, yes)",
        "Search   keep: all train at least an epoch and 32 steps (a twentieth of a long run), and the best quarter goes on",
        "has the same value in every row",
        "left out on request",
        "Warning  there are only 16 test rows",
        "Score on 16 test rows",
        "Replay   temperance replay people-temperance",
    ):
        assert part in text

    labels = predict(run, "people-temperance", "people.csv")
    assert list(labels.columns) == ["prediction"]
    assert len(labels) == len(people)
    assert (labels["prediction"] == people["rich"]).mean() > 0.8

    chances = predict(run, "people-temperance", "people.csv", "--proba")
    assert list(chances.columns) == ["no", "yes", "prediction"]
    assert np.allclose(chances["no"] + chances["yes"], 1)
    assert (chances["prediction"] == np.where(chances["yes"] > 0.5, "yes", "no")).all()
    assert (chances["prediction"] == labels["prediction"]).all()

    piped = run("predict", "people-temperance", "people.csv", "--proba")
    assert piped.stdout == (tmp_path / "p.csv").read_text(encoding="utf-8")
    assert run("predict", "people-temperance", "people.csv", "--out", "p.parquet").exit_code == 0
    assert pd.read_parquet("p.parquet").equals(labels.astype(pd.read_parquet("p.parquet").dtypes))
    assert not list(tmp_path.glob(".*.partial"))

    winner = re.search(r"replay people-temperance --trial (\d+)", text)
    assert winner is not None
    again = run("replay", "people-temperance", "--trial", winner[1])
    assert again.exit_code == 0, again.output
    assert "the same number" in again.stdout

    assert run("fit", "people.csv", "--target", "rich").exit_code == 2
    fit(run, "--target", "price", "--overwrite")
    assert json.loads((folder / "summary.json").read_text(encoding="utf-8"))["task"] == "regression"


def test_a_number_with_metric_and_weights(run: Run, people: pd.DataFrame, tmp_path: Path) -> None:
    people.assign(w=1.0).to_csv(tmp_path / "people.csv", index=False)
    text = fit(run, "--target", "price", "--weight", "w", "--metric", "rmse", "--without", "EMA", "--use", "L1", "--out", "o")
    for part in ("price: regression", "RMSE on validation rows decides", "l1.lam", "mean  "):
        assert part in text
    assert "ema.decay" not in text
    table = predict(run, "o", "people.csv")
    assert np.corrcoef(table["prediction"], people["price"])[0, 1] > 0.8


def test_several_labels_and_rows_kept_apart(run: Run, people: pd.DataFrame, tmp_path: Path) -> None:
    people.head(20).to_csv(tmp_path / "later.csv", index=False)
    text = fit(run, "--target", "a", "--target", "b", "--ignore", "price", "--test", "later.csv", "--out", "o")
    assert "a, b: multilabel, 2 labels (a, b)" in text
    assert "Score on 20 test rows" in text
    table = predict(run, "o", "people.csv", "--proba")
    assert list(table.columns[:2]) == ["a", "b"]
    assert table.columns[-1].startswith("prediction")


def test_a_network_of_ones_own(run: Run, people: pd.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(NETWORK, encoding="utf-8")
    assert "on Net" in fit(run, "--target", "rich", "--model", "net.py:build", "--out", "o")
    alone = run("predict", "o", "people.csv")
    assert alone.exit_code == 2
    assert "(net.py:build)" in alone.stderr and "--model FILE.py:build" in alone.stderr, "no text of the folder is told as a command"
    assert len(predict(run, "o", "people.csv", "--model", "net.py:build")) == len(people)
    alone = run("replay", "o", "--trial", "0")
    assert alone.exit_code == 2
    assert "(net.py:build)" in alone.stderr and "--model FILE.py:build" in alone.stderr
    again = run("replay", "o", "--trial", "0", "--model", "net.py:build")
    assert again.exit_code == 0 and "the same number" in again.stdout


@pytest.mark.slow
def test_the_same_seed_gives_the_same_files(run: Run, people: pd.DataFrame, tmp_path: Path) -> None:
    def once(name: str, seed: int) -> tuple[Any, bytes, str]:
        fit(run, "--target", "rich", "--seed", seed, "--out", name)
        summary = json.loads((tmp_path / name / "summary.json").read_text(encoding="utf-8").replace(f"{name}", "DIR"))
        summary.pop("timing")
        return summary, (tmp_path / name / "model" / "model.safetensors").read_bytes(), run("predict", name, "people.csv", "--proba").stdout

    first, second, other = once("first-dir", 3), once("other-dir", 3), once("third-dir", 4)
    assert first == second
    assert first[2] != other[2]


@pytest.mark.slow
@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c(run: Run, people: pd.DataFrame, tmp_path: Path) -> None:
    """Before the first evaluation nothing is there; after it, a model."""

    def interrupted(after: str, out: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "temperance", "fit", "people.csv", "--target", "rich", "--budget", "2m", "--threads", "1", "--out", out]
        seen = ""
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=tmp_path) as process:
            assert process.stdout is not None
            for line in process.stdout:
                seen += line
                if re.search(after, line):
                    break
            time.sleep(0.2)
            process.send_signal(signal.SIGINT)
            seen += process.stdout.read()
        return process.returncode, seen

    code, text = interrupted("^people.csv: ", "none")
    assert (code, text.splitlines()[-1]) == (130, "Interrupted before the first evaluation was finished: no model exists yet.")
    assert not (tmp_path / "none").exists()
    code, text = interrupted("best accuracy", "some")
    assert code == 0, text
    assert "then interrupted" in text and "Traceback" not in text
    assert len(predict(run, "some", "people.csv")) == len(people)
    assert {path.name for path in (tmp_path / "some").iterdir()} >= FILES


SHORT = [sys.executable, "-m", "tests.cli.short_fit"]
ROOT = Path(__file__).parents[2]
FIT = ["fit", "people.csv", "--target", "rich", "--trials", "12", "--ensemble", "2", "--threads", "1"]


def digests(folder: Path) -> dict[str, str]:
    """Hashes of what a fit writes that does not tell the time."""
    names = ("model/model.safetensors", "cocktail.json", "history.csv")
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}


def short_fit(folder: Path, *arguments: str, kill: Callable[[subprocess.Popen[str]], None] | None = None) -> tuple[int, str]:
    """The exit code and the output of a short fit in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([*SHORT, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder, env=environment) as process:
        if kill is not None:
            kill(process)
        text = process.communicate()[0]
    return process.returncode, text


def once_two_waves_are_done(out: Path, number: int) -> Callable[[subprocess.Popen[str]], None]:
    """Send a signal when two waves are on disk."""

    def kill(process: subprocess.Popen[str]) -> None:
        lines = out / ".run" / "trials" / "trials.jsonl"
        while process.poll() is None and not (lines.is_file() and lines.read_bytes().count(b'"end"') >= 2):
            time.sleep(0.01)
        process.send_signal(number)

    return kill


@pytest.mark.slow
@pytest.mark.usefixtures("ctrl_c")
def test_killed_by_each_signal_and_resumed(people: pd.DataFrame, tmp_path: Path, run: Run) -> None:
    """SIGKILL leaves the trials; the others leave a model too; the same command with --resume ends as if nothing had been."""
    assert short_fit(tmp_path, *FIT, "--out", "whole")[0] == 0
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        name = signal.Signals(number).name
        code, text = short_fit(tmp_path, *FIT, "--out", name, kill=once_two_waves_are_done(tmp_path / name, number))
        assert code == (-number if number == signal.SIGKILL else 0), text
        if number == signal.SIGKILL:
            code, text = short_fit(tmp_path, *FIT, "--out", name)
            assert code == 2 and text.index("--resume") < text.index("--overwrite")
            assert run("finish", name).exit_code == 0
        assert len(predict(run, name, "people.csv")) == len(people)
        code, text = short_fit(tmp_path, *FIT, "--out", name, "--resume")
        assert code == 0, text
        assert digests(tmp_path / name) == digests(tmp_path / "whole"), name
    assert "Traceback" not in text


@pytest.mark.slow
def test_a_pipe_that_is_closed_does_not_stop_a_fit(people: pd.DataFrame, tmp_path: Path) -> None:
    """As by ``| head -1``."""

    def read_one_line(process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.stdout.close()
        process.wait()
        process.stdout = None

    code, _ = short_fit(tmp_path, *FIT, "--out", "o", kill=read_one_line)
    assert code == 0 and {path.name for path in (tmp_path / "o").iterdir()} >= FILES


@pytest.mark.slow
def test_fifty_kills_at_moments_all_over_a_fit(people: pd.DataFrame, tmp_path: Path) -> None:
    """Killed at moments uniform in time and resumed, fifty times: fifty times the same artifacts."""
    began = time.monotonic()
    assert short_fit(tmp_path, *FIT, "--out", "whole")[0] == 0
    seconds, same, early = time.monotonic() - began, 0, 0
    for i in range(50):

        def kill(process: subprocess.Popen[str], after: float = seconds * (i + 0.5) / 50) -> None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(after)
            process.kill()

        code, _ = short_fit(tmp_path, *FIT, "--out", f"o{i}", kill=kill)
        if code != 0 or not (tmp_path / f"o{i}" / "run.json").is_file():
            early += 1
            code, text = short_fit(tmp_path, *FIT, "--out", f"o{i}", "--resume")
            assert code == 0 or "holds a finished one" in text, text
        same += digests(tmp_path / f"o{i}") == digests(tmp_path / "whole")
    assert same == 50 and early > 25, (same, early)
