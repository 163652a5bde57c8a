"""A classifier that searches in the space of Kadra et al. (2021)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone

import temperance as tp
from temperance.core.errors import ConfigError
from temperance.estimators import training
from temperance.search import kadra

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(120, 3))
RICH = X[:, 0] + 0.2 * RANDOM.normal(size=120) > 0.8
ANSWERS = np.where(RICH, "yes", "no")


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr(kadra, "HIDDEN", [8] * 9)
    monkeypatch.setattr(kadra, "EPOCHS", 3.0)


def test_networks_metric_weights_and_lengths_are_those_of_the_space(little: None, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    search = training.search_plans
    monkeypatch.setattr(training, "search_plans", lambda plans, data, **rest: seen.append((plans, data)) or search(plans, data, **rest))
    blank: Any = clone(tp.TemperanceClassifier(space="kadra2021", trials=2, random_state=0))
    made = blank.fit(X, ANSWERS)
    ((plans, data),) = seen
    assert [(plan.batch_size, plan.epochs, plan.lr) for plan in plans] == [(128, 3.0, (1e-3, 1e-3))] * 6
    weights = [float(data.weight[torch.as_tensor(rows)].sum()) for rows in (RICH, ~RICH)]
    assert weights[0] == pytest.approx(weights[1])
    assert made.search_.metric == "balanced_accuracy" and made.search_.network.startswith("9 layers of 8")
    assert made.predict(X).shape == (120,)


def test_what_is_asked_for_goes_before_the_space(little: None) -> None:
    settings: dict[str, Any] = {"metric": "log_loss", "class_weight": {"no": 1.0, "yes": 1.0}, "epochs": 2, "batch_size": 16, "lr": 0.01}
    made = tp.TemperanceClassifier(space="kadra2021", trials=2, random_state=0, **settings).fit(X, ANSWERS)
    assert (made.search_.metric, made.search_.batch_size, made.search_.learning_rate) == ("log_loss", 16, 0.01)
    assert np.allclose(made.search_.trials["learning_rate"], 0.01)


@pytest.mark.parametrize(
    ("settings", "y", "words"),
    [
        ({"space": "kadra"}, ANSWERS, r"Expected `space` of fit to be 'kadra2021', or None, got 'kadra'"),
        ({"space": "kadra2021", "model": len}, ANSWERS, r"Expected `model` of TemperanceClassifier to be None with the space 'kadra2021'"),
        ({"space": "kadra2021", "recipe": {}}, ANSWERS, r"Expected `space` of TemperanceClassifier to be left out with a recipe"),
        ({"space": "kadra2021"}, np.stack([RICH, X[:, 1] > 0], 1).astype(int), r"Expected `space` of fit to be None for multilabel"),
    ],
)
def test_what_does_not_go_together_is_refused(settings: dict[str, Any], y: np.ndarray, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        tp.TemperanceClassifier(random_state=0, **settings).fit(X, y)


def test_images_have_no_such_space() -> None:
    with pytest.raises(ConfigError, match="Expected `space` of fit to be None for images"):
        tp.TemperanceClassifier(space="kadra2021", random_state=0).fit(np.zeros((20, 1, 4, 4), np.uint8), ["a", "b"] * 10)
