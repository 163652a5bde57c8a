"""`--group` and `--time`: the split of a fit, what it learns from, and what it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.data.image_files import write_folder
from tests.job.conftest import make_people

from temperance.cli.diagnosing import read_known, untouched
from temperance.core.errors import ConfigError, DataError
from temperance.job import Job, fit_table, load, predict_table, replay_trial
from temperance.job.prepare import prepare

FEW: dict[str, Any] = {"ignore": ["price", "size", "a", "b", "w"]}


def table(n: int = 120) -> pd.DataFrame:
    """Four rows a user, one row a day, from the latest to the first."""
    frame = make_people(n)
    days = pd.date_range("2024-01-01", periods=n)[::-1].strftime("%Y-%m-%d")
    return frame.assign(user=[f"u{k // 4}" for k in range(n)], day=days)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "visits.csv"
    table().to_csv(path, index=False)
    return path


def made(file: Path, out: Path, **settings: Any) -> Job:
    return fit_table(file, "rich", out=out, **{"trials": 2, "refits": 1, "ensemble": 1, "ignore": [*FEW["ignore"], "day"], **settings})


def test_a_fit_by_group(file: Path, tmp_path: Path) -> None:
    told = list[Any]()
    job = made(file, tmp_path / "out", group="user", on_understood=told.append)
    split, users = job.search.split, table()["user"].to_numpy()
    for train, validation in split.folds:
        sides = [set(users[rows]) for rows in (train, validation, split.test)]
        assert not sides[0] & sides[1] and not sides[0] & sides[2] and not sides[1] & sides[2]
    said = "split by group `user`: 30 groups, none of them in two parts, 6 in the test rows."
    assert said in told[0]["split"]["reason"] and said in job.summary["data"]["split"]["reason"]
    assert said in (job.folder / "report.html").read_text(encoding="utf-8")
    assert {c["name"]: (c["kind"], c["notes"]) for c in job.summary["data"]["columns"]}["user"] == ("ignored", "splits the rows")
    assert job.search.saw_test and job.summary["model"]["training_rows"] == 120
    assert len(predict_table(job.folder, table()[["age", "job"]])) == 120
    assert replay_trial(job.folder, job.search.winner.config.number)["same"] is True
    saved = load(job.folder)
    assert untouched(str(job.folder), saved, read_known(saved, str(file))).tolist() == split.test.tolist()
    assert json.loads((job.folder / "run.json").read_text(encoding="utf-8"))["group"] == "user"


def test_a_fit_by_time(file: Path, tmp_path: Path) -> None:
    job = made(file, tmp_path / "out", time="day", ignore=[*FEW["ignore"], "user"])
    split = job.search.split
    assert split.kind == "hold-out" and split.validation is not None
    assert [part.tolist() for part in (split.test, split.validation, split.train)] == [list(range(24)), list(range(24, 43)), list(range(43, 120))]
    assert "split by time `day`: the latest rows are the test rows, from 2024-04-06 on" in job.summary["data"]["split"]["reason"]
    assert job.search.saw_test and job.search.refit.how == "same_epochs"
    assert replay_trial(job.folder, job.search.winner.config.number)["same"] is True
    saved = load(job.folder)
    assert untouched(str(job.folder), saved, read_known(saved, str(file))).tolist() == list(range(24))


@pytest.mark.parametrize(
    ("column", "settings"),
    [
        (range(120, 0, -1), {}),
        ([f"{d % 28 + 1:02d}/{1 + d // 28:02d}/2024" for d in range(119, -1, -1)], {"dates": "dayfirst"}),
        (pd.date_range("2024-01-01", periods=120, freq="h", tz="UTC")[::-1], {}),
        ([str(k) for k in range(120, 0, -1)], {}),
    ],
    ids=["numbers", "written dates", "stamps", "numbers as text"],
)
def test_times_are_read_as_the_other_columns_are(column: Any, settings: dict[str, Any]) -> None:
    frame = table().drop(columns=["day", "user"]).assign(when=column)
    assert prepare(frame, "rich", time="when", **settings, **FEW).split.test.tolist() == list(range(24))


@pytest.mark.parametrize("names", [{"group": "user"}, {"time": "day"}, {"group": "user", "time": "day"}])
def test_the_column_is_an_input_only_when_kept(names: dict[str, str]) -> None:
    other = [name for name in ("user", "day") if name not in names.values()]
    for keep in ([], list(names.values())):
        ready = prepare(table(), "rich", keep=keep, **names, ignore=[*FEW["ignore"], *other])
        kinds = {column["column"]: column["kind"] for column in ready.columns}
        assert all((kinds[name] != "ignored") == bool(keep) for name in names.values()) and kinds["age"] == "number"


def test_rows_of_a_test_file_may_lack_the_column_and_are_told_apart(tmp_path: Path) -> None:
    frame = table()
    frame.head(80).to_csv(tmp_path / "data.csv", index=False)
    frame.tail(40).drop(columns=["user"]).to_csv(tmp_path / "bare.csv", index=False)
    frame.iloc[60:100].to_csv(tmp_path / "known.csv", index=False)
    settings: dict[str, Any] = {"group": "user", "ignore": [*FEW["ignore"], "day"]}
    bare, known = (prepare(tmp_path / "data.csv", "rich", test=tmp_path / name, **settings) for name in ("bare.csv", "known.csv"))
    for ready in (bare, known):
        assert ready.split.given and ready.split.test.tolist() == list(range(80, 120))
        users = frame["user"].to_numpy()
        assert all(not set(users[train]) & set(users[held]) for train, held in ready.split.folds)
    assert [text for text in known.warnings if text.startswith("20 of 40 rows of the test file belong to groups of `user` that train")]
    assert not [text for text in bare.warnings if "test file" in text]


def test_a_class_that_comes_late_is_told_and_weighted_as_the_others_at_the_end() -> None:
    frame = table().drop(columns="user").assign(kind=["late" if k < 20 else ("a", "b")[k % 2] for k in range(120)])
    ready = prepare(frame, "kind", time="day", metric="balanced_accuracy", ignore=[*FEW["ignore"], "rich"])
    (told,) = [text for text in ready.warnings if "leaves no row" in text]
    assert told == "class `late`: the split leaves no row among the rows that train, so scores on it are too low"
    assert ready.data.weight is not None and float(ready.data.weight.max()) < 10


def test_both_options_refuse_what_cannot_be(tmp_path: Path) -> None:
    frame = table().assign(half=np.arange(120) % 2, text=["x", "y", "z"] * 40)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"group": "usr"}, "Expected `--group` to name a column of the table, got 'usr'. Did you mean `user`?"),
        ({"time": "dya"}, "Expected `--time` to name a column of the table, got 'dya'. Did you mean `day`?"),
        ({"group": "rich"}, "Expected `--group` to be another column than the target, got 'rich' for both."),
        ({"time": "text"}, "Expected `--time` to name a column of dates or numbers, got 'text' with 'x'. Name another, or leave --time out."),
        ({"group": "half"}, "Expected at least 3 groups among the rows with a target in `half`, got 2"),
        ({"time": "half"}, "Expected at least 3 different times among the rows with a target in `half`, got 2"),
    ]
    for settings, text in cases:
        with pytest.raises(DataError) as error:
            prepare(frame, "rich", **settings, **FEW)
        assert text in str(error.value)
    for option in ("group", "time"):
        given: dict[str, Any] = {option: "file"}
        with pytest.raises(ConfigError, match=f"Expected no `--{option}` for images"):
            prepare(write_folder(tmp_path / option, 12, 2), **given)
