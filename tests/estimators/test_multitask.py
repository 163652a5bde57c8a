"""Several targets of different kinds by one network."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris
from sklearn.metrics import accuracy_score, r2_score
from torch import nn

import temperance as tp
from temperance.estimators import training
from temperance.estimators.multitask import TemperanceMultiTask, encoded_targets
from temperance.nets import MLP, MultiHead

VALUES = tp.Cocktail(tp.WeightDecay(0.01), tp.Dropout(0.05), tp.MixUp(0.1))
GIVEN = tp.Cocktail(*VALUES, tp.LabelSmoothing(0.05))
IRIS, KINDS = load_iris(return_X_y=True)
X = pd.DataFrame(IRIS[:, [0, 1, 3]], columns=["sepal length", "sepal width", "petal width"], index=np.arange(150) + 1000)
NAMES = np.array(["setosa", "versicolor", "virginica"])[KINDS]


def targets() -> pd.DataFrame:
    """The species with gaps, the length of the petals with gaps in other rows, a flag without gaps."""
    Y = pd.DataFrame({"species": NAMES.astype(object), "petal length": IRIS[:, 2], "wide": IRIS[:, 3] > 1.3}, index=X.index)
    Y.loc[Y.index[np.arange(150) % 4 == 0], "species"] = None
    Y.loc[Y.index[np.arange(150) % 3 == 0], "petal length"] = np.nan
    return Y


def multitask(**settings: Any) -> TemperanceMultiTask:
    return TemperanceMultiTask(**{"cocktail": GIVEN, "steps": 60, "random_state": 0, **settings})


def test_kinds_columns_types_and_scores() -> None:
    Y = targets()
    made = multitask().fit(X, Y)
    assert made.tasks_ == {"species": "classification", "petal length": "regression", "wide": "classification"}
    assert made.classes_["species"].tolist() == ["setosa", "versicolor", "virginica"] and made.classes_["wide"].tolist() == [False, True]
    found = made.predict(X)
    assert found.columns.tolist() == Y.columns.tolist() and found.index.equals(X.index)
    assert found["wide"].dtype == bool and found["petal length"].dtype == np.float64 and set(found["species"]) <= set(NAMES)
    assert accuracy_score(NAMES, found["species"]) > 0.9 and r2_score(IRIS[:, 2], found["petal length"]) > 0.85
    p = made.predict_proba(X)
    assert set(p) == {"species", "wide"} and p["species"].shape == (150, 3)
    np.testing.assert_allclose(p["species"].sum(1), 1.0)
    assert (made.classes_["species"][p["species"].argmax(1)] == found["species"]).all()
    known = Y["species"].notna().to_numpy(), Y["petal length"].notna().to_numpy()
    parts = [
        accuracy_score(NAMES[known[0]], found["species"][known[0]]),
        r2_score(IRIS[known[1], 2], found["petal length"][known[1]]),
        accuracy_score(Y["wide"], found["wide"]),
    ]
    assert made.score(X, Y) == pytest.approx(np.mean(parts), abs=1e-9)
    assert made.score(X, Y[["wide", "petal length", "species"]]) == made.score(X, Y)
    assert made.best_score_ > 0.7 and made.search_.metric == "mean_score" and set(made.history_["run"]) == {"validation", "final"}


def test_values_are_standardized_by_the_rows_that_have_them() -> None:
    Y = targets()
    target = multitask(steps=3).fit(X, Y).targets_["petal length"]
    known = Y["petal length"].dropna()
    assert target.mean[0] == pytest.approx(known.mean()) and target.sd[0] == pytest.approx(known.std(ddof=0))


@pytest.mark.parametrize(
    ("column", "kind", "dtype"),
    [
        (pd.Series([3, 7] * 75), "classification", "i"),
        (pd.Series([3.0, None, 7.0] * 50), "classification", "i"),
        (pd.Series(["a", "b"] * 75, dtype="category"), "classification", "O"),
        (pd.Series([True, None, False] * 50, dtype="object"), "classification", "b"),
        (pd.Series(np.arange(150)), "regression", "f"),
    ],
)
def test_labels_come_back_in_their_type(column: pd.Series, kind: str, dtype: str) -> None:
    made = multitask(steps=2, cocktail=VALUES).fit(IRIS, {"length": IRIS[:, 2], "other": column})
    assert made.tasks_["other"] == kind
    found = made.predict(IRIS)
    assert found.columns.tolist() == ["length", "other"] and isinstance(found.index, pd.RangeIndex)
    if kind == "classification":
        assert made.classes_["other"].dtype.kind == dtype and set(found["other"]) <= set(column.dropna())
    else:
        assert found["other"].dtype.kind == dtype


def test_labels_that_are_missing_do_not_count() -> None:
    """None, NaN and pandas' NA are the same; without the known labels of a column its head cannot be told from its start."""
    Y = targets()
    again = {"species": Y["species"].astype("string"), "petal length": Y["petal length"].astype("Float64"), "wide": Y["wide"].tolist()}
    first, second = multitask(steps=10).fit(X, Y), multitask(steps=10).fit(X, again)
    pd.testing.assert_frame_equal(first.predict(X), second.predict(X), check_dtype=False)
    _, labeled = encoded_targets(Y.reset_index(drop=True), first.targets_)
    assert labeled is not None
    assert {name: int(known.sum()) for name, known in labeled.items()} == {"species": 112, "petal length": 100, "wide": 150}


