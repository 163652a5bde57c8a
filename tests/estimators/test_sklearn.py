"""scikit-learn's own checks, and what its tools do with the estimators."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.datasets import load_iris, make_regression
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import temperance as tp

EXPECTED = {
    "check_sample_weight_equivalence_on_dense_data": "a repeated row is drawn into minibatches twice, a weighted one once",
    **(
        {} if sklearn.__version__.startswith("1.6.") else {"check_sample_weight_equivalence_on_sparse_data": "likewise"}
    ),  # 1.6 takes the refusal of sparse rows
}
QUICK: dict[str, Any] = {"trials": 3, "steps": 30, "random_state": 0}
GIVEN = tp.Cocktail(tp.WeightDecay(0.01), tp.Dropout(0.1))
X, Y = load_iris(return_X_y=True)


def expected(estimator: Any) -> dict[str, str]:
    return EXPECTED


@parametrize_with_checks([tp.TemperanceClassifier(trials=3, steps=30), tp.TemperanceRegressor(trials=3, steps=30)], expected_failed_checks=expected)
def test_scikit_learn_searched(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks(
    [tp.TemperanceClassifier(), tp.TemperanceRegressor(), tp.TemperanceClassifier(GIVEN), tp.TemperanceRegressor(GIVEN)], expected_failed_checks=expected
)
def test_scikit_learn_at_the_defaults(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


def test_clone_takes_every_parameter() -> None:
    first = tp.TemperanceClassifier(GIVEN, steps=7, class_weight={0: 2.0}, use=("l2",), without=("ema",), refits=2)
    second = clone(first)
    assert second is not first and repr(second.get_params()["cocktail"]) == repr(GIVEN)
    assert {k: v for k, v in second.get_params().items() if k != "cocktail"} == {k: v for k, v in first.get_params().items() if k != "cocktail"}
    assert "WeightDecay" in repr(first)


def test_set_params_changes_the_next_fit() -> None:
    classifier = tp.TemperanceClassifier(**QUICK).fit(X, Y)
    assert len(classifier.search_.trials) == 3
    classifier.set_params(cocktail=GIVEN, steps=12).fit(X, Y)
    assert len(classifier.search_.trials) == 1 and repr(classifier.cocktail_) == repr(GIVEN) and 0 < classifier.n_iter_ <= 15


@pytest.mark.parametrize("settings", [{}, {"cocktail": GIVEN}, {"cocktail": GIVEN, "early_stopping": False}, {"refits": 2}])
def test_pickle_keeps_everything(settings: dict[str, Any]) -> None:
    fitted = tp.TemperanceClassifier(**{**QUICK, **settings}).fit(X, Y)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))
    pd.testing.assert_frame_equal(again.history_, fitted.history_)
    pd.testing.assert_frame_equal(again.search_.trials, fitted.search_.trials)
    assert repr(again.cocktail_) == repr(fitted.cocktail_)


def test_grid_search_over_cocktails() -> None:
    grid = {"cocktail": [tp.Cocktail(), GIVEN], "lr": [1e-6, 1e-2]}
    search = GridSearchCV(tp.TemperanceClassifier(epochs=10, random_state=0), grid, cv=2).fit(X, Y)
    assert search.best_params_["lr"] == 1e-2 and search.score(X, Y) > 0.9


def test_pipeline_and_column_transformer() -> None:
    frame = pd.DataFrame(X, columns=list("abcd")).assign(kind=np.where(X[:, 0] > 5.8, "long", "short"))
    columns: ColumnTransformer = make_column_transformer((StandardScaler(), list("abcd")), (OneHotEncoder(sparse_output=False), ["kind"]))
    pipeline = make_pipeline(columns, tp.TemperanceClassifier(GIVEN, random_state=0))
    assert pipeline.fit(frame, Y).score(frame, Y) > 0.9
    plain = make_pipeline(StandardScaler(), tp.TemperanceRegressor(GIVEN, random_state=0))
    Z, target = make_regression(60, 3, random_state=0)
    assert cross_val_predict(plain, Z, target, cv=2).shape == (60,)


def test_sparse_input_is_refused() -> None:
    from scipy.sparse import csr_array

    with pytest.raises(TypeError, match="toarray"):
        tp.TemperanceClassifier(**QUICK).fit(csr_array(X), Y)


def test_predicting_needs_a_fit() -> None:
    for name in ("predict", "predict_proba"):
        with pytest.raises(NotFittedError):
            getattr(tp.TemperanceClassifier(), name)(X)
    with pytest.raises(NotFittedError):
        tp.TemperanceRegressor().predict(X)


def test_other_names_and_numbers_of_columns() -> None:
    frame = pd.DataFrame(X, columns=list("abcd"))
    fitted = tp.TemperanceClassifier(GIVEN, steps=5, random_state=0).fit(frame, Y)
    assert fitted.feature_names_in_.tolist() == list("abcd") and fitted.n_features_in_ == 4
    with pytest.raises(ValueError, match="feature names"):
        fitted.predict(frame[list("badc")])
    with pytest.warns(UserWarning, match="valid feature names"):
        np.testing.assert_array_equal(fitted.predict(X), fitted.predict(frame))
    by_position = tp.TemperanceClassifier(GIVEN, steps=5, random_state=0).fit(X, Y)
    assert not hasattr(by_position, "feature_names_in_")
    with pytest.raises(ValueError, match="4 features"):
        by_position.predict(X[:, :3])
