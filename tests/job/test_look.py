"""What is looked for in data before training, and groups on which a model fails: planted faults are told, with their size, and noise is not."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import temperance as tp
from temperance.diagnose.finding import Finding
from temperance.job.prepare import Prepared, prepare
from temperance.job.slices import difference, slices


def table(n: int = 400, seed: int = 0, *, values: bool = False) -> pd.DataFrame:
    """Rows in no order: numbers, whole numbers, gaps, categories, dates, and a target that they hint at."""
    rng = np.random.default_rng([seed, n])
    a, c, d = rng.normal(size=(3, n))
    y = a + c + rng.normal(size=n)
    born = pd.Timestamp("1990-01-01") + pd.to_timedelta(rng.integers(0, 9000, n), unit="D")
    columns = {"a": a, "b": np.where(rng.random(n) < 0.1, np.nan, c), "c": d, "d": rng.normal(size=n), "e": rng.exponential(size=n)}
    columns |= {"age": rng.integers(18, 90, n), "job": rng.choice(["cook", "smith", "pilot"], n), "born": born}
    return pd.DataFrame({**columns, "y": y if values else np.where(y > 0, "yes", "no")})


def doubtful(frame: pd.DataFrame, **options: Any) -> dict[str, Finding]:
    return {f.check: f for f in tp.diagnose_data(frame, "y", **options) if f.verdict != "fine"}


def test_shuffled_tables_raise_no_alarm() -> None:
    alarms = [
        name
        for seed in range(30)
        for name in doubtful(table(seed=seed, values=seed % 2 == 0), test=table(200, seed) if seed % 3 == 0 and seed % 2 else None, task=None)
    ]
    assert alarms == []


def test_every_check_answers_and_the_answers_are_plain_values() -> None:
    found = tp.diagnose_data(table(), "y", test=table(200, 1))
    assert [f.check for f in found] == ["task", "columns", "rows", "twins", "near_twins", "order", "drift"]
    assert found.rows == (400, 200)
    assert json.loads(json.dumps(found.to_dict()))["causes"] == []
    assert "no column of the test rows differs" in str(found)


def shifted(frame: pd.DataFrame, fault: str) -> pd.DataFrame:
    rng = np.random.default_rng(9)
    if fault == "a":
        return frame.assign(a=frame["a"] + 1.5)
    if fault == "job":
        return frame.assign(job="cook")
    if fault == "born":
        return frame.assign(born=frame["born"] + pd.Timedelta(days=6000))
    return frame.assign(b=frame["b"].where(rng.random(len(frame)) < 0.3))


@pytest.mark.parametrize("column", ["a", "b", "job", "born"])
def test_a_column_that_drifts_is_named_with_how_far_at_least(column: str) -> None:
    found = doubtful(table(), test=shifted(table(400, 1), column))
    assert list(found) == ["drift"]
    value = found["drift"].value
    assert list(value["columns"]) == [column]
    assert value["columns"][column] - value["uncertainty"] > 0.05
    assert f"`{column}` by" in found["drift"].meaning
    assert "have rows like them train too" in found["drift"].remedy


def test_drift_is_looked_for_where_time_splits_and_not_where_chance_does() -> None:
    frame = table(600, values=True).assign(when=np.arange(600))
    frame["a"] += np.arange(600) / 100
    assert "drift" not in doubtful(frame, ignore=["when"])
    assert list(doubtful(frame, time="when")["drift"].value["columns"]) == ["a"]


def test_groups_of_rows_that_differ_are_as_many_as_groups_and_not_as_rows() -> None:
    alarms: list[str] = []
    for seed in range(5):
        who = np.repeat(np.arange(50), 20)
        each = np.random.default_rng(seed).normal(size=(50, 4))[who]  # the same in all rows of a person
        frame = table(1000, seed).assign(who=who, age=each[:, 0], a=each[:, 1], c=each[:, 2], d=each[:, 3])
        alarms += doubtful(frame, group="who")
    assert alarms == []
    late = table(1000).assign(who=np.arange(1000) // 2)  # of two rows: what is surely other is still told
    late = late.assign(a=late["a"] + 3.0)
    found = doubtful(table(1000, 1).assign(who=np.arange(1000) // 2 + 1000), test=late, group="who")["drift"]
    assert list(found.value["columns"]) == ["a"]
    sides = [np.sqrt(np.log(4 * found.value["comparisons"] / 0.001) / (2 * 500))] * 2
    assert found.value["uncertainty"] == pytest.approx(sum(sides))


def walk(frame: pd.DataFrame, *, classes: bool = False) -> pd.DataFrame:
    path = np.cumsum(np.random.default_rng(3).normal(size=len(frame)))
    return frame.assign(y=np.where(path > np.median(path), "up", "down") if classes else path)


@pytest.mark.parametrize("classes", [False, True], ids=["values", "classes"])
def test_targets_that_follow_their_neighbors_are_told_until_the_rows_are_shuffled(classes: bool) -> None:
    frame = walk(table(), classes=classes)
    found = doubtful(frame)["order"]
    assert found.value["low"] > 0.5
    assert "--time or --group" in found.remedy
    assert doubtful(frame.sample(frac=1.0, random_state=0)) == {}
    dated = frame.assign(born=pd.date_range("2020-01-01", periods=400))
    assert doubtful(dated)["order"].remedy.endswith("--time born")
    assert "the rows follow `born`" in doubtful(dated)["order"].meaning
    assert "order" not in doubtful(dated, time="born")


@pytest.mark.parametrize("by", ["y", "a", "job"])
def test_a_file_that_is_merely_sorted_is_no_series(by: str) -> None:
    frame = table(2000, values=True)
    frame["y"] += 12.0 * (frame["job"] == "cook") + 9.0 * frame["a"]
    frame = frame.sort_values(by, kind="stable")
    assert doubtful(frame) == {}
    assert tp.diagnose_data(frame, "y")["order"].value["correlation"] > 0.15
    assert tp.diagnose_data(frame, "y")["order"].name == ("sorted_by_target" if by == "y" else "sorted_by_feature")


def test_rows_that_differ_in_one_cell_from_one_that_trains_are_counted() -> None:
    frame = table()
    copies = frame.iloc[:100].assign(age=frame["age"].iloc[:100] % 7, a=frame["a"].iloc[:100] + 1e-9)
    found = doubtful(pd.concat([frame, copies], ignore_index=True))["near_twins"]
    assert found.value["column"] == "age"
    assert found.value["near_twins"] == pytest.approx(2 * 20 * 0.8, abs=12)  # a fifth of 100 pairs tests, either half of each
    assert "--group" in found.remedy
    other = frame.iloc[:100].assign(age=frame["age"].iloc[:100] % 7, c=0.0)
    assert "near_twins" not in doubtful(pd.concat([frame, other], ignore_index=True))


def test_rows_of_few_values_are_near_each_other_as_a_matter_of_course() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({f"q{k}": rng.integers(0, 5, 800) for k in range(7)} | {"y": rng.choice(["a", "b"], 800)})
    found = tp.diagnose_data(frame, "y")["near_twins"]
    assert (found.verdict, found.value["near_twins"]) == ("fine", None)
    assert "cannot be told" in found.meaning


def judged(ready: Prepared, wrong: Any) -> list[Any]:
    """The groups of a table whose predictions are wrong in these rows."""
    rows = ready.split.test
    targets = ready.data.y
    assert isinstance(targets, torch.Tensor)
    y = targets[torch.from_numpy(rows)]
    off = torch.from_numpy(np.asarray(wrong)[rows])
    out = torch.where(off[:, None], y.flip(1), y) if ready.data.task == "classification" else y + (1.0 + 4.0 * off[:, None])
    return slices(ready, out)


@pytest.mark.parametrize("values", [False, True], ids=["classes", "values"])
def test_a_group_on_which_the_model_fails_is_named_and_one_by_chance_is_not(values: bool) -> None:
    frame = table(1500, values=values)
    ready = prepare(frame, "y", without=["neighbors"])
    chance = np.random.default_rng(1).random(1500)
    (found,) = judged(ready, chance < np.where(frame["job"] == "smith", 0.7, 0.1))
    assert (found.name, list(found.value)) == ("weak_groups", ["job=smith"])
    group = found.value["job=smith"]
    assert group["low"] < group["error"] - group["others"] < group["high"]
    assert "`job` 'smith'" in found.meaning
    for seed in range(20):
        (found,) = judged(ready, np.random.default_rng(seed).random(1500) < 0.3)
        assert found.verdict == "fine", found.meaning


def test_rows_that_stay_together_are_one_piece_of_evidence() -> None:
    frame = table(3000).assign(who=np.arange(3000) // 10)
    frame["job"] = np.repeat(frame["job"].to_numpy()[::10], 10)  # of a person, not of a row
    ready = prepare(frame, "y", without=["neighbors"], group="who")
    sure = 0
    for seed in range(100):
        (found,) = judged(ready, (np.random.default_rng(seed).random(300) < 0.3)[frame["who"]])  # all rows of a person, or none
        sure += found.verdict != "fine"
    assert sure <= 4  # of 100 at 1 %; were each row evidence, one in six
    (found,) = judged(ready, frame["job"] == "smith")
    assert list(found.value) == ["job=smith"]


def test_given_test_rows_have_groups_as_well() -> None:
    frame, later = (table(n, n).assign(who=np.arange(n) // 2 + first) for n, first in ((200, 0), (100, 90)))
    groups = prepare(frame, "y", without=["neighbors"], group="who", test=later).split.groups
    assert groups is not None and len(groups) == 300
    assert groups[199] == groups[219] and groups[220] == groups[221] != groups[199]


def test_intervals_of_differences_cover_them() -> None:
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(400):
        one, two = rng.random(40) < 0.9, rng.random(120) < 0.7
        _, low, high = difference(one.astype(float), two.astype(float), 0.9, share=True)
        inside += low <= 0.2 <= high
    assert inside > 0.87 * 400  # 0.9 less two standard errors
