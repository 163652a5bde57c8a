"""Forks: a run goes on from its middle as if nothing had happened, and the best runs do so several times."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tests.search.small import ACCURACY, config, hold_out, small_plan, two_classes, two_folds

from temperance.search import Search, search_plans
from temperance.search.forks import Beginning, Forks
from temperance.search.programs import Programs
from temperance.search.race import Race, State, Trial
from temperance.train.compiled import compiler_missing
from temperance.train.outcome import Outcome

DATA = two_classes()
CONFIGS = [config(small_plan(), i, lr=0.02 + 0.01 * i, seed=7 + i, dropout__rate=0.1 * i, ema__decay=0.9, weight_decay__lam=0.1) for i in range(3)]


def race(folds: Any, programs: Programs | None = None) -> Race:
    torch.set_num_threads(1)
    return Race(CONFIGS, DATA, folds, ACCURACY, patience=10**6, memory="1G", programs=programs)


@pytest.mark.parametrize("folds", [hold_out().folds, two_folds().folds], ids=["hold-out", "folds"])
def test_a_run_goes_on_from_its_middle_as_if_nothing_had_happened(folds: Any) -> None:
    """The same rows, masks, moments and averages: every bit of the second half is the same."""
    whole = race(folds)
    whole.epoch(1, None)
    states: list[State] = [whole.state(trial) for trial in whole.trials]
    step = whole.groups[0][1].chunks[0].group.step
    again = race(folds)
    again.go_on_from(states, step)
    for one in (whole, again):
        for epoch in (2, 3):
            one.epoch(epoch, None)
        one.finish()
    for a, b in zip(whole.trials, again.trials, strict=True):
        for x, y in zip(a.outcomes, b.outcomes, strict=True):
            assert x.final is not None and y.final is not None
            assert all(torch.equal(x.final[name], y.final[name]) for name in x.final)
            assert [row["validation_loss"] for row in x.history[1:]] == [row["validation_loss"] for row in y.history]


def made(score: float, forks: tuple[float, ...] = (), best: int = 8) -> Beginning:
    def trial(value: float) -> Trial:
        row = {"step": best, "epoch": best / 5, "validation_score": value, "validation_loss": 0.5, "validation_se": 0.01}
        return Trial(config(small_plan(), 0), [Outcome(history=[row])], best=0)

    return Beginning(trial(score), [], 0.5, 5, 1.0, [trial(value) for value in forks])


class Engine:
    """As much of an engine as ranking asks for."""

    sign = 1.0


def test_beginnings_without_forks_come_first_and_those_whose_forks_do_well_stay() -> None:
    lucky, good, poor, fresh = made(0.9, (0.80, 0.82)), made(0.87, (0.86, 0.88)), made(0.95, (0.70, 0.72)), made(0.89)
    forks = Forks()
    forks.rank(Engine(), [lucky, good, poor, fresh])  # type: ignore[arg-type]
    assert forks.known == [fresh, good, lucky, poor]
    broken = made(0.99, (math.nan, math.nan))
    forks.rank(Engine(), [broken, good])  # type: ignore[arg-type]
    assert forks.known == [broken, good]  # forks that diverged say nothing about the run itself


def test_of_three_waves_one_is_of_forks_and_one_of_whole_runs() -> None:
    forks = Forks()
    assert not forks.turn()
    kinds: list[bool] = []
    for top in (0.8, 0.9, 0.85, 0.95, 0.97, 0.5, 0.9, 0.4, 0.3):
        kind = forks.turn()
        kinds.append(kind)
        forks.waves.append((kind, top))
    # whole, forks (better: go on), forks, whole for a change (0.95 > 0.85: go on), whole, forks for a change, ...
    assert kinds == [False, True, True, False, False, True, False, False, True]


@pytest.mark.parametrize(("best", "expected"), [(15, 0.5), (9, 0.5), (8, 0.25), (5, 0.25), (4, None)])
def test_a_run_forks_at_the_last_point_well_before_its_best_check(best: int, expected: float | None) -> None:
    trial = replace(made(0.9, best=best).trial, population=SimpleNamespace(total_steps=15))  # type: ignore[arg-type]
    assert Forks().point(trial) == expected


def test_forks_stay_in_their_ranges_and_what_is_off_stays_off() -> None:
    forks, plan = Forks(), small_plan()
    forks.random = np.random.default_rng(0)
    base = config(plan, 0, lr=0.09, dropout__rate=0.2)
    specs = plan.cocktail.specs()
    children = [forks.changed(base, i, 3) for i in range(1, 200)]
    assert len({c.seed for c in children}) == 199
    for child in children:
        assert 0.8 * base.lr - 1e-12 <= child.lr <= plan.lr[1]
        assert 0.16 - 1e-12 <= child.strengths["dropout.rate"] <= 0.25 + 1e-12
        assert all(value == specs[name].off for name, value in child.strengths.items() if name != "dropout.rate")


def find(**settings: Any) -> Search:
    return search_plans([small_plan(epochs=12.0)], DATA, **{"trials": 60, "split": hold_out(), "retrain": None, "strategy": "forks", **settings})


def test_populations_that_are_not_compiled_run_as_keep_does() -> None:
    ours, keep = find(trials=20), find(trials=20, strategy="keep")
    assert repr(ours.table().to_dict("list")) == repr(keep.table().to_dict("list"))


@pytest.mark.skipif(bool(compiler_missing()), reason="needs a C++ compiler")
def test_the_best_runs_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    kernels: dict[Any, Any] = {}
    monkeypatch.setattr(Programs, "settings", lambda self, plan, making: {"compile": True, "kernels": kernels})
    found = find()
    forks = [t for t in found.trials if t.parent is not None]
    assert len(found.trials) == 60 and len(forks) >= 4
    for fork in forks:
        assert fork.parent is not None and fork.parent.parent is None and fork.config.seed != fork.parent.config.seed
        assert fork.status in ("finished", "out of time") or fork.status.startswith("stopped")
        begun = fork.history()[0]["epoch"]
        assert 3 < begun <= 7  # a quarter or a half of twelve epochs, and one more
        assert fork.parent.best_epoch > begun - 1
        assert all(0.8 - 1e-9 <= fork.config.strengths[name] / value <= 1.25 + 1e-9 for name, value in fork.parent.config.strengths.items() if value)
    again = find()
    assert repr(again.table().to_dict("list")) == repr(found.table().to_dict("list"))
