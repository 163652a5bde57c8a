"""Residuals in the target's units, and precision against recall as scikit-learn has it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, precision_recall_curve

from temperance.data import Dataset
from temperance.job.predicted import CURVE, POINTS, precision_recall, residuals
from temperance.train.metrics import metric_for

N = 1000


def prepared(y: torch.Tensor, task: str, *, labeled: torch.Tensor | None = None, weight: torch.Tensor | None = None, **target: Any) -> Any:
    data = Dataset({"num": torch.zeros(len(y), 1)}, y, task, labeled=labeled)
    made = SimpleNamespace(task=task, mean=None, sd=None, **{"names": ["price"], "classes": ["a", "b", "c"], **target})
    return SimpleNamespace(data=data, target=made, weight=weight, split=SimpleNamespace(test=np.arange(len(y))))


def test_residuals_are_predicted_less_true_in_the_units_of_the_target() -> None:
    y = torch.linspace(-1, 1, N).unsqueeze(1)
    ready = prepared(y, "regression")
    ready.target.mean, ready.target.sd = [100.0], [10.0]
    (found,) = residuals(ready, y + 0.5, 0)["targets"]
    assert (found["name"], found["n"], len(found["points"])) == ("price", N, POINTS)
    assert [found[key] for key in ("mean", "low", "high")] == pytest.approx([5.0] * 3, abs=1e-5)  # float32 of values near 100
    assert all(guess - true == pytest.approx(5.0, abs=1e-5) and 90 <= true <= 110 for true, guess in found["points"])
    noise = torch.from_numpy(np.random.default_rng(0).permutation(np.linspace(-1, 1, N))).unsqueeze(1)
    (found,) = residuals(ready, y + noise, 0)["targets"]
    assert [found["low"], found["high"]] == pytest.approx([-9.0, 9.0], abs=0.05)
    assert residuals(ready, None, 0) == {} == residuals(prepared(torch.eye(2), "classification"), torch.eye(2), 0)


def test_each_of_several_targets_has_its_own_and_rows_without_one_do_not_count() -> None:
    y = torch.stack([torch.arange(10.0), -torch.arange(10.0)], 1)
    known = torch.arange(10) < 7
    ready = prepared(y, "regression", labeled=known, names=["up", "down"])
    ready.target.mean, ready.target.sd = [0.0, 0.0], [1.0, 2.0]
    up, down = residuals(ready, y + 1.0, 0)["targets"]
    assert (up["name"], up["n"], up["mean"]) == ("up", 7, 1.0)
    assert (down["name"], down["mean"]) == ("down", 2.0)


def rare(shares: list[float], seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = np.random.default_rng(seed)
    labels = generator.choice(len(shares), N, p=shares)
    y = np.eye(len(shares))[labels]
    p = (y + generator.random(y.shape)).round(1)  # with ties
    return torch.from_numpy(y).float(), torch.from_numpy(p / p.sum(1, keepdims=True)).float()


CASES = [([0.9, 0.1], "b", ""), ([0.1, 0.9], "a", "that of “b”"), ([0.45, 0.1, 0.45], "b", "the mean over all classes")]


@pytest.mark.parametrize(("shares", "rarest", "scored"), CASES)
def test_the_curve_of_the_rarest_class_is_that_of_scikit_learn(shares: list[float], rarest: str, scored: str) -> None:
    y, p = rare(shares)
    weight = torch.rand(N, generator=torch.Generator().manual_seed(0)) + 0.1
    for w in (None, weight):
        found = precision_recall(prepared(y, "classification", weight=w, classes=["a", "b", "c"][: len(shares)]), p)
        k = "abc".index(rarest)
        true, score, each = y[:, k].numpy(), p[:, k].double().numpy(), np.ones(N) if w is None else w.double().numpy()
        precision, recall, _ = precision_recall_curve(true, score, sample_weight=each)
        assert (found["class"], found["n"], found["positives"], found["weighted"]) == (rarest, N, int(true.sum()), w is not None)
        assert found["base_rate"] == pytest.approx(np.average(true, weights=each))
        assert found["average_precision"] == average_precision_score(true, score, sample_weight=each)
        assert set(map(tuple, found["points"])) <= set(zip(recall.tolist(), precision.tolist(), strict=True))
        assert found["scored"] == scored
        assert found["points"][0][0] == 0.0
        assert found["points"][-1][0] == 1.0
        assert len(found["points"]) <= CURVE
    if rarest == "b" and len(shares) == 2:  # the score of the same name
        assert float(metric_for("average_precision", "classification")(p, y, weight)) == pytest.approx(found["average_precision"], abs=1e-6)


def test_the_curve_of_the_rarest_label_is_that_of_scikit_learn() -> None:
    """A label is rare below 20 % of the rows, however many labels there are."""
    generator = torch.Generator().manual_seed(0)
    y = (torch.rand(N, 3, generator=generator) < torch.tensor([0.5, 0.1, 0.15])).float()
    p = (y + torch.rand(N, 3, generator=generator)) / 2
    found = precision_recall(prepared(y, "multilabel", names=["wet", "icy", "dark"]), p)
    assert (found["class"], found["kind"], found["positives"]) == ("icy", "label", int(y[:, 1].sum()))
    assert found["average_precision"] == pytest.approx(average_precision_score(y[:, 1].numpy(), p[:, 1].numpy()))
    assert found["scored"] == "the mean over all labels"
    each = [average_precision_score(y[:, k].numpy(), p[:, k].numpy()) for k in range(3)]
    assert float(metric_for("average_precision", "multilabel")(p, y, torch.ones(N))) == pytest.approx(np.mean(each), abs=1e-6)
    assert precision_recall(prepared(y[:, 1:2], "multilabel", names=["icy"]), p[:, 1:2])["scored"] == ""
    even = (torch.rand(N, 3, generator=generator) < torch.tensor([0.5, 0.25, 0.3])).float()
    assert precision_recall(prepared(even, "multilabel", names=["wet", "icy", "dark"]), p) == {}


def test_no_curve_where_classes_are_even_or_the_rare_one_is_not_there() -> None:
    y, p = rare([0.75, 0.25])
    assert precision_recall(prepared(y, "classification"), p) == {}
    y, p = rare([0.34, 0.33, 0.33])
    assert precision_recall(prepared(y, "classification"), p) == {}
    ready = prepared(rare([0.9, 0.1])[0], "classification")
    assert precision_recall(ready, None) == {}
    ready.split.test = np.flatnonzero(ready.data.y[:, 1].numpy() == 0)
    assert precision_recall(ready, torch.ones(len(ready.split.test), 2) / 2) == {}
