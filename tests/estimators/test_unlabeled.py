"""Rows without a target."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_iris

import temperance as tp
from temperance.core.random import Rng, key_of, stream_of
from temperance.estimators.rows import known_targets, validation_rows
from temperance.regularizers import VAT, Dropout, MeanTeacher, PseudoLabels
from temperance.search.plans import default_regularizers, many_unlabeled, network_plans
from temperance.train.fitting import hold_out

X, Y = load_iris(return_X_y=True)
KNOWN = np.random.default_rng(0).permutation(150) < 60
GIVEN = tp.Cocktail(VAT(0.5), MeanTeacher(1.0))
QUICK: dict[str, Any] = {"random_state": 0, "validation_fraction": 0.3}


def gapped(y: np.ndarray) -> list[Any]:
    return [value if known else None for value, known in zip(y.tolist(), KNOWN, strict=True)]


BIG = [2**53 + k % 2 for k in range(20)]


HOLDERS = [("Int64", pd.Series), ("Int64", pd.DataFrame), ("int64[pyarrow]", pd.Series), ("UInt64", pd.Series), ("category", pd.Series), ("object", np.asarray)]


@pytest.mark.parametrize(("dtype", "wrap"), HOLDERS)
@pytest.mark.parametrize("gaps", [False, True])
def test_whole_numbers_keep_their_digits(dtype: str, wrap: Any, gaps: bool) -> None:
    """Classes beyond 2^53 are as far apart as any, whatever holds them."""
    column = pd.Series([*BIG, *([None] if gaps else [])], dtype=dtype)
    rows = np.arange(len(column))[:, None] % 2 + np.zeros((1, 2))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "A column-vector y was passed")  # as scikit-learn's own estimators say of one column
        made = tp.TemperanceClassifier(tp.Cocktail(), steps=1, early_stopping=False, random_state=0).fit(rows, wrap(column))
    assert made.classes_.tolist() == [2**53, 2**53 + 1] and made.classes_.dtype.kind in "iu"
    assert set(made.predict(rows).tolist()) <= set(BIG)
    unseen = pd.Series([2**53 + 3] * len(rows), dtype="Int64")
    with pytest.raises(tp.DataError, match=f"got {2**53 + 3}\\. Drop these rows"):
        tp.TemperanceClassifier(tp.Cocktail(), random_state=0).fit(rows, np.asarray(BIG + [BIG[0]] * (len(rows) - 20)), X_val=rows, y_val=unseen)


@pytest.mark.parametrize("dtype", ["boolean", "bool", "bool[pyarrow]", "object"])
def test_truth_values_stay_truth_values(dtype: str) -> None:
    y = pd.Series([True, False] * 10, dtype=dtype)
    rows = np.arange(20)[:, None] % 2 + np.zeros((1, 2))
    assert tp.TemperanceClassifier(tp.Cocktail(), steps=1, early_stopping=False, random_state=0).fit(rows, y).classes_.tolist() == [False, True]
    held = tp.TemperanceClassifier(tp.Cocktail(), steps=1, random_state=0).fit(rows, y, X_val=rows, y_val=pd.Series([True, False] * 10, dtype="boolean"))
    assert held.predict(rows).dtype == bool


@pytest.mark.parametrize(
    ("y", "values", "known"),
    [
        ([1, None, 0], [1, 0], [True, False, True]),
        (np.array([1.5, np.nan, 0.0]), [1.5, 0.0], [True, False, True]),
        (pd.Series([1, None, 0], dtype="Int64"), [1, 0], [True, False, True]),
        (pd.Series(["a", None, "b"]), ["a", "b"], [True, False, True]),
        ([True, False, None], [True, False], [True, True, False]),
        (np.array([[1.0, 0.0], [np.nan, 1.0], [0.0, 1.0]]), [[1.0, 0.0], [0.0, 1.0]], [True, False, True]),
        (pd.DataFrame({"p": [1.0, 2.0], "q": [None, 3.0]}), [[2.0, 3.0]], [False, True]),
    ],
)
def test_missing_targets_are_found(y: Any, values: list[Any], known: list[bool]) -> None:
    found, marks = known_targets(y)
    assert marks is not None and marks.tolist() == known and found.tolist() == values
    assert found.dtype.kind == np.array(values).dtype.kind


@pytest.mark.parametrize("y", [[1, 0], np.array([1.0, 2.0]), ["a", "b"], [[1, 2], [3]], None, 3.0, pd.Series([1, 2]), np.array([-1, 1])])
def test_nothing_missing_is_left_as_it_is(y: Any) -> None:
    found, marks = known_targets(y)
    assert found is y and marks is None


@pytest.mark.parametrize("fraction", [None, 0.3])
def test_rows_without_a_target_only_train(fraction: float | None) -> None:
    y = torch.eye(3)[torch.from_numpy(Y).long()]
    split = validation_rows(y, "classification", seed=0, fraction=fraction, labeled=KNOWN)
    others = np.flatnonzero(~KNOWN)
    for train, held in split.folds:
        assert KNOWN[held].all() and len(np.intersect1d(train, held)) == 0
        assert np.isin(others, train).all() and len(train) + len(held) == 150
    plain = validation_rows(y[KNOWN], "classification", seed=0, fraction=fraction)
    assert [np.flatnonzero(KNOWN)[held].tolist() for _, held in plain.folds] == [held.tolist() for _, held in split.folds]
    assert "90 rows without a target only train." in split.reason


def test_a_share_held_out_by_fit_has_targets() -> None:
    y, marks = torch.eye(3)[torch.from_numpy(Y).long()], torch.from_numpy(KNOWN)
    rows = torch.arange(150.0)[:, None]
    train, held = hold_out(tp.data.Dataset(rows, y, "classification", labeled=marks), 0.2, 0)
    assert len(held) == 12 and bool(held.labeled.all()) and len(train) == 138
    assert torch.equal(torch.cat([train.x, held.x]).sort(0).values, rows)
    heads = tp.data.Dataset(rows, {"a": y, "b": y}, {"a": "classification", "b": "classification"}, labeled={"a": marks, "b": marks})
    assert torch.equal(hold_out(heads, 0.2, 0)[1].x, held.x)
    order = Rng(key_of(3), stream_of("hold-out")).permutation(150)
    assert torch.equal(hold_out(tp.data.Dataset(rows, y, "classification"), 0.2, 3)[1].x, rows[order[:30].sort().values])
    with pytest.raises(tp.ConfigError, match=r"The data has 150 rows, 1 of them with a target\."):
        hold_out(tp.data.Dataset(rows, y, "classification", labeled=torch.arange(150) == 4), 0.2, 0)


@pytest.mark.parametrize("labels", [np.array([0, 1, 2]), np.array(["x", "y", "z"]), np.array([-1, 0, 1])])
def test_a_classifier_learns_from_them(labels: np.ndarray) -> None:
    """Classes keep their type, -1 is a class, and the report says what used the rows."""
    made = tp.TemperanceClassifier(GIVEN, steps=60, **QUICK).fit(X, gapped(labels[Y]))
    assert made.classes_.tolist() == labels.tolist() and made.classes_.dtype.kind == labels.dtype.kind
    assert made.score(X, labels[Y]) > 0.85
    assert made.search_.notes == ["90 rows without a target were used by VAT, MeanTeacher"]
    without = tp.TemperanceClassifier(tp.Cocktail(), steps=60, **QUICK).fit(X, gapped(labels[Y]))
    assert without.search_.notes == ["90 rows without a target were used by no regularizer of the cocktail"]
    assert not np.allclose(made.predict_proba(X), without.predict_proba(X))


def test_what_stands_in_the_gaps_is_never_read() -> None:
    """None, NaN and pandas' NA are the same; so is any order of the known values."""
    series = pd.Series(gapped(Y), dtype="Int64")
    outputs = [tp.TemperanceClassifier(GIVEN, steps=20, **QUICK).fit(X, y).predict_proba(X) for y in (gapped(Y), series, series.astype("float64"))]
    assert np.array_equal(outputs[0], outputs[1]) and np.array_equal(outputs[0], outputs[2])


