"""What a fit does: seeds, rows, weights, targets, tables, networks and bad input."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_iris, make_multilabel_classification, make_regression
from torch import nn

import temperance as tp
from temperance.estimators import training
from temperance.estimators.rows import validation_rows
from temperance.train.chunk import Chunk

GIVEN = tp.Cocktail(tp.WeightDecay(0.01), tp.Dropout(0.1))
QUICK: dict[str, Any] = {"trials": 3, "steps": 30, "random_state": 0}
X, Y = load_iris(return_X_y=True)
Z, VALUES = make_regression(80, 4, noise=5.0, random_state=0)


def classifier(**settings: Any) -> tp.TemperanceClassifier:
    return tp.TemperanceClassifier(**{"cocktail": GIVEN, "random_state": 0, **settings})


def regressor(**settings: Any) -> tp.TemperanceRegressor:
    return tp.TemperanceRegressor(**{"cocktail": GIVEN, "random_state": 0, **settings})


# Seeds


@pytest.mark.parametrize("settings", [QUICK, {"cocktail": GIVEN, "random_state": 3}])
def test_a_seed_gives_the_same_model_and_leaves_the_generators_alone(settings: dict[str, Any], generators_untouched: Callable[[], None]) -> None:
    first, second = (tp.TemperanceClassifier(**settings).fit(X, Y) for _ in range(2))
    np.testing.assert_array_equal(first.predict_proba(X), second.predict_proba(X))
    pd.testing.assert_frame_equal(first.history_, second.history_)
    assert repr(first.cocktail_) == repr(second.cocktail_)


def test_a_network_of_numbers_gets_numbers_though_some_are_frequent() -> None:
    gains = np.repeat([0.0, 3.0, 5.0, 8.0, *np.linspace(3.1, 7.9, 30)], [100, 20, 20, 20, *([1] * 30)])
    sizes: list[Any] = []

    def build(data: Any) -> nn.Module:
        sizes.append((data.in_features, data.cardinalities))
        return nn.Linear(data.in_features, data.out_features)

    model = tp.TemperanceClassifier(**QUICK, model=build).fit(gains[:, None], gains > 4)
    assert model.encoder_.coded and set(sizes) == {(1, ())} and model.predict(gains[:5, None]).shape == (5,)


def test_other_seeds_give_other_models() -> None:
    outputs = [classifier(random_state=seed, steps=10).fit(X, Y).predict_proba(X) for seed in (0, 1, np.random.RandomState(0))]
    assert not np.array_equal(outputs[0], outputs[1]) and not np.array_equal(outputs[0], outputs[2])


def test_without_a_seed_numpys_generator_gives_it() -> None:
    outputs: list[np.ndarray] = []
    before = np.random.get_state()  # noqa: NPY002 -- the global generator is what the test is about
    for _ in range(2):
        np.random.seed(5)  # noqa: NPY002
        outputs.append(classifier(random_state=None, steps=10).fit(X, Y).predict_proba(X))
    outputs.append(classifier(random_state=None, steps=10).fit(X, Y).predict_proba(X))
    np.random.set_state(before)  # noqa: NPY002
    np.testing.assert_array_equal(outputs[0], outputs[1])
    assert not np.array_equal(outputs[0], outputs[2])


def test_a_prediction_does_not_depend_on_its_neighbours() -> None:
    fitted = classifier(steps=10).fit(X, Y)
    whole = fitted.predict_proba(X)
    np.testing.assert_array_equal(np.concatenate([fitted.predict_proba(X[i : i + 1]) for i in range(20)]), whole[:20])
    np.testing.assert_array_equal(fitted.predict_proba(X[::-1])[::-1], whole)


# The parts of a fit


def test_module_is_a_plain_network_of_the_encoded_rows() -> None:
    fitted = regressor().fit(Z, VALUES)
    with torch.no_grad():
        out = fitted.model_(fitted.encoder_.transform(pd.DataFrame(Z, columns=[f"x{i}" for i in range(4)])))
    np.testing.assert_allclose(out[:, 0].numpy() * fitted.target_scale_ + fitted.target_mean_, fitted.predict(Z), rtol=1e-4, atol=1e-3)
    assert not fitted.model_.training and not any(m._forward_hooks for m in fitted.model_.modules())


def test_history_and_summary() -> None:
    fitted = tp.TemperanceClassifier(trials=4, epochs=6, random_state=0).fit(X, Y)
    assert set(fitted.history_["run"]) == {"validation", "final"} and 0 <= fitted.n_iter_ - fitted.history_["step"].iloc[-1] < 5
    report = fitted.search_
    assert report.trials["trial"].tolist() == [0, 1, 2, 3] and report.how == "same_epochs" and report.metric == "accuracy"
    winner = report.trials.set_index("trial").loc[report.winner]
    assert winner["score"] == fitted.best_score_ == report.trials["score"].max() and winner["learning_rate"] == report.learning_rate
    for name, value in fitted.cocktail_.strengths().items():
        assert winner[name] == pytest.approx(value)
    assert not any(r.is_off() for r in fitted.cocktail_)


def test_the_searched_cocktail_can_be_given() -> None:
    found = tp.TemperanceClassifier(**QUICK).fit(X, Y)
    again = classifier(cocktail=found.cocktail_, lr=found.search_.learning_rate).fit(X, Y)
    assert repr(again.cocktail_) == repr(found.cocktail_) and again.score(X, Y) > 0.9


def test_regularizers_that_are_off_change_nothing() -> None:
    off = tp.Cocktail(tp.WeightDecay(0.01), tp.MixUp(0.0), tp.Dropout(0.1), tp.LabelSmoothing(0.0))
    first, second = classifier(cocktail=off, steps=20).fit(X, Y), classifier(cocktail=GIVEN, steps=20).fit(X, Y)
    np.testing.assert_array_equal(first.predict_proba(X), second.predict_proba(X))
    assert repr(first.cocktail_) == repr(GIVEN)


def test_use_and_without_shape_the_search() -> None:
    fitted = tp.TemperanceClassifier(**QUICK, use=["l1", tp.MaxNorm(2.0)], without=["mixup", "ema"]).fit(X, Y)
    labels = {name.split(".")[0] for name in fitted.search_.trials.columns if "." in name}
    assert {"l1", "maxnorm", "dropout"} <= labels and not {"mixup", "ema"} & labels


def test_refits_are_averaged() -> None:
    fitted = classifier(steps=10, refits=2).fit(X, Y)
    assert isinstance(fitted.model_, tp.nets.Average) and len(fitted.model_.networks) == 2
    np.testing.assert_allclose(fitted.predict_proba(X).sum(1), 1.0)


def test_steps_epochs_batch_size_and_learning_rate() -> None:
    fitted = regressor(steps=20, batch_size=8, lr=1e-3, early_stopping=False).fit(Z, VALUES)
    assert fitted.n_iter_ == 20 and fitted.search_.batch_size == 8 and fitted.search_.learning_rate == pytest.approx(1e-3)
    assert regressor(epochs=2, batch_size=8, early_stopping=False).fit(Z, VALUES).n_iter_ == 20
    searched = tp.TemperanceRegressor(**QUICK, lr=2e-3).fit(Z, VALUES)
    np.testing.assert_allclose(searched.search_.trials["learning_rate"], 2e-3)


def test_without_early_stopping() -> None:
    given = classifier(steps=15, early_stopping=False).fit(X, Y)
    assert given.search_.how == "all_steps" and given.n_iter_ == 15 and np.isnan(given.best_score_) and set(given.history_["run"]) == {"final"}
    searched = tp.TemperanceClassifier(trials=2, steps=15, early_stopping=False, random_state=0).fit(X, Y)
    assert searched.n_iter_ == 15 and searched.best_score_ > 0.3


def test_large_data_takes_the_plans_for_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "SMALL", 100)
    fitted = tp.TemperanceClassifier(trials=4, steps=4, random_state=0).fit(X, Y)
    assert fitted.search_.trials["plan"].nunique() > 1


def test_verbose_prints_the_course(capsys: pytest.CaptureFixture[str]) -> None:
    tp.TemperanceClassifier(**QUICK, verbose=1).fit(X, Y)
    assert "round 1: 3 trials, best accuracy" in capsys.readouterr().out
    tp.TemperanceClassifier(**QUICK).fit(X, Y)
    assert capsys.readouterr().out == ""


def test_an_interrupted_search_leaves_the_best_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(self: Any, state: Any) -> None:
        if state["best"] is not None and not self.last:
            self.last = "interrupted"
            raise KeyboardInterrupt

    monkeypatch.setattr(training._Printer, "__call__", interrupt)
    fitted = tp.TemperanceClassifier(**QUICK, verbose=1)
    with pytest.raises(KeyboardInterrupt, match="the TemperanceClassifier holds the best network until then"):
        fitted.fit(X, Y)
    assert fitted.search_.interrupted and fitted.search_.how == "none" and fitted.predict(X).shape == (150,)


@pytest.mark.parametrize("settings", [{}, {"early_stopping": False}], ids=["validated", "all steps"])
@pytest.mark.parametrize("after", [0, 3])
def test_ctrl_c_with_a_given_cocktail(settings: dict[str, Any], after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It propagates always; after a check, or where nothing validates, the estimator is fitted with the best so far."""
    check, seen = Chunk.check, []

    def interrupt(self: Chunk, *arguments: Any, **named: Any) -> Any:
        seen.append(1)
        if len(seen) == after + 1:
            raise KeyboardInterrupt
        return check(self, *arguments, **named)

    model = tp.TemperanceClassifier(tp.Cocktail(tp.L2(1e-3)), steps=60, random_state=0, **settings)
    with monkeypatch.context() as patch:
        patch.setattr(Chunk, "check", interrupt)
        with pytest.raises(KeyboardInterrupt):
            model.fit(X, Y)
    assert hasattr(model, "model_") == bool(after or settings)
    if after or settings:
        assert model.search_.interrupted and model.predict(X).shape == (150,)


