"""One commit point: killed or out of room at any operation, a folder holds the earlier fit whole or the new one whole, and nothing computed is gone."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.job.conftest import Fit, make_people
from tests.job.faults import Disk, full, killed_at

import temperance as tp
from temperance.core.errors import ConfigError, DataError
from temperance.core.files import write_whole
from temperance.job import fit as fitting, writing
from temperance.job.folder import DONE, FILES, MODEL, RUN, claimed, kept, place_of
from temperance.job.lock import LOCK
from temperance.job.parts import read_json

PARTS = (*FILES, *MODEL)
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")


@pytest.fixture(scope="module")
def old(fit: Fit) -> Path:
    return fit("rich", trials=1, refits=1, ensemble=1).folder


@pytest.fixture(scope="module")
def new(fit: Fit) -> Path:
    return fit("price", trials=1, refits=1, ensemble=1).folder


def parts(folder: Path) -> dict[str, bytes]:
    """The parts of a fit as a reader finds them."""
    places = {name: place_of(folder, name) for name in PARTS}
    return {name: path.read_bytes() for name, path in places.items() if path.exists()}


def written_anew(folder: Path, source: Path) -> Callable[[], None]:
    """A fit that writes what another one wrote."""
    content = {name: (source / name).read_bytes() for name in PARTS}

    def work() -> None:
        with claimed(folder, True) as claim:
            claim.begin()
            (claim.run / "model").mkdir()
            for name in ("cocktail.json", *MODEL, *(name for name in FILES if name != "cocktail.json")):
                write_whole(claim.run / name, content[name])
            claim.commit()

    return work


EVERY = pytest.param(True, 1, marks=pytest.mark.slow), pytest.param(False, 1, marks=pytest.mark.slow)


@pytest.mark.parametrize(("earlier", "stride"), [(True, 3), (False, 7), *EVERY])
def test_killed_at_any_operation_one_fit_is_whole(old: Path, new: Path, tmp_path: Path, earlier: bool, stride: int) -> None:
    before, after = (parts(old) if earlier else {}), parts(new)
    folder, seen = tmp_path / "o", []
    again = written_anew(folder, new)
    for k in range(1, 1000, stride):
        shutil.rmtree(folder, ignore_errors=True)
        if earlier:
            shutil.copytree(old, folder)
        lived = killed_at(k, again)
        found = parts(folder)
        assert found in (before, after), f"parts of both after operation {k}"
        seen.append(found == after)
        if k % 3 == 0 and (found or (folder / RUN / MODEL[-1]).exists()):
            task = tp.load(folder).target.task
            assert task == ("classification" if found == before and earlier else "regression"), k
        if k % 5 == 0:
            assert killed_at(1000, again)  # what a kill left is in nobody's way
            assert {path.name for path in folder.iterdir()} == {*FILES, "model"} and parts(folder) == after
        if lived:
            break
    assert seen == sorted(seen) and not seen[0] and k > 60, "one moment from which on it is the new one"


def test_a_reader_sees_one_fit_at_every_moment(old: Path, new: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in the process that commits, between any two renames."""
    folder = shutil.copytree(old, tmp_path / "o")
    tasks: list[str] = []
    rename = os.replace

    def watched(*arguments: Any) -> None:
        tasks.append(tp.load(folder).target.task)
        rename(*arguments)
        tasks.append(tp.load(folder).target.task)

    monkeypatch.setattr(os, "replace", watched)
    written_anew(folder, new)()
    assert tasks == sorted(tasks) and {*tasks} == {"classification", "regression"}


@pytest.fixture(scope="module")
def searched(fit: Fit) -> Any:
    """A search that is done: what `fit_table` gets from it, without the time it takes."""
    found: list[Any] = []
    real = fitting.search_plans

    def once(*arguments: Any, **settings: Any) -> Any:
        found.append(real(*arguments, **settings))
        return found[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "search_plans", once)
        fit("price", trials=1, refits=1, ensemble=1)
    return found[0]


