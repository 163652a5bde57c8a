"""The interval of a difference by row and seed: what it is for one number, how often it holds, and what it answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from temperance.search.attribution.estimate import HELPS, HURTS, NONE, UNKNOWN, answer, by_row, estimate, grouped
from temperance.train.metrics import METRICS, heads_metric, metric_for

N = 60
SCORES = [(name, task) for name, made in METRICS.items() for m in made for task in m.tasks]


def rows_of(task: str, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Predictions, targets and weights of a task."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(N, 3, generator=generator, dtype=torch.float64)
    weight = 0.5 + torch.rand(N, generator=generator, dtype=torch.float64)
    if task == "classification":
        return noise.softmax(-1), torch.eye(3, dtype=torch.float64)[torch.arange(N) % 3], weight
    if task == "multilabel":
        return noise.sigmoid(), (torch.arange(3 * N).reshape(N, 3) % 5 < 2).double(), weight
    y = torch.randn(N, 3, generator=generator, dtype=torch.float64)
    return y + 0.5 * noise, y, weight


@pytest.mark.parametrize(("name", "task"), SCORES)
def test_the_mean_over_rows_is_the_score_and_each_row_has_what_weighing_it_changes(name: str, task: str) -> None:
    metric = metric_for(name, task)
    p, y, weight = rows_of(task)
    found = by_row(metric, p, y, weight)
    assert float(found.mean()) == pytest.approx(float(metric(p, y, weight)), abs=1e-9)
    step = 1e-6
    for i in (0, 7, 31):
        up, down = weight.clone(), weight.clone()
        up[i] *= 1 + step
        down[i] *= 1 - step
        slope = float(metric(p, y, up) - metric(p, y, down)) / (2 * step)
        assert float(found[i] - found.mean()) == pytest.approx(N * slope, abs=1e-6)


def test_the_score_of_several_heads_has_one_number_a_row() -> None:
    task = {"kind": "classification", "price": "regression"}
    parts = {head: rows_of(kind) for head, kind in task.items()}
    p, y, weight = ({head: part[k] for head, part in parts.items()} for k in range(3))
    metric = heads_metric(task)
    found = by_row(metric, p, y, weight)
    assert found.shape == (N,)
    assert float(found.mean()) == pytest.approx(float(metric(p, y, weight)), abs=1e-9)


def test_a_score_that_is_not_defined_has_no_estimate() -> None:
    one_class = torch.eye(2)[torch.zeros(N, dtype=torch.long)]
    found = by_row(metric_for("average_precision", "classification"), one_class, one_class, torch.ones(N))
    assert estimate(found.repeat(3, 1)) == {"value": None, "low": None, "high": None}


def test_where_seeds_agree_it_is_the_t_interval_over_rows_and_where_rows_agree_over_seeds() -> None:
    x = torch.randn(25, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    low, high = stats.t.interval(0.95, 24, loc=float(x.mean()), scale=float(x.std()) / 5)
    for table in (x.repeat(400, 1), x.unsqueeze(1).repeat(1, 400)):
        found = estimate(table)
        assert (found["value"], found["low"], found["high"]) == pytest.approx((float(x.mean()), low, high), rel=1e-6)


def test_more_comparisons_take_the_quantile_of_bonferroni() -> None:
    x = torch.randn(25, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = estimate(x.repeat(3, 1), comparisons=10)
    half = stats.t.ppf(1 - 0.05 / 20, 24) * float(x.std()) / 5
    assert found["high"] - found["value"] == pytest.approx(half, rel=1e-6)


SHARES = [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 0.5, 3.0)]


@pytest.mark.parametrize(("rows", "seeds", "rest"), SHARES)
def test_it_holds_as_often_as_it_says(rows: float, seeds: float, rest: float) -> None:
    """Spreads of rows, of seeds and of both together, and a mix: 1,000 tables of 6 seeds and 30 rows."""
    generator, tables = np.random.default_rng(0), 1000
    held = 0
    for _ in range(tables):
        one = rows * generator.normal(size=(1, 30)) + seeds * generator.normal(size=(6, 1)) + rest * generator.normal(size=(6, 30))
        found = estimate(torch.from_numpy(one))
        held += found["low"] <= 0 <= found["high"]
    assert held >= stats.binom.ppf(1e-4, tables, 0.95)


def test_rows_of_a_group_are_one_observation() -> None:
    """Twenty groups of five equal rows: the interval is that of twenty numbers, not of a hundred."""
    x = torch.randn(20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    copies, groups = x.repeat_interleave(5), torch.arange(20).repeat_interleave(5)
    found = estimate(grouped(copies.repeat(3, 1), groups))
    alone = estimate(x.repeat(3, 1))
    assert (found["value"], found["low"], found["high"]) == pytest.approx((alone["value"], alone["low"], alone["high"]))


def answered(table: Tensor, margin: float = 0.0, rows: int | None = None) -> str:
    found: dict[str, Any] = estimate(table)
    return answer(found, table, table.shape[1] if rows is None else rows, margin)


def test_answers() -> None:
    even = torch.linspace(0.5, 1.5, 40).repeat(4, 1)
    assert answered(even) == HELPS
    assert answered(-even) == HURTS
    assert answered(even - 1.0) == UNKNOWN
    assert answered(even - 1.0, margin=0.5) == NONE
    assert answered(0.01 * even, margin=0.5) == NONE  # surely above zero, and too small to matter


def test_few_rows_groups_seeds_or_rows_that_differ_cannot_tell() -> None:
    even = torch.linspace(0.5, 1.5, 29).repeat(4, 1)
    assert answered(even) == UNKNOWN
    assert answered(torch.linspace(0.5, 1.5, 9).repeat(4, 1), rows=400) == UNKNOWN
    assert answered(torch.linspace(0.5, 1.5, 12).repeat(4, 1), rows=400) == HELPS
    assert answered(torch.linspace(0.5, 1.5, 40).unsqueeze(0)) == UNKNOWN
    same = torch.zeros(4, 400)
    assert answered(same, margin=0.01) == UNKNOWN
    same[:, :9] = 1.0
    assert answered(same, margin=0.5) == UNKNOWN
