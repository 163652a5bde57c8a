"""Ways out of messages at the command line: every command that is refused, and the commands that it is told to be."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.data.image_files import write_folder
from typer.testing import CliRunner, Result

import temperance.job.fit as job
from temperance.cli.app import app
from temperance.core.errors import TemperanceError
from temperance.data import TableEncoder, TargetEncoder
from temperance.job import save_model
from temperance.nets import TabularNet, build_seeded

BEGINS = "training begins"
TRAINED = ("fit ",)
N = 60


def people() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    age = rng.normal(40, 10, N).round(1)
    columns = {"age": age, "job": rng.choice(["cook", "smith"], N), "w": rng.uniform(0.5, 2, N).round(2), "price": (3 * age).round(1)}
    return pd.DataFrame({**columns, "rich": np.where(age > 40, "yes", "no"), "day": [f"{k % 9 + 1:02d}/{k % 7 + 1:02d}/2026" for k in range(N)]})


def saved(folder: Path, target: str) -> None:
    frame = people()
    encoder, kind = TableEncoder().fit(frame[["age", "job"]]), TargetEncoder().fit(frame[target], None, target)
    arguments: dict[str, Any] = {
        "num_features": len(encoder.numeric_names),
        "cardinalities": encoder.cardinalities,
        "out_features": kind.outputs,
        "hidden": (4,),
    }
    save_model(folder / "model", build_seeded(lambda: TabularNet(**arguments), 0), [{"network": "TabularNet", "arguments": arguments}], encoder, kind)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables, images, models and a network of one's own."""
    folder = tmp_path_factory.mktemp("ways")
    frame = people()
    frame.drop(columns="day").to_csv(folder / "people.csv", index=False)
    frame.to_csv(folder / "days.csv", index=False)
    frame[["age", "job"]].to_csv(folder / "new.csv", index=False)
    frame[["job"]].to_csv(folder / "short.csv", index=False)
    frame[["age", "job"]].astype({"age": object}).replace(frame["age"][3], "old").to_csv(folder / "odd.csv", index=False)
    for name, target in (("rich", "rich"), ("price", "price")):
        saved(folder / name, target)
    (folder / "build.py").write_text(
        "import temperance as tp\n\n\ndef build(data):\n    return tp.nets.TabularNet(1, data.cardinalities, data.out_features)\n", encoding="utf-8"
    )
    (folder / "notes").mkdir()
    (folder / "notes" / "note.txt").write_text("mine", encoding="utf-8")
    (folder / "d.csv").mkdir()
    write_folder(folder / "images", 20)
    return folder