@pytest.fixture
def quick(searched: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def search(*_: Any, study: Path, **__: Any) -> Any:
        study.write_bytes(b"trials")
        return searched

    monkeypatch.setattr(fitting, "search_plans", search)
    monkeypatch.setattr(fitting, "_rivals", lambda *_: [])
    for name in ("importance", "judged", "verdicts"):
        monkeypatch.setattr(writing, name, lambda *_: {})
    monkeypatch.setattr("temperance.report.page.render", lambda *_: "page")


WRITES = 7  # cocktail, weights, model.json, history, report, summary, run.json


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("earlier", [True, False])
def test_a_full_disk_at_any_write_loses_nothing(fit: Fit, old: Path, tmp_path: Path, earlier: bool) -> None:
    before, last = parts(old) if earlier else {}, 0
    for k in range(1, 200):
        folder = tmp_path / str(k)
        if earlier:
            shutil.copytree(old, folder)
        disk = Disk(k, full)
        with pytest.MonkeyPatch.context() as patch:
            disk.install(patch, ("fsync",))
            try:
                fit("price", out=folder, trials=1, overwrite=earlier)
            except (OSError, ConfigError) as error:
                notes = " ".join(getattr(error, "__notes__", ()))
            else:
                last = k
                break
        found = parts(folder) if folder.exists() else {}
        assert found == before or (found.keys() == {*PARTS} and tp.load(folder).target.task == "regression"), k
        if (folder / RUN / MODEL[-1]).exists():
            assert tp.load(folder / RUN).target.task == "regression" and repr(str(folder / RUN)) in notes == kept(folder)
    assert last > 2 * WRITES
    assert tp.load(folder).target.task == "regression"


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("broken", ["report", "summary"])
def test_a_failing_report_or_a_value_that_json_cannot_hold_leave_the_model(
    fit: Fit, old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def fails(*_: Any, **__: Any) -> str:
        raise ZeroDivisionError

    if broken == "report":
        monkeypatch.setattr("temperance.report.page.render", fails)
    else:
        monkeypatch.setattr(writing, "make_summary", lambda *_, **__: {"rivals": [], "strange": object()})
    folder = shutil.copytree(old, tmp_path / "o")
    with pytest.raises((ZeroDivisionError, TypeError)) as told:
        fit("price", out=folder, trials=1, overwrite=True)
    assert parts(folder) == parts(old)
    assert tp.load(folder / RUN).target.task == "regression" and (folder / RUN / "study.db").read_bytes() == b"trials"
    assert "tp.load and temperance predict take this folder" in told.value.__notes__[0]


@pytest.mark.usefixtures("quick")
def test_settings_of_any_type_are_noted(fit: Fit, tmp_path: Path) -> None:
    """They are known before the search, and found out after it only if nobody looks."""
    folder = fit("price", out=tmp_path / "o", trials=np.int64(1), memory=np.int64(10**9), test=None).folder
    assert json.loads((folder / "run.json").read_text(encoding="utf-8"))["memory"] == 10**9


# What belongs together


def test_every_part_has_its_hash(old: Path) -> None:
    model, run = read_json(old / "model" / "model.json"), read_json(old / "run.json")
    assert model["parts"].keys() == {"model.safetensors", "cocktail.json"}
    assert model["parts"].keys() | run["parts"].keys() | {"run.json", "model/model.safetensors"} == {*PARTS, "model.safetensors"}
    for owner, folder in ((model, old / "model"), (run, old)):
        for name, digest in owner["parts"].items():
            path = folder / name if (folder / name).exists() else old / name
            assert hashlib.sha256(path.read_bytes()).hexdigest() == digest


def swap(name: str) -> Callable[[Path, Path], None]:
    return lambda folder, other: shutil.copy(other / name, folder / name)


def flip(name: str, old: str, new: str) -> Callable[[Path, Path], None]:
    def change(folder: Path, _: Path) -> None:
        text = (folder / name).read_text(encoding="utf-8")
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1), encoding="utf-8")

    return change


def bit(folder: Path, _: Path) -> None:
    content = bytearray((folder / MODEL[0]).read_bytes())
    content[-1] ^= 1
    (folder / MODEL[0]).write_bytes(content)


def read_all(folder: Path) -> None:
    saved = tp.load(folder)
    saved.predict(make_people())
    assert saved.summary and saved.cocktail


MIXED: dict[str, Callable[[Path, Path], Any]] = {
    "weights of another fit": swap(MODEL[0]),
    "model.json of another fit": swap(MODEL[1]),
    "cocktail of another fit": swap("cocktail.json"),
    "summary of another fit": swap("summary.json"),
    "a bit of the weights": bit,
    "a level of the encoder": flip(MODEL[1], '"cook"', '"cock"'),
    "a class": flip(MODEL[1], '"yes"', '"yep"'),
    "without its hash": flip(MODEL[1], '"sha256"', '"sha"'),
    "without the hash of the weights": flip(MODEL[1], '"model.safetensors"', '"other.safetensors"'),
    "the cocktail": flip("cocktail.json", '"seed": ', '"seed": 1'),
}


