"""What a user would try first, on the same rows: the majority or the mean, a linear model, boosted trees, nearest neighbors for images."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from temperance.core.ambient import quiet
from temperance.core.shown import shown
from temperance.data.dataset import Dataset

MOST_PIXELS = 1024  # of images that boosted trees are shown; more are no columns for them
MOST_WORK = 2e7  # rows x columns x classes that boosted trees are given; more is sampled, and said
MOST_DISTANCES = 5e11  # rows x columns x test rows for nearest neighbors, likewise


@shown
@dataclass(eq=False)
class Rival:
    """A rival's predictions for the test rows, as probabilities or standardized values.

    Attributes:
        name: for tables.
        predictions: ``(n, outputs)``.
        seconds: of training and predicting.
        rows: it was trained on.
    """

    name: str
    predictions: Tensor
    seconds: float
    rows: int


def _features(data: Dataset, one_hot: bool) -> np.ndarray:
    if not isinstance(data.x, dict):
        return data.x.flatten(1).numpy()
    num, cat = data.x["num"].numpy(), data.x["cat"].numpy()
    if not one_hot:
        return np.concatenate([num, cat.astype(np.float32)], 1)
    hot = [(cat[:, [i]] == np.arange(1, codes)).astype(np.float32) for i, codes in enumerate(data.cardinalities) if codes <= 64]
    return np.concatenate([num, *hot], 1)


def train_rivals(train: Dataset, test: Dataset, *, seed: int, most_seconds: float | None = None) -> list[Rival]:
    """Train every rival on the training rows and predict the test rows.

    Args:
        train: training and validation rows.
        test: test rows; only their columns are read.
        seed: for sampling and for the trees.
        most_seconds: boosted trees are given a sample of the rows where they would take longer (estimated from sizes, not timed).
    """
    task = str(train.task)
    if train.labeled is not None and isinstance(train.labeled, Tensor):
        train = train.take(train.labeled.nonzero().squeeze(1))
    assert isinstance(train.y, Tensor)
    weight = None if train.weight is None else train.weight.numpy()
    out = [_constant(train, len(test), task)]
    with quiet:
        rivals = [("linear model", _linear)]
        if isinstance(train.x, dict) or train.in_features <= MOST_PIXELS:
            rivals.append(("HistGradientBoosting (default)", _trees))
        if not isinstance(train.x, dict):
            rivals.append(("nearest neighbors, 5", _neighbors))
        for name, maker in rivals:
            started = time.monotonic()
            columns = train.x["num"].shape[1] + train.x["cat"].shape[1] if isinstance(train.x, dict) else train.in_features
            if maker is _neighbors:
                work, most, rate = len(train) * columns * len(test), MOST_DISTANCES, 3e10
            else:
                work = len(train) * max(columns, 1) * (train.out_features if task != "regression" and train.out_features > 2 else 1)
                most, rate = MOST_WORK, 5e5
            allowed = most if most_seconds is None else min(most, most_seconds * rate)
            rows = len(train) if work <= allowed else min(len(train), max(1000, int(len(train) * allowed / work)))
            part, w = train, weight
            if rows < len(train):
                chosen = np.sort(np.random.default_rng(seed).choice(len(train), rows, replace=False))
                part, w = train.take(chosen), None if weight is None else weight[chosen]
            if _learns_nothing(part, task):  # what the first rival says already
                continue
            made = maker(part, test, task, w, seed)
            label = name if rows == len(train) else f"{name}, on {rows:,} rows"
            out.append(Rival(label, made, time.monotonic() - started, rows))
    return out


def _learns_nothing(rows: Dataset, task: str) -> bool:
    """Whether the rows have one class only: such models are refused, or have nothing to tell apart."""
    assert isinstance(rows.y, Tensor)
    return task == "classification" and len(rows.y.argmax(1).unique()) < 2


def _settings(y: np.ndarray) -> dict[str, Any]:
    """Of boosted trees for classes: they put rows aside, class by class, for which every class must have two."""
    return {} if np.unique(y, return_counts=True)[1].min() > 1 else {"early_stopping": False}


def _constant(train: Dataset, n: int, task: str) -> Rival:
    assert isinstance(train.y, Tensor)
    weight = torch.ones(len(train)) if train.weight is None else train.weight
    mean = (train.y * weight[:, None]).sum(0) / weight.sum()
    name = {"classification": "majority class", "multilabel": "label rates", "regression": "mean"}[task]
    return Rival(name, mean.expand(n, -1).clone(), 0.0, len(train))


def _linear(train: Dataset, test: Dataset, task: str, weight: Any, seed: int) -> Tensor:
    from sklearn.linear_model import LogisticRegression, Ridge

    a, b = _features(train, True), _features(test, True)
    assert isinstance(train.y, Tensor)
    if task == "regression":
        return torch.as_tensor(Ridge().fit(a, train.y.numpy(), sample_weight=weight).predict(b).reshape(len(test), -1), dtype=torch.float32)
    if task == "classification":
        model = LogisticRegression(max_iter=200).fit(a, train.y.argmax(1).numpy(), sample_weight=weight)
        return _spread(model.predict_proba(b), model.classes_, train.out_features)
    parts = [_one_label(LogisticRegression(max_iter=200), a, b, train.y[:, i].numpy(), weight) for i in range(train.out_features)]
    return torch.stack(parts, 1)


def _trees(train: Dataset, test: Dataset, task: str, weight: Any, seed: int) -> Tensor:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    a, b = _features(train, False), _features(test, False)
    assert isinstance(train.y, Tensor)
    first = a.shape[1] - len(train.cardinalities)
    kinds = [first + i for i, codes in enumerate(train.cardinalities) if codes <= 255]
    settings: dict[str, Any] = {"categorical_features": kinds or None, "random_state": seed}
    if task == "regression":
        parts = [HistGradientBoostingRegressor(**settings).fit(a, train.y[:, i].numpy(), sample_weight=weight).predict(b) for i in range(train.out_features)]
        return torch.as_tensor(np.stack(parts, 1), dtype=torch.float32)
    if task == "classification":
        y = train.y.argmax(1).numpy()
        model = HistGradientBoostingClassifier(**settings, **_settings(y)).fit(a, y, sample_weight=weight)
        return _spread(model.predict_proba(b), model.classes_, train.out_features)
    labels = [train.y[:, i].numpy() for i in range(train.out_features)]
    return torch.stack([_one_label(HistGradientBoostingClassifier(**settings, **_settings(y)), a, b, y, weight) for y in labels], 1)


def _neighbors(train: Dataset, test: Dataset, task: str, weight: Any, seed: int) -> Tensor:
    """The mean target of the five nearest images, pixel by pixel."""
    from sklearn.neighbors import KNeighborsRegressor

    assert isinstance(train.y, Tensor)
    model = KNeighborsRegressor(min(5, len(train)), algorithm="brute").fit(_features(train, False), train.y.numpy())
    return torch.as_tensor(model.predict(_features(test, False)).reshape(len(test), -1), dtype=torch.float32)


def _one_label(model: Any, a: np.ndarray, b: np.ndarray, y: np.ndarray, weight: Any) -> Tensor:
    if len(np.unique(y)) < 2:
        return torch.full((len(b),), float(y[0]))
    return torch.as_tensor(model.fit(a, y > 0.5, sample_weight=weight).predict_proba(b)[:, 1], dtype=torch.float32)


def _spread(proba: np.ndarray, classes: np.ndarray, outputs: int) -> Tensor:
    """Probabilities with a column for every class, also those that the training rows lack."""
    out = np.zeros((len(proba), outputs), dtype=np.float32)
    out[:, classes.astype(int)] = proba
    return torch.from_numpy(out)
