"""Encoding tables: formulas, round trip, unseen and missing values, other sources, wrong columns."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, strategies as st

from temperance.core.errors import DataError
from temperance.data import TableEncoder, infer_columns
from temperance.data.encode import MAX_LEVELS, bound

FRAME = pd.DataFrame({
    "age": [20.0, 30.0, None, 50.0, 60.0, 70.0],
    "born": ["2024-01-01", "2024-01-02", "2024-01-03", None, "2024-01-05", "2024-01-09"],
    "job": ["cook", "smith", None, "cook", "baker", "cook"],
    "on": [True, False, True, True, False, True],
    "size": [1, 2, 3, 4, 5, 6],
    "unit": ["cm"] * 6,
})  # fmt: skip


def same(a, b):
    return torch.equal(a["num"], b["num"]) and torch.equal(a["cat"], b["cat"])


def fails(call, *parts):
    with pytest.raises(DataError) as caught:
        call()
    for part in parts:
        assert part in str(caught.value), str(caught.value)


def test_formula_of_numbers():
    values = np.random.default_rng(0).normal(5, 2, 500)
    out = TableEncoder().fit({"x": values}).transform({"x": values})["num"][:, 0].double().numpy()
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
    z = 1.349 * (values - middle) / (high - low)
    np.testing.assert_allclose(out, z / np.sqrt(1 + (z / 4) ** 2), rtol=1e-5, atol=1e-6)
    assert abs(out.std() - 1) < 0.1


def test_scale_falls_back():
    encoder = TableEncoder().fit({"mostly": [0.0] * 99 + [10.0], "tail": [0.0] * 80 + [*range(1, 21)], "vary": np.arange(100)}, columns=None)
    assert encoder.numeric[0].scale == 5.0, "half of the range"
    assert encoder.numeric[1].scale == pytest.approx((15.25 - 5.75) / 1.349), "that of the rows that do not share the value of most"
    columns = infer_columns(pd.DataFrame({"x": [1.0, 2.0]}))
    assert TableEncoder().fit({"x": [3.0, 3.0]}, columns=columns).numeric[0].scale == 1.0
    empty = TableEncoder().fit({"x": [None, None]}, columns=columns)
    assert empty.transform({"x": [None, 2.0]})["num"].tolist() == [[0.0, 1.0], [pytest.approx(bound(np.array(2.0))), 0.0]]


def test_a_long_tail_does_not_press_the_others_together():
    values = np.random.default_rng(0).normal(0, 1, 1000)
    wild = np.where(np.arange(1000) % 50 == 0, 1e6 * values, values)
    out = TableEncoder().fit({"x": wild}).transform({"x": wild})["num"][:, 0].numpy()
    assert 0.8 < out[np.arange(1000) % 50 != 0].std() < 1.1


def test_encoders_of_earlier_versions_give_what_they_gave():
    saved = TableEncoder().fit({"x": [0.0, 1.0, 2.0, 40.0]}).to_dict()
    del saved["numeric"][0]["limit"]
    saved["numeric"][0].update(mean=10.0, scale=5.0)
    z = (40.0 - 10.0) / 5.0
    assert TableEncoder.from_dict(saved).transform({"x": [40.0]})["num"].item() == pytest.approx(z / np.sqrt(1 + (z / 6) ** 2))


@given(st.lists(st.floats(-50, 50), min_size=2, max_size=30))
def test_bound_is_increasing_and_bounded(values):
    z = np.sort(np.array(values))
    out = bound(z)
    assert (np.diff(out) >= 0).all() and (np.abs(out) <= 4).all()
    np.testing.assert_allclose(bound(-z), -out)


@given(st.lists(st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False)), min_size=3, max_size=20).filter(lambda v: len({*v} - {None}) > 1))
def test_any_finite_table_gives_bounded_numbers(values):
    encoder = TableEncoder().fit({"x": values})
    num = encoder.transform({"x": values})["num"]
    assert torch.isfinite(num).all() and num.abs().max() <= 6
    missing = torch.tensor([value is None for value in values])
    if missing.any():
        assert torch.equal(num[:, 1].bool(), missing) and (num[missing, 0] == num[missing, 0][0]).all()


def test_columns_and_names():
    encoder = TableEncoder().fit(FRAME)
    assert encoder.numeric_names == ("age", "born", "size", "age is missing", "born is missing")
    assert [column.name for column in encoder.categorical] == ["job", "on"]
    assert encoder.cardinalities == (4, 3)
    out = encoder.transform(FRAME)
    assert out["num"].dtype == torch.float32 and out["cat"].dtype == torch.int64
    assert out["num"].shape == (6, 5) and out["cat"].tolist() == [[2, 2], [3, 1], [0, 2], [2, 2], [1, 1], [2, 2]]
    assert out["num"][:, 3].tolist() == [0, 0, 1, 0, 0, 0]


def test_both_keys_are_always_there():
    assert TableEncoder().fit({"x": [1.0, 2.0]}).transform({"x": [1.0]})["cat"].shape == (1, 0)
    assert TableEncoder().fit({"x": ["a", "b"]}).transform({"x": ["a"]})["num"].shape == (1, 0)


def test_order_and_additional_columns_do_not_matter():
    encoder = TableEncoder().fit(FRAME)
    other = FRAME[FRAME.columns[::-1]].assign(more=[[1]] * 6).drop(columns="unit")
    assert same(encoder.transform(FRAME), encoder.transform(other))


def test_rows_do_not_depend_on_each_other():
    encoder = TableEncoder().fit(FRAME)
    whole = encoder.transform(FRAME)
    rows = [encoder.transform(FRAME.iloc[i : i + 1]) for i in range(len(FRAME))]
    assert same(whole, {key: torch.cat([row[key] for row in rows]) for key in whole})


def test_round_trip_through_json():
    encoder = TableEncoder().fit(FRAME)
    text = json.dumps(encoder.to_dict(), allow_nan=False)
    back = TableEncoder.from_dict(json.loads(text))
    assert same(encoder.transform(FRAME), back.transform(FRAME))
    assert back.to_dict() == encoder.to_dict() and back.columns == encoder.columns


def test_unseen_and_missing_categories_share_code_zero():
    encoder = TableEncoder().fit(FRAME)
    assert encoder.transform(FRAME.assign(job="pilot"))["cat"][:, 0].tolist() == [0] * 6
    assert encoder.transform(FRAME.assign(job=None))["cat"][:, 0].tolist() == [0] * 6


def test_levels_are_the_same_in_every_type():
    encoder = TableEncoder().fit({"c": pd.Categorical(["1", "2", "10", "1"]), "b": [True, False, True, False]})
    assert encoder.categorical[0].levels == ("1", "10", "2")
    wanted = encoder.transform({"c": ["1", "2", "10"], "b": [True, False, True]})["cat"]
    others = [
        {"c": [1, 2, 10], "b": ["true", "FALSE", "True"]},
        {"c": [1.0, 2.0, 10.0], "b": [1, 0, 1]},
        {"c": pd.Categorical([1, 2, 10]), "b": [1.0, 0.0, 1.0]},
    ]
    for other in others:
        assert torch.equal(encoder.transform(other)["cat"], wanted)


def test_most_frequent_levels_are_kept():
    values = [f"v{i:04d}" for i in range(MAX_LEVELS + 200)] + [f"v{i:04d}" for i in range(300, MAX_LEVELS + 200)]
    encoder = TableEncoder().fit({"c": values})
    assert encoder.cardinalities == (MAX_LEVELS + 1,)
    codes = encoder.transform({"c": values})["cat"][:, 0]
    assert codes.max() == MAX_LEVELS and (codes[100:300] == 0).all() and (codes[300:] > 0).all()


def gains(n=1000, seed=0):
    """Mostly zero; a tenth has one of five frequent values, some have one of their own, a few have none."""
    draw = np.random.default_rng(seed)
    values = np.where(draw.random(n) < 0.1, draw.choice([3103.0, 5178.0, 7298.0, 7688.0, 15024.0], n), 0.0)
    values = np.where(draw.random(n) < 0.05, draw.integers(100, 9000, n), values)
    return np.where(draw.random(n) < 0.02, np.nan, values)


def test_frequent_values_of_a_number_have_a_code_behind_the_categories():
    values = gains()
    frame = pd.DataFrame({"gain": values, "job": ["cook", "smith"] * 500, "age": np.arange(1000) % 70})
    encoder = TableEncoder().fit(frame)
    often = (0.0, 3103.0, 5178.0, 7298.0, 7688.0, 15024.0)
    assert encoder.levels == (("job", ("cook", "smith")), ("gain", ("0", "3103", "5178", "7298", "7688", "15024"))) and encoder.cardinalities == (3, 7)
    out = encoder.transform(frame)
    wanted = [often.index(v) + 1 if v in often else 0 for v in values]
    assert out["cat"][:, 1].tolist() == wanted and {"gain", "job", "age"} == set(encoder.kinds) and encoder.kinds["gain"] == "number"
    new = pd.DataFrame({"gain": ["7298", "7299", None, "1e9"], "job": ["cook"] * 4, "age": [1] * 4})
    assert encoder.transform(new)["cat"][:, 1].tolist() == [4, 0, 0, 0]
    again = TableEncoder.from_dict(json.loads(json.dumps(encoder.to_dict())))
    assert same(again.transform(frame), out)


def test_frequent_values_are_the_same_in_single_and_double_precision():
    values = np.append(np.zeros(500), np.repeat([9.99, 4.49, 0.1, 1e-3, 120.05], 40) + np.zeros(200))
    values = np.append(values, np.linspace(1, 5, 30))
    double, single = pd.DataFrame({"x": values}), pd.DataFrame({"x": values.astype(np.float32)})
    for one, two in ((double, single), (single, double)):
        encoder = TableEncoder().fit(one)
        codes = encoder.transform(two)["cat"]
        assert torch.equal(codes, encoder.transform(one)["cat"]) and len(codes.unique()) == 7


@pytest.mark.parametrize(
    "values",
    [
        np.arange(1000.0) % 70,  # no value stands out
        np.where(np.arange(1000) % 2 == 0, 0.0, np.random.default_rng(0).normal(size=1000)),  # nothing but zero is shared
        np.where(np.arange(1000) % 2 == 0, 0.0, np.arange(1000) % 80),  # a count, whose frequent values are neighbors
        np.concatenate([np.zeros(900), np.arange(1.0, 61.0), np.repeat([61.0, 62.0, 63.0, 64.0], 10)]),  # most others are alone
    ],
)
def test_other_numbers_have_no_code(values):
    encoder = TableEncoder().fit({"x": values})
    assert encoder.cardinalities == () and encoder.transform({"x": values})["cat"].shape == (1000, 0)


def test_of_very_many_frequent_values_the_most_frequent_have_a_code():
    often = np.repeat(np.arange(1.0, 101.0), 10 + np.arange(100))
    encoder = TableEncoder().fit({"x": np.concatenate([np.zeros(6000), often, np.arange(1.25, 101.25, 0.5)])})
    assert encoder.numeric[0].often == (0.0, *np.arange(42.0, 101.0))


def test_dates_are_days():
    encoder = TableEncoder().fit(FRAME)
    day = encoder.numeric[1]
    assert day.date and day.median == 19725.0
    as_dates = FRAME.assign(born=pd.to_datetime(FRAME["born"]))
    zone = FRAME.assign(born=pd.to_datetime(FRAME["born"]).dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo"))
    assert same(encoder.transform(FRAME), encoder.transform(as_dates)) and same(encoder.transform(FRAME), encoder.transform(zone))


def test_sources_agree():
    polars = pytest.importorskip("polars", reason="polars is an optional dependency")
    import pyarrow as pa

    encoder = TableEncoder().fit(FRAME)
    wanted = encoder.transform(FRAME)
    arrow = pa.Table.from_pandas(FRAME)
    for source in (arrow, polars.from_arrow(arrow), FRAME.to_dict("list"), FRAME.astype({"job": "category"}), FRAME.convert_dtypes()):
        assert same(TableEncoder().fit(source).transform(source), wanted) and same(encoder.transform(source), wanted)


def test_arrays_go_by_position():
    array = np.random.default_rng(0).normal(size=(20, 3))
    encoder = TableEncoder().fit(array)
    assert same(encoder.transform(array), encoder.transform(torch.from_numpy(array)))
    fails(lambda: encoder.transform(array[:, :2]), "Expected 3 columns", "got 2", "same order")
    fails(lambda: encoder.transform(np.ones((2, 4))), "got 4")


def test_statistics_come_from_the_fitted_rows_only():
    columns = infer_columns(FRAME)
    encoder = TableEncoder().fit(FRAME.iloc[3:], columns=columns)
    assert encoder.numeric[0].median == 60.0 and encoder.categorical[0].levels == ("baker", "cook")
    assert encoder.transform(FRAME)["cat"][1, 0] == 0


def test_wrong_tables_are_refused():
    encoder = TableEncoder().fit(FRAME)
    fails(lambda: encoder.transform(FRAME.drop(columns=["age", "job"])), "`age`, `job` missing", "got `born`", "Add or rename")
    fails(
        lambda: encoder.transform(FRAME.assign(size=["1", "2", "many", "4", "5", "6"])), "numbers in column `size`", "'many'", "row 3", "leave the cell empty"
    )
    fails(lambda: encoder.transform(FRAME.assign(size=pd.Timestamp("2024-01-01"))), "`size`", "2024-01-01", "row 1")
    fails(lambda: encoder.transform(FRAME.assign(born=5.0)), "dates in column `born`", "row 1")
    fails(lambda: encoder.transform(FRAME.assign(age=np.inf)), "finite numbers in column `age`", "row 1")
    fails(lambda: encoder.transform(FRAME.assign(job=1.5)), "categories such as `baker`, `cook`", "`job`", "1.5", "row 1", "Check that")
    assert encoder.transform(FRAME.assign(size=[True] * 6))["num"].shape == (6, 5)


def test_nothing_to_learn_from():
    fails(lambda: TableEncoder().fit({"a": [1, 1], "b": [None, None]}), "at least one column", "`a` has the same value", "`b` has no values", "Add columns")
