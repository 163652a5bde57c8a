"""The folder: nothing of anybody's is lost, and nothing half done is left."""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.job.conftest import Fit, make_people

from temperance.core.errors import ConfigError, DataError
from temperance.job import load, predict_table, replay_trial
from temperance.job.folder import FILES, NEW, RUNNING, claim, release, settle


def test_a_new_and_an_empty_folder_are_claimed(tmp_path: Path) -> None:
    assert claim(tmp_path / "a" / "b", False).is_dir()
    assert claim(str(tmp_path / "a" / "b"), False) == tmp_path / "a" / "b"
    assert not list((tmp_path / "a" / "b").iterdir())


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "o").write_text("mine", encoding="utf-8")
    for overwrite in (False, True):
        with pytest.raises(ConfigError, match=r"Expected `--out` to name a folder, got .*, which is a file\. Choose another name\."):
            claim(tmp_path / "o", overwrite)
    assert (tmp_path / "o").read_text(encoding="utf-8") == "mine"


def test_an_existing_fit_is_refused_and_replaced_on_request(tmp_path: Path) -> None:
    for name in (*FILES, "notes.txt"):
        (tmp_path / name).write_text("old", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"which holds files\. Choose another name, or add --overwrite\."):
        claim(tmp_path, False)
    claim(tmp_path, True)
    assert (tmp_path / "summary.json").read_text(encoding="utf-8") == "old"  # until the new fit is done
    (tmp_path / RUNNING).write_text("trials", encoding="utf-8")
    settle(tmp_path)
    assert {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()} == {"study.db": "trials", "notes.txt": "old"}


def test_other_files_are_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"Expected `--overwrite` to replace an earlier fit, got .*, which holds other files\. Choose another folder\."):
        claim(tmp_path, True)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_release_leaves_an_earlier_fit(tmp_path: Path) -> None:
    new = claim(tmp_path / "new", False)
    (new / RUNNING).write_text("", encoding="utf-8")
    release(new)
    assert not new.exists()
    old = tmp_path / "old"
    old.mkdir()
    (old / "summary.json").write_text("old", encoding="utf-8")
    claim(old, True)
    (old / RUNNING).write_text("", encoding="utf-8")
    release(old)
    assert [path.name for path in old.iterdir()] == ["summary.json"]


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, "whatever the system says")

    for name in ("mkdir", "write_text"):
        with monkeypatch.context() as patch:
            patch.setattr(Path, name, denied)
            with pytest.raises(ConfigError, match=r"that can be written, got .*: Permission denied\. Choose another folder\."):
                claim(tmp_path / name, False)


def stop(*_: Any) -> None:
    raise KeyboardInterrupt


def test_interrupted_before_anything_leaves_no_folder(fit: Fit, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        fit("rich", out=tmp_path / "o", on_understood=stop)
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("error", ["data", "metric", "model", "regularizer"])
def test_errors_leave_no_folder(fit: Fit, tmp_path: Path, error: str) -> None:
    settings: dict[str, Any] = {
        "data": {"source": tmp_path / "none.csv"},
        "metric": {"metric": "rmse"},
        "model": {"model": f"{tmp_path}/net.py:build"},
        "regularizer": {"use": ["Dropot"]},
    }[error]
    with pytest.raises((ConfigError, DataError)):
        fit("rich", out=tmp_path / "o", **settings)
    assert not (tmp_path / "o").exists()


def test_interrupted_after_an_evaluation_leaves_a_usable_model(fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("temperance.search.engine.TICK", 0.0)  # the first network's score is told while others wait
    scores: list[float] = []

    def after_the_first(report: Mapping[str, Any]) -> None:
        if report["best"] is not None and not scores:
            scores.append(report["best"])
            raise KeyboardInterrupt

    job = fit("rich", out=tmp_path / "o", on_progress=after_the_first, trials=6)
    summary = json.loads((tmp_path / "o" / "summary.json").read_text(encoding="utf-8"))
    assert summary["search"]["ended"] == "interrupted"
    assert summary["scores"]["validation"]["accuracy"] >= scores[0]
    assert any(re.match("interrupted: the model (is the best state|averages the best states) found until then", warning) for warning in summary["warnings"])
    assert summary["stopping"]["retrain"] == "none"
    assert len(load(job.folder).predictions(make_people())) == 100
    assert predict_table(job.folder, make_people())["prediction"].isin(["no", "yes"]).all()
    assert (job.folder / "report.html").stat().st_size > 10_000
    for row in summary["search"]["table"]:
        if row["status"] == "interrupted":
            assert replay_trial(job.folder, row["trial"])["same"] is True
        else:
            assert row["status"] == "not started"
            with pytest.raises(ConfigError, match=r"was not started before the fit ended, so there is nothing to replay"):
                replay_trial(job.folder, row["trial"])
    assert {row["status"] for row in summary["search"]["table"]} == {"interrupted", "not started"}
    assert not (job.folder / RUNNING).exists() and (job.folder / "study.db").exists()


def test_an_earlier_fit_outlives_a_failed_one_and_is_replaced_by_a_finished_one(fit: Fit, tmp_path: Path) -> None:
    out = tmp_path / "o"
    fit("rich", out=out, trials=1, refits=1)
    (out / "notes.txt").write_text("mine", encoding="utf-8")
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match=r"add --overwrite"):
        fit("price", out=out, trials=1, refits=1)
    with pytest.raises(KeyboardInterrupt):
        fit("price", out=out, trials=1, refits=1, overwrite=True, on_understood=stop)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    fit("price", out=out, trials=1, refits=1, overwrite=True)
    assert json.loads((out / "summary.json").read_text(encoding="utf-8"))["task"] == "regression"
    assert load(out).target.task == "regression"
    assert (out / "notes.txt").read_text(encoding="utf-8") == "mine"


def test_an_earlier_fit_outlives_one_that_cannot_be_written(fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "o"
    fit("rich", out=out, trials=1, refits=1)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}

    def broken(*_: Any, **__: Any) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("temperance.report.page.render", broken)
    with pytest.raises(OSError, match="No space left"):
        fit("price", out=out, trials=1, refits=1, overwrite=True)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert {path.name for path in out.iterdir()} == {*FILES, "model"}
    with pytest.raises(OSError, match="No space left"):
        fit("rich", out=tmp_path / "new", trials=1, refits=1)
    assert load(tmp_path / "new").target.task == "classification"  # a search that is done is not lost because its report is
    assert not (tmp_path / "new" / "report.html").exists() and not (tmp_path / "new" / NEW).exists()