def test_ctrl_c_in_the_last_training_leaves_the_networks_of_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "refit", interrupted)
    model = tp.TemperanceClassifier(**QUICK)
    with pytest.raises(KeyboardInterrupt, match="holds the best network"):
        model.fit(X, Y)
    assert model.search_.how == "none" and model.predict(X).shape == (150,)


# Rows that validate


def test_given_validation_rows_choose_and_never_train() -> None:
    rng = np.random.default_rng(0)
    rows = rng.permutation(150)
    a, b = rows[:100], rows[100:]
    fitted = classifier().fit(X[a], Y[a], X_val=X[b], y_val=Y[b])
    assert fitted.search_.how == "none" and "X_val" in fitted.search_.split and set(fitted.history_["run"]) == {"validation"}
    assert fitted.best_score_ == pytest.approx(fitted.score(X[b], Y[b]), abs=1e-6)
    silent = classifier(early_stopping=False, steps=20)
    alone = silent.fit(X[a], Y[a]).predict_proba(X)
    np.testing.assert_array_equal(silent.fit(X[a], Y[a], X_val=X[b], y_val=Y[b]).predict_proba(X), alone)
    assert set(silent.history_["run"]) == {"validation", "final"}
    several = classifier(refits=2, steps=20).fit(X[a], Y[a], X_val=X[b], y_val=Y[b])
    assert several.search_.how == "same_epochs"
    searched = tp.TemperanceRegressor(**QUICK, metric="mae").fit(Z[:60], VALUES[:60], X_val=Z[60:], y_val=VALUES[60:])
    assert searched.best_score_ == pytest.approx(np.abs(searched.predict(Z[60:]) - VALUES[60:]).mean(), rel=1e-4)


