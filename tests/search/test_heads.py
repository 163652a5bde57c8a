"""Searches over networks with several heads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import temperance as tp
from temperance.core.errors import ConfigError
from temperance.data.splits import joint_strata, plan_split
from temperance.nets import TwoHeads
from temperance.search.score import counted, heads_table, predict
from temperance.train.metrics import heads_metric, metric_for
from temperance.train.noise import standard_error

TASK = {"kind": "classification", "price": "regression"}


def rows(n: int = 120) -> tp.data.Dataset:
    g = torch.Generator().manual_seed(0)
    x = torch.randn(n, 4, generator=g)
    y: Any = {"kind": torch.eye(3)[(x[:, 0] > 0).long() + (x[:, 1] > 0).long()], "price": x[:, :1] + 0.3 * torch.randn(n, 1, generator=g)}
    labeled: Any = {"kind": torch.arange(n) % 2 == 0, "price": torch.arange(n) % 3 != 1}
    return tp.data.Dataset(x, y, TASK, None, labeled)


def build(data: tp.data.Dataset) -> nn.Module:
    return TwoHeads(4, {"kind": 3, "price": 1}, hidden=(8,))


@pytest.mark.parametrize("strategy", ["keep", "rungs"])
def test_a_search_over_two_heads(strategy: str) -> None:
    data = rows()
    found = tp.search(build, data, trials=4, epochs=3, strategy=strategy)
    assert found.metric.name == "mean_score" and found.ended == "done"
    assert found.winner.score == max(t.score for t in found.trials if t.score == t.score)
    history = found.winner.outcomes[0].history[0]
    assert 0 < history["validation_se"] < 1
    test = data.take(found.split.test)
    expected = found.metric(predict(found.scored.model, found.criterion, test.x), test.y, counted(test))
    assert found.score["value"] == pytest.approx(float(expected)) and found.score["low"] <= found.score["value"] <= found.score["high"]
    assert {"kind: accuracy", "price: r2", "price: rmse"} <= set(found.scores) and found.gap["metric"] == "mean_score"
    assert set(found.model(test.x)) == {"kind", "price"}


def test_states_of_the_search_are_averaged_by_head() -> None:
    found = tp.search(build, rows(), trials=2, epochs=2, retrain=None)
    networks = found.refit.networks
    assert len(networks) == 5
    x = rows().x
    with torch.no_grad():
        each = [net(x) for net in networks]
        out = found.model(x)
    torch.testing.assert_close(out["kind"].exp(), torch.stack([o["kind"].softmax(-1) for o in each]).mean(0), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(out["price"], torch.stack([o["price"] for o in each]).mean(0), rtol=1e-4, atol=1e-6)


def test_a_named_metric_is_refused_and_a_given_loss_is_taken() -> None:
    with pytest.raises(ConfigError, match=r"^Expected `metric` of search to be None for data with several heads, got 'auc'\. The mean of"):
        tp.search(build, rows(), trials=2, metric="auc")
    loss = tp.losses.Heads((("kind", tp.losses.SoftmaxCrossEntropy(), 1.0), ("price", tp.losses.SquaredError(), 1e-9)))
    assert tp.search(build, rows(), trials=2, epochs=1, criterion=loss).criterion is loss


def test_the_metric_is_the_mean_over_heads_of_known_rows() -> None:
    data = rows()
    assert isinstance(data.y, dict) and isinstance(data.labeled, dict)
    g = torch.Generator().manual_seed(1)
    p = {"kind": torch.rand(2, 120, 3, generator=g).softmax(-1), "price": torch.randn(2, 120, 1, generator=g)}
    y = {name: torch.where(data.labeled[name][:, None], t, torch.full_like(t, torch.nan)).expand(2, *t.shape) for name, t in data.y.items()}
    w = {name: known.float().expand(2, 120) for name, known in data.labeled.items()}
    metric = heads_metric(TASK)
    parts = {name: metric_for({"kind": "accuracy", "price": "r2"}[name], kind) for name, kind in TASK.items()}

    def alone(name: str, function: Any) -> Tensor:
        some = data.labeled[name]  # type: ignore[index]
        return function(parts[name], p[name][:, some], y[name][:, some], torch.ones(2, int(some.sum())))

    each = torch.stack([alone(name, lambda m, *a: m(*a)) for name in TASK])
    torch.testing.assert_close(metric(p, y, w), each.mean(0))
    torch.testing.assert_close(standard_error(metric, p, y, w), torch.stack([alone(name, standard_error) for name in TASK]).mean(0))
    torch.testing.assert_close(metric(p, y, {**w, "price": torch.zeros(2, 120)}), each[0])
    assert heads_metric(TASK) == heads_metric(TASK)


def test_the_table_of_scores_counts_known_rows() -> None:
    data = rows()
    assert isinstance(data.y, dict) and isinstance(data.labeled, dict)
    p = {"kind": torch.where(data.labeled["kind"][:, None], data.y["kind"], data.y["kind"].flip(1)), "price": data.y["price"] + 0.5}
    table = heads_table(p, data, heads_metric(TASK))
    assert table["kind: accuracy"] == {"value": 1.0, "low": 1.0, "high": 1.0} and table["price: mae"]["value"] == pytest.approx(0.5)
    assert table["mean_score"]["value"] == pytest.approx((1.0 + table["price: r2"]["value"]) / 2)


def test_folds_share_classes_and_gaps() -> None:
    data = rows()
    assert isinstance(data.y, dict) and isinstance(data.labeled, dict)
    split = plan_split(data.y, data.task, seed=0, labeled=data.labeled)
    strata, known = joint_strata(data.y, TASK, data.labeled)
    assert known.tolist() == (data.labeled["kind"] | data.labeled["price"]).tolist()
    counts = pd.DataFrame({f: pd.Series(strata[held]).value_counts() for f, (_, held) in enumerate(split.folds)}).fillna(0)
    assert ((counts.max(axis=1) - counts.min(axis=1)) <= 1).all()
    everyone = np.concatenate([split.test, *[held for _, held in split.folds]])
    assert sorted(everyone) == np.flatnonzero(known).tolist()


def test_rare_combinations_are_one_stratum() -> None:
    y = {"a": np.eye(7)[[0] * 20 + [1, 2, 3, 4, 5, 6]], "b": np.zeros((26, 1))}
    strata, _ = joint_strata(y, {"a": "classification", "b": "regression"}, None)
    assert len(np.unique(strata)) == 2 and (strata[:20] == strata[0]).all() and (strata[20:] == strata[20]).all()
