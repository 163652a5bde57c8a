"""Scores against scikit-learn, for many members at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from sklearn import metrics as sk

import temperance as tp
from temperance.train.metrics import METRICS, better_index, metric_for, metrics_of

MEMBERS, ROWS = 3, 40


def classes(k: int, seed: int = 0, ties: bool = False, absent: bool = False) -> tuple[Any, Any, Any, Any]:
    """Probabilities (members, rows, k), codes, one-hot targets and weights."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(k), size=(MEMBERS, ROWS))
    if ties:
        p = np.round(p * 4) + 1.0
        p /= p.sum(-1, keepdims=True)
    codes = rng.integers(0, k - 1 if absent else k, size=ROWS)
    weight = rng.uniform(0.1, 3.0, size=ROWS)
    return p, codes, np.eye(k)[codes], weight


def score(name: str, task: str, p: Any, y: Any, w: Any) -> Any:
    t = [torch.as_tensor(a, dtype=torch.float64) for a in (p, y, w)]
    many = metric_for(name, task)(t[0], t[1].expand_as(t[0]), t[2].expand(t[0].shape[:-1]))
    alone = [metric_for(name, task)(one, t[1], t[2]) for one in t[0]]
    torch.testing.assert_close(many, torch.stack(alone), equal_nan=True)
    return many.numpy()


def precision(codes: Any, p: Any, w: Any, there: int | None = None) -> float:
    """The mean over one class against the rest; of two classes that of the second."""
    k = p.shape[1]
    columns = [1] if k == 2 else range(there or k)
    return float(np.mean([sk.average_precision_score(codes == c, p[:, c], sample_weight=w) for c in columns]))


@pytest.mark.parametrize("k", [2, 4])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("seed", [0, 1])
def test_classification(k: int, weighted: bool, seed: int) -> None:
    p, codes, y, w = classes(k, seed)
    w = w if weighted else np.ones(ROWS)
    hard = p.argmax(-1)
    expected = {
        "accuracy": [sk.accuracy_score(codes, h, sample_weight=w) for h in hard],
        "balanced_accuracy": [sk.balanced_accuracy_score(codes, h, sample_weight=w) for h in hard],
        "log_loss": [sk.log_loss(codes, one, sample_weight=w, labels=range(k)) for one in p],
        "auc": [np.mean([sk.roc_auc_score(codes == c, one[:, c], sample_weight=w) for c in ([1] if k == 2 else range(k))]) for one in p],
        "average_precision": [precision(codes, one, w) for one in p],
    }
    for name, value in expected.items():
        np.testing.assert_allclose(score(name, "classification", p, y, w), value, rtol=1e-9, err_msg=name)
    if k == 4 and not weighted:
        np.testing.assert_allclose(expected["average_precision"], [sk.average_precision_score(codes, one, average="macro") for one in p])
        np.testing.assert_allclose(expected["auc"], [sk.roc_auc_score(codes, one, multi_class="ovr", average="macro") for one in p])


@pytest.mark.parametrize("k", [2, 3])
def test_ties_count_half(k: int) -> None:
    p, codes, y, w = classes(k, ties=True)
    columns = [1] if k == 2 else range(k)
    value = [np.mean([sk.roc_auc_score(codes == c, one[:, c], sample_weight=w) for c in columns]) for one in p]
    np.testing.assert_allclose(score("auc", "classification", p, y, w), value, rtol=1e-9)
    np.testing.assert_allclose(score("average_precision", "classification", p, y, w), [precision(codes, one, w) for one in p], rtol=1e-9)


def test_absent_classes() -> None:
    """A class without rows has no recall and no area; the others are averaged. With one class there is no area at all."""
    p, codes, y, w = classes(4, absent=True)
    value = [np.mean([sk.roc_auc_score(codes == c, one[:, c], sample_weight=w) for c in range(3)]) for one in p]
    np.testing.assert_allclose(score("auc", "classification", p, y, w), value, rtol=1e-9)
    np.testing.assert_allclose(score("average_precision", "classification", p, y, w), [precision(codes, one, w, 3) for one in p], rtol=1e-9)
    recalls = [[np.average(h[codes == c] == c, weights=w[codes == c]) for c in range(3)] for h in p.argmax(-1)]
    np.testing.assert_allclose(score("balanced_accuracy", "classification", p, y, w), np.mean(recalls, axis=1), rtol=1e-9)
    assert np.isnan(score("auc", "classification", p, np.eye(4)[np.zeros(ROWS, int)], w)).all()


