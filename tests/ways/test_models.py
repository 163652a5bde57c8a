"""Ways out of messages about fitted models: replays, exports, and disks that are full."""

from __future__ import annotations

import errno
import importlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from tests.folders import reseal
from tests.job.conftest import shortened
from tests.ways.harness import check, way
from tests.ways.test_commands import people
from typer.testing import CliRunner, Result

import temperance as tp
from temperance.cli.app import app
from temperance.job import fit_table, prepare, replay_trial

BUILD = "import temperance as tp\n\n\ndef build(data):\n    return tp.nets.TabularNet(1, data.cardinalities, data.out_features, hidden=(4,))\n"


@pytest.fixture(scope="module")
def fits(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A fit of temperance's network, one of the user's own, and one of rows that came from no file."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("models")
    frame = people()[["age", "job", "rich"]]
    frame.to_csv(folder / "people.csv", index=False)
    (folder / "build.py").write_text(BUILD, encoding="utf-8")
    settings: dict[str, Any] = {"trials": 2, "refits": 1, "ensemble": 1}
    with pytest.MonkeyPatch.context() as patch:
        for name in ("tabular_plans", "network_plans"):
            patch.setattr(prepare, name, shortened(getattr(prepare, name)))
        fit_table(folder / "people.csv", "rich", out=folder / "plain", **settings)
        fit_table(folder / "people.csv", "rich", out=folder / "own", model=f"{folder}/build.py:build", **settings)
        fit_table(frame, "rich", out=folder / "memory", **settings)
        yield folder


def test_the_ways_out_of_a_replay(fits: Path) -> None:
    def replayed(name: str, trial: int = 0, **settings: Any) -> bool:
        return replay_trial(fits / name, trial, **settings)["same"]

    own = f"{fits}/build.py:build"
    check(way(lambda: replayed("nowhere"), "Name the folder given to --out.", lambda: replayed("plain")))
    check(way(lambda: replayed("plain", 7), "from 0 to 1, got 7.", lambda: replayed("plain", 0), lambda: replayed("plain", 1)))
    check(way(lambda: replayed("plain", model=own), "Leave it out.", lambda: replayed("plain")))
    check(way(lambda: replayed("own"), "Name the function yourself, as it was given to fit: --model FILE.py:build.", lambda: replayed("own", model=own)))
    frame = people()[["age", "job", "rich"]]
    check(way(lambda: replayed("memory"), "Give it as `data`: --data FILE.", lambda: replayed("memory", data=frame)))
    check(way(lambda: replayed("memory", data=frame[::-1]), "A replay needs the same file.", lambda: replayed("memory", data=frame)))


def test_a_trial_that_was_not_started_has_nothing_to_replay(fits: Path, tmp_path: Path) -> None:
    """As where the time was over before it."""
    shutil.copytree(fits / "plain", tmp_path / "cut")
    summary = tmp_path / "cut" / "summary.json"
    found = tp.load(fits / "plain").summary
    found["search"]["table"][1] |= {"steps": 0, "score": None}
    summary.write_text(json.dumps(found), encoding="utf-8")
    reseal(tmp_path / "cut")
    scored = [row["trial"] for row in found["search"]["table"] if row["score"] is not None]
    check(way(lambda: replay_trial(tmp_path / "cut", 1), "Choose one with a score.", *(lambda n=n: replay_trial(tmp_path / "cut", n)["same"] for n in scored)))


@pytest.mark.parametrize("lacking", ["onnx", "onnxscript"])
def test_an_export_without_its_packages(fits: Path, lacking: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the package that is named is there, the same call works; the other format asks for none."""
    model, there = tp.load(fits / "plain"), [False]
    load = importlib.import_module

    def imported(name: str, package: str | None = None) -> Any:
        if name == lacking and not there[0]:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return load(name, package)

    monkeypatch.setattr(importlib, "import_module", imported)

    def installed() -> bool:
        there[0] = True
        return bool(model.export(onnx=tmp_path / "m.onnx"))

    says = f"got no {lacking}. Install them: python -m pip install onnx onnxscript"
    check(way(lambda: model.export(onnx=tmp_path / "m.onnx"), says, lambda: bool(model.export(torch=tmp_path / "m.pt2")), installed))
    assert {path.name for path in tmp_path.iterdir()} == {"m.onnx", "m.pt2"}


def command(*words: str) -> Result:
    return CliRunner().invoke(app, list(words), prog_name="temperance", env={"COLUMNS": "200"})


def test_a_full_disk_while_predicting(fits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full, other = tmp_path / "full", tmp_path / "other"
    full.mkdir()
    other.mkdir()
    replace = Path.replace

    def refused(self: Path, target: Any) -> Path:
        if Path(target).parent == full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", refused)
    model, rows = str(fits / "plain"), str(fits / "people.csv")
    found = command("predict", model, rows, "--out", str(full / "p.csv"))
    assert found.exit_code == 2 and "No space left on device" in found.stderr and "Choose another place." in found.stderr
    assert not list(full.iterdir())
    assert command("predict", model, rows, "--out", str(other / "p.csv")).exit_code == 0
    assert len(pd.read_csv(other / "p.csv")) == 60
