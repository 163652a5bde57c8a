"""Splits by group and by time: what may not be in two parts is not, whatever the task, the size and the gaps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from temperance.core.errors import ConfigError, DataError
from temperance.data import Split, plan_split
from temperance.data.groups import draw_groups, group_codes, group_folds, latest


def parts(split: Split) -> list[np.ndarray]:
    return [split.test, *(held for _, held in split.folds)]


def targets(task: str, n: int, rng: np.random.Generator) -> Any:
    return {
        "classification": rng.choice(3, n, p=[0.6, 0.3, 0.1]),
        "regression": rng.normal(size=n),
        "multilabel": rng.integers(0, 2, (n, 2)).astype(float),
    }[task]


@pytest.mark.parametrize("gaps", [False, True], ids=["", "gaps"])
@pytest.mark.parametrize(("n", "many"), [(200, 12), (400, 90), (5000, 40), (5000, 3000), (60, 3)])
@pytest.mark.parametrize("task", ["classification", "regression", "multilabel"])
def test_no_group_is_in_two_parts(task: str, n: int, many: int, gaps: bool) -> None:
    rng = np.random.default_rng(n + many)
    y, groups = targets(task, n, rng), rng.integers(0, many, n)
    labeled = rng.random(n) > 0.2 if gaps else None
    split = plan_split(y, task, seed=1, groups=groups, labeled=labeled)
    known = np.ones(n, bool) if labeled is None else labeled
    held = np.concatenate(parts(split))
    assert split.kind == ("hold-out" if n == 5000 else "k-fold") and not split.given
    if split.kind == "k-fold":
        assert np.array_equal(np.sort(held[known[held]]), np.flatnonzero(known))  # each row is held once
    for train, validation in split.folds:
        sides = [set(groups[rows]) for rows in (train, validation, split.test)]
        assert not sides[0] & sides[1] and not sides[0] & sides[2] and not sides[1] & sides[2]
        assert known[validation].all() and len(train) and len(validation) and not np.intersect1d(train, validation).size
    assert len(split.folds) == (1 if n == 5000 else min(5, len(np.unique(groups[known])) - len(np.unique(groups[split.test]))))
    again, other = (plan_split(y, task, seed=seed, groups=groups, labeled=labeled) for seed in (1, 2))
    assert np.array_equal(split.test, again.test) and (many == 3 or not np.array_equal(split.test, other.test))


def test_whole_groups_come_near_to_the_shares() -> None:
    """In the mean of ten data sets: groups that are dealt without regard to the classes are four times as far away."""
    with_strata: list[float] = []
    without: list[float] = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        groups = np.repeat(np.arange(100), rng.integers(1, 12, 100))
        y = (rng.random(len(groups)) < 0.3 + 0.4 * (groups % 3 == 0)).astype(int)
        split = plan_split(y, "classification", seed=seed, groups=groups)
        with_strata += [abs(y[rows].mean() - y.mean()) for rows in parts(split)]
        dealt = rng.permutation(100)[groups] % 5
        without += [abs(y[dealt == k].mean() - y.mean()) for k in range(5)]
        assert abs(len(split.test) / len(y) - 0.2) < 0.01
        sizes = [len(held) for _, held in split.folds]
        assert max(sizes) - min(sizes) <= 12  # a group
    assert np.mean(with_strata) < np.mean(without) / 4


def test_the_last_group_of_a_class_is_not_put_aside() -> None:
    groups = np.repeat(np.arange(10), 10)
    for seed in range(5):
        split = plan_split((groups == 4).astype(int), "classification", seed=seed, groups=groups)
        assert 4 not in groups[split.test]


def test_a_row_without_a_group_is_one_of_its_own() -> None:
    assert group_codes(pd.Series(["a", None, "b", "a", None]), 5).tolist() == [0, 2, 1, 0, 3]
    assert group_codes([1.5, float("nan"), 1.5], 3).tolist() == [0, 1, 0]
    split = plan_split([0, 1] * 50, "classification", seed=0, groups=[None] * 100)
    assert (len(split.test), len(split.folds)) == (20, 5) and "100 groups" in split.reason


def test_very_many_groups_are_dealt_at_once() -> None:
    codes = np.repeat(np.arange(30_000), 2)
    fold = group_folds(np.zeros(60_000, np.int64), codes, 5, np.random.default_rng(0))
    assert np.bincount(fold).tolist() == [12_000] * 5 and np.array_equal(fold[::2], fold[1::2])


def test_names_of_the_columns_are_told() -> None:
    groups = pd.Series(np.arange(100) // 4, name="user")
    assert (
        "split by group `user`: 25 groups, none of them in two parts, 5 in the test rows"
        in plan_split([0, 1] * 50, "classification", seed=0, groups=groups).reason
    )
    days = pd.Series(pd.date_range("2024-01-01", periods=100), name="day")
    reason = plan_split([0, 1] * 50, "classification", seed=0, time=days).reason
    assert reason.startswith("a hold-out of 16 rows; split by time `day`: the latest rows are the test rows, from 2024-03-21 on, and the latest before them")
    assert "from 80 on" in plan_split([0, 1] * 50, "classification", seed=0, time=np.arange(100)).reason


# Time


@pytest.mark.parametrize("dates", [False, True])
@pytest.mark.parametrize(("n", "many"), [(100, 100), (400, 30), (5000, 5000), (300, 3), (5000, 7)])
def test_the_future_is_judged_on_and_not_learned_from(n: int, many: int, dates: bool) -> None:
    rng = np.random.default_rng(n)
    when: Any = rng.integers(0, many, n)
    labeled = rng.random(n) > 0.1
    time = np.datetime64("2020-01-01") + when if dates else when
    split = plan_split(rng.integers(0, 2, n), "classification", seed=0, time=time, labeled=labeled)
    assert split.kind == "hold-out" and split.validation is not None
    train, validation, test = (when[rows] for rows in (split.train, split.validation, split.test))
    assert train.max() < validation.min() and validation.max() < test.min()
    assert labeled[split.validation].all()
    if many >= 30:
        assert abs(labeled[split.test].sum() / labeled.sum() - 0.2) < 0.05
        assert abs(len(split.validation) / (labeled.sum() - labeled[split.test].sum()) - 0.2) < 0.05
    assert np.array_equal(split.test, plan_split(rng.integers(0, 2, n), "classification", seed=9, time=time, labeled=labeled).test)


def test_rows_without_a_time_only_train() -> None:
    when = np.where(np.arange(100) % 10 == 0, np.nan, np.arange(100.0))
    split = plan_split([0, 1] * 50, "classification", seed=0, time=when)
    undated = np.flatnonzero(np.isnan(when))
    assert np.isin(undated, split.train).all() and len(split.train) + len(split.validation if split.validation is not None else ()) + len(split.test) == 100


def test_equal_times_stay_together() -> None:
    assert latest(np.array([1, 2, 3, 3, 3]), 0.2).tolist() == [False, False, True, True, True]
    assert latest(np.array([3, 3, 1, 2]), 0.9).tolist() == [True, True, False, True]


def test_of_groups_and_time_both_hold() -> None:
    rng = np.random.default_rng(0)
    groups, n = np.arange(600) // 6, 600
    when = groups + rng.integers(0, 20, n)
    split = plan_split(rng.normal(size=n), "regression", seed=0, time=when, groups=groups)
    assert split.validation is not None
    sides = [split.train, split.validation, split.test]
    names = [set(groups[rows]) for rows in sides]
    assert not names[0] & names[1] and not names[0] & names[2] and not names[1] & names[2]
    assert when[split.train].max() < when[split.validation].max() < when[split.test].max()
    last = pd.Series(when).groupby(groups).max()
    assert when[split.train].max() < last[list(names[1])].min() <= last[list(names[1])].max() < last[list(names[2])].min()
    assert "split by time" in split.reason and "split by group" in split.reason


# What cannot be split


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"groups": [0, 1] * 50}, "Expected at least 3 groups among the rows with a target, got 2"),
        ({"groups": [0] * 100, "test": False}, "Expected at least 2 groups among the rows with a target, got 1"),
        (
            {"groups": pd.Series([0, 1] * 50, name="user")},
            "in `user`, got 2: no part may share one. Name a column with more of them, leave `groups` (--group) out, or give",
        ),
        ({"time": [2020, 2021] * 50}, "Expected at least 3 different times among the rows with a target, got 2"),
        ({"time": [2020] * 100, "test": False}, "leave `time` (--time) out."),
        ({"time": ["early", "late"] * 50}, "Expected `time` to be numbers or dates"),
        ({"time": [None] * 95 + [1.0] * 5}, "Expected at least 10 rows with a target and a time, got 5"),
        ({"groups": [0, 1]}, "Expected `groups` to have one value for each of the 100 rows, got an array of shape (2,)"),
        ({"groups": np.zeros((100, 2))}, "got an array of shape (100, 2)"),
        ({"groups": np.arange(100) // 10, "folds": 9}, "Expected at least as many groups as folds (9), got 8"),
    ],
)
def test_too_few_groups_or_times(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(DataError) as error:
        plan_split([0, 1] * 50, "classification", seed=0, **settings)
    assert text in str(error.value)


def test_folds_have_no_order_in_time() -> None:
    with pytest.raises(ConfigError, match="Expected `folds` of plan_split to be None with `time`, got 5"):
        plan_split([0, 1] * 50, "classification", seed=0, time=np.arange(100), folds=5)


def test_drawing_leaves_what_is_rare() -> None:
    strata = np.array([0] * 40 + [1] * 10)
    codes = np.array([k // 5 for k in range(40)] + [8] * 10)
    for seed in range(5):
        assert 8 not in codes[draw_groups(strata, codes, 0.2, np.random.default_rng(seed))]