def test_validation_fraction_holds_out() -> None:
    fitted = classifier(validation_fraction=0.2, steps=20).fit(X, Y)
    assert fitted.search_.split.startswith("30 of 150 rows") and fitted.search_.how == "same_epochs"


@pytest.mark.parametrize("fraction", [0.1, 0.34, 0.5, 0.9])
def test_hold_out_keeps_shares_and_single_rows(fraction: float) -> None:
    codes = np.array([0] * 40 + [1] * 20 + [2])
    split = validation_rows(torch.eye(3)[codes], "classification", seed=0, fraction=fraction)
    assert split.validation is not None and len(np.intersect1d(split.train, split.validation)) == 0 and len(split.train) + len(split.validation) == 61
    assert len(split.validation) == round(fraction * 61) and 60 in split.train and len(split.test) == 0
    share = np.bincount(codes[split.validation], minlength=3)[:2] / len(split.validation)
    np.testing.assert_allclose(share, [2 / 3, 1 / 3], atol=1 / len(split.validation) + 1e-9)


@pytest.mark.parametrize("n", [2, 3, 4, 7, 9, 10, 50])
@pytest.mark.parametrize("classes", [2, 7])
def test_few_rows_are_dealt_to_folds(n: int, classes: int) -> None:
    split = validation_rows(torch.eye(classes)[np.arange(n) % classes], "classification", seed=0)
    assert all(len(a) and len(b) and len(np.intersect1d(a, b)) == 0 and len(a) + len(b) == n for a, b in split.folds)
    np.testing.assert_array_equal(np.sort(np.concatenate([b for _, b in split.folds])), np.arange(n))


