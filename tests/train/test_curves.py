"""Curves over a strength and over rows, against scikit-learn on the same rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from torch import nn

import temperance as tp


def linear_problem(n: int = 40, d: int = 12) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((n + 200, d)), rng.standard_normal(d)
    y = x @ w + rng.standard_normal(n + 200)
    return x[:n], y[:n], x[n:], y[n:]


def test_a_ridge_curve_is_that_of_ridge_regression() -> None:
    x, y, held, truth = linear_problem()
    net = nn.Linear(12, 1)
    curve = tp.validation_curve(
        net,
        tp.Cocktail(tp.L2(where="weight")),
        (x, y),
        "l2.lam",
        values=[0.03, 0.3, 3.0],
        seeds=2,
        validation=(held, truth),
        optimizer=tp.optim.SGD(0.1),
        steps=800,
        batch_size=40,
        metric="rmse",
    )
    assert curve["value"].tolist() == [0.0, 0.03, 0.3, 3.0] and curve["n"].tolist() == [2] * 4
    for value, train, validation in zip(curve["value"], curve["train_loss"], curve["validation_loss"], strict=True):
        ridge = Ridge(alpha=max(value, 1e-9) * len(x) / 2).fit(x, y)  # mean squared error + lam/2 |w|^2
        assert train == pytest.approx(np.mean((ridge.predict(x) - y) ** 2), rel=1e-3)
        assert validation == pytest.approx(np.mean((ridge.predict(held) - truth) ** 2), rel=1e-3)
    assert curve["train_loss"].is_monotonic_increasing
    assert curve["validation_loss"].idxmin() in (1, 2), "too little over-fits, too much under-fits"


def test_off_and_range_are_the_default() -> None:
    x, y, _, _ = linear_problem()
    curve = tp.validation_curve(nn.Linear(12, 1), tp.Cocktail(tp.InputNoise()), (x, y), "input_noise.sigma", points=3, seeds=1, steps=3)
    assert curve["value"].tolist() == pytest.approx([0.0, 0.005, 0.05, 0.5])
    assert {"train_score", "train_score_sd", "validation_loss"} < set(curve.columns)


def classes(n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((n, 6))
    return x, (x[:, 0] + x[:, 1] + rng.standard_normal(n) > 0).astype(int)


def test_rivals_see_the_same_rows() -> None:
    x, y = classes(120)
    held = classes(500)
    rival = LogisticRegression()
    curve = tp.learning_curve(
        tp.nets.MLP(6, 2, hidden=(8,)),
        tp.Cocktail(),
        (x, y),
        sizes=[16, 120],
        seeds=2,
        validation=held,
        rivals={"logistic": rival},
        steps=60,
        metric="accuracy",
    )
    assert curve[["rows", "model", "n"]].values.tolist() == [[16, "network", 2], [16, "logistic", 2], [120, "network", 2], [120, "logistic", 2]]
    whole = curve.iloc[3]
    assert whole["validation_score"] == pytest.approx(LogisticRegression().fit(x.astype(np.float32), y).score(held[0].astype(np.float32), held[1]))
    assert whole["validation_score_sd"] == 0.0, "all rows are the same rows for every seed"
    assert curve.iloc[1]["validation_score"] < whole["validation_score"]
    assert not hasattr(rival, "coef_")


def test_networks_learn_more_from_more_rows_and_nothing_global_is_touched() -> None:
    x, y = classes(200)
    net = tp.nets.MLP(6, 2, hidden=(16,))
    before, torch_before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002 -- the global state is what is checked
    curve = tp.learning_curve(
        net,
        tp.Cocktail(),
        (x, y),
        sizes=[8, 200],
        seeds=3,
        validation=classes(1000),
        steps=400,
        metric="accuracy",
        optimizer=tp.optim.Adam(0.01),
    )
    small, large = curve["validation_score"]
    assert large > small + 2 * np.hypot(*(curve["validation_score_sd"] / 3**0.5))
    assert (np.random.get_state()[1] == before).all() and torch.equal(torch.get_rng_state(), torch_before)  # noqa: NPY002


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda n, d: tp.validation_curve(n, tp.Cocktail(tp.L2()), d, "l1.lam"), r"Expected `strength` of validation_curve to be one of l2.lam, got 'l1.lam'"),
        (lambda n, d: tp.validation_curve(n, tp.Cocktail(tp.L2()), d, "l2.lam", seeds=0), r"Expected `seeds` of validation_curve .*got 0"),
        (lambda n, d: tp.learning_curve(n, tp.Cocktail(), d, sizes=[1]), r"Expected `sizes` of learning_curve .*\[2, 32\].*got 1"),
        (lambda n, d: tp.learning_curve(n, tp.Cocktail(), d, sizes=[99]), r"got 99"),
    ],
)
def test_bad_settings(call, message: str) -> None:
    x, y, _, _ = linear_problem()
    with pytest.raises(tp.ConfigError, match=message):
        call(nn.Linear(12, 1), (x, y))
