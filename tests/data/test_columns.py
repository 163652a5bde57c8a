"""Kinds of columns, and the refusals that name column, row and value."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from temperance.core.errors import DataError
from temperance.data import describe_columns, infer_columns, read_table

N = 60


def kind(values, **options):
    return infer_columns(pd.DataFrame({"c": values}), **options)[0]


def fails(values, *parts):
    with pytest.raises(DataError) as caught:
        kind(values)
    for part in ("`c`", *parts):
        assert part in str(caught.value), str(caught.value)


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([1.5, 2.5, None], "number"),
        ([1, 2, 3], "number"),
        (["1", "2.5", "-1e3", None], "number"),
        ([True, False], "boolean"),
        ([True, None, False], "boolean"),
        (["true", "False"], "boolean"),
        (["yes", "no"], "category"),
        (["a", "b", "c"], "category"),
        (pd.Categorical(["1", "2"]), "category"),
        (pd.Categorical([1, 2]), "category"),
        (pd.date_range("2024-01-01", periods=3), "date"),
        (["2024-01-01", "2024-1-2", "2024-01-03T10:00:00Z"], "date"),
        (["2024", "2025"], "number"),
        ([7, 7, 7], "ignored"),
        (["x", "x"], "ignored"),
        ([None, None], "ignored"),
        ([np.nan, np.nan], "ignored"),
        (["x", None], "category"),
        ([1.0, None], "number"),
    ],
)
def test_kinds(values, wanted):
    assert kind(values).kind == wanted


def test_reasons_are_given():
    assert kind([7, 7]).notes == "has the same value in every row"
    assert kind([None, None]).notes == "has no values"
    assert kind([1, 2], ignore=["c"]).notes == "left out on request"
    assert kind(["x", None]).notes == "one value only, told apart by being missing"
    assert kind(["1", "2"]).notes == "numbers written as text"
    names = kind([f"id{i}" for i in range(N)])
    assert names.kind == "ignored" and names.notes == "names the rows: 60 different texts"
    assert kind([f"id{i % 30}" for i in range(N)]).kind == "category"
    assert kind([f"id{i}" for i in range(40)]).kind == "category"
    assert kind(pd.Categorical([f"id{i}" for i in range(N)])).kind == "ignored"


def test_a_written_row_index_is_ignored(tmp_path):
    (tmp_path / "a.csv").write_text(",a\n0,5\n1,9\n2,1\n")
    first, second = infer_columns(read_table(tmp_path / "a.csv"))
    assert first.kind == "ignored" and "counts the rows" in first.notes and second.kind == "number"


def test_facts_for_people():
    column = kind(["b", None, "a", "b"])
    assert (column.n_missing, column.n_unique, column.example) == (1, 2, "b")
    assert describe_columns([column]) == [{"column": "c", "kind": "category", "missing": 1, "distinct": 2, "example": "b", "notes": ""}]


def test_text_in_a_number_column():
    fails([*map(str, range(N - 1)), "twelve"], "59 of 60 values are numbers", "'twelve'", "row 60", "leave the cell empty", "ignore=['c']", "--ignore c")
    fails([*range(N - 1), "twelve"], "'twelve'", "row 60")
    fails([None, "oops", *map(str, range(N))], "'oops'", "row 2")
    assert kind([*map(str, range(8)), "x", "y"]).kind == "category"


def test_text_in_a_date_column():
    fails([*["2024-01-01"] * N, "soon"], "Expected dates", "'soon'", "row 61", "2024-03-01")
    fails([*["2024-01-01"] * N, "2024-02-30"], "2024-02-30")


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinite_values(value):
    fails([1.0, 2.0, value], "finite", "inf", "row 3", "leave the cell empty", "--ignore c")
    fails(["1", "2", str(value)], "finite", "row 3")
    assert kind([1.0, value], ignore=["c"]).kind == "ignored"


def test_no_single_values():
    fails([[1, 2], [3]], "list", "Spread it over columns", "--ignore c")
    fails([b"a", b"b"], "bytes")
    fails([1 + 2j, 3], "Complex data not supported")
    assert kind([[1], [2]], ignore=["c"]).kind == "ignored"


def test_ignore_must_name_columns():
    with pytest.raises(DataError, match=r"`ignore` to name columns of the table, got 'incom'. Did you mean `income`\?"):
        infer_columns(pd.DataFrame({"income": [1, 2]}), ["incom"])
    assert infer_columns(pd.DataFrame({"income": [1, 2]}), "income")[0].kind == "ignored"
