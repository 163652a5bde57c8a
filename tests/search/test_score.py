"""Predictions in fixed blocks, and scores against scikit-learn."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from torch import Tensor, nn

from temperance.core.criterion import criterion_for
from temperance.nets import MLP, build_seeded
from temperance.search.score import in_units, predict, score_table
from temperance.train.metrics import metric_for

GENERATOR = np.random.default_rng(0)


@pytest.mark.parametrize("norm", [None, "batch"])
def test_a_row_does_not_depend_on_its_neighbours(norm: str | None) -> None:
    network = build_seeded(lambda: MLP(7, 3, hidden=(16, 16), norm=norm) if norm else MLP(7, 3, hidden=(16, 16)), 0)
    x = torch.randn(1500, 7, generator=torch.Generator().manual_seed(0))
    criterion = criterion_for("classification")
    whole = predict(network, criterion, x)
    assert whole.shape == (1500, 3)
    assert torch.allclose(whole.sum(1), torch.ones(1500))
    for a, b in ((0, 1), (3, 4), (0, 1024), (1024, 1500), (700, 1499), (1499, 1500)):
        assert torch.equal(predict(network, criterion, x[a:b]), whole[a:b])
    order = torch.randperm(1500, generator=torch.Generator().manual_seed(1))
    assert torch.equal(predict(network, criterion, x[order]), whole[order])
    spoiled = x.clone()
    spoiled[5] = math.inf
    rest = torch.arange(1500) != 5
    assert torch.equal(predict(network, criterion, spoiled)[rest], whole[rest])


def test_a_forward_pass_sees_blocks_of_one_size_in_evaluation_mode() -> None:
    shapes: list[Any] = []

    class Seen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Dropout(0.5).eval()

        def forward(self, x: dict[str, Tensor]) -> Tensor:
            shapes.append((tuple(x["num"].shape), tuple(x["cat"].shape), x["cat"].dtype, self.training))
            return self.inner(x["num"])

    network = Seen()
    x = {"num": torch.arange(10.0).reshape(5, 2), "cat": torch.arange(5).reshape(5, 1)}
    out = predict(network, criterion_for("regression"), x, block=3)
    assert torch.equal(out, x["num"])
    assert shapes == [((3, 2), (3, 1), torch.int64, False)] * 2
    assert network.training and not network.inner.training


def test_predictions_reuse_freed_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    monkeypatch.setattr("temperance.search.score.keep_freed_memory", lambda: asked.append(True))
    predict(nn.Linear(2, 1), criterion_for("regression"), torch.ones(3, 2))
    assert asked


def weighted(n: int) -> np.ndarray:
    return GENERATOR.uniform(0.1, 3.0, n)


def table(p: Any, y: Any, task: str, weight: Any) -> dict[str, dict[str, float]]:
    return score_table(torch.as_tensor(p).float(), torch.as_tensor(y).float(), task, weight=None if weight is None else torch.as_tensor(weight).float())


@pytest.mark.parametrize("k", [2, 4])
@pytest.mark.parametrize("use_weight", [False, True])
def test_classes(k: int, use_weight: bool) -> None:
    n = 150
    codes = GENERATOR.integers(0, k, n)
    p = GENERATOR.dirichlet(np.ones(k), n) + 0.3 * np.eye(k)[codes]
    p = (p / p.sum(1, keepdims=True)).round(2)  # ties
    p = (p / p.sum(1, keepdims=True)).astype(np.float32).astype(float)  # the same ties for both
    w = weighted(n) if use_weight else None
    scores = table(p, np.eye(k)[codes], "classification", w)
    hard = torch.as_tensor(p).float().argmax(1).numpy()
    expected = {
        "accuracy": sk.accuracy_score(codes, hard, sample_weight=w),
        "balanced_accuracy": sk.balanced_accuracy_score(codes, hard, sample_weight=w),
        "log_loss": sk.log_loss(codes, np.clip(p, 1e-12, 1).astype(np.float32), sample_weight=w),
        "auc": sk.roc_auc_score(codes, p[:, 1], sample_weight=w)
        if k == 2
        else np.mean([sk.roc_auc_score(codes == c, p[:, c], sample_weight=w) for c in range(k)]),
        "average_precision": np.mean([sk.average_precision_score(codes == c, p[:, c], sample_weight=w) for c in ([1] if k == 2 else range(k))]),
    }
    assert {name: score["value"] for name, score in scores.items()} == pytest.approx(expected, rel=1e-4)
    assert all(score["low"] < score["value"] < score["high"] for score in scores.values())


@pytest.mark.parametrize("use_weight", [False, True])
def test_labels(use_weight: bool) -> None:
    n = 120
    y = GENERATOR.integers(0, 2, (n, 3))
    p = np.clip(0.3 * y + GENERATOR.uniform(0, 0.7, (n, 3)), 0.01, 0.99)
    w = weighted(n) if use_weight else None
    scores = table(p, y, "multilabel", w)
    columns = range(3)
    expected = {
        "accuracy": np.mean([sk.accuracy_score(y[:, c], p[:, c] > 0.5, sample_weight=w) for c in columns]),
        "log_loss": np.mean([sk.log_loss(y[:, c], p[:, c], sample_weight=w) for c in columns]),
        "auc": sk.roc_auc_score(y, p, average="macro", sample_weight=w),
        "average_precision": sk.average_precision_score(y, p, average="macro", sample_weight=w),
    }
    assert {name: score["value"] for name, score in scores.items()} == pytest.approx(expected, rel=1e-4)
    assert all(score["low"] < score["value"] < score["high"] for score in scores.values())


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("use_weight", [False, True])
def test_values(outputs: int, use_weight: bool) -> None:
    n = 140
    y = GENERATOR.normal(size=(n, outputs)) * 3
    p = y + GENERATOR.normal(size=(n, outputs))
    w = weighted(n) if use_weight else None
    scores = table(p, y, "regression", w)
    expected = {
        "rmse": math.sqrt(sk.mean_squared_error(y, p, sample_weight=w)),
        "mae": sk.mean_absolute_error(y, p, sample_weight=w),
        "r2": sk.r2_score(y, p, sample_weight=w),
    }
    assert {name: score["value"] for name, score in scores.items()} == pytest.approx(expected, rel=1e-4)
    assert all(score["low"] < score["value"] < score["high"] for score in scores.values())


def test_the_interval_is_that_of_a_mean() -> None:
    """For an accuracy of 0.7 on 400 rows: 1.96 standard errors, to the noise of 400 resamples."""
    hit = np.arange(400) % 10 < 7
    p = np.where(hit[:, None], [0.9, 0.1], [0.1, 0.9])
    y = np.tile([1.0, 0.0], (400, 1))
    score = score_table(torch.as_tensor(p), torch.as_tensor(y), "classification", metrics=[metric_for("accuracy", "classification")])["accuracy"]
    error = 1.96 * math.sqrt(0.7 * 0.3 / 400)
    assert score["value"] == pytest.approx(0.7)
    assert (score["value"] - score["low"], score["high"] - score["value"]) == (pytest.approx(error, rel=0.2), pytest.approx(error, rel=0.2))


def test_resampling_repeats_with_its_seed_and_weight_zero_does_not_count() -> None:
    p, y = torch.rand(60, 1, generator=torch.Generator().manual_seed(0)), torch.rand(60, 1, generator=torch.Generator().manual_seed(1))
    assert score_table(p, y, "regression", seed=1) == score_table(p, y, "regression", seed=1)
    assert score_table(p, y, "regression", seed=1)["mae"]["low"] != score_table(p, y, "regression", seed=2)["mae"]["low"]
    weight = (torch.arange(60) < 30).float()
    half = score_table(p, y, "regression", weight=weight)
    assert {k: v["value"] for k, v in half.items()} == pytest.approx({k: v["value"] for k, v in score_table(p[:30], y[:30], "regression").items()}, rel=1e-5)


def test_values_in_their_own_units() -> None:
    p, y = torch.tensor([[0.0], [1.0]]), torch.tensor([[2.0], [-1.0]])
    a, b = in_units("regression", p, y, (10.0,), (4.0,))
    assert a.tolist() == [[10.0], [14.0]] and b.tolist() == [[18.0], [6.0]]
    assert in_units("classification", p, y, (10.0,), (4.0,)) == (p, y)
    assert in_units("regression", p, y) == (p, y)


def test_an_interval_holds_95_percent_and_rows_by_their_weight() -> None:
    """Of 2,000 rows, half of weight zero and wrong: 80 % of the others are right, within 1.96 standard errors.

    A quantile of 400 replicates is off by 0.13 standard errors, so the width, 3.92 of them, by 5 %; a 90 % interval is 16 % narrower.
    """
    y = torch.eye(2)[torch.zeros(2000, dtype=torch.long)]
    right = torch.arange(2000) % 10 < 8
    weight = (torch.arange(2000) < 1000).float()
    p = torch.where((right & (weight > 0)).unsqueeze(1), y, 1 - y)
    found = score_table(p, y, "classification", weight=weight, metrics=[metric_for("accuracy", "classification")])["accuracy"]
    error = math.sqrt(0.8 * 0.2 / 1000)
    assert found["value"] == pytest.approx(0.8, abs=1e-6)
    assert found["high"] - found["low"] == pytest.approx(2 * 1.96 * error, rel=0.1)
    assert (found["high"] + found["low"]) / 2 == pytest.approx(0.8, abs=0.5 * error)