def test_rows_without_any_target_only_train() -> None:
    Y = targets().astype(object)
    Y.iloc[:30] = None
    made = multitask(steps=10).fit(X, Y)
    assert "30 rows without a target only train." in made.search_.split
    assert made.tasks_["wide"] == "classification" and made.predict(X)["wide"].dtype == bool


def test_weights_act() -> None:
    """A head whose weight drowns in Adam's eps stays where it starts, while the layers below it learn from the others."""
    Y, settings = targets(), {"cocktail": tp.Cocktail(), "steps": 60, "early_stopping": False}
    outputs = [multitask(task_weights=w, **settings).fit(X, Y) for w in (None, {"wide": 1.0}, {"petal length": 1e-20})]
    pd.testing.assert_frame_equal(outputs[0].predict(X), outputs[1].predict(X))
    values = [r2_score(IRIS[:, 2], made.predict(X)["petal length"]) for made in outputs]
    assert values[0] > 0.8 and values[2] < 0.3 and accuracy_score(NAMES, outputs[2].predict(X)["species"]) > 0.9
    assert [(name, scale) for name, _, scale in outputs[2]._loss.heads] == [("species", 1.0), ("petal length", 1e-20), ("wide", 1.0)]


def test_a_seed_gives_the_same_search(generators_untouched: Callable[[], None]) -> None:
    Y = targets()
    settings: dict[str, Any] = {"cocktail": None, "trials": 3, "steps": 20}
    first, second, other = multitask(**settings).fit(X, Y), multitask(**settings).fit(X, Y), multitask(**settings, random_state=1).fit(X, Y)
    pd.testing.assert_frame_equal(first.predict(X), second.predict(X))
    pd.testing.assert_frame_equal(first.search_.trials, second.search_.trials)
    assert not first.predict(X).equals(other.predict(X))
    assert {"label_smoothing.epsilon", "mixup.alpha", "dropout.rate"} <= set(first.search_.trials.columns)
    winner = first.search_.trials.set_index("trial").loc[first.search_.winner]
    assert winner["score"] == first.best_score_ == first.search_.trials["score"].max()


def test_clone_pickle_and_parameters() -> None:
    made = multitask(tasks={"wide": "classification"}, task_weights={"wide": 2.0}, refits=2, steps=10)
    copy = clone(made)
    assert copy.get_params() == {**made.get_params(), "cocktail": copy.cocktail} and repr(copy.cocktail) == repr(made.cocktail)
    fitted = copy.fit(X, targets())
    assert isinstance(fitted.model_, tp.nets.Average)
    [x] = fitted._inputs(X)
    each = [net.eval()(x) for net in fitted.model_.networks]
    mean = torch.stack([out["species"].softmax(-1) for out in each]).mean(0)
    np.testing.assert_allclose(fitted.predict_proba(X)["species"], mean.detach().numpy(), rtol=1e-4, atol=1e-6)
    values = torch.stack([out["petal length"] for out in each]).mean(0)[:, 0].detach().numpy()
    target = fitted.targets_["petal length"]
    np.testing.assert_allclose(fitted.predict(X)["petal length"], values * target.sd[0] + target.mean[0], rtol=1e-4)
    pd.testing.assert_frame_equal(pickle.loads(pickle.dumps(fitted)).predict(X), fitted.predict(X))


def test_a_prediction_does_not_depend_on_its_neighbours() -> None:
    fitted = multitask(steps=10).fit(X, targets())
    whole = fitted.predict(X)
    pd.testing.assert_frame_equal(pd.concat([fitted.predict(X.iloc[i : i + 1]) for i in range(5)]), whole.iloc[:5])


