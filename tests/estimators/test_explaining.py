"""`explain` of fitted estimators: on which rows it measures, what it says of them, and what it refuses."""

from __future__ import annotations

import copy
import pickle
import re
from typing import Any

import numpy as np
import pytest

import temperance as tp
from temperance.data import Split, as_dataset
from temperance.estimators.explaining import set_apart
from temperance.estimators.rows import validation_rows

RNG = np.random.default_rng(5)
X = RNG.normal(size=(160, 4)).astype(np.float32)
Y = (X[:, 0] + 0.3 * RNG.normal(size=160) > 0).astype(int)
HALF, REST = slice(0, 100), slice(100, 160)
TARGETS: dict[str, Any] = {
    "classes": Y,
    "labels": np.c_[Y, 1 - Y],
    "values": 50 + 1000 * X[:, 1],
    "gaps": [None if i % 9 == 3 else int(c) for i, c in enumerate(Y)],
    "tasks": {"kind": Y, "size": X[:, 1]},
}


def made(kind: str, **settings: Any) -> Any:
    maker = {"values": tp.TemperanceRegressor, "tasks": tp.TemperanceMultiTask}.get(kind, tp.TemperanceClassifier)
    return maker(tp.Cocktail(tp.Dropout(0.2)), **{"epochs": 2, "random_state": 0, **settings})


def part(target: Any, rows: slice) -> Any:
    return {name: values[rows] for name, values in target.items()} if isinstance(target, dict) else target[rows]


@pytest.mark.parametrize("kind", TARGETS)
def test_every_estimator_is_explained_on_rows_it_has_not_seen_and_stays_what_it_is(kind: str) -> None:
    settings = {"values": {"metric": "rmse"}, "labels": {"early_stopping": False}}.get(kind, {})
    fitted = made(kind, **settings).fit(X[HALF], part(TARGETS[kind], HALF))
    before = copy.deepcopy(fitted.model_.state_dict())
    truth = Y if kind == "gaps" else TARGETS[kind]
    found = fitted.explain(X[REST], part(truth, REST), seeds=2).facts
    assert (found["rows"]["held"], found["seeds"], found["fresh"], found["ended"]) == (60, 2, True, "done")
    assert [(row["regularizer"], row["change"]) for row in found["regularizers"]] == [("Dropout", "dropped")]
    assert found["rows"]["train"] + found["rows"]["validation"] == 100
    after = fitted.model_.state_dict()
    assert all(bool((before[name] == after[name]).all()) for name in before)
    if kind == "values":  # in the units of the target, whose spread is 1000
        assert 300 < found["score"]["value"] < 3000


def test_without_rows_a_part_of_its_own_is_put_apart_and_what_chose_the_cocktail_is_said() -> None:
    given = made("classes").fit(X, Y).explain(seeds=2)
    assert (given.facts["rows"]["held"], given.facts["rows"]["folds"], given.facts["rows"]["train"]) == (32, 4, 96)
    assert "32 rows that these networks did not see" in given.text
    assert "may look better" not in given.text
    assert "trial" not in given.text
    searched = tp.TemperanceClassifier(trials=2, epochs=2, random_state=0).fit(X[HALF], Y[HALF])
    own, fresh = searched.explain(seeds=2), searched.explain(X[REST], Y[REST], seeds=2)
    assert "the rows that it is measured on, so what is on may look better than it is" in own.text
    assert not own.facts["fresh"]
    assert "neither the search nor these networks saw" in fresh.text
    assert "may look better" not in fresh.text
    assert "added" in {row["change"] for row in own.facts["regularizers"]}


@pytest.mark.parametrize("grouped", [False, True], ids=["rows", "groups"])
@pytest.mark.parametrize("fraction", [None, 0.3], ids=["folds", "hold-out"])
def test_rows_that_are_put_apart_neither_train_nor_validate(fraction: float | None, grouped: bool) -> None:
    data, groups = as_dataset(X, Y), np.arange(160) // 4 if grouped else None
    split = set_apart(validation_rows(data.y, "classification", seed=1, fraction=fraction, groups=groups), data, groups, 1)
    assert len(split.test) >= 20
    for train, held in split.folds:
        parts = [train, held, split.test]
        assert sum(map(len, parts)) == len(np.unique(np.concatenate(parts)))
        codes = np.arange(160) if groups is None else groups
        assert sum(len(np.unique(codes[rows])) for rows in parts) == len(np.unique(codes[np.concatenate(parts)]))
    assert split.groups is groups


def test_rows_without_a_target_do_not_train_beside_the_test_rows_of_their_group() -> None:
    groups, known = np.arange(160) // 4, np.arange(160) % 4 != 0
    data = as_dataset(X, [int(c) if there else None for c, there in zip(Y, known, strict=True)])
    split = set_apart(validation_rows(data.y, "classification", seed=1, labeled=known, groups=groups), data, groups, 1)
    assert len(split.folds) == 4
    for train, held in split.folds:
        assert not known[train].all()
        assert not np.isin(groups[np.r_[train, held]], groups[split.test]).any()


def test_groups_take_the_place_of_rows() -> None:
    groups = np.arange(160) // 8
    fitted = made("classes").fit(X[HALF], Y[HALF], groups=groups[HALF])
    with pytest.raises(tp.ConfigError, match="Expected `groups` of the rows of X, as fit had groups, got none"):
        fitted.explain(X[REST], Y[REST])
    assert fitted.explain(X[REST], Y[REST], groups=groups[REST], seeds=2).facts["rows"]["groups"] == len(np.unique(groups[REST]))
    assert fitted.explain(seeds=2).facts["rows"]["groups"] in (2, 3)  # of 13, in five folds


def test_what_cannot_be_explained_is_refused_with_a_way_out() -> None:
    fitted = made("classes").fit(X, Y)
    for copied in (pickle.loads(pickle.dumps(fitted)), copy.deepcopy(fitted)):
        assert copied.score(X, Y) == fitted.score(X, Y)
        with pytest.raises(tp.ConfigError, match="that still has the rows it was fitted on, got one from a pickle or a copy"):
            copied.explain()
    again = copied.fit(X, Y)
    assert again.explain(seeds=2).facts["rows"]["held"] == 32
    with pytest.raises(tp.ConfigError, match="Expected `X` and `y` together"):
        fitted.explain(X)
    with pytest.raises(tp.ConfigError, match="Expected no `groups` without `X`"):
        fitted.explain(groups=Y)
    with pytest.raises(tp.DataError, match=re.escape("Expected the classes of the fitted `y` in `y`, got 2.")):
        fitted.explain(X, Y + 1)
    with pytest.raises(tp.DataError, match="Expected a target for every row of `X`, got missing ones in `y`"):
        fitted.explain(X[:3], [1, None, 0])
    with pytest.raises(ValueError, match="features"):
        fitted.explain(X[:, :2], Y)
    with pytest.raises(tp.ConfigError, match="`seeds`"):
        fitted.explain(seeds=1)
    with pytest.raises(ValueError, match="not fitted"):
        made("classes").explain()


def test_one_validation_row_is_too_few_to_put_one_apart() -> None:
    split = Split(np.arange(1, 9), np.arange(1), [(np.arange(1, 9), np.arange(1))], np.zeros(0, np.int64), "hold-out", "")
    with pytest.raises(tp.DataError, match=re.escape("Give rows that fit has not seen: explain(X, y).")):
        set_apart(split, as_dataset(X[:9], Y[:9]), None, 0)
