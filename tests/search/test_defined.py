"""A score that is undefined on some fold: that fold is left out, and where no fold is left it is said before anything trains."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.search.small import ACCURACY, hold_out, small_plan, two_classes, two_folds
from torch import Tensor

from temperance.core.errors import DataError
from temperance.data import Dataset, as_dataset
from temperance.search import search_plans
from temperance.search.defined import on_defined_folds
from temperance.train.metrics import Metric, metric_for

AREA = metric_for("average_precision", "classification")


def rare(rows: list[int]) -> Dataset:
    """Ninety rows, of which these are of the second class."""
    y = torch.eye(2)[torch.zeros(90, dtype=torch.long).index_fill(0, torch.tensor(rows), 1)]
    return replace(two_classes(), y=y)


def test_folds_without_the_rare_class_are_left_out() -> None:
    (_, first), (_, second) = two_folds().folds
    data = rare([*first[:3].tolist(), 2])
    split, (note,) = on_defined_folds(two_folds(), data, AREA)
    assert [validation.tolist() for _, validation in split.folds] == [first.tolist()] and second.tolist() != first.tolist()
    assert note == "average_precision is not defined on the validation rows of 1 of 2 folds; the others judge the trials"
    found = search_plans([small_plan()], data, trials=3, split=two_folds(), metric="average_precision")
    assert note in found.notes and all(0 < trial.score <= 1 for trial in found.trials) and len(found.winner.outcomes) == 1
    assert on_defined_folds(two_folds(), data, ACCURACY)[1] == []


def test_where_no_fold_is_left_it_is_said_before_training() -> None:
    def build(seed: int) -> torch.nn.Module:
        raise AssertionError("nothing trains")

    for split in (two_folds(), hold_out()):
        with pytest.raises(DataError, match=r"Expected validation rows on which `metric` 'average_precision' is defined, got rows that are all of one class"):
            search_plans([small_plan(build=build)], rare([2]), trials=3, split=split, metric="average_precision")


def test_scores_that_constant_predictions_do_not_have_are_defined() -> None:
    """A correlation, say."""

    def correlation(p: Tensor, y: Tensor, w: Tensor) -> Tensor:
        assert torch.isfinite(y).all() and (y.shape[-1] == 1 or torch.allclose(p.sum(-1), torch.ones(len(p))))
        p, y = p - p.mean(-2, keepdim=True), y - y.mean(-2, keepdim=True)
        return (p * y).sum((-2, -1)) / (p.square().sum((-2, -1)) * y.square().sum((-2, -1))).sqrt()

    metric = Metric("correlation", True, 1.0, ("regression",), correlation)
    X = np.random.default_rng(0).normal(size=(90, 3)).astype(np.float32)
    split, notes = on_defined_folds(two_folds(), as_dataset(X, X[:, 0]), metric)
    assert len(split.folds) == 2 and not notes
    classes = two_classes()
    assert isinstance(classes.y, Tensor)
    known = torch.arange(90) % 5 > 0
    gaps = replace(classes, y=torch.where(known.unsqueeze(1), classes.y, torch.nan), labeled=known)
    assert not on_defined_folds(two_folds(), gaps, replace(metric, tasks=("classification",)))[1]
    with pytest.raises(DataError, match="of one class or value"):
        on_defined_folds(two_folds(), as_dataset(X, np.ones(90, np.float32), task="regression"), metric)
