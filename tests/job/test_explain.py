"""`explain` on a folder: what it writes, with which file it goes on, and what it refuses."""

from __future__ import annotations

import json
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


def test_a_fit_is_explained_and_what_is_said_lies_in_its_folder(fit: Fit) -> None:
    job = fit("rich", trials=4, metric="log_loss")
    found = explain_fit(job.folder, seeds=2)
    written = json.loads((job.folder / "explain.json").read_text(encoding="utf-8"))
    assert written["trial"] == job.summary["search"]["winner"]
    assert written["rows"]["held"] == job.summary["scores"]["n_test"]
    assert {row["answer"] for row in written["regularizers"]} == {"cannot tell"}
    assert "20 untouched rows are too few" in found.text
    assert "what ships is an average of" in found.text.lower() or job.summary["model"]["networks"] == 1
    page = (job.folder / "report.html").read_text(encoding="utf-8")
    assert page.count('<section id="why">') == 1
    assert "20 untouched rows are too few" in page
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


def test_rows_that_were_no_file_are_given(fit: Fit, people: Path) -> None:
    import pandas as pd

    job = fit("rich", trials=2, source=pd.read_csv(people))
    with pytest.raises(DataError, match=r"not read from a file. Give it as `data`: --data FILE"):
        explain_fit(job.folder, seeds=2)
    assert explain_fit(job.folder, seeds=2, data=people).facts["seeds"] == 2


def test_rows_that_moved_are_named(fit: Fit, people: Path, tmp_path: Path) -> None:
    moved = tmp_path / "there.csv"
    moved.write_bytes(people.read_bytes())
    job = fit("rich", trials=2, source=moved)
    moved.unlink()
    with pytest.raises(DataError, match=r"moved or removed. Give it as `data`: --data FILE"):
        explain_fit(job.folder, seeds=2)
    other = tmp_path / "other.csv"
    other.write_text("\n".join(people.read_text().splitlines()[:-5]) + "\n")
    with pytest.raises(DataError, match="An explanation needs the same file"):
        explain_fit(job.folder, seeds=2, data=other)


def test_what_explains_a_fit_goes_with_it(fit: Fit, people: Path, tmp_path: Path) -> None:
    job = fit("rich", trials=2, out=tmp_path / "out")
    explain_fit(job.folder, seeds=2)
    assert all((job.folder / name).is_file() for name in EXPLAINED)
    fit("rich", trials=2, out=tmp_path / "out", overwrite=True, seed=1)
    assert not any((job.folder / name).exists() for name in EXPLAINED)


def test_a_folder_in_use_or_without_a_fit_is_refused(job: Job, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Expected a folder written by `temperance fit`"):
        explain_fit(tmp_path)
    lock = Lock(job.folder)
    try:
        with pytest.raises(ConfigError, match="no other fit runs"):
            explain_fit(job.folder, seeds=2)
    finally:
        lock.release()


@pytest.mark.parametrize("winner", [None, 99, "7"])
def test_a_changed_summary_is_refused_in_words(fit: Fit, winner: Any) -> None:
    job = fit("rich", trials=2)
    edit(job.folder, "summary.json", lambda data: data["search"].update(winner=winner))
    with pytest.raises(DataError, match="to name the best trial among its trials"):
        explain_fit(job.folder, seeds=2)
