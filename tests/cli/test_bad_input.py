"""Every bad input that the command line can meet: one message that says what is wrong and how to mend it, exit code 2, no traceback, nothing left behind."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tests.cli.conftest import Run
from tests.folders import edit
from typer.testing import Result

FIT = ("fit", "people.csv", "--target", "rich", "--trials", "2")
Edit = Callable[[pd.DataFrame], pd.DataFrame]


def refused(result: Result, words: Sequence[str]) -> None:
    """One line on standard error that holds all the words, and nothing else."""
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.output
    missing = [word for word in words if word not in result.stderr]
    assert not missing, f"{missing} not in {result.stderr!r}"


def set_column(**columns: Any) -> Edit:
    return lambda frame: frame.assign(**columns)


def set_cell(name: str, row: int, value: Any) -> Edit:
    def edit(frame: pd.DataFrame) -> pd.DataFrame:
        out = frame.astype({name: object})
        out.loc[row, name] = value
        return out

    return edit


def same(frame: pd.DataFrame) -> pd.DataFrame:
    return frame


def twice(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.rename(columns={"price": "age"})


DATA: dict[str, tuple[Edit, Sequence[str]]] = {
    "one class": (set_column(rich="yes"), ["at least two classes", "`rich`", "'yes'", "Name another target or add rows."]),
    "only missing values": (set_column(rich=None), ["only missing ones", "`rich`", "Name another target or fill it in."]),
    "a class seen once": (set_cell("rich", 5, "maybe"), ["'maybe' only once", "`rich`", "Merge it with another class or drop the row."]),
    "few rows": (lambda frame: frame.head(8).assign(rich=["yes", "no"] * 4), ["at least 10 rows", "got 8", "Add rows"]),
    "duplicate column names": (twice, ["column names", "`age` more than once", "Rename or drop"]),
    "an infinite column": (set_column(age=float("inf")), ["finite numbers", "`age`", "row 1", "--ignore age"]),
    "an infinite value": (set_cell("age", 3, float("inf")), ["finite numbers", "`age`", "row 4", "--ignore age"]),
    "a string in a number column": (set_cell("age", 7, "tall"), ["numbers in column `age`", "'tall'", "row 8", "--ignore age"]),
    "a string in a date column": (set_cell("born", 7, "spring"), ["dates in column `born`", "'spring'", "row 8"]),
    "nothing to learn from": (lambda frame: frame[["rich", "unit"]], ["at least one column to learn from", "`unit` has the same value"]),
    "only the target": (lambda frame: frame[["rich"]], ["beside the target", "`rich`"]),
    "all columns missing": (lambda frame: frame[["rich"]].assign(age=None), ["at least one column to learn from", "`age` has no values"]),
    "no rows": (lambda frame: frame.head(0), ["rows", "header only", "Give at least one row."]),
}


@pytest.mark.parametrize("case", DATA)
def test_data(run: Run, people: pd.DataFrame, tmp_path: Path, case: str) -> None:
    edit, words = DATA[case]
    edit(people).to_csv(tmp_path / "people.csv", index=False)
    refused(run(*FIT), words)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["people.csv"]


FILES: dict[str, tuple[str, bytes | None, Sequence[str]]] = {
    "missing": ("peple.csv", None, ["existing file", "'peple.csv'", "Did you mean `people.csv`?"]),
    "empty": ("empty.csv", b"", ["empty file 'empty.csv'", "Write the table again."]),
    "blank": ("blank.csv", b"\n\n", ["empty file 'blank.csv'"]),
    "unknown format": ("people.sav", b"$FL2rest", ["known format", "'people.sav'", "CSV", "Parquet", "convert the file"]),
    "broken Excel": ("people.xlsx", b"PK\x03\x04rest", ["an Excel file", "'people.xlsx'", "Save the file again"]),
    "broken parquet": ("people.parquet", b"PAR1 and no more", ["readable table", "'people.parquet'"]),
    "other bytes": ("latin.csv", "rich,name\nyes,Zo\xeb\n".encode("latin-1"), ["UTF-8", "line 2"]),
    "ragged": ("ragged.csv", b"a,rich\n1,yes\n2,no,maybe\n", ["2 fields", "3", "line 3"]),
}


@pytest.mark.parametrize("case", FILES)
def test_file(run: Run, people: pd.DataFrame, tmp_path: Path, case: str) -> None:
    name, content, words = FILES[case]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    refused(run("fit", name, "--target", "rich", "--trials", "2"), words)


def test_a_folder_as_data(run: Run, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    refused(run("fit", "folder", "--target", "rich"), ["to be a file", "'folder'", "Name one file in it."])


SETTINGS: dict[str, tuple[Sequence[str], Sequence[str]]] = {
    "no such target": (["--target", "ritch"], ["`target`", "'ritch'", "Did you mean `rich`"]),
    "a bad budget word": (["--budget", "soon"], ["`budget`", "'soon'", "Write it like 90s, 5m or 1h."]),
    "a budget without a unit": (["--budget", "90"], ["`budget`", "'90'", "Write it like 90s, 5m or 1h."]),
    "no budget": (["--budget", "0s"], ["`budget`", "above 0", "'0s'"]),
    "an unknown strategy": (["--strategy", "grid"], ["`strategy`", "keep, rungs", "'grid'"]),
    "an unknown space": (["--space", "kadra"], ["`space`", "'kadra2021'", "'kadra'", "Leave it out"]),
    "a space and a network": (["--space", "kadra2021", "--model", "net.py:build"], ["`model`", "'kadra2021'", "'net.py:build'"]),
    "a removed strategy": (["--strategy", "pbt"], ["`strategy`", "keep, rungs", "'pbt'", "was removed", "Use 'keep'"]),
    "an empty average": (["--ensemble", "0"], ["`ensemble`", "[1, inf)", "0"]),
    "no trials": (["--trials", "0"], ["`trials`", "[1, inf)", "0"]),
    "an unknown regularizer": (["--use", "Dropuot"], ["Unknown regularizer 'Dropuot'", "Did you mean", "Dropout", "temperance list"]),
    "an unknown regularizer to leave out": (["--without", "Mixup2"], ["Unknown regularizer 'Mixup2'", "MixUp", "temperance list"]),
    "used and left out": (["--use", "L1", "--without", "L1"], ["L1", "both", "Choose one."]),
    "a memory setting too small for one member": (["--memory", "1K"], ["`memory`", "one at work", "Raise --memory"]),
    "a bad memory word": (["--memory", "plenty"], ["memory", "'plenty'", "4G"]),
    "an unknown metric": (["--metric", "r2"], ["`metric`", "classification", "accuracy", "'r2'"]),
    "an unknown task": (["--task", "ranking"], ["`task`", "classification, regression, multilabel", "'ranking'"]),
    "a task that the target cannot have": (["--task", "regression"], ["numbers in target `rich`", 'task="classification"']),
    "no threads": (["--threads", "0"], ["`threads`", "[1, 1024]", "0"]),
    "threads that no machine has": (["--threads", "1000000"], ["`threads`", "[1, 1024]", "1000000"]),
    "a negative seed": (["--seed", "-1"], ["`seed`", "-1"]),
    "no such column to ignore": (["--ignore", "agee"], ["`ignore`", "'agee'", "Did you mean `age`?"]),
    "the target ignored": (["--ignore", "rich"], ["`ignore`", "'rich'"]),
    "no such weight": (["--weight", "w"], ["`weight`", "'w'"]),
    "negative weights": (["--weight", "age"], ["weights in [0, inf)", "`age`", "Use 0"]),
    "text as weights": (["--weight", "job"], ["weights in [0, inf)", "`job`"]),
    "missing test rows": (["--test", "later.csv"], ["existing file", "'later.csv'"]),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_setting(run: Run, people: pd.DataFrame, tmp_path: Path, case: str) -> None:
    options, words = SETTINGS[case]
    base = [*FIT] if options[0] != "--target" else ["fit", "people.csv", "--trials", "2"]
    refused(run(*base, *options), words)
    assert not (tmp_path / "people-temperance").exists(), "nothing is left behind"


def test_test_rows_without_a_column(run: Run, people: pd.DataFrame, tmp_path: Path) -> None:
    people.drop(columns="age").to_csv(tmp_path / "later.csv", index=False)
    refused(run(*FIT, "--test", "later.csv"), ["test data", "'age'"])


def test_fewer_rows_than_classes_times_folds(run: Run, people: pd.DataFrame, tmp_path: Path) -> None:
    """Every class is there twice, but once only among the rows to learn from: the rest is in the file of test rows."""
    people.head(12).assign(rich=[f"k{i}" for i in range(12)]).to_csv(tmp_path / "people.csv", index=False)
    shutil.copy(tmp_path / "people.csv", tmp_path / "later.csv")
    refused(run(*FIT, "--test", "later.csv"), ["at least as many rows as classes times folds (24)", "12 rows for 12 classes", "Add rows, merge classes"])


def test_several_targets_that_are_classes(run: Run, people: pd.DataFrame) -> None:
    refused(run(*FIT, "--target", "job"), ["one column of classes", "`rich`, `job`"])


# The folder


def test_existing_folder(run: Run, people: pd.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "summary.json").write_text("{}", encoding="utf-8")
    refused(run(*FIT, "--out", "out"), ["--out", "'out'", "holds files", "--overwrite"])
    assert (tmp_path / "out" / "summary.json").read_text(encoding="utf-8") == "{}"


def test_overwrite_touches_no_other_files(run: Run, people: pd.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years of work", encoding="utf-8")
    refused(run(*FIT, "--out", "out", "--overwrite"), ["--overwrite", "'out'", "other files", "Choose another folder."])
    assert (tmp_path / "out" / "thesis.tex").read_text(encoding="utf-8") == "years of work"


def test_a_file_as_folder(run: Run, people: pd.DataFrame) -> None:
    refused(run(*FIT, "--out", "people.csv"), ["--out", "'people.csv'", "is a file"])
    refused(run(*FIT, "--out", "people.csv/out"), ["--out", "people.csv/out", "Choose another"])


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_unwritable_folder(run: Run, people: pd.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    refused(run(*FIT, "--out", "locked/out"), ["--out", "locked/out", "Permission denied", "Choose another"])


# A network of one's own

NETWORK = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, data):
        super().__init__()
        self.linear = nn.Linear(data.in_features, data.out_features)

    def forward(self, x):
        return self.linear(x["num"])

class Broken(Net):
    def forward(self, x):
        return self.linear(x["num"][:, :1])

def build(data):
    return Net(data)

def broken(data):
    return Broken(data)

def fails(data):
    raise ValueError("no such layer")

def deep(data):
    return nn.Linear(-3, data.out_features)

def nothing(data):
    return None
"""