@pytest.mark.parametrize("case", MIXED)
def test_parts_that_do_not_belong_together_are_refused(fit: Fit, old: Path, tmp_path: Path, case: str) -> None:
    other = fit("rich", trials=1, refits=1, ensemble=1, seed=1).folder if "another" in case else old
    folder = shutil.copytree(old, tmp_path / "o")
    read_all(folder)
    MIXED[case](folder, other)
    with pytest.raises(DataError, match=r"(SHA-256 differs|got none\. It was changed).*again"):
        read_all(folder)


# The lock


def test_two_fits_at_once_do_not_meet(tmp_path: Path) -> None:
    with claimed(tmp_path) as first:
        for overwrite in (False, True):
            with (
                pytest.raises(ConfigError, match=rf"nothing else runs, got .*in use \(fit, process {os.getpid()} on .*\)\. Wait .*--out"),
                claimed(tmp_path, overwrite),
            ):
                pass
        first.begin()
        assert first.run.is_dir()
    with claimed(tmp_path):
        pass


HOLD = """
import sys, time
from temperance.job.folder import claimed
with claimed(sys.argv[1]) as folder:
    folder.begin()
    print("locked", flush=True)
    time.sleep(600)
"""


def test_the_lock_of_a_killed_process_is_none(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "o")], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stdout.readline() == "locked\n"
    try:
        with pytest.raises(ConfigError, match=f"process {holder.pid} on"), claimed(tmp_path / "o"):
            pass
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    assert (tmp_path / "o" / LOCK).exists()
    with claimed(tmp_path / "o"):
        pass
    assert not (tmp_path / "o").exists()


def test_many_at_once_take_turns(tmp_path: Path) -> None:
    inside: list[int] = []

    def work() -> None:
        for _ in range(30):
            try:
                with claimed(tmp_path / "o"):
                    inside.append(1)
                    assert len(inside) == 1
                    inside.pop()
            except ConfigError:
                continue

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not inside


def test_without_locks_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: Any) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", none)
    with claimed(tmp_path / "o") as folder:
        assert "has no locks" in folder.note
    monkeypatch.setattr("temperance.job.lock.fcntl", None)
    with claimed(tmp_path / "o") as folder:
        assert "start none while this one runs" in folder.note


def test_links_lead_nowhere_else(old: Path, new: Path, tmp_path: Path) -> None:
    """A folder from somebody else, with links where a fit writes: what they lead to stays as it is."""
    for name in (LOCK, RUN, DONE, "model", f"{DONE}/model", f"{RUN}/trials"):
        mine = shutil.copytree(old, tmp_path / "mine" / name.replace("/", "-"))
        folder = shutil.copytree(old, tmp_path / "theirs" / name.replace("/", "-"))
        (folder / name).parent.mkdir(exist_ok=True)
        if name == "model":
            shutil.rmtree(folder / name)
        (folder / name).symlink_to(mine if name != LOCK else mine / "summary.json")
        before = {path: path.read_bytes() for path in mine.rglob("*") if path.is_file()}
        with pytest.raises(ConfigError, match=r"a fit writes to no other place, got .* with a link .*Remove the link"), claimed(folder, True):
            pass
        assert {path: path.read_bytes() for path in mine.rglob("*") if path.is_file()} == before
    mine = tmp_path / "mine.html"
    mine.write_text("mine", encoding="utf-8")
    folder = shutil.copytree(old, tmp_path / "linked")
    (folder / "report.html").unlink()
    (folder / "report.html").symlink_to(mine)
    (folder / ".new").symlink_to(tmp_path / "mine")
    (folder / ".probe").symlink_to(mine)
    written_anew(folder, new)()
    assert mine.read_text(encoding="utf-8") == "mine" and not (folder / "report.html").is_symlink()
    assert parts(folder) == parts(new)


def test_a_fit_of_an_earlier_version_is_read(old: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(old, tmp_path / "o")
    for name in (MODEL[1], "run.json"):
        data = json.loads((folder / name).read_text(encoding="utf-8"))
        data = {key: value for key, value in data.items() if key not in ("sha256", "parts")} | ({"format": 2} if name == MODEL[1] else {})
        (folder / name).write_text(json.dumps(data), encoding="utf-8")
    frame: pd.DataFrame = make_people()
    assert np.array_equal(tp.load(folder).predict_proba(frame), tp.load(old).predict_proba(frame))