def test_large_data_takes_the_plans_for_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "SMALL", 100)
    fitted = multitask(cocktail=None, trials=4, steps=4).fit(X, targets())
    assert fitted.search_.trials["plan"].nunique() > 1
    assert set(fitted.predict(X)) == {"species", "petal length", "wide"}


def test_two_regressions_of_real_data() -> None:
    rows, disease = load_diabetes(return_X_y=True)
    Y = pd.DataFrame({"disease": disease, "pressure": np.round(1000 * rows[:, 3])})
    made = multitask(cocktail=VALUES, steps=100, early_stopping=False, tasks={"pressure": "regression"}).fit(np.delete(rows, 3, 1), Y)
    assert made.tasks_ == {"disease": "regression", "pressure": "regression"} and made.classes_ == {} and made.predict_proba(np.delete(rows, 3, 1)) == {}
    assert made.search_.how == "all_steps" and made.score(np.delete(rows, 3, 1), Y) > 0.2


def test_a_network_of_ones_own() -> None:
    def build(data: tp.data.Dataset) -> nn.Module:
        assert isinstance(data.y, dict)
        return MultiHead(MLP(data.in_features, None, (8,)), 8, {name: y.shape[1] for name, y in data.y.items()})

    made = multitask(model=build, steps=20).fit(IRIS, targets())
    assert isinstance(made.model_, MultiHead) and made.predict(IRIS).shape == (150, 3)
    with pytest.raises(tp.ConfigError, match=r"^Expected the network of `model` to return a dict of outputs with the widths .*, got a Tensor\. See"):
        multitask(model=lambda data: nn.Linear(4, 3)).fit(IRIS, targets())
    with pytest.raises(tp.ConfigError, match=r"got \{'species': 3\}\. See"):
        multitask(model=lambda data: MultiHead(MLP(4, None, (8,)), 8, {"species": 3})).fit(IRIS, targets())
    with pytest.raises(tp.ConfigError, match=r"^Expected `model` to return an nn\.Module, got dict\."):
        multitask(model=lambda data: {}).fit(IRIS, targets())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tasks": {"wide": "ranking"}}, r"^Expected `tasks\['wide'\]` of TemperanceMultiTask to be one of 'classification', 'regression', got 'ranking'"),
        ({"tasks": {"height": "regression"}}, r"^Expected `tasks` of TemperanceMultiTask to name columns of y .*, got 'height'"),
        ({"tasks": ["wide"]}, r"^Expected `tasks` of TemperanceMultiTask to be a dict by column of y, or None, got"),
        ({"task_weights": {"wide": 0.0}}, r"^Expected `task_weights\['wide'\]` of TemperanceMultiTask in \(0, inf\), got 0\.0\. Leave out columns"),
        ({"task_weights": {"wide": True}}, r"in \(0, inf\), got True"),
        ({"recipe": "out"}, r"^Expected `recipe` of TemperanceMultiTask to be None, got 'out'\. .* Give its cocktail instead: TemperanceMultiTask\(tp\.load"),
        ({"trials": 0}, r"^Expected `trials` of TemperanceMultiTask to be a whole number in \[1, inf\), got 0"),
        ({"cocktail": None, "use": ["Nonsense"], "trials": 2}, "Nonsense"),
    ],
)
def test_bad_parameters(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(tp.ConfigError, match=message):
        multitask(**settings).fit(X, targets())


def test_bad_data() -> None:
    made = multitask(steps=2)
    with pytest.raises(tp.DataError, match=r"^Expected `y` to be a frame or a dict with a column for every target, got ndarray\. For a single target use"):
        made.fit(X, KINDS)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        made.fit(X, targets().iloc[:100])
    with pytest.raises(tp.DataError, match="only missing ones in `species`"):
        made.fit(X, targets().assign(species=None))
    with pytest.raises(tp.DataError, match=r"at least two classes in target `wide`, got one class: True"):
        made.fit(X, targets().assign(wide=True))
    made.fit(X, targets())
    with pytest.raises(tp.DataError, match=r"^Expected the columns `species`, `petal length`, `wide` in `y` as fitted, got `wide`\."):
        made.score(X, targets()[["wide"]])
    with pytest.raises(tp.DataError, match="got 'rose' in row 2"):
        made.score(X, targets().assign(species=["setosa", "rose"] * 75))
    with pytest.raises(tp.DataError, match="only missing ones"):
        made.score(X, pd.DataFrame({name: [None] * 150 for name in targets()}))