@pytest.fixture
def run(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Result]:
    """A command in a copy of the folder; a fit ends where training begins."""
    shutil.copytree(place, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")

    def begins(*_: Any) -> None:
        raise TemperanceError(BEGINS)

    monkeypatch.setattr(job, "_rivals", begins)

    def call(line: str) -> Result:
        *first, last = line.split(" && ")
        for part in first:
            Path(part.removeprefix("mkdir ")).mkdir()
        return CliRunner().invoke(app, shlex.split(last), prog_name="temperance", env={"COLUMNS": "200"})

    return call


FIT = "fit people.csv --target rich --trials 2"

WAYS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    # predict
    "a file of another kind": (
        "predict rich new.csv --out p.txt",
        "Choose one of the two.",
        ("predict rich new.csv --out p.csv", "predict rich new.csv --out p.parquet"),
    ),
    "a folder for a file": ("predict rich new.csv --out d.csv", "Name a file in it.", ("predict rich new.csv --out d.csv/p.csv",)),
    "a folder that is not there": (
        "predict rich new.csv --out none/p.csv",
        "Make the folder 'none' first.",
        ("mkdir none && predict rich new.csv --out none/p.csv",),
    ),
    "the file that is read": ("predict rich new.csv --out new.csv", "Choose another name.", ("predict rich new.csv --out other.csv",)),
    "probabilities of values": ("predict price new.csv --proba", "Leave --proba out.", ("predict price new.csv",)),
    "a model that is not there": ("predict nowhere new.csv", "Name the folder given to --out.", ("predict rich new.csv",)),
    "a folder without a model": ("predict notes new.csv", "Name the folder given to --out.", ("predict rich new.csv",)),
    "a file for a folder": ("predict new.csv new.csv", "Name the folder given to --out.", ("predict rich new.csv",)),
    "a column that is missing": ("predict rich short.csv", "Add or rename the columns.", ("predict rich new.csv",)),
    "a text among numbers": ("predict rich odd.csv", "Write a number, or leave the cell empty if the value is missing.", ("predict rich new.csv",)),
    "a table that is misspelled": ("predict rich nwe.csv", "new.csv", ("predict rich new.csv",)),
    # export, replay, robust, diagnose
    "no file to export to": ("export rich", "For example: --onnx model.onnx.", ("export rich --torch model.pt2",)),
    "an ending": ("export rich --torch m.bin", "Change its ending.", ("export rich --torch m.pt2",)),
    "no answers to attack": ("robust rich new.csv", "Add the right answers.", ("robust rich people.csv --eps 0.1 --steps 1",)),
    "a page that is none": ("diagnose rich people.csv --out page.txt", "Choose such a name.", ("diagnose rich people.csv --out page.html",)),
    "a page nowhere": (
        "diagnose rich people.csv --out none/page.html",
        "Name a file, and make its folder first.",
        ("mkdir none && diagnose rich people.csv --out none/page.html",),
    ),
    "no answers to examine": ("diagnose rich new.csv", "Add the right answers.", ("diagnose rich people.csv",)),
    "a name of the list": ("describe Dropuot", "`temperance list` shows all.", ("list", "describe Dropout")),
    # fit
    "no target": ("fit people.csv --trials 2", "The columns are `age`, `job`, `w`, `price`, `rich`.", (FIT,)),
    "a target that is misspelled": ("fit people.csv --target rihc", "`rich`", (FIT,)),
    "a time without a unit": (f"{FIT} --budget five", "Write it like 90s, 5m or 1h.", (f"{FIT} --budget 90s", f"{FIT} --budget 5m", f"{FIT} --budget 1h")),
    "a file in the place of the folder": (f"{FIT} --out new.csv", "Choose another name.", (f"{FIT} --out another",)),
    "a folder that holds a fit": (f"{FIT} --out rich", "Choose another name", (f"{FIT} --out another",)),
    "a folder of something else": (f"{FIT} --out notes --overwrite", "Choose another folder.", (f"{FIT} --out another --overwrite",)),
    "weights by the target": (f"{FIT} --weight rich", "Name the column with the weights.", (f"{FIT} --weight w",)),
    "wanted and not": (f"{FIT} --use L1 --without L1", "Choose one.", (f"{FIT} --use L1", f"{FIT} --without L1")),
    "a task that is none": (f"{FIT} --task ranking", "Leave it out to have it inferred from the target.", (FIT, f"{FIT} --task classification")),
    "an order that is none": (f"{FIT} --dates german", "Leave it out to have the column decide.", (FIT, f"{FIT} --dates dayfirst")),
    "dates that leave the day open": (
        "fit days.csv --target rich --trials 2",
        "Say --dates dayfirst or --dates monthfirst",
        tuple(f"fit days.csv --target rich --trials 2 {option}" for option in ("--dates dayfirst", "--dates monthfirst", "--ignore day")),
    ),
    "test rows without the target": (f"{FIT} --test new.csv", "Add it, or leave --test out.", (f"{FIT} --test people.csv", FIT)),
    "a column to ignore": (f"{FIT} --ignore jbo", "`job`", (f"{FIT} --ignore job",)),
    "images with a target": ("fit images --target y --trials 2", "Leave it out.", ("fit images --trials 2",)),
    "changes of images in a table": (f"{FIT} --use RandomCrop", "leave it out with --without RandomCrop", (f"{FIT} --without RandomCrop", FIT)),
    "no function in the file": (f"{FIT} --model build.py", "FILE.py:build", (f"{FIT} --model build.py:build --ignore w --ignore price",)),
    "another function": (f"{FIT} --model build.py:bulid", "build", (f"{FIT} --model build.py:build --ignore w --ignore price",)),
    "a model and a space": (
        f"{FIT} --space kadra2021 --model build.py:build",
        "Leave one of them out.",
        (f"{FIT} --space kadra2021", f"{FIT} --model build.py:build --ignore w --ignore price"),
    ),
}


@pytest.mark.parametrize("name", WAYS)
def test_the_way_out_works(name: str, run: Callable[[str], Result]) -> None:
    wrong, says, follow = WAYS[name]
    refused = run(wrong)
    assert refused.exit_code == 2, refused.output
    assert says in " ".join(refused.stderr.split()) and "Traceback" not in refused.output, refused.stderr
    for line in follow:
        found = run(line)
        if line.startswith(TRAINED):
            assert found.exit_code == 2 and found.stderr.endswith(f"Error: {BEGINS}\n"), found.stderr
        else:
            assert found.exit_code == 0, found.output
