"""Old names of arguments, attributes and methods: they work and warn once, and signatures show the new ones alone."""

from __future__ import annotations

import inspect
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone

import temperance as tp
from temperance.core.renamed import renamed
from temperance.data import TargetEncoder
from temperance.job import Saved

X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
TARGETS = pd.DataFrame({"sign": (X[:, 0] > 0).astype(int), "size": X[:, 1]})
PUBLIC = [(tp.fit, "on_check", "on_progress"), (tp.Population.run, "on_check", "on_progress"), (tp.TemperanceMultiTask.fit, "Y", "y")]
PUBLIC += [(tp.TemperanceMultiTask.score, "Y", "y"), (tp.fit, "stopping", "early_stopping")]
CLASSES = [(tp.Population, "stopping", "early_stopping"), (tp.TemperanceClassifier, "learning_rate", "lr")]
CLASSES += [(tp.TemperanceRegressor, "learning_rate", "lr"), (tp.TemperanceMultiTask, "learning_rate", "lr")]
ESTIMATORS = [cls for cls, _, new in CLASSES if new == "lr"]


@renamed(old="new", former="present")
def given(first: int, *, new: int = 0, present: int = 0) -> tuple[int, int, int]:
    """What it got."""
    return first, new, present


def test_an_old_name_works_and_warns_once_at_the_call() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert given(1, old=2) == (1, 2, 0)
    assert [w.category for w in caught] == [DeprecationWarning] and caught[0].filename == __file__
    assert str(caught[0].message) == "`old` of given is deprecated: write `new`."


def test_new_names_do_not_warn() -> None:
    assert given(1, new=2, present=3) == (1, 2, 3)  # a warning would be an error here


def test_several_old_names_warn_each() -> None:
    with pytest.warns(DeprecationWarning, match="is deprecated: write") as caught:
        assert given(1, old=2, former=3) == (1, 2, 3)
    assert len(caught) == 2


def test_both_names_are_an_error() -> None:
    with pytest.raises(TypeError, match="got `new` twice, once under its old name `old`"):
        given(1, new=2, old=3)


@pytest.mark.parametrize(("function", "old", "new"), PUBLIC)
def test_signatures_show_the_new_name_alone(function: Any, old: str, new: str) -> None:
    parameters = inspect.signature(function).parameters
    assert new in parameters and old not in parameters and function.__doc__


@pytest.mark.parametrize(("cls", "old", "new"), CLASSES)
def test_classes_show_the_new_name_alone(cls: Any, old: str, new: str) -> None:
    parameters = inspect.signature(cls).parameters
    assert new in parameters and old not in parameters and f" {new}: " in cls.__doc__


def test_a_rule_that_stops_has_one_name() -> None:
    rule, net, data = tp.EarlyStopping(patience="1 evals"), tp.nets.MLP(3, 2, hidden=(4,)), (X, TARGETS["sign"])
    settings: dict[str, Any] = {"epochs": 30, "metric": "log_loss", "optimizer": tp.optim.SGD(3.0)}
    stopped = tp.fit(net, tp.Cocktail(), data, early_stopping=rule, **settings)
    with pytest.warns(DeprecationWarning, match="`stopping` of fit is deprecated: write `early_stopping`"):
        again = tp.fit(net, tp.Cocktail(), data, stopping=rule, **settings)
    assert stopped.outcomes[0].steps == again.outcomes[0].steps < tp.fit(net, tp.Cocktail(), data, early_stopping=None, **settings).outcomes[0].steps
    with pytest.warns(DeprecationWarning, match="`stopping` of Population is deprecated: write `early_stopping`"):
        made = tp.Population(net, [tp.Member()], stopped.population.data, stopping=rule)
    assert made.common.stopping is rule


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_the_learning_rate_of_an_estimator_has_one_name(cls: Any) -> None:
    with pytest.warns(DeprecationWarning, match=f"`learning_rate` of {cls.__name__} is deprecated: write `lr`"):
        estimator = cls(learning_rate=0.1)
    assert estimator.lr == 0.1 and clone(estimator).lr == 0.1 and "learning_rate" not in estimator.get_params()
    with pytest.warns(DeprecationWarning, match="`learning_rate` of set_params is deprecated: write `lr`"):
        assert estimator.set_params(learning_rate=0.2, trials=3) is estimator
    assert (estimator.lr, estimator.trials, estimator.set_params(lr=0.3).lr) == (0.2, 3, 0.3)


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_an_estimator_pickled_under_the_old_name_loads(cls: Any) -> None:
    estimator = cls(lr=0.1)
    estimator.model_ = torch.nn.Linear(2, 1)
    state, names = estimator.__getstate__(), {"lr": "learning_rate", "model_": "module_"}
    old = cls.__new__(cls)
    old.__setstate__({names.get(name, name): value for name, value in state.items()})
    assert old.get_params() == estimator.get_params() and pickle.loads(pickle.dumps(old)).lr == 0.1
    assert old.model_ is estimator.model_ and "module_" not in vars(old)


def test_what_was_trained_is_a_model_wherever_it_lies(tmp_path: Path) -> None:
    """Of an estimator, a population and a loaded folder."""
    fitted = tp.TemperanceClassifier(tp.Cocktail(), steps=2, random_state=0).fit(X, TARGETS["sign"])
    population = tp.fit(tp.nets.MLP(3, 2, hidden=(4,)), tp.Cocktail(), (X, TARGETS["sign"]), steps=2).population
    saved = Saved(torch.nn.Linear(2, 1), fitted.encoder_, TargetEncoder(), tmp_path)
    with pytest.warns(DeprecationWarning, match="`module_` of TemperanceClassifier is deprecated: write `model_`") as told:
        assert fitted.module_ is fitted.model_
    assert len(told) == 1 and told[0].filename == __file__
    with pytest.warns(DeprecationWarning, match="`module` of Population is deprecated: write `model`"):
        old = population.module(0)
    assert all(torch.equal(a, b) for a, b in zip(old.parameters(), population.model(0).parameters(), strict=True))
    with pytest.warns(DeprecationWarning, match="`module` of Saved is deprecated: write `model`"):
        assert saved.module is saved.model
    assert not hasattr(tp.TemperanceClassifier(), "module_") and not hasattr(tp.TemperanceClassifier(), "model_")


def test_fit_tells_under_both_names() -> None:
    told: list[str] = []
    net = tp.nets.MLP(3, 2, hidden=(4,))
    for name in ("on_progress", "on_check"):
        settings: dict[str, Any] = {name: lambda population, name=name: told.append(name)}
        with warnings.catch_warnings(record=True):
            warnings.simplefilter("always")
            tp.fit(net, tp.Cocktail(), (X, TARGETS["sign"]), steps=4, **settings)
    assert set(told) == {"on_progress", "on_check"}


def test_targets_of_several_columns_are_y() -> None:
    estimator = tp.TemperanceMultiTask(tp.Cocktail(), steps=2, random_state=0)
    fitted = estimator.fit(X=X, y=TARGETS)
    with pytest.warns(DeprecationWarning, match="`Y` of score is deprecated: write `y`"):
        assert fitted.score(X, Y=TARGETS) == fitted.score(X, y=TARGETS)
    with pytest.warns(DeprecationWarning, match="`Y` of fit is deprecated: write `y`"):
        estimator.fit(X, Y=TARGETS)
