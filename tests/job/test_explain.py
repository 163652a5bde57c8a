"""`explain` on a folder: what it writes, with which file it goes on, and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.folders import edit
from tests.job.conftest import Fit

from temperance.core.errors import ConfigError, DataError
from temperance.job import Job, explain_fit, replay_trial
from temperance.job.folder import EXPLAINED
from temperance.job.lock import Lock
from temperance.job.parts import digest, read_json


@pytest.fixture(scope="module")
def rich(fit: Fit) -> Job:
    return fit("rich", metric="log_loss")


@pytest.fixture
def copied(rich: Job, tmp_path: Path) -> Path:
    """The folder of a fit that may be changed."""
    return Path(shutil.copytree(rich.folder, tmp_path / "copied"))


def test_a_fit_is_explained_and_what_is_said_lies_in_its_folder(rich: Job) -> None:
    job = rich
    found = explain_fit(job.folder, seeds=2)
    written = json.loads((job.folder / "explain.json").read_text(encoding="utf-8"))
    assert written["trial"] == job.summary["search"]["winner"]
    assert written["rows"]["held"] == job.summary["scores"]["n_test"]
    assert {row["answer"] for row in written["regularizers"]} == {"cannot tell"}
    assert "20 test rows are too few" in found.text
    assert "what ships is an average of" in found.text.lower() or job.summary["model"]["networks"] == 1
    page = (job.folder / "report.html").read_text(encoding="utf-8")
    assert page.count('<section id="why">') == 1
    assert "20 test rows are too few" in page
    again = explain_fit(job.folder, seeds=2)
    assert again.facts == found.facts
    assert (job.folder / "report.html").read_text(encoding="utf-8") == page  # in place of the earlier section
    run = read_json(job.folder / "run.json")
    assert run["parts"]["report.html"] == digest(page.encode())
    assert replay_trial(job.folder, written["trial"])["same"]


def test_differences_are_in_the_units_of_the_target(fit: Fit) -> None:
    job = fit("price", trials=3, metric="rmse")
    found = explain_fit(job.folder, seeds=2).facts
    validation = job.summary["scores"]["validation"]["rmse"]
    assert 0.3 * validation < found["score"]["value"] < 3 * validation


def test_a_fit_with_a_teacher_is_refused_before_its_rows_are_read(copied: Path) -> None:
    taught = {"regularizer": "Distillation", "alpha": 0.5, "temperature": 2.0, "teacher": "Linear 0123456789ab"}
    edit(copied, "run.json", lambda data: data.update(use=[taught], source=None))
    for ask in (lambda: explain_fit(copied), lambda: replay_trial(copied, 0)):
        with pytest.raises(ConfigError, match=r"was fitted with a teacher, which no file holds.* In Python"):
            ask()


def test_rows_that_were_no_file_or_have_moved_are_asked_for(copied: Path, people: Path, tmp_path: Path) -> None:
    edit(copied, "run.json", lambda data: data.update(source=None))
    with pytest.raises(DataError, match=r"not read from a file. Give it as `data`: --data FILE"):
        explain_fit(copied, seeds=2)
    edit(copied, "run.json", lambda data: data.update(source=str(tmp_path / "gone.csv")))
    with pytest.raises(DataError, match=r"moved or removed. Give it as `data`: --data FILE"):
        explain_fit(copied, seeds=2)
    other = tmp_path / "other.csv"
    other.write_text("\n".join(people.read_text().splitlines()[:-5]) + "\n")
    with pytest.raises(DataError, match="An explanation needs the same file"):
        explain_fit(copied, seeds=2, data=other)
    assert explain_fit(copied, seeds=2, data=people).facts["seeds"] == 2


def test_what_explains_a_fit_goes_with_it(fit: Fit, copied: Path) -> None:
    for name in EXPLAINED:
        (copied / name).write_text("of the earlier fit")
    fit("rich", trials=2, out=copied, overwrite=True, seed=1)
    assert not any((copied / name).exists() for name in EXPLAINED)


def test_a_folder_in_use_or_without_a_fit_is_refused(copied: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Expected a folder written by `temperance fit`"):
        explain_fit(tmp_path / "nothing")
    for doing in ("fit", "explain"):
        lock = Lock(copied, doing)
        try:
            with pytest.raises(ConfigError, match=rf"nothing else runs, got .*in use \({doing}, process .*\)\. Wait until that is done\.$"):
                explain_fit(copied, seeds=2)
        finally:
            lock.release()


@pytest.mark.parametrize("winner", [None, 99, "7"])
def test_a_changed_summary_is_refused_in_words(copied: Path, winner: Any) -> None:
    edit(copied, "summary.json", lambda data: data["search"].update(winner=winner))
    with pytest.raises(DataError, match="to name the best trial among its trials"):
        explain_fit(copied, seeds=2)