def test_weights_of_rows_and_classes() -> None:
    weight = np.ones(150)
    weight[np.flatnonzero(KNOWN)[:5]] = 0.0
    weight[np.flatnonzero(~KNOWN)[:7]] = 0.0
    made = tp.TemperanceClassifier(GIVEN, steps=10, class_weight="balanced", **QUICK).fit(X, gapped(Y), sample_weight=weight)
    assert made.search_.notes[-1].startswith("83 rows without a target")
    kept = weight > 0
    same = tp.TemperanceClassifier(GIVEN, steps=10, class_weight="balanced", **QUICK).fit(X[kept], [y for y, k in zip(gapped(Y), kept, strict=True) if k])
    np.testing.assert_allclose(made.predict_proba(X), same.predict_proba(X), rtol=1e-5, atol=1e-6)
    none = np.where(KNOWN, 1.0, 0.0)
    full = tp.TemperanceClassifier(GIVEN, steps=10, **QUICK).fit(X, gapped(Y), sample_weight=none)
    assert not any("without a target" in note for note in full.search_.notes)


def test_a_regressor_and_labels_take_them_too() -> None:
    y = np.where(KNOWN, X[:, 2] * 10 + 100, np.nan)
    made = tp.TemperanceRegressor(GIVEN, steps=100, **QUICK).fit(X, y)
    assert made.target_mean_[0] == pytest.approx(y[KNOWN].mean()) and made.score(X, X[:, 2] * 10 + 100) > 0.8
    labels = np.stack([Y == 0, Y == 1], 1).astype(float)
    labels[~KNOWN, 1] = np.nan
    many = tp.TemperanceClassifier(GIVEN, steps=20, **QUICK).fit(X, labels)
    assert many.predict(X).shape == (150, 2) and many.search_.notes[0].startswith("90 rows")


