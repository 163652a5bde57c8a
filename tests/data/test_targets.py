"""Targets: the task, the types of labels, missing values, refusals."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, strategies as st

from temperance.core.errors import ConfigError, DataError
from temperance.data import TargetEncoder


def fails(values, *parts, error=DataError, **options):
    with pytest.raises(error) as caught:
        TargetEncoder().fit(values, **options)
    for part in parts:
        assert part in str(caught.value), str(caught.value)


def back(encoder):
    return TargetEncoder.from_dict(json.loads(json.dumps(encoder.to_dict(), allow_nan=False)))


@pytest.mark.parametrize(
    ("values", "task", "classes"),
    [
        (["b", "a"] * 3, "classification", ("a", "b")),
        ([True, False] * 3, "classification", (False, True)),
        (np.array([1, 0] * 3), "classification", (0, 1)),
        ([1.0, 0.0] * 3, "classification", (0.0, 1.0)),
        ([1.0, 0.0, None] * 3, "classification", (0, 1)),
        (pd.Categorical([3, 1] * 3), "classification", (1, 3)),
        (list(range(10)) * 5, "classification", tuple(range(10))),
        (list(range(10)) * 2, "regression", ()),
        (list(range(30)) * 9, "regression", ()),
        ([1.5, 2.0, 3.0], "regression", ()),
        (np.eye(3), "multilabel", ("target 0", "target 1", "target 2")),
        (pd.DataFrame({"p": [0, 1], "q": [True, False]}), "multilabel", ("p", "q")),
        (np.random.default_rng(0).normal(size=(5, 2)), "regression", ()),
        (torch.tensor([0, 1, 0, 1]), "classification", (0, 1)),
        (torch.tensor([[0.5], [1.5]]), "regression", ()),
    ],
)
def test_task_and_classes(values, task, classes):
    encoder = TargetEncoder().fit(values if not isinstance(values, pd.Categorical) else pd.Series(values))
    assert (encoder.task, encoder.classes) == (task, classes)
    assert [type(a) for a in encoder.classes] == [type(b) for b in classes]
    y, labeled = encoder.encode(pd.Series(values) if isinstance(values, pd.Categorical) else values)
    assert y.dtype == torch.float32 and y.ndim == 2 and y.shape[1] == encoder.outputs
    assert labeled is None or labeled.dtype == torch.bool


@pytest.mark.parametrize("labels", [["a", "b", "c"], [True, False], [3, -1, 7], [0.5, 2.0, 1.0]])
def test_labels_come_back_in_their_type(labels):
    values = np.array(labels * 4)
    encoder = back(TargetEncoder().fit(values, "classification"))
    y, _ = encoder.encode(values)
    decoded = encoder.decode(y)
    assert decoded.tolist() == labels * 4 and type(decoded.tolist()[0]) is type(labels[0])
    assert list(encoder.classes) == sorted(labels)


def test_labels_match_across_types():
    encoder = TargetEncoder().fit([1, 2] * 3)
    for other in ([1.0, 2.0], ["1", "2"], pd.Categorical([1, 2])):
        assert encoder.encode(pd.Series(other))[0].tolist() == [[1, 0], [0, 1]]
    text = TargetEncoder().fit(pd.Series(pd.Categorical(["1", "2"] * 3)))
    assert text.encode([1, 2])[0].tolist() == [[1, 0], [0, 1]]
    boolean = TargetEncoder().fit([True, False] * 3)
    assert boolean.encode(["true", "False"])[0].tolist() == [[0, 1], [1, 0]]


def test_missing_targets_are_unlabeled():
    for values in (["a", None, "b"] * 2, pd.Series(["a", pd.NA, "b"] * 2, dtype="string"), ["a", "", "b"] * 2):
        encoder = TargetEncoder().fit(values)
        y, labeled = encoder.encode(values)
        assert labeled.tolist() == [True, False, True] * 2 and y[1].tolist() == [0, 0]
        assert encoder.codes(values).tolist() == [0, -1, 1] * 2
    y, labeled = TargetEncoder().fit([1.5, np.nan, 2.5]).encode([1.5, np.nan, 2.5])
    assert labeled.tolist() == [True, False, True] and y[:, 0].tolist() == [-1, 0, 1]
    grid = np.array([[0, 1], [1, np.nan], [1, 0]])
    y, labeled = TargetEncoder().fit(grid).encode(grid)
    assert labeled.tolist() == [True, False, True] and y[1].tolist() == [0, 0]


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20).filter(lambda v: max(v) - min(v) > 1e-3))
def test_values_come_back_in_their_units(values):
    encoder = back(TargetEncoder().fit(values, "regression"))
    y, _ = encoder.encode(values)
    scale = max(values) - min(values)
    np.testing.assert_allclose(encoder.decode(y), values, atol=1e-5 * scale)
    assert abs(float(y.mean())) < 1e-3 and float(y.double().std(unbiased=False)) == pytest.approx(1, abs=1e-3)


def test_several_outputs():
    values = pd.DataFrame({"a": [1.0, 2.0, 3.5], "b": [10.0, 30.0, 20.0]})
    encoder = TargetEncoder().fit(values)
    np.testing.assert_allclose(encoder.decode(encoder.encode(values)[0]), values.to_numpy(), rtol=1e-6)
    labels = TargetEncoder().fit(np.array([[0, 1], [1, 0]]))
    assert labels.decode(torch.tensor([[0.2, 0.5]])).tolist() == [[0, 1]]


def test_rows_and_units():
    values = np.arange(10.0) + 0.5
    encoder = TargetEncoder().fit(values, rows=[0, 1])
    assert encoder.mean == (1.0,) and encoder.sd == (0.5,)
    assert TargetEncoder().fit(values, standardize=False).encode(values)[0][:, 0].tolist() == values.tolist()
    assert TargetEncoder().fit([1.5, 2.5, 2.5], rows=[1, 2]).sd == (1.0,)


def test_task_overrides():
    assert TargetEncoder().fit([0, 1] * 5, "regression").task == "regression"
    assert TargetEncoder().fit(["1.5", "2.5"], "regression").mean == (2.0,)
    assert TargetEncoder().fit(list(range(30)) * 2, "classification").outputs == 30
    fails([0, 1], "one of classification, regression, multilabel", "'ranking'", task="ranking", error=ConfigError)


def test_refusals():
    fails([None, None], "only missing ones in `pay`", "Name another target", name="pay")
    fails(pd.DataFrame({"a": [1.0, 2.0], "b": [None, None]}), "only missing ones in `b`")
    fails(["a", "a"], "two classes in target `pay`", "one class: 'a'", "Name another target", name="pay")
    fails([1, 1, 1], "one class: 1")
    fails(["a", "a", "b"], "at least 2 times", "got 'b' only once", "Merge it with another class or drop the row")
    fails([str(i) for i in range(20)], "'0', '1', '10', '11', '12' and 15 more", 'task="regression"')
    fails([1.5, np.inf], "finite numbers up to 1e+30 in size in target `target`", "inf", "row 2", "Correct it")
    fails([1.5, -1e300], "up to 1e+30 in size", "-1e+300")
    fails([1.0, np.inf] * 3, "finite classes", "inf", "row 2", task="classification")
    fails([2.5, 2.5], "different values", "2.5 in every row")
    fails(["1.5", "x"], "numbers in target `target`", "'x'", "row 2", 'task="classification"', task="regression")
    fails(pd.DataFrame({"a": ["x", "y"], "b": ["u", "v"]}), "one column of classes", "`a`, `b`", "one head a column")
    fails(np.array([[0, 2], [1, 0]]), "Expected 0 or 1", "got 2 in column `target 1`, row 1", 'task="regression"', task="multilabel")
    fails(np.array([[0, 1], [0, 0]]), "both 0 and 1", "one class in `target 0`", "Drop these columns")
    fails(pd.Series(pd.date_range("2024-01-01", periods=4)), "got dates", "Name another target")
    fails(pd.Series([(1, 2), (3, 4)] * 2), "got tuple in row 1")
    fails(np.ones((2, 2, 2)), "shape (rows,) or (rows, outputs)", "(2, 2, 2)")
    fails([], "(0,)")
    fails(5, "got int")


def test_refusals_when_encoding():
    encoder = TargetEncoder().fit(["a", "b"] * 2, name="pay")
    for call, parts in (
        (lambda: encoder.encode(["a", "c"]), ("classes 'a', 'b' in target `pay`", "'c' in row 2", "Drop these rows")),
        (lambda: encoder.encode(np.ones((2, 2))), ("1 columns as fitted", "got 2")),
        (lambda: encoder.decode(np.ones((2, 3))), ("shape (n, 2)", "(2, 3)")),
    ):
        with pytest.raises(DataError) as caught:
            call()
        assert all(part in str(caught.value) for part in parts), str(caught.value)


def test_polars_series():
    polars = pytest.importorskip("polars", reason="polars is an optional dependency")
    encoder = TargetEncoder().fit(polars.Series("y", ["a", "b", "a", "b", None]))
    assert encoder.classes == ("a", "b")
    assert TargetEncoder().fit(polars.DataFrame({"p": [0, 1], "q": [1, 0]})).task == "multilabel"
