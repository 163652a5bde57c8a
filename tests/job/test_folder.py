"""The folder: nothing of anybody's is lost, and nothing half done is left."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.job.conftest import Fit, make_people

from temperance.core.errors import ConfigError, DataError
from temperance.job import load, predict_table, replay_trial
from temperance.job.folder import FILES, MODEL, RUN, TRIALS, claimed, kept
from temperance.job.lock import LOCK


def write_parts(run: Path, text: str) -> None:
    for name in (*FILES, *MODEL):
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).write_text(text, encoding="utf-8")


def everything(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in folder.rglob("*") if path.is_file()}


def test_a_new_and_an_empty_folder_are_claimed(tmp_path: Path) -> None:
    for out in (tmp_path / "a" / "b", str(tmp_path / "a" / "b")):
        with claimed(out) as folder:
            assert folder.path == tmp_path / "a" / "b" and folder.path.is_dir() and not folder.earlier
            assert [path.name for path in folder.path.iterdir()] == [LOCK]
        assert not folder.path.exists(), "nothing was computed"


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "o").write_text("mine", encoding="utf-8")
    for overwrite in (False, True):
        with (
            pytest.raises(ConfigError, match=r"Expected `--out` to name a folder, got .*, which is a file\. Choose another name\."),
            claimed(tmp_path / "o", overwrite),
        ):
            pass
    assert (tmp_path / "o").read_text(encoding="utf-8") == "mine"


def test_an_existing_fit_is_refused_and_replaced_on_request(tmp_path: Path) -> None:
    write_parts(tmp_path, "old")
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    old = everything(tmp_path)
    with pytest.raises(ConfigError, match=r"which holds files\. Choose another name, or add --overwrite\."), claimed(tmp_path):
        pass
    assert everything(tmp_path) == old
    with claimed(tmp_path, True) as folder:
        assert folder.earlier
        folder.begin()
        write_parts(folder.run, "new")
        assert everything(tmp_path).items() >= old.items()  # until the new fit is done
        folder.commit()
    assert everything(tmp_path) == {**dict.fromkeys((*FILES, *MODEL), "new"), "notes.txt": "mine"}


def test_other_files_are_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine", encoding="utf-8")
    with (
        pytest.raises(ConfigError, match=r"Expected `--overwrite` to replace an earlier fit, got .*, which holds other files\. Choose another folder\."),
        claimed(tmp_path, True),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


class Stopped(BaseException):
    pass


@pytest.mark.parametrize("left", ["nothing", f"{RUN}/{TRIALS}/0.json", f"{RUN}/{MODEL[-1]}"])
def test_what_was_computed_stays_after_an_error(tmp_path: Path, left: str) -> None:
    """Beside an earlier fit, which is as it was, and in a new folder; only what took no time is removed."""
    (tmp_path / "old").mkdir()
    write_parts(tmp_path / "old", "old")
    for name in ("old", "new"):
        before = everything(tmp_path / name)
        with suppress(Stopped), claimed(tmp_path / name, True) as folder:
            folder.begin()
            (folder.run / "study.db").write_text("", encoding="utf-8")
            if left != "nothing":
                (folder.path / left).parent.mkdir()
                (folder.path / left).write_text("work", encoding="utf-8")
            raise Stopped
        after = everything(tmp_path / name)
        assert after == before | ({} if left == "nothing" else {left: "work", f"{RUN}/study.db": ""})
        assert (tmp_path / name).exists() == (name == "old" or left != "nothing")
        assert (left == "nothing") == (kept(tmp_path / name) == "")
    if left != "nothing":
        with pytest.raises(ConfigError, match="which holds an unfinished fit"), claimed(tmp_path / "new"):
            pass
        assert everything(tmp_path / "new") == after
        with claimed(tmp_path / "new", True) as folder:
            assert everything(tmp_path / "new").items() >= after.items()  # until another one begins to train
            folder.begin()
            assert not list(folder.run.iterdir())


def test_what_a_kill_left_before_it_computed_anything_holds_nobody_up(tmp_path: Path) -> None:
    (tmp_path / RUN).mkdir()
    (tmp_path / LOCK).write_text("process 1 on nowhere", encoding="utf-8")
    with claimed(tmp_path) as folder:
        folder.begin()
    assert not tmp_path.exists()


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, "whatever the system says")

    for where, name in ((Path, "mkdir"), (os, "open")):
        with monkeypatch.context() as patch:
            patch.setattr(where, name, denied)
            with pytest.raises(ConfigError, match=r"that can be written, got .*: Permission denied\. Choose another folder\."), claimed(tmp_path / name):
                pass


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
    assert not (job.folder / RUN).exists() and (job.folder / "study.db").exists()


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
    for name, target in (("o", "price"), ("new", "rich")):
        with pytest.raises(OSError, match="No space left") as told:
            fit(target, out=tmp_path / name, trials=1, refits=1, overwrite=True)
        assert told.value.__notes__ == [kept(tmp_path / name)] and repr(str(tmp_path / name / RUN)) in kept(tmp_path / name)
        assert load(tmp_path / name / RUN).target.task == ("regression" if target == "price" else "classification")
    assert {path: path.read_bytes() for path in before} == before
    assert {path.name for path in out.iterdir()} == {*FILES, "model", RUN}
    assert load(out).target.task == "classification"  # the earlier one
    assert load(tmp_path / "new").target.task == "classification"  # the model alone, where there is no other
    assert {path.name for path in (tmp_path / "new").iterdir()} == {RUN}