# Weights


def test_rows_of_weight_zero_are_left_out() -> None:
    weight = np.ones(150)
    weight[::3] = 0
    kept = weight > 0
    first = classifier(steps=15).fit(X, Y, sample_weight=weight)
    second = classifier(steps=15).fit(X[kept], Y[kept], sample_weight=weight[kept])
    np.testing.assert_array_equal(first.predict_proba(X), second.predict_proba(X))


def test_weights_count() -> None:
    weight = np.where(Y == 2, 30.0, 1.0)
    plain, weighted = classifier().fit(X, Y), classifier().fit(X, Y, sample_weight=weight)
    assert weighted.predict_proba(X)[:, 2].mean() > plain.predict_proba(X)[:, 2].mean() + 0.01
    by_class = classifier(class_weight={0: 1, 1: 1, 2: 30}).fit(X, Y)
    np.testing.assert_array_equal(by_class.predict_proba(X), weighted.predict_proba(X))


def test_balanced_classes() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(120) % 10 == 0
    rows = rng.normal(size=(120, 2)) + 1.2 * y[:, None]
    plain, balanced = (classifier(class_weight=w).fit(rows, y) for w in (None, "balanced"))
    assert balanced.predict(rows)[y].mean() > plain.predict(rows)[y].mean() and balanced.classes_.tolist() == [False, True]


def test_weighted_standardization_of_targets() -> None:
    weight = np.where(np.arange(80) < 40, 1.0, 3.0)
    fitted = regressor(steps=2).fit(Z, VALUES, sample_weight=weight)
    assert fitted.target_mean_[0] == pytest.approx(np.average(VALUES, weights=weight))
    assert fitted.target_scale_[0] == pytest.approx(np.sqrt(np.average((VALUES - fitted.target_mean_[0]) ** 2, weights=weight)))


# Targets


@pytest.mark.parametrize("labels", [["b", "a", "c"], [3, 1, 7], [2.0, 0.0, 1.0]])
def test_classes_keep_their_type(labels: list[Any]) -> None:
    y = np.array(labels)[Y]
    fitted = classifier().fit(X, y)
    assert fitted.classes_.tolist() == sorted(labels) and fitted.classes_.dtype == y.dtype
    assert fitted.score(X, y) > 0.9
    series = pd.Series(y, dtype="category")
    assert classifier(steps=2).fit(X, series).classes_.tolist() == sorted(labels)