def test_messages() -> None:
    with pytest.raises(tp.DataError, match="Expected known values in `y`, got only missing ones"):
        tp.TemperanceClassifier(GIVEN, steps=5).fit(X, [None] * 150)
    with pytest.raises(tp.DataError, match="Expected a target for every row of `X_val`, got missing ones in `y_val`"):
        tp.TemperanceClassifier(GIVEN, steps=5).fit(X, Y, X_val=X, y_val=gapped(Y))
    with pytest.raises(tp.DataError, match="Expected at least two classes in `y`"):
        tp.TemperanceClassifier(GIVEN, steps=5).fit(X, [0, *[None] * 149])


def test_the_search_tries_what_learns_from_them() -> None:
    """From a tenth of the rows on; pseudo-labels for classes alone."""

    def names(task: str, unlabeled: bool) -> set[str]:
        return {type(r).__name__ for r in default_regularizers(task, unlabeled=unlabeled)}

    assert names("classification", True) - names("classification", False) == {"VAT", "PseudoLabels", "MeanTeacher"}
    assert names("regression", True) - names("regression", False) == {"VAT", "MeanTeacher"}
    y = torch.eye(3)[torch.from_numpy(Y).long()]
    for gaps, expected in ((14, False), (15, True)):
        data = tp.data.Dataset(torch.from_numpy(X).float(), y, "classification", labeled=torch.arange(150) >= gaps)
        assert many_unlabeled(data) is expected
        (plan,) = network_plans(lambda d: tp.nets.MLP(4, 3, hidden=(8,)), data)
        assert ("vat" in plan.cocktail.labels) is expected and ("mean_teacher.lam" in plan.likely_on) is expected
    assert not many_unlabeled(tp.data.Dataset(torch.from_numpy(X).float(), y, "classification"))
    made = tp.TemperanceClassifier(trials=6, steps=20, **QUICK).fit(X, gapped(Y))
    assert {"vat.eps", "pseudo_labels.lam", "mean_teacher.lam"} <= set(made.search_.trials.columns)
    assert "90 rows without a target were used by" in made.search_.notes[-1]
    chosen = tp.TemperanceClassifier(trials=4, steps=10, **QUICK, without=("VAT", "PseudoLabels", "MeanTeacher")).fit(X, gapped(Y))
    assert "vat.eps" not in chosen.search_.trials.columns


def test_a_cocktail_beside_an_average() -> None:
    """A mean teacher that ships the student leaves the one average of the cocktail to EMA."""
    cocktail = tp.Cocktail(PseudoLabels(0.5), MeanTeacher(1.0), Dropout(0.1), tp.EMA(0.9))
    made = tp.TemperanceClassifier(cocktail, steps=20, **QUICK).fit(X, gapped(Y))
    assert [type(r).__name__ for r in made.cocktail_] == ["PseudoLabels", "MeanTeacher", "Dropout", "EMA"]
