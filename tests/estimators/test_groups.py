"""`groups` of fit: rows that belong together train or validate together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_iris
from torch.nn import functional as F

import temperance as tp
from temperance.core.errors import ConfigError, DataError
from temperance.data import Split
from temperance.estimators import training
from temperance.estimators.rows import validation_rows

GIVEN = tp.Cocktail(tp.WeightDecay(0.01))
X, Y = load_iris(return_X_y=True)
GROUPS = np.arange(150) % 15


def apart(split: Split, groups: np.ndarray) -> bool:
    return all(not set(groups[train]) & set(groups[held]) for train, held in split.folds)


@pytest.fixture
def splits(monkeypatch: pytest.MonkeyPatch) -> list[Split]:
    """The splits of the networks that are validated."""
    seen, replay = list[Split](), training.replay_member

    def watched(config: Any, data: Any, folds: Any, metric: Any, **settings: Any) -> Any:
        seen.append(Split(np.arange(len(data)), None, folds, np.zeros(0, np.int64), "k-fold", ""))
        return replay(config, data, folds, metric, **settings)

    monkeypatch.setattr(training, "replay_member", watched)
    return seen


@pytest.mark.parametrize("fraction", [None, 0.3])
@pytest.mark.parametrize("names", [GROUPS, GROUPS.tolist(), pd.Series([f"g{k}" for k in GROUPS], index=range(5, 155)), torch.from_numpy(GROUPS)])
def test_groups_stay_together(splits: list[Split], names: Any, fraction: float | None) -> None:
    made = tp.TemperanceClassifier(GIVEN, steps=5, random_state=0, validation_fraction=fraction).fit(X, Y, groups=names)
    assert len(splits) == 1 and apart(splits[0], GROUPS) and len(splits[0].folds) == (1 if fraction else 5)
    assert "split by group" in made.search_.split and made.n_iter_ > 0


def test_of_values_and_of_several_targets_too(splits: list[Split]) -> None:
    tp.TemperanceRegressor(GIVEN, steps=5, random_state=0).fit(X[:, :3], X[:, 3], groups=GROUPS)
    tp.TemperanceMultiTask(GIVEN, steps=5, random_state=0).fit(X[:, :3], {"kind": Y, "width": X[:, 3]}, groups=GROUPS)
    assert len(splits) == 2 and all(apart(split, GROUPS) for split in splits)


def test_rows_without_weight_or_target_keep_their_groups(splits: list[Split]) -> None:
    weight, y = np.ones(150), Y.astype(object)
    weight[:10], y[30:50] = 0.0, None
    tp.TemperanceClassifier(GIVEN, steps=5, random_state=0).fit(X, y, sample_weight=weight, groups=GROUPS)
    assert apart(splits[0], GROUPS[10:])
    held = np.concatenate([rows for _, rows in splits[0].folds])
    assert np.array_equal(np.sort(held), np.setdiff1d(np.arange(140), np.arange(20, 40)))


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5])
def test_a_share_is_met_as_near_as_whole_groups_come(fraction: float, gaps: bool) -> None:
    labeled = np.arange(150) % 4 > 0 if gaps else None
    split = validation_rows(F.one_hot(torch.from_numpy(Y)), "classification", seed=0, fraction=fraction, groups=GROUPS, labeled=labeled)
    known = np.ones(150, bool) if labeled is None else labeled
    (train, held), rows = split.folds[0], int(known.sum())
    assert apart(split, GROUPS) and known[held].all()
    assert abs(len(held) / rows - fraction) <= 0.5 / 15 + 1e-9 + 2 / rows  # half a group
    assert len(train) == 150 - np.isin(GROUPS, GROUPS[held]).sum()


@pytest.mark.parametrize(
    ("settings", "fit", "text"),
    [
        ({}, {"groups": [0] * 150}, "Expected at least 2 groups among the rows with a target, got 1"),
        ({"validation_fraction": 0.2}, {"groups": [0] * 150}, "Expected at least 2 groups"),
        ({}, {"groups": GROUPS[:20]}, "Expected `groups` to have one value for each of the 150 rows, got an array of shape (20,)"),
        ({}, {"groups": [[k] for k in range(150)]}, "got an array of shape (150, 1)"),
        ({}, {"groups": GROUPS, "X_val": X, "y_val": Y}, "Expected no `groups` with `X_val`, where no row of X validates"),
        ({"early_stopping": False}, {"groups": GROUPS}, "Expected no `groups` with early_stopping=False"),
    ],
)
def test_groups_that_cannot_be_kept(settings: dict[str, Any], fit: dict[str, Any], text: str) -> None:
    with pytest.raises((ConfigError, DataError)) as error:
        tp.TemperanceClassifier(GIVEN, steps=5, random_state=0, **settings).fit(X, Y, **fit)
    assert text in str(error.value)