MODELS: dict[str, tuple[str, Sequence[str], Sequence[str]]] = {
    "no such file": ("nett.py:build", [], ["--model", "'nett.py'", "does not exist"]),
    "no function named": ("net.py", [], ["--model", "FILE.py:build", "'net.py'"]),
    "no such function": ("net.py:bild", [], ["net.py", "'bild'", "build"]),
    "the function fails": ("net.py:fails", [], ["net.py", "ValueError: no such layer"]),
    "torch fails inside the function": ("net.py:deep", [], ["net.py", "Error"]),
    "no network": ("net.py:nothing", [], ["nn.Module", "NoneType"]),
    "the file fails": ("bad.py:build", [], ["bad.py", "NameError"]),
    "forward fails": ("net.py:broken", [], ["net.py:15", "RuntimeError"]),
    "a cocktail the network cannot take": ("net.py:build", ["--use", "Dropout"], ["Dropout", "matches nothing in Net"]),
}


@pytest.mark.parametrize("case", MODELS)
def test_model(run: Run, people: pd.DataFrame, tmp_path: Path, case: str) -> None:
    model, options, words = MODELS[case]
    (tmp_path / "net.py").write_text(NETWORK, encoding="utf-8")
    (tmp_path / "bad.py").write_text("undefined_name\n", encoding="utf-8")
    refused(run(*FIT, "--model", model, *options), words)
    assert not (tmp_path / "people-temperance").exists()