def test_labels() -> None:
    A, labels = make_multilabel_classification(120, 6, n_classes=3, random_state=0)
    fitted = tp.TemperanceClassifier(**QUICK, metric="accuracy").fit(A, labels)
    p = fitted.predict_proba(A)
    assert p.shape == (120, 3) and fitted.predict(A).dtype == np.int64 and ((p > 0) & (p < 1)).all()
    assert (fitted.predict(A) == labels).mean() > 0.7 and fitted.classes_.tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match=re.escape("Expected `class_weight` of TemperanceClassifier to be None for columns of labels")):
        classifier(class_weight="balanced").fit(A, labels)
    with pytest.raises(
        ValueError, match=re.escape("Expected one column of classes, or columns of 0 and 1, in `y`, got 3 columns of classes. Fit one classifier a column")
    ):
        classifier().fit(A, labels * 2 + np.arange(3))


def test_several_values() -> None:
    many = np.stack([VALUES, -3 * VALUES + 1000, np.full(80, 7.0)], axis=1)
    fitted = tp.TemperanceRegressor(trials=2, epochs=20, lr=1e-2, random_state=0).fit(Z, many)
    out = fitted.predict(Z)
    assert out.shape == (80, 3) and fitted.target_scale_[2] == 1.0
    assert np.corrcoef(out[:, 0], VALUES)[0, 1] > 0.9 and np.abs(out[:, 1] - many[:, 1]).mean() < 0.5 * many[:, 1].std() and np.abs(out[:, 2] - 7).max() < 1


def test_a_constant_value() -> None:
    fitted = tp.TemperanceRegressor(**QUICK).fit(Z, np.full(80, 1e6))
    np.testing.assert_allclose(fitted.predict(Z), 1e6, rtol=1e-5)


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_values_of_any_size(scale: float) -> None:
    fitted = regressor().fit(Z, VALUES * scale)
    assert fitted.score(Z, VALUES * scale) > 0.8


@pytest.mark.parametrize(("metric", "low", "high"), [("r2", 0.5, 1.0), ("rmse", 1.0, 100.0), ("mae", 1.0, 100.0)])
def test_scores_come_in_units(metric: str, low: float, high: float) -> None:
    fitted = tp.TemperanceRegressor(trials=2, epochs=25, lr=1e-2, metric=metric, random_state=0).fit(Z, VALUES)
    assert fitted.search_.metric == metric and low < fitted.best_score_ < high


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "log_loss", "auc", "average_precision"])
def test_metrics_of_classes(metric: str) -> None:
    fitted = tp.TemperanceClassifier(**QUICK, metric=metric).fit(X, Y)
    assert fitted.search_.metric == metric and (fitted.best_score_ < 1.1 if metric == "log_loss" else fitted.best_score_ > 0.6)


@pytest.mark.parametrize("n", [2, 3, 5, 12])
def test_tiny_data(n: int) -> None:
    y = np.arange(n) % 2
    assert tp.TemperanceClassifier(**QUICK).fit(X[: n * 10 : 10], y).predict(X).shape == (150,)
    assert regressor(steps=4).fit(X[:n, :1], y).predict(X[:, :1]).shape == (150,)
    assert classifier(steps=4).fit(X[:n], np.arange(n)).predict_proba(X).shape == (150, n)


# Tables


def table(n: int = 120, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(seed)
    color = rng.choice(["red", "green", "blue"], n)
    age = rng.normal(40, 10, n)
    y = np.where((color == "red") ^ (age > 45), "yes", "no")
    frame = pd.DataFrame(
        {"age": age, "color": color, "size": pd.Categorical(rng.choice(["S", "L"], n)), "born": pd.date_range("2000", periods=n), "member": age > 30}
    )
    frame.loc[::7, "age"] = np.nan
    frame.loc[::5, "color"] = None
    return frame, y


@pytest.mark.parametrize("settings", [{"cocktail": GIVEN}, {"trials": 4, "epochs": 20}])
def test_tables_with_categories_gaps_and_dates(settings: dict[str, Any]) -> None:
    frame, y = table()
    before = frame.copy(deep=True)
    fitted = tp.TemperanceClassifier(**settings, random_state=0).fit(frame, y)
    pd.testing.assert_frame_equal(frame, before)
    assert fitted.score(frame, y) > 0.7 and [c.name for c in fitted.encoder_.categorical] == ["color", "size", "member"]
    unseen = frame.head(3).assign(color=["violet", None, "red"])
    assert fitted.predict(unseen).shape == (3,)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict(frame), fitted.predict(frame))


