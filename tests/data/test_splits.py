"""Splits: a partition, stratified, the same for the same seed, chosen by size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from temperance.core.errors import ConfigError, DataError
from temperance.data import bootstrap_rows, plan_split


def parts(split):
    return [split.train, *([split.validation] if split.validation is not None else []), split.test]


@settings(max_examples=50, deadline=None)
@given(st.integers(40, 6000), st.integers(2, 6), st.integers(0, 5), st.booleans())
def test_rows_are_parted(n, classes, seed, test):
    y = np.random.default_rng(seed).integers(0, classes, n)
    split = plan_split(y, "classification", seed=seed, test=test)
    assert np.array_equal(np.sort(np.concatenate(parts(split))), np.arange(n))
    assert (len(split.test) > 0) == test and (split.kind == "hold-out") == (n - len(split.test) >= 1500)
    for train, validation in split.folds:
        assert not np.intersect1d(train, validation).size and not np.intersect1d(validation, split.test).size and not np.intersect1d(train, split.test).size
        assert set(y[train]) == set(y)
        for c in np.unique(y):
            assert abs((y[validation] == c).sum() - len(validation) * (y == c).mean()) < 3
    if split.kind == "k-fold":
        assert np.array_equal(np.sort(np.concatenate([validation for _, validation in split.folds])), split.train)
        sizes = [len(validation) for _, validation in split.folds]
        assert max(sizes) - min(sizes) <= 1


def test_sizes_and_reasons():
    small = plan_split(np.arange(1000) % 3, "classification", seed=0)
    assert (small.kind, len(small.folds), len(small.test), small.validation) == ("k-fold", 5, 200, None)
    assert small.reason == "5 folds of 800 rows: fewer than 1,500 rows are too few for one hold-out."
    large = plan_split(np.arange(10_000) % 3, "classification", seed=0)
    assert (large.kind, len(large.validation), len(large.test)) == ("hold-out", 1600, 2000)
    assert large.reason == "8,000 rows are enough (1,500 or more) for one hold-out of 1,600 rows."
    assert len(large.folds) == 1 and large.folds[0][0] is large.train
    assert len(plan_split(np.arange(200_000) % 3, "classification", seed=0).validation) == 10_000
    assert plan_split(np.arange(10_000) % 3, "classification", seed=0, folds=4).reason == "4 folds of 8,000 rows: as asked for."
    assert len(plan_split(np.arange(100) % 2, "classification", seed=0, test_fraction=0.5).test) == 50


def test_few_rows_a_class_reduce_the_folds():
    split = plan_split(np.repeat(np.arange(10), 4), "classification", seed=0)
    assert len(split.folds) == 3 and "10 classes leave too few rows for 5 folds" in split.reason


def test_a_rare_class_always_trains():
    y = np.array([0] * 500 + [1] * 2)
    for seed in range(20):
        split = plan_split(y, "classification", seed=seed)
        assert not (y[split.test] == 1).any() and len(split.folds) == 5
        assert all((y[train] == 1).any() for train, _ in split.folds)
        big = plan_split(np.array([0] * 6000 + [1] * 3), "classification", seed=seed)
        assert (big.train >= 6000).any()


def test_seeds():
    y = np.arange(300) % 3
    one, two, other = (plan_split(y, "classification", seed=seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(parts(one), parts(two), strict=True)) and not np.array_equal(one.test, other.test)
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    plan_split(y, "classification", seed=1)
    assert np.array_equal(state, np.random.get_state()[1])  # noqa: NPY002


def test_regression_is_alike_in_all_parts():
    y = np.random.default_rng(0).exponential(size=5000)
    split = plan_split(torch.tensor(y, dtype=torch.float32)[:, None], "regression", seed=0)
    for rows in parts(split):
        assert abs(np.median(y[rows]) - np.median(y)) < 0.05
    assert len(plan_split(np.repeat([1.0, 2.0], 20), "regression", seed=0).folds) == 5
    assert len(plan_split(np.eye(2)[np.arange(40) % 2], "multilabel", seed=0).folds) == 5


def test_one_hot_and_codes_agree():
    codes = np.arange(60) % 3
    a, b = plan_split(codes, "classification", seed=0), plan_split(torch.eye(3)[codes], "classification", seed=0)
    c = plan_split(np.array(["a", "b", "c"])[codes], "classification", seed=0)
    assert np.array_equal(a.test, b.test) and np.array_equal(a.test, c.test)


def test_rows_without_target_only_train():
    y = np.arange(100) % 2
    y[:10] = -1
    value = np.where(y < 0, np.nan, y + np.arange(100) / 7)
    mask = torch.from_numpy(y >= 0)
    for split in (
        plan_split(y, "classification", seed=0),
        plan_split(value, "regression", seed=0),
        plan_split(np.abs(y), "classification", seed=0, labeled=mask),
    ):
        assert not (split.test < 10).any()
        for train, validation in split.folds:
            assert set(range(10)) <= set(train.tolist()) and not (validation < 10).any()


def test_refusals():
    def fails(error, *parts, y=None, **options):
        with pytest.raises(error) as caught:
            plan_split(np.arange(100) % 2 if y is None else y, "classification", **{"seed": 0, **options})
        assert all(part in str(caught.value) for part in parts), str(caught.value)

    fails(DataError, "at least 10 rows", "got 9", "Add rows", y=np.arange(9) % 2)
    fails(DataError, "classes times folds (40)", "for 20 classes in 2 folds", "Add rows", y=np.r_[np.arange(20), np.arange(10)])
    fails(DataError, "in 30 folds", "use fewer folds", y=np.arange(60) % 3, folds=30)
    fails(ConfigError, "`seed`", "-1", seed=-1)
    fails(ConfigError, "`seed`", "1.5", seed=1.5)
    fails(ConfigError, "`test_fraction`", "(0, 1)", "test=False", test_fraction=1.0)
    fails(ConfigError, "`folds`", "from 2", "1", folds=1)


def test_bootstrap():
    rows = bootstrap_rows(1000, 0)
    assert rows.shape == (1000,) and np.array_equal(rows, bootstrap_rows(1000, 0)) and 580 < len(np.unique(rows)) < 680
