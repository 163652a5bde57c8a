"""Ways out of messages about data."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from tests.ways.harness import Way, check, way

import temperance as tp
from temperance.data import TableEncoder, TargetEncoder, infer_columns, plan_split, read_images, read_table, row_weights, table_dataset

N = 20
AGES = np.arange(N) * 1.5
TABLE: dict[str, Any] = {"age": AGES, "job": ["cook", "smith"] * (N // 2), "rich": ["no", "yes", "yes", "no"] * (N // 4)}


def table(**columns: Any) -> tuple[Any, ...]:
    """A data set of the table with these columns, ``None`` without one."""
    return table_dataset({name: cells for name, cells in {**TABLE, **columns}.items() if cells is not None}, "rich")


def fitted(**settings: Any) -> Any:
    return table_dataset(TABLE, "rich", **settings)


def columns(*cells: Any, **settings: Any) -> Any:
    return infer_columns(pd.DataFrame({"x": list(cells)}), **settings)


def target(values: Any, task: str | None = None, **settings: Any) -> Any:
    return TargetEncoder().fit(values, task, "y", **settings)


def arrays(x: Any = None, y: Any = None, **settings: Any) -> Any:
    return tp.data.as_dataset(np.ones((4, 2)) if x is None else x, [0, 1, 0, 1] if y is None else y, **settings)


ENCODER = TableEncoder().fit({"age": AGES, "job": TABLE["job"]})
BY_PLACE = TableEncoder().fit(np.random.default_rng(0).normal(size=(N, 2)))
TEXT = ["a", "b"] * 10
DAYS = pd.Series(pd.date_range("2024-01-01", periods=4))

WAYS: dict[str, Way] = {
    "no table": way(
        lambda: read_table(3), "a path", lambda: read_table({"x": [1.0]}), lambda: read_table(pd.DataFrame({"x": [1.0]})), lambda: read_table(np.ones((2, 1)))
    ),
    "a sparse table": way(lambda: read_table(sparse.eye(3).tocsr()), "Use data.toarray().", lambda: read_table(sparse.eye(3).tocsr().toarray())),
    "one dimension": way(lambda: read_table(np.ones(3)), "Reshape it, for one column with reshape(-1, 1).", lambda: read_table(np.ones(3).reshape(-1, 1))),
    "one value for a column": way(lambda: read_table({"x": 3.0}), "Give one value per row.", lambda: read_table({"x": [3.0]})),
    "columns of two lengths": way(lambda: read_table({"x": [1, 2], "y": [1]}), "Give one value per row in", lambda: read_table({"x": [1, 2], "y": [1, 2]})),
    "no columns": way(lambda: read_table(pd.DataFrame(index=[0, 1])), "Give at least one column.", lambda: read_table(pd.DataFrame({"x": [1, 2]}))),
    "no rows": way(lambda: read_table({"x": []}), "Give at least one row.", lambda: read_table({"x": [1]})),
    "markers": way(
        lambda: read_table({"x": ["1", "?"]}, na=cast(Any, 3)),
        'Write the markers of missing values, such as na="?,-".',
        lambda: read_table({"x": ["1", "?"]}, na="?,-"),
    ),
    "a word for dates": way(
        lambda: columns("03/12/2026", dates="german"), "Leave it out to have the column decide.", lambda: columns("13/12/2026", "14/12/2026")
    ),
    "dates that leave the day open": way(
        lambda: columns(*["03/12/2026", "04/11/2026"] * 5),
        "Say --dates dayfirst or --dates monthfirst (dates=\"dayfirst\"), write them as 2026-12-31, or leave the column out (ignore=['x'], --ignore x).",
        lambda: columns(*["03/12/2026", "04/11/2026"] * 5, dates="dayfirst"),
        lambda: columns(*["03/12/2026", "04/11/2026"] * 5, dates="monthfirst"),
        lambda: columns(*["2026-12-03", "2026-11-04"] * 5),
        lambda: columns(*["03/12/2026", "04/11/2026"] * 5, ignore=["x"]),
    ),
    "one text among numbers": way(
        lambda: columns(*range(30), "many"),
        "Write a number, leave the cell empty if the value is missing, or leave the column out (ignore=['x'], --ignore x).",
        lambda: columns(*range(30), 31),
        lambda: columns(*range(30), None),
        lambda: columns(*range(30), "many", ignore=["x"]),
    ),
    "an infinite number": way(
        lambda: columns(1.0, np.inf, 3.0),
        "Give a number, leave the cell empty if the value is missing, or leave the column out (ignore=['x'], --ignore x).",
        lambda: columns(1.0, 2.0, 3.0),
        lambda: columns(1.0, None, 3.0),
        lambda: columns(1.0, np.inf, 3.0, ignore=["x"]),
    ),
    "complex numbers": way(
        lambda: columns(1j, 2j), "Give real and imaginary part as two columns.", lambda: infer_columns(pd.DataFrame({"re": [0.0, 0.5], "im": [1.0, 2.0]}))
    ),
    "lists in cells": way(
        lambda: columns([1, 2], [3, 4]),
        "Spread it over columns, or leave the column out (ignore=['x'], --ignore x).",
        lambda: infer_columns(pd.DataFrame({"x0": [1, 3], "x1": [2, 4]})),
        lambda: columns([1, 2], [3, 4], ignore=["x"]),
    ),
    "nothing to learn from": way(
        lambda: TableEncoder().fit({"unit": ["cm"] * 5}),
        "Add columns that differ between rows.",
        lambda: TableEncoder().fit({"unit": ["cm"] * 5, "x": range(5)}),
    ),
    "columns by position": way(
        lambda: BY_PLACE.transform(np.ones((3, 4))), "Give the same columns in the same order.", lambda: BY_PLACE.transform(np.ones((3, 2)))
    ),
    "a column that is missing": way(lambda: ENCODER.transform({"job": ["cook"]}), "age", lambda: ENCODER.transform({"job": ["cook"], "age": [1.0]})),
    "a text where a number was fitted": way(
        lambda: ENCODER.transform({"age": ["old"], "job": ["cook"]}),
        "Write a number, or leave the cell empty if the value is missing.",
        lambda: ENCODER.transform({"age": [70], "job": ["cook"]}),
        lambda: ENCODER.transform({"age": [None], "job": ["cook"]}),
    ),
    # targets
    "an unknown target": way(lambda: table_dataset(TABLE, "ritch"), "rich", lambda: fitted()),
    "a target and nothing else": way(lambda: table_dataset({"rich": TABLE["rich"]}, "rich"), "Add columns.", lambda: fitted()),
    "weights by the target": way(lambda: fitted(weight="rich"), "Name the column with the weights.", lambda: fitted(weight="age")),
    "an unknown task": way(lambda: target(TEXT, "ranking"), "Leave it out to have it inferred from the target.", lambda: target(TEXT)),
    "a target of gaps": way(lambda: target([None, None]), "Name another target or fill it in.", lambda: target(TEXT)),
    "one class": way(lambda: target(["a"] * 4), "Name another target or add rows.", lambda: target(["a"] * 4 + ["b"] * 2)),
    "one value": way(lambda: target([1.5] * 4, "regression"), "Name another target or add rows.", lambda: target([1.5] * 4 + [2.5], "regression")),
    "a class that is there once": way(
        lambda: target([*TEXT, "c"]),
        "Merge it with another class or drop the row.",
        lambda: target([*TEXT, "b"]),
        lambda: target(TEXT),
    ),
    "numbers as classes": way(
        lambda: target(np.arange(20), "classification"),
        'Merge it with another class or drop the row (or task="regression" if it is a number).',
        lambda: target(np.arange(20), "regression"),
        lambda: target(np.arange(20) // 10, "classification"),
    ),
    "dates as classes": way(
        lambda: target(DAYS, "classification"), "Name another target or turn the dates into numbers.", lambda: target((DAYS - DAYS[0]).dt.days, "regression")
    ),
    "labels with a two": way(
        lambda: target(np.array([[0, 2], [1, 0]]), "multilabel"),
        'Use task="regression" for other numbers.',
        lambda: target(np.array([[0, 2], [1, 0]]), "regression"),
    ),
    "a label that is always there": way(
        lambda: target(np.array([[0, 1], [1, 1]]), "multilabel"), "Drop these columns.", lambda: target(np.array([[0], [1]]), "multilabel")
    ),
    "text as a value": way(
        lambda: target([1.0, "two", 3.0], "regression"),
        'Correct it, leave it empty if it is missing, or use task="classification" where `y` holds classes.',
        lambda: target([1.0, 2.0, 3.0], "regression"),
        lambda: target([1.0, None, 3.0], "regression"),
        lambda: target(["one", "two", "two", "one"], "classification"),
    ),
    "several columns of classes": way(
        lambda: target(pd.DataFrame({"a": TEXT, "b": TEXT})),
        "Fit one column at a time, give 0/1 columns as multilabel, or use a network with one head a column.",
        lambda: target(TEXT),
        lambda: target(np.array([[0, 1], [1, 0]]), "multilabel"),
        lambda: arrays(np.ones((20, 2)), {"a": TEXT, "b": TEXT}),
    ),
    "a class that was not fitted": way(
        lambda: target(TEXT).encode(["c"]),
        "Drop these rows or fit on data that has this class.",
        lambda: target(TEXT).encode(["a"]),
        lambda: target([*TEXT, "c", "c"]).encode(["c"]),
    ),
    "no row of targets": way(
        lambda: target(3.0),
        "Give a sequence, a Series, an array or a tensor.",
        lambda: target(TEXT),
        lambda: target(pd.Series(TEXT)),
        lambda: target(np.array(TEXT)),
        lambda: target(torch.arange(4) % 2),
    ),
    # arrays
    "text in an array": way(lambda: arrays(np.array([["a"], ["b"]])), "Use table_dataset for tables with text.", lambda: table()),
    "one dimension of inputs": way(lambda: arrays(np.ones(4)), "For one column use reshape(-1, 1).", lambda: arrays(np.ones(4).reshape(-1, 1))),
    "complex inputs": way(
        lambda: arrays(np.ones((4, 2)) * 1j), "Give real and imaginary part apart.", lambda: arrays(np.concatenate([np.zeros((4, 2)), np.ones((4, 2))], 1))
    ),
    "a gap in an array": way(
        lambda: arrays(np.array([[1.0], [np.nan], [2.0], [3.0]])),
        "Fill or drop it; table_dataset fills missing values in tables.",
        lambda: arrays(np.array([[1.0], [1.5], [2.0], [3.0]])),
        lambda: arrays(np.array([[1.0], [2.0], [3.0]]), [0, 0, 1]),
        lambda: table(age=[None, *AGES[1:]]),
    ),
    "fewer targets than rows": way(lambda: arrays(y=[0, 1]), "Give one target for each row.", lambda: arrays(y=[0, 1, 1, 0])),
    "fewer weights than rows": way(lambda: row_weights([1.0], 2, "weight"), "Give a weight for every row.", lambda: row_weights([1.0, 2.0], 2, "weight")),
    "a negative weight": way(
        lambda: row_weights([1.0, -2.0], 2, "weight"), "Use 0 for a row that should not count.", lambda: row_weights([1.0, 0.0], 2, "weight")
    ),
    "no weight above 0": way(lambda: arrays(weight=[0.0] * 4), "Leave the weights out to count all rows alike.", lambda: arrays()),
    # splits
    "a seed below 0": way(
        lambda: plan_split(TEXT, "regression", seed=-1), "Give an integer such as 0.", lambda: plan_split([0, 1] * 10, "classification", seed=0)
    ),
    "no share for testing": way(
        lambda: plan_split([0, 1] * 10, "classification", seed=0, test_fraction=0.0),
        "Use test=False for no test rows.",
        lambda: plan_split([0, 1] * 10, "classification", seed=0, test=False),
    ),
    "one fold": way(
        lambda: plan_split([0, 1] * 10, "classification", seed=0, folds=1),
        "Leave it out to have it chosen by size.",
        lambda: plan_split([0, 1] * 10, "classification", seed=0),
    ),
    "few rows": way(
        lambda: plan_split([0, 1], "classification", seed=0), "Add rows, or split them by hand.", lambda: plan_split([0, 1] * 10, "classification", seed=0)
    ),
    "many folds": way(
        lambda: plan_split([0, 1, 2, 3] * 3, "classification", seed=0, folds=9),
        "Add rows, merge classes or use fewer folds.",
        lambda: plan_split([0, 1, 2, 3] * 30, "classification", seed=0, folds=9),
        lambda: plan_split([0] * 12, "classification", seed=0, folds=9),
        lambda: plan_split([0, 1, 2, 3] * 3, "classification", seed=0, folds=2),
    ),
}


@pytest.mark.parametrize("name", WAYS)
def test_the_way_out_works(name: str) -> None:
    check(WAYS[name])


FILES: dict[str, tuple[str, bytes, str, bytes]] = {
    "an empty file": ("t.csv", b"", "Write the table again.", b"x,y\n1,2\n"),
    "a header alone": ("t.csv", b"x,y\n", "Give at least one row.", b"x,y\n1,2\n"),
    "no Parquet": ("t.parquet", b"PAR1", "Write the table again.", b""),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_mended(name: str, tmp_path: Path) -> None:
    file, wrong, says, right = FILES[name]
    path = tmp_path / file
    path.write_bytes(wrong)

    def mended() -> Any:
        path.write_bytes(right) if right else pd.DataFrame({"x": [1]}).to_parquet(path)
        return read_table(path)

    check(way(lambda: read_table(path), says, mended))


def test_a_folder_or_a_misspelled_name(tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text("x\n1\n", encoding="utf-8")
    check(way(lambda: read_table(tmp_path), "Name one file in it.", lambda: read_table(tmp_path / "people.csv")))
    check(way(lambda: read_table(tmp_path / "peple.csv"), "people.csv", lambda: read_table(tmp_path / "people.csv")))


def test_images_that_are_mended(tmp_path: Path) -> None:
    pixels = np.zeros((4, 3, 3), np.uint8)

    def archive(**parts: Any) -> Any:
        np.savez(tmp_path / "a.npz", **parts)
        return read_images(tmp_path / "a.npz")

    check(way(lambda: archive(x=pixels, y=[0, 1]), "Give as many.", lambda: archive(x=pixels, y=[0, 1, 0, 1])))
    check(way(lambda: archive(x=pixels, y=np.zeros((4, 2))), "Give one number or name each.", lambda: archive(x=pixels, y=["a", "b", "a", "b"])))
    check(way(lambda: archive(x=np.zeros(4, np.uint8), y=[0, 1, 0, 1]), "Reshape the array.", lambda: archive(x=pixels, y=[0, 1, 0, 1])))
