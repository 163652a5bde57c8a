"""Short whole runs first: who trains anew, for how long, and what the limits allow."""

from __future__ import annotations

from typing import Any

import pytest
from tests.search.small import hold_out, small_plan, two_classes

from temperance.search import Search, search_plans
from temperance.search.lengths import Lengths

DATA = two_classes()


def find(**settings: Any) -> Search:
    return search_plans([small_plan(epochs=16.0)], DATA, **{"trials": 20, "split": hold_out(), "retrain": None, "strategy": "lengths", **settings})


def test_the_best_quarter_of_the_short_runs_trains_anew_in_full() -> None:
    found = find()
    short, long = ([t for t in found.trials if t.config.length == length] for length in (0.25, 1.0))
    assert (len(short), len(long)) == (16, 4)
    assert {t.status for t in found.trials} <= {"finished", "stopped: no improvement for 11 evals"}
    assert max(t.epochs for t in short) == pytest.approx(4.0) and max(t.epochs for t in long) > 4.0
    best = sorted(short, key=lambda t: -t.score)[:4]
    assert [(t.config.strengths, t.config.lr, t.config.seed) for t in long] == [(t.config.strengths, t.config.lr, t.config.seed) for t in best]
    assert found.rungs[0] == {"round": 1, "epoch": 4, "members": 16, "kept": 4}


def test_without_a_clock_the_same_seed_gives_the_same_trials() -> None:
    one, two = find(), find()
    assert repr(one.table().to_dict("list")) == repr(two.table().to_dict("list"))


@pytest.mark.parametrize(("limit", "short", "long"), [(1, 0, 1), (2, 1, 1), (7, 5, 2), (21, 16, 5)])
def test_all_trials_are_spent(limit: int, short: int, long: int) -> None:
    lengths = [t.config.length for t in find(trials=limit).trials]
    assert (lengths.count(0.25), lengths.count(1.0)) == (short, long)


def test_as_many_go_on_as_a_quarter() -> None:
    assert [Lengths()._counts(n, (0.25, 1.0)) for n in (1, 4, 5, 32)] == [[1, 1], [4, 1], [5, 2], [32, 8]]