def test_regularizers_that_cannot_be_together(run: Run, people: pd.DataFrame) -> None:
    refused(run(*FIT, "--trials", "12", "--use", "FGSM", "--use", "PGD"), ["FGSM", "PGD", "both perturb the inputs", "Leave one out."])


# Prediction and replay


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `people.csv`, a fit of its classes in `out`, and one of its prices in `price`."""
    from tests.cli.conftest import people as make

    folder = tmp_path_factory.mktemp("fitted")
    frame = make.__wrapped__(folder)  # type: ignore[attr-defined]
    from temperance.job import fit_table

    for target, name in (("rich", "out"), ("price", "price")):
        fit_table(folder / "people.csv", target, out=folder / name, trials=2, ignore=[] if target == "price" else ["price"], threads=1)
    assert len(frame) == 80
    return folder


@pytest.fixture
def after(fitted: Path, tmp_path: Path) -> Path:
    """A copy of the fits, in the working folder."""
    shutil.copytree(fitted, tmp_path, dirs_exist_ok=True)
    return tmp_path


PREDICT: dict[str, tuple[Edit, Sequence[str]]] = {
    "columns that are missing": (lambda frame: frame.drop(columns=["age", "job"]), ["columns of the fitted table", "`age`, `job` missing", "Add or rename"]),
    "a string in a number column": (set_cell("age", 2, "tall"), ["numbers in column `age`", "'tall'", "row 3"]),
    "an infinite number": (set_cell("age", 2, float("-inf")), ["finite numbers", "`age`", "row 3"]),
    "a text in a date column": (set_cell("born", 0, "spring"), ["dates in column `born`", "'spring'", "row 1"]),
    "numbers where categories were": (set_column(job=1.5), ["categories such as", "`job`", "row 1"]),
    "duplicate columns": (twice, ["column names", "`age` more than once"]),
    "no rows": (lambda frame: frame.head(0), ["header only"]),
}


@pytest.mark.parametrize("case", PREDICT)
def test_predict(run: Run, after: Path, case: str) -> None:
    edit, words = PREDICT[case]
    edit(pd.read_csv(after / "people.csv")).to_csv(after / "new.csv", index=False)
    refused(run("predict", "out", "new.csv", "--out", "p.csv"), words)
    assert not (after / "p.csv").exists()


def test_predict_from_no_model(run: Run, after: Path) -> None:
    (after / "empty").mkdir()
    for name in ("nowhere", "empty"):
        refused(run("predict", name, "people.csv"), ["folder written by `temperance fit`", f"'{name}'", "--out"])
    (after / "out" / "model" / "model.json").write_text("{", encoding="utf-8")
    refused(run("predict", "out", "people.csv"), ["model.json", "fit the model again."])
    shutil.copy(after / "price" / "model" / "model.json", after / "out" / "model" / "model.json")
    (after / "out" / "model" / "model.safetensors").unlink()
    refused(run("predict", "out", "people.csv"), ["weights"])


def test_probabilities_of_a_number(run: Run, after: Path) -> None:
    refused(run("predict", "price", "people.csv", "--proba"), ["--proba", "regression", "price", "Leave --proba out."])


def test_predict_to_an_impossible_file(run: Run, after: Path) -> None:
    before = (after / "people.csv").read_bytes()
    cases = {
        "p.xlsx": [".csv or .parquet", "'p.xlsx'"],
        "people.csv": ["another file than the data"],
        "no/p.csv": ["existing folder", "Make the folder 'no' first."],
    }
    for name, words in cases.items():
        refused(run("predict", "out", "people.csv", "--out", name), ["--out", *words])
    (after / "p.csv").mkdir()
    refused(run("predict", "out", "people.csv", "--out", "p.csv"), ["--out", "folder 'p.csv'", "Name a file in it."])
    assert (after / "people.csv").read_bytes() == before


def test_replay(run: Run, after: Path) -> None:
    refused(run("replay", "nowhere", "--trial", "0"), ["folder written by `temperance fit`", "'nowhere'"])
    refused(run("replay", "out", "--trial", "7"), ["--trial", "from 0 to 1", "7"])
    refused(run("replay", "out", "--trial", "0", "--model", "net.py:build"), ["no `--model`", "'net.py:build'", "Leave it out."])


def test_explain(run: Run, after: Path) -> None:
    refused(run("explain", "nowhere"), ["folder written by `temperance fit`", "'nowhere'"])
    refused(run("explain", "out", "--seeds", "1"), ["`seeds`", "[2, inf)", "1"])
    refused(run("explain", "out", "--budget", "soon"), ["`budget`", "'soon'", "90s"])
    refused(run("explain", "out", "--budget", "0.01s", "--data", after / "people.csv"), ["`budget`", "two seeds", "Give ", "or none for as long as it takes"])
    refused(run("explain", "out", "--data", "moved.csv"), ["existing file", "'moved.csv'"])
    refused(run("explain", "out", "--model", "net.py:build"), ["no `--model`", "'net.py:build'", "Leave it out."])
    refused(run("explain", "out", "--device", "gpu"), ["gpu"])
    assert not (after / "out" / "explain.json").exists()


def test_replay_of_other_rows(run: Run, after: Path) -> None:
    edit(after / "out", "run.json", lambda data: data.update(source=str(after / "people.csv")))
    frame = pd.read_csv(after / "people.csv")
    set_cell("age", 0, 1000.0)(frame).to_csv(after / "people.csv", index=False)
    refused(run("replay", "out", "--trial", "0"), ["rows that the fit was made from", "people.csv"])
    (after / "people.csv").unlink()
    refused(run("replay", "out", "--trial", "0"), ["existing file", "people.csv", "--data FILE"])
    frame.to_csv(after / "moved.csv", index=False)
    assert "the same number" in run("replay", "out", "--trial", "0", "--data", "moved.csv").stdout


def test_strengths_out_of_range(run: Run, after: Path) -> None:
    """A folder that was edited by hand: a strength of a trial, and one of a regularizer that was asked for."""
    edit(after / "out", "summary.json", lambda data: data["search"]["table"][0]["strengths"].update({"dropout.rate": 1.5}))
    refused(run("replay", "out", "--trial", "0"), ["`rate` of Dropout", "[0, 1)", "1.5", "Use 0 to switch it off"])
    edit(after / "out", "run.json", lambda data: data.update(use=[{"regularizer": "L2", "lam": -0.1}]))
    refused(run("replay", "out", "--trial", "0"), ["`lam` of L2", "[0, inf)", "-0.1", "Use 0 to switch it off"])


def test_predictions_that_cannot_be_written(run: Run, after: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device", ".p.csv.partial")

    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    refused(run("predict", "out", "people.csv", "--out", "p.csv"), ["--out", "'p.csv'", "No space left on device", "Choose another place."])
    assert not list(after.glob("*p.csv*"))
