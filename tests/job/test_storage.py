"""Fits whose trials are in a database: they go on in any folder, and end as if they had never stopped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.job.conftest import Fit
from tests.job.test_resume import artifacts

from temperance.core.errors import ConfigError
from temperance.job import finish_fit, fit as fit_module
from temperance.job.folder import RUN, TRIALS
from temperance.search import engine, programs, rungs
from temperance.search.shared import study
from temperance.search.shared.study import SharedStudy

SETTINGS: dict[str, Any] = {"trials": 8, "refits": 1, "ensemble": 2}


class Killed(BaseException):
    """Ends a fit at once, as a signal that cannot be caught."""


@pytest.fixture(scope="module", autouse=True)
def several_rounds() -> Iterator[None]:
    """Rounds of four trials, reports at every check, and leases that end soon."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rungs, "FIRST", 4)
        patch.setattr(engine, "MOST_WAVE", 4)
        patch.setattr(engine, "TICK", 0.0)
        patch.setattr(programs, "WORTH", float("inf"))
        for name, seconds in (("LEASE", 0.4), ("BEAT", 0.05), ("POLL", 0.02)):
            patch.setattr(study, name, seconds)
        yield


def test_a_killed_fit_goes_on_in_another_folder_with_the_same_files(fit: Fit, people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed in its second round: refused without --resume and with other options; shipped as it is; gone on with, under the name of its first folder."""
    whole, storage = fit("rich", out=tmp_path / "whole", **SETTINGS), f"sqlite:///{tmp_path / 'trials.db'}"

    def kill(report: Mapping[str, Any]) -> None:
        if report["phase"] == "round 2":
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(SharedStudy, "close", lambda shared: (shared._over.set(), shared.database.close()))  # what the system does
        with pytest.raises(Killed) as caught:
            fit("rich", out=tmp_path / "income", storage=storage, on_progress=kill, **SETTINGS)
    assert "4 finished trials are kept in study 'income' of sqlite" in "".join(caught.value.__notes__)
    assert not (tmp_path / "income" / RUN / TRIALS).exists()
    with SharedStudy(storage, "income") as shared:
        shared.watch(lambda: None)
    for settings, what in (({}, r"4 finished trials.*--resume"), ({"resume": True, "seed": 1}, r"--seed 1 \(before: 0\)"), ({"overwrite": False}, r"--resume")):
        with pytest.raises(ConfigError, match=what):
            fit("rich", out=tmp_path / "income", storage=storage, **{**SETTINGS, **settings})
    early = finish_fit(tmp_path / "early", storage=storage, study_name="income")
    assert early.summary["search"]["ran"] == 4
    asked = {"storage": storage, "study_name": "income", "resume": True, **SETTINGS}
    moved = tmp_path / "moved" / people.name
    moved.parent.mkdir()
    moved.write_bytes(people.read_bytes())
    for out, rows in (("elsewhere", people), ("again", moved)):
        assert artifacts(fit("rich", out=tmp_path / out, source=rows, **asked).folder) == artifacts(whole.folder), "where the file lies does not matter"
    texts = [path.read_bytes() for path in (tmp_path / "elsewhere").rglob("*") if path.is_file()]
    assert len(texts) >= 8 and not any(b"trials.db" in text for text in texts), "where trials are kept stands in no file"


def test_an_error_after_the_search_says_where_the_trials_are(fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(fit_module, "write_fit", fail)
    with pytest.raises(ZeroDivisionError) as caught:
        fit("rich", out=tmp_path / "income", storage=f"sqlite:///{tmp_path / 'trials.db'}", trials=2)
    assert "2 finished trials are kept in study 'income'" in "".join(caught.value.__notes__)


def test_what_is_not_there_cannot_be_finished(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"got study 'income' of sqlite.*--study-name"):
        finish_fit(tmp_path / "income", storage=f"sqlite:///{tmp_path / 'trials.db'}")
    with pytest.raises(ConfigError, match=r"Add `storage`"):
        finish_fit(tmp_path / "income", study_name="mine")