def test_arrays_with_text_and_gaps() -> None:
    frame, y = table()
    array = frame[["age", "color"]].to_numpy(dtype=object)
    fitted = classifier().fit(array, y)
    assert [c.name for c in fitted.encoder_.categorical] == ["x1"] and fitted.score(array, y) > 0.6
    np.testing.assert_array_equal(fitted.predict(array.tolist()), fitted.predict(array))
    assert fitted.predict(np.array([["nan", "red"], ["50.5", "nan"]])).shape == (2,)
    with pytest.raises(ValueError, match="features"):
        fitted.predict(array[:, :1])


def test_frames_of_other_libraries() -> None:
    import polars as pl
    import pyarrow as pa

    frame, y = table()
    frame = frame[["age", "color"]]
    expected = classifier(steps=10).fit(frame, y).predict_proba(frame)
    for other in (pl.from_pandas(frame), pa.Table.from_pandas(frame)):
        fitted = classifier(steps=10).fit(other, y)
        assert fitted.feature_names_in_.tolist() == ["age", "color"]
        np.testing.assert_array_equal(fitted.predict_proba(other), expected)


def test_missing_numbers_in_arrays() -> None:
    gaps = X.copy()
    gaps[::4, 1] = np.nan
    fitted = classifier().fit(gaps, Y)
    assert fitted.encoder_.numeric_names[-1] == "x1 is missing" and fitted.score(gaps, Y) > 0.9
    assert fitted.predict(np.full((2, 4), np.nan)).shape == (2,)


def test_columns_without_differences_are_no_error() -> None:
    assert classifier(steps=2).fit(np.ones((20, 2)), np.arange(20) % 2).predict_proba(np.zeros((1, 2))).shape == (1, 2)


# Your own network


class Both(nn.Module):
    def __init__(self, numbers: int, levels: int, outputs: int) -> None:
        super().__init__()
        self.embed, self.linear = nn.Embedding(levels, 4), nn.Linear(numbers + 4, outputs)

    def forward(self, x: dict[str, torch.Tensor]) -> torch.Tensor:
        return self.linear(torch.cat([x["num"], self.embed(x["cat"][:, 0])], 1))


def test_a_network_of_your_own() -> None:
    fitted = tp.TemperanceClassifier(**{**QUICK, "steps": 80}, model=lambda data: tp.nets.MLP(data.in_features, data.out_features, hidden=(16,))).fit(X, Y)
    assert isinstance(fitted.model_, tp.nets.MLP) and fitted.score(X, Y) > 0.8
    assert classifier(model=lambda data: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)), steps=20).fit(X, Y).model_[0].weight.shape == (8, 4)
    frame, y = table()
    mixed = classifier(cocktail=tp.Cocktail(tp.L2(1e-4)), model=lambda data: Both(data.in_features, data.cardinalities[0], data.out_features), steps=10)
    assert isinstance(mixed.fit(frame[["age", "color"]], y).model_, Both)


# Bad input