@pytest.mark.parametrize("labels", [1, 2, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_multilabel(labels: int, weighted: bool) -> None:
    rng = np.random.default_rng(labels)
    p, y = rng.uniform(0.01, 0.99, size=(MEMBERS, ROWS, labels)), (rng.uniform(size=(ROWS, labels)) > 0.5).astype(float)
    w = rng.uniform(0.1, 3.0, size=ROWS) if weighted else np.ones(ROWS)
    log_loss = [np.mean([sk.log_loss(y[:, i], one[:, i], sample_weight=w) for i in range(labels)]) for one in p]
    area = [np.mean([sk.roc_auc_score(y[:, i], one[:, i], sample_weight=w) for i in range(labels)]) for one in p]
    right = [np.mean([sk.accuracy_score(y[:, i], one[:, i] > 0.5, sample_weight=w) for i in range(labels)]) for one in p]
    ap = [sk.average_precision_score(y, one, average="macro", sample_weight=w) for one in p]
    for name, value in (("log_loss", log_loss), ("auc", area), ("average_precision", ap), ("accuracy", right)):
        np.testing.assert_allclose(score(name, "multilabel", p, y, w), value, rtol=1e-9, err_msg=name)


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_regression(outputs: int, weighted: bool) -> None:
    rng = np.random.default_rng(outputs)
    y, p = rng.normal(size=(ROWS, outputs)), rng.normal(size=(MEMBERS, ROWS, outputs))
    w = rng.uniform(0.1, 3.0, size=ROWS) if weighted else np.ones(ROWS)
    expected = {
        "rmse": [np.sqrt(sk.mean_squared_error(y, one, sample_weight=w)) for one in p],
        "mae": [sk.mean_absolute_error(y, one, sample_weight=w) for one in p],
        "r2": [sk.r2_score(y, one, sample_weight=w) for one in p],
    }
    for name, value in expected.items():
        np.testing.assert_allclose(score(name, "regression", p, y, w), value, rtol=1e-9, err_msg=name)


def test_rows_of_weight_zero_do_not_count() -> None:
    p, _, y, w = classes(3)
    w[::2] = 0.0
    for metric in metrics_of("classification"):
        kept = score(metric.name, "classification", p[:, 1::2], y[1::2], w[1::2])
        np.testing.assert_allclose(score(metric.name, "classification", p, y, w), kept, rtol=1e-9)


def test_perfect_predictions_reach_the_optimum() -> None:
    """Early stopping ends there, so it must be hit exactly, in single precision too."""
    y = torch.eye(3)[torch.arange(30) % 3]
    values = torch.randn(30, 2, generator=torch.Generator().manual_seed(0))
    for task, p, target in (("classification", y, y), ("multilabel", y, y), ("regression", values, values)):
        for metric in metrics_of(task):
            if metric.name != "log_loss":
                assert float(metric(p, target, torch.ones(30))) == metric.optimum


def test_names() -> None:
    assert metric_for(None, "classification").name == "accuracy" and metric_for("ROC-AUC", "classification").name == "auc"
    with pytest.raises(tp.ConfigError, match=r"^Expected `metric` for regression to be one of rmse, mae, r2, got 'accuracy'"):
        metric_for("accuracy", "regression")
    with pytest.raises(tp.ConfigError, match="several heads"):
        metric_for(None, {"a": "regression"})
    assert {m.name for made in METRICS.values() for m in made} == set(METRICS)


@given(st.lists(st.one_of(st.floats(-5, 5), st.just(float("nan"))), min_size=1, max_size=9), st.booleans())
def test_better_index(scores: list[float], greater: bool) -> None:
    i = better_index(scores, greater)
    known = [s for s in scores if s == s]
    if known:
        assert scores[i] == (max(known) if greater else min(known)) and scores.index(scores[i]) == i
    else:
        assert i == 0


@pytest.mark.parametrize("name", ["auc", "average_precision"])
@pytest.mark.parametrize("classes", [2, 4])
def test_resamples_of_the_same_rows_are_scored_as_each_alone(name: str, classes: int) -> None:
    """They are sorted once for all of them; a resample without a class has no score there."""
    g = torch.Generator().manual_seed(classes)
    y = torch.eye(classes)[torch.randint(0, classes, (60,), generator=g)]
    p = (y + torch.randn(60, classes, generator=g)).softmax(1).mul(20).round().div(20)  # with ties
    w = torch.randint(0, 3, (7, 60), generator=g).float()
    w[3, y[:, 0] == 1] = 0.0
    metric = metric_for(name, "classification")
    together = metric(p.expand(7, 60, classes), y.expand(7, 60, classes), w)
    alone = torch.stack([metric(p, y, row) for row in w])
    torch.testing.assert_close(together, alone, rtol=1e-6, atol=0.0, equal_nan=True)
    apart = metric(p.repeat(7, 1, 1), y.expand(7, 60, classes), w)  # seven networks that agree
    torch.testing.assert_close(apart, alone, rtol=1e-6, atol=0.0, equal_nan=True)
    assert len(set(together.tolist())) > 2
