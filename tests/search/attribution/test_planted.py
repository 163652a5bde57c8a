"""Truths that were planted are found: only input noise helps, only label smoothing under label noise helps, nothing helps, and few rows cannot tell."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from temperance.core.cocktail import Cocktail
from temperance.core.criterion import SoftmaxCrossEntropy
from temperance.core.schedule import FlatCosine
from temperance.data import Split, as_dataset
from temperance.nets import MLP, build_seeded
from temperance.regularizers import Dropout, InputNoise, LabelSmoothing, WeightDecay
from temperance.search.attribution.explain import explain
from temperance.search.attribution.explanation import Explanation
from temperance.search.space import Config, StaticPlan, default_strengths
from temperance.train.metrics import metric_for
from temperance.train.optimizers import AdamW

COPIES = 40
VALIDATION = 100
LOSS = SoftmaxCrossEntropy()


def explained(X: np.ndarray, y: np.ndarray, n: int, seeds: int = 6, **strengths: float) -> Explanation:
    """The first n rows train, the next validate, the others are untouched.

    Every training row is there many times over, so that the first check comes when a network has learned them by heart: the best state on the validation
    rows is then no remedy of its own.
    """
    rows = np.concatenate([np.tile(np.arange(n), COPIES), np.arange(n, len(y))])
    data, many = as_dataset(X[rows].astype(np.float32), y[rows]), n * COPIES
    train, validation = np.arange(many), many + np.arange(VALIDATION if len(y) > 60 else 20)
    test = np.arange(validation[-1] + 1, len(rows))
    cocktail = Cocktail(LabelSmoothing(), InputNoise(), Dropout(), WeightDecay())

    def build(seed: int) -> Any:
        return build_seeded(lambda: MLP(X.shape[1], 2, hidden=(32,)), seed)

    plan = StaticPlan("plan", build, cocktail, AdamW(FlatCosine(0.01, flat=0.5)), (1e-3, 1e-1), 32, 2.0)
    named = {name.replace("__", "."): value for name, value in strengths.items()}
    winner = Config(0, plan, {**default_strengths(cocktail, ()), **named}, 0.01, 7)
    split = Split(train, validation, [(train, validation)], test, "hold-out", "given")
    metric = metric_for("log_loss", "classification")
    return explain(winner, data, split, metric, steps=round(2 * many / 32), criterion=LOSS, scored_by=LOSS, seeds=seeds)


def answers(found: Explanation) -> dict[str, str]:
    return {row["regularizer"]: row["answer"] for row in found.facts["regularizers"] if row["change"] == "dropped"}


def wide(n: int, more: int) -> tuple[np.ndarray, np.ndarray]:
    """Twenty numbers of which one decides: a network that knows the first n rows by heart is sure of what it does not know."""
    X = np.random.default_rng(0).normal(size=(n + more, 20))
    return X, (X[:, 0] > 0).astype(int)


def test_where_only_input_noise_helps_it_is_found() -> None:
    X, y = wide(40, VALIDATION + 400)
    found = explained(X, y, 40, input_noise__sigma=0.8, weight_decay__lam=0.001)
    assert answers(found)["InputNoise"] == "helps"
    assert answers(found)["WeightDecay"] in ("no difference", "cannot tell")
    assert found.text.startswith("Input noise carries it: without it log-loss is ")


def test_where_only_label_smoothing_under_label_noise_helps_it_is_found() -> None:
    generator = np.random.default_rng(0)
    n = 60
    X = generator.normal(size=(n + VALIDATION + 400, 10))
    y = (X[:, 0] > 0).astype(int)
    y = np.where(generator.random(len(y)) < 0.3, 1 - y, y)
    found = explained(X, y, n, label_smoothing__epsilon=0.4, weight_decay__lam=0.001)
    assert answers(found)["LabelSmoothing"] == "helps"
    assert answers(found)["WeightDecay"] in ("no difference", "cannot tell")
    assert found.text.startswith("Label smoothing carries it: ")


def test_where_nothing_helps_nothing_is_found() -> None:
    generator = np.random.default_rng(0)
    n = 100
    X = generator.normal(size=(n + VALIDATION + 400, 2))
    y = (X[:, 0] + generator.normal(size=len(X)) > 0).astype(int)
    found = explained(X, y, n, seeds=3, input_noise__sigma=0.01, weight_decay__lam=0.001)
    assert set(answers(found).values()) <= {"no difference", "cannot tell"}
    assert found.facts["whole"]["answer"] in ("no difference", "cannot tell")


def test_sixty_rows_cannot_tell_what_many_more_can() -> None:
    X, y = wide(20, 40)
    found = explained(X, y, 20, input_noise__sigma=0.8, weight_decay__lam=0.001)
    assert {row["answer"] for row in found.facts["regularizers"]} == {"cannot tell"}
    assert re.match("Cannot tell which of .* helped: 20 test rows are too few.", found.text)