BAD: list[tuple[dict[str, Any], str]] = [
    ({"cocktail": "l2"}, "Expected `cocktail` of TemperanceClassifier to be a Cocktail or None, got 'l2'. For example Cocktail(L2(1e-4), Dropout(0.2))"),
    ({"use": ["l2"]}, "Expected `use` and `without` to be empty with a given `cocktail`, got names."),
    ({"steps": 5, "epochs": 2}, "Expected either `steps` or `epochs`, got both."),
    ({"steps": 0}, "Expected `steps` of TemperanceClassifier to be a whole number in [1, inf), got 0."),
    ({"epochs": -1}, "Expected `epochs` of TemperanceClassifier in (0, inf), got -1."),
    ({"trials": 2.5}, "Expected `trials` of TemperanceClassifier to be a whole number in [1, inf), got 2.5."),
    ({"refits": True}, "Expected `refits` of TemperanceClassifier to be a whole number in [1, inf), got True."),
    ({"batch_size": 0}, "Expected `batch_size` of TemperanceClassifier to be a whole number in [1, inf), got 0."),
    ({"lr": 0}, "Expected `lr` of TemperanceClassifier in (0, inf), got 0."),
    ({"validation_fraction": 1.0}, "Expected `validation_fraction` of TemperanceClassifier in (0, 1), got 1.0."),
    ({"validation_fraction": 0.2, "early_stopping": False}, "Expected `validation_fraction` of TemperanceClassifier to be None, got 0.2."),
    ({"random_state": -1}, "Expected `random_state` of TemperanceClassifier to be a whole number in [0, inf), got -1."),
    ({"model": 3}, "Expected `model` of TemperanceClassifier to be a function build(data) -> nn.Module, got 3."),
    ({"metric": "r2"}, "Expected `metric` for classification to be one of accuracy, balanced_accuracy, log_loss, auc, average_precision, got 'r2'."),
    ({"memory": "lots"}, "Expected `memory` to be written like 4G or 500M, got 'lots'."),
    ({"cocktail": None, "without": ["nothing"]}, "nothing"),
    ({"class_weight": "heavy"}, "heavy"),
    ({"cocktail": tp.Cocktail(tp.L2(1.0)), "lr": 1e30}, "Lower the learning rate or the strengths"),
    ({"cocktail": tp.Cocktail(tp.L2(1.0)), "lr": 1e30, "early_stopping": False}, "Lower the learning rate or the strengths"),
]


@pytest.mark.parametrize(("settings", "message"), BAD)
def test_bad_parameters(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        classifier(**settings).fit(X, Y)


def test_bad_rows() -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"X": X, "y": None}, "requires y to be passed, but the target y is None"),
        ({"X": X, "y": np.ones(150)}, "Expected at least two classes in `y`, got one class: 1.0."),
        ({"X": X, "y": Y, "sample_weight": Y == 1}, "Expected at least two classes in `y` in the rows of positive weight, got one class"),
        ({"X": X, "y": Y, "sample_weight": -np.ones(150)}, "Negative values"),
        ({"X": X, "y": Y[:-1]}, "inconsistent numbers of samples"),
        ({"X": X, "y": X[:, 0]}, "Unknown label type"),
        ({"X": X[:1], "y": Y[:1]}, "1 sample"),
        ({"X": pd.DataFrame(X[:1]), "y": Y[:1]}, "1 sample"),
        ({"X": pd.DataFrame(X, columns=list("abcd")).assign(x=np.inf), "y": Y}, "infinite"),
        ({"X": X, "y": Y, "X_val": X}, "Expected `X_val` and `y_val` together, got one of them."),
        ({"X": X, "y": Y, "X_val": X[:, :2], "y_val": Y}, "4 features"),
        ({"X": X, "y": Y, "X_val": X, "y_val": Y + 1}, "Expected the classes of the fitted `y` in `y_val`, got"),
        ({"X": X, "y": Y, "X_val": X, "y_val": Y[1:]}, "inconsistent numbers of samples"),
    ]
    for arguments, message in cases:
        with pytest.raises(ValueError, match=re.escape(message)):
            classifier(steps=2).fit(**arguments)
    with pytest.raises(ValueError, match=re.escape("Expected either `validation_fraction` or `X_val`, got both.")):
        classifier(validation_fraction=0.2).fit(X, Y, X_val=X, y_val=Y)
    with pytest.raises(ValueError, match=re.escape("Expected `y_val` with 1 outputs as fitted, got 2.")):
        regressor(steps=2).fit(Z, VALUES, X_val=Z, y_val=np.stack([VALUES, VALUES], 1))
    with pytest.raises(tp.ConfigError, match=r"LabelSmoothing serves .*, and the task is regression"):
        tp.TemperanceRegressor(tp.Cocktail(tp.LabelSmoothing(0.1))).fit(Z, VALUES)


def test_rows_in_single_precision() -> None:
    fitted = classifier(steps=5).fit(X.astype(np.float32), Y)
    assert fitted.predict_proba(X.astype(np.float32)).dtype == np.float64
