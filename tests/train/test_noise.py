"""The standard error of a score against closed forms and against resampled rows."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from temperance.train.metrics import METRICS, Metric, metric_for
from temperance.train.noise import standard_error

N, DRAWS = 400, 2000


def predictions(task: str) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(N, 2 if task == "regression" else 3, generator=generator)
    if task == "regression":
        y = torch.randn(N, 2, generator=generator)
        return y + 0.7 * noise, y
    if task == "multilabel":
        y = (torch.rand(N, 3, generator=generator) < 0.4).float()
        return torch.sigmoid(2 * y - 1 + noise), y
    y = torch.nn.functional.one_hot(torch.randint(3, (N,), generator=generator), 3).float()
    return torch.softmax(2 * y + noise, 1), y


CASES = [(metric, task) for made in METRICS.values() for metric in made for task in metric.tasks if metric.name != "r2"]


@pytest.mark.parametrize(("metric", "task"), CASES, ids=[f"{m.name} {t}" for m, t in CASES])
def test_it_is_the_spread_over_resampled_rows(metric: Metric, task: str) -> None:
    """A bootstrap's spread has a relative error of about 1 / sqrt(2 draws); areas are taken as independent, and recalls given their counts."""
    p, y = predictions(task)
    rows = torch.randint(N, (DRAWS, N), generator=torch.Generator().manual_seed(1))
    spread = float(metric(p[rows], y[rows], torch.ones(DRAWS, N)).double().std())
    error = float(standard_error(metric, p, y, torch.ones(N)))
    loose = 0.35 if metric.name == "auc" else 0.15
    assert error == pytest.approx(spread, rel=loose)


def test_accuracy_has_the_binomial_one() -> None:
    p, y = torch.tensor([[0.9, 0.1]] * 50), torch.eye(2)[(torch.arange(50) < 10).long()]
    error = standard_error(metric_for("accuracy", "classification"), p, y, torch.ones(50))
    assert float(error) == pytest.approx(math.sqrt(0.8 * 0.2 / 50), rel=1e-5)


def test_r2_has_that_of_the_squared_error_over_the_spread_of_the_targets() -> None:
    p, y = predictions("regression")
    relative = ((p - y).square() / (y - y.mean(0)).square().mean(0)).mean(1)
    error = standard_error(metric_for("r2", "regression"), p, y, torch.ones(N))
    assert float(error) == pytest.approx(float(relative.std(correction=0)) / math.sqrt(N), rel=1e-4)


def test_members_are_measured_at_once_and_rows_without_weight_do_not_count() -> None:
    p, y = predictions("classification")
    weight = (torch.arange(N) < 100).float()
    for metric in (m for made in METRICS.values() for m in made if "classification" in m.tasks):
        both = standard_error(metric, torch.stack([p, p.flip(1)]), torch.stack([y, y]), torch.stack([weight, weight]))
        assert both.shape == (2,)
        assert float(both[0]) == pytest.approx(float(standard_error(metric, p[:100], y[:100], torch.ones(100))), rel=1e-4)


def test_unknown_metrics_have_none() -> None:
    own = Metric("own", True, None, ("classification",), lambda p, y, w: p.sum((-1, -2)))
    assert standard_error(own, torch.ones(2, 5, 3), torch.ones(2, 5, 3), torch.ones(2, 5)).isnan().all()
