"""Greedy selection: each pick is the best one, the result is never worse than its start, and its gain is measured on other rows."""

from __future__ import annotations

import math
import sys
import time
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from torch import Tensor

from temperance.core.errors import ConfigError
from temperance.ensemble import choose, cross_fit, error_products, judge_of, selection, squared_error
from temperance.train.metrics import metric_for

ACCURACY = metric_for("accuracy", "classification")


def pool(seed: int, networks: int = 4, rows: int = 30, noise: float = 1.5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    y = torch.eye(3)[torch.randint(3, (rows,), generator=generator)]
    return (2 * y + noise * torch.randn(networks, rows, 3, generator=generator)).softmax(-1), y


def error_of(order: list[int], p: Tensor, y: Tensor) -> float:
    return float(squared_error(p[order].double().mean(0), y, "classification").mean())


@given(st.integers(0, 500))
def test_every_pick_is_the_best_of_all(seed: int) -> None:
    p, y = pool(seed)
    order = choose(error_products(p, y, "classification"), 5)
    assert order[0] == min(range(4), key=lambda i: error_of([i], p, y))
    for k in range(1, len(order)):
        reached = error_of(order[: k + 1], p, y)
        assert reached <= min(error_of([*order[:k], i], p, y) for i in range(4)) + 1e-12


@given(st.integers(0, 500))
def test_two_picks_from_the_best_start_find_the_best_pair(seed: int) -> None:
    p, y = pool(seed)
    products = error_products(p, y, "classification")
    found = min((choose(products, 2, start) for start in range(4)), key=lambda order: error_of(order, p, y))
    assert error_of(found, p, y) == pytest.approx(min(error_of(list(pair), p, y) for pair in product(range(4), repeat=2)), rel=1e-9)


@given(st.integers(0, 500), st.integers(0, 3), st.integers(1, 9))
def test_never_worse_than_the_start_on_its_own_rows(seed: int, start: int, picks: int) -> None:
    p, y = pool(seed)
    order = choose(error_products(p, y, "classification"), picks, start)
    assert order[0] == start and 1 <= len(order) <= picks
    assert error_of(order, p, y) <= error_of([start], p, y) + 1e-12
    free = choose(error_products(p, y, "classification"), picks)
    assert error_of(free, p, y) <= min(error_of([i], p, y) for i in range(4)) + 1e-12


def test_one_good_network_among_copies_stays_alone() -> None:
    p, y = pool(0, networks=1)
    assert choose(error_products(p.repeat(5, 1, 1), y, "classification"), 8) == [0]


def test_picks_must_be_some() -> None:
    with pytest.raises(ConfigError, match=r"Expected `picks` of choose to be a whole number in \[1, inf\), got 0"):
        choose(torch.eye(2), 0)


def accuracy_of(order: list[int], p: Tensor, y: Tensor) -> float:
    return float((p[order].mean(0).argmax(-1) == y.argmax(-1)).float().mean())


@given(st.integers(0, 500), st.integers(2, 6))
def test_with_a_judge_each_pick_has_the_best_score_of_those_that_lower_the_error(seed: int, picks: int) -> None:
    p, y = pool(seed)
    order = choose(error_products(p, y, "classification"), picks, judge=judge_of(p, y, torch.ones(len(y)), ACCURACY, True))
    assert accuracy_of(order[:1], p, y) == max(accuracy_of([i], p, y) for i in range(4))
    for k in range(1, len(order)):
        before = error_of(order[:k], p, y)
        assert error_of(order[: k + 1], p, y) < before
        lower = [i for i in range(4) if error_of([*order[:k], i], p, y) < before * (1 - 1e-6)]
        assert accuracy_of(order[: k + 1], p, y) >= max(accuracy_of([*order[:k], i], p, y) for i in lower) - 1e-6


@given(st.integers(0, 500), st.integers(0, 3), st.integers(1, 9))
def test_with_a_judge_the_average_is_never_worse_than_the_start_in_error(seed: int, start: int, picks: int) -> None:
    p, y = pool(seed)
    order = choose(error_products(p, y, "classification"), picks, start, judge_of(p, y, torch.ones(len(y)), ACCURACY, True))
    assert order[0] == start and 1 <= len(order) <= picks
    assert error_of(order, p, y) <= error_of([start], p, y) + 1e-12


@pytest.mark.parametrize("scores", [[0.8, 0.9, 0.85, 0.7], [0.8, 0.7, 0.7, 0.7]], ids=["a lucky maximum", "a lucky start"])
def test_an_average_does_not_end_where_its_score_is_highest_by_luck(scores: list[float]) -> None:
    products = torch.eye(4, dtype=torch.float64)  # independent errors: every pick lowers that of the average
    order = choose(products, 4, 0, lambda picked, candidates: torch.full((len(candidates),), scores[len(picked)], dtype=torch.float64))
    assert sorted(order) == [0, 1, 2, 3]


def test_the_start_is_the_best_by_score_and_of_equals_the_one_of_the_lowest_error() -> None:
    y = torch.eye(2)
    p = torch.tensor([[[0.6, 0.4], [0.4, 0.6]], [[0.9, 0.1], [0.1, 0.9]], [[0.1, 0.9], [0.1, 0.9]]])
    assert choose(error_products(p, y, "classification"), 1, judge=judge_of(p, y, torch.ones(2), ACCURACY, True)) == [1]


def test_a_judge_weighs_rows_knows_the_direction_and_puts_no_number_last() -> None:
    y, weight = torch.tensor([[0.0], [1.0]]), torch.tensor([1.0, 3.0])
    p = torch.tensor([[[1.0], [1.0]], [[0.0], [0.0]], [[math.nan], [1.0]]])
    judge = judge_of(p, y, weight, metric_for("mae", "regression"), False)
    assert judge([], torch.tensor([0, 1, 2])).tolist() == [-0.25, -0.75, -math.inf]
    assert judge([0], torch.tensor([1, 0])).tolist() == [-0.5, -0.25]


def test_a_network_whose_error_is_no_number_is_not_picked() -> None:
    products = torch.tensor([[math.nan, math.nan, math.nan], [math.nan, 0.5, 0.1], [math.nan, 0.1, 0.6]])
    assert choose(products, 4) == [1, 2]
    assert len(choose(torch.full((2, 2), math.nan), 3)) == 1


def test_a_judge_works_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    p, y = pool(4, networks=7)
    judge, everyone = judge_of(p, y, torch.ones(len(y)), ACCURACY, True), torch.arange(7)
    whole = judge([3], everyone)
    monkeypatch.setattr(sys.modules["temperance.ensemble.selection"], "BLOCK", 2 * y.numel())
    assert torch.equal(judge_of(p, y, torch.ones(len(y)), ACCURACY, True)([3], everyone), whole)


def test_independent_errors_are_worth_averaging_and_equal_ones_are_not() -> None:
    p, y = pool(1, networks=8, rows=300)
    found = cross_fit(p, y, "classification", ACCURACY, greater=True, picks=8)
    assert found.better and found.error < found.single_error and found.gain > 0 and found.rows == 300
    assert found.low <= found.gain <= found.high
    same = cross_fit(p[:1].repeat(8, 1, 1), y, "classification", ACCURACY, greater=True, picks=8)
    assert not same.better
    assert (same.error, same.gain) == (same.single_error, 0.0)


def test_selection_among_noise_looks_better_than_it_is() -> None:
    generator = torch.Generator().manual_seed(0)
    y = torch.randn(60, 1, generator=generator)
    p = y + torch.randn(200, 60, 1, generator=generator)  # equally good networks: whatever selection finds beyond averaging is luck
    found = cross_fit(p, y, "regression", metric_for("rmse", "regression"), greater=False, picks=4)
    assert found.seen < found.error


def test_a_fixed_seed_gives_fixed_numbers_and_rows_count_by_weight() -> None:
    p, y = pool(2, rows=40)
    args = (p, y, "classification", ACCURACY)
    assert cross_fit(*args, greater=True, picks=4, seed=1) == cross_fit(*args, greater=True, picks=4, seed=1)
    wrong = p.clone()
    wrong[:, 20:] = 1 / 3
    only = torch.cat([torch.ones(20), torch.full((20,), 1e-6)])
    weighted = cross_fit(wrong, y, "classification", ACCURACY, greater=True, picks=4, weight=only)
    assert weighted.error < cross_fit(wrong, y, "classification", ACCURACY, greater=True, picks=4).error


def test_a_single_row_cannot_be_cross_fitted() -> None:
    with pytest.raises(ConfigError, match="Expected at least 2 rows to cross-fit on, got 1"):
        cross_fit(torch.ones(2, 1, 1), torch.ones(1, 1), "regression", ACCURACY, greater=True, picks=2)


def test_a_selection_ends_with_its_time() -> None:
    p, y = pool(0)
    with pytest.raises(TimeoutError, match="the time for selecting networks is over"):
        cross_fit(p, y, "classification", ACCURACY, greater=True, picks=3, deadline=0.0)
    late = cross_fit(p, y, "classification", ACCURACY, greater=True, picks=3, deadline=time.monotonic() + 1e6)
    assert late == cross_fit(p, y, "classification", ACCURACY, greater=True, picks=3)


def test_products_of_many_rows_are_added_up_by_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    p, y = pool(3)
    weight = torch.rand(len(y), generator=torch.Generator().manual_seed(0))
    for task in ("classification", "multilabel"):
        whole = error_products(p, y, task, weight)
        with monkeypatch.context() as patch:
            patch.setattr(sys.modules["temperance.ensemble.diversity"], "BLOCK", 50)
            assert torch.allclose(error_products(p, y, task, weight), whole, rtol=1e-12)


def test_what_is_measured_takes_no_part_in_the_selection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each choice sees the other parts alone, with their own weights; together the parts that are held back are all rows."""
    p, y = pool(5, rows=10)
    weight = torch.arange(1.0, 11.0)
    seen = list[set[float]]()

    def watched(predictions: Tensor, some: Tensor, task: Any, given: Tensor | None = None) -> Tensor:
        assert given is not None
        rows = (given - 1).long()
        assert torch.equal(some, y[rows]) and torch.equal(predictions, p[:, rows])
        seen.append(set(rows.tolist()))
        return error_products(predictions, some, task, given)

    judged = list[set[float]]()

    def judging(predictions: Tensor, some: Tensor, given: Tensor, *rest: Any) -> Any:
        rows = (given - 1).long()
        assert torch.equal(some, y[rows]) and torch.equal(predictions, p[:, rows])
        judged.append(set(rows.tolist()))
        return judge_of(predictions, some, given, *rest)

    module = sys.modules["temperance.ensemble.selection"]
    monkeypatch.setattr(module, "error_products", watched)
    monkeypatch.setattr(module, "judge_of", judging)
    cross_fit(p, y, "classification", ACCURACY, greater=True, picks=3, weight=weight)
    held = [set(range(10)) - rows for rows in seen]
    assert judged == seen and [len(rows) for rows in held] == [2] * 5
    assert set.union(*held) == set(range(10))


def test_a_row_of_weight_two_counts_as_two_rows_in_what_is_measured() -> None:
    """One network that is right on the heavy rows alone and one that is right on the light ones: the weights decide which is single."""
    y = torch.eye(2).repeat(20, 1)
    heavy = (torch.arange(40) % 4 < 2).float()
    right, wrong = 0.5 + 0.4 * (2 * y - 1), 0.5 - 0.4 * (2 * y - 1)
    on = heavy.unsqueeze(1) > 0
    p = torch.stack([torch.where(on, right, wrong), torch.where(on, wrong, right)])
    for share in (9.0, 1 / 9):
        found = cross_fit(p, y, "classification", ACCURACY, greater=True, picks=2, weight=torch.where(heavy > 0, share, 1.0))
        assert found.single == pytest.approx(0.9, rel=1e-6)
        assert found.single_error == pytest.approx(0.9 * 0.02 + 0.1 * 1.62, rel=1e-5)


def opposed(worse: int, nicer: int, n: int = 40) -> tuple[Tensor, Tensor]:
    """Two networks whose average has less error, leaves some rows that were whole numbers, and makes whole numbers of others."""
    p, y = torch.zeros(2, n, 1), torch.zeros(n, 1)
    p[1, :worse], y[:worse] = 1.0, 0.5
    p[0, worse : worse + nicer], p[1, worse : worse + nicer] = -0.5, 0.5
    return p, y


def whole(p: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    """The share of whole numbers, of all forty rows; of fewer, which are those selected on, nothing is told."""
    told = (p[..., 0] == p[..., 0].round()).float() if p.shape[-2] == 40 else torch.ones(p.shape[:-1])
    return (told * weight).sum(-1) / weight.sum(-1)


@pytest.mark.parametrize(("worse", "nicer", "greater", "better"), [(5, 0, True, False), (5, 0, False, True), (5, 4, True, True), (1, 6, False, False)])
def test_a_lower_error_is_no_gain_where_the_score_is_worse_beyond_its_noise(worse: int, nicer: int, greater: bool, better: bool) -> None:
    """The score of w rows falls and that of v rows rises: a difference of (v - w) / n with a standard error of about √(v + w) / n."""
    p, y = opposed(worse, nicer)
    found = cross_fit(p, y, "regression", whole, greater=greater, picks=2)
    assert found.gain == pytest.approx((nicer - worse) / 40) and found.error < found.single_error
    assert (found.high - found.low) / (2 * 1.96) == pytest.approx((worse + nicer) ** 0.5 / 40, rel=0.25)
    assert found.better == better
    gained = [0.25] * (worse + nicer) + [0.0] * (40 - worse - nicer)
    assert found.noise == pytest.approx(np.std(gained, ddof=1) / 40**0.5)


def test_rows_without_weight_have_no_part_in_the_interval() -> None:
    p, y = opposed(5, 4)
    weight = torch.ones(40)
    weight[:5] = 0.0
    found = cross_fit(p, y, "regression", whole, greater=True, picks=2, weight=weight)
    assert found.gain == pytest.approx(4 / 35) and 0.0 <= found.low < found.gain < found.high


def test_rows_of_a_group_take_part_in_a_choice_or_are_judged_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of the five choices sees whole groups only; groups of one row are no groups."""
    p, y = pool(0, rows=60)
    groups, marks, seen = np.arange(60) // 4, torch.arange(60.0), list[set[int]]()

    def products(predictions: Tensor, answers: Tensor, task: str, weight: Tensor | None = None) -> Tensor:
        assert weight is not None
        seen.append({int(k) for k in weight - 1})
        return error_products(predictions, answers, task, torch.ones_like(weight))

    monkeypatch.setattr(selection, "error_products", products)
    settings: dict[str, Any] = {"greater": True, "picks": 4, "weight": marks + 1}
    cross_fit(p, y, "classification", ACCURACY, groups=groups, **settings)
    assert len(seen) == 5 and all({4 * (k // 4) + i for k in rows for i in range(4)} == rows for rows in seen)
    seen.clear()
    cross_fit(p, y, "classification", ACCURACY, groups=np.arange(60) % 2, **settings)
    assert [{k % 2 for k in rows} for rows in seen] in ([{0}, {1}], [{1}, {0}])
    alone = [cross_fit(p, y, "classification", ACCURACY, groups=codes, **settings) for codes in (None, np.arange(60), np.zeros(60))]
    assert alone[0] == alone[1] == alone[2]
