"""Full runs are lengthened where the best trials needed all of one, and the time holds more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from tests.search.small import ACCURACY, config, hold_out, small_plan, two_classes
from torch import Tensor

from temperance.core.criterion import criterion_for
from temperance.search.budget import Clock
from temperance.search.engine import Engine
from temperance.search.few_runs import FewRuns
from temperance.search.lengthen import lengthen
from temperance.search.plans import tabular_plans
from temperance.search.programs import Programs
from temperance.search.race import Trial
from temperance.search.rungs import Rungs
from temperance.search.search import search_plans
from temperance.search.settings import Settings
from temperance.search.study import Ledger
from temperance.train.outcome import Outcome

EPOCHS = 20.0


def engine_of(best: Sequence[float], seconds: float | None = 1000.0, longest: float = 60.0, status: str = "finished") -> Engine:
    """An engine whose trials had their best states at these epochs, the best trial first."""
    plan = small_plan(epochs=EPOCHS, longest=longest)
    engine = Engine([plan], two_classes(), hold_out(), Settings(ACCURACY, criterion_for("classification")), Clock(seconds), Ledger(None, True), Programs(False))
    for i, epoch in enumerate(best):
        history = [{"epoch": epoch, "step": 2 * epoch, "validation_score": 0.9 - 0.01 * i, "validation_loss": 0.5}]
        engine.trials.append(Trial(config(engine.plans[0], i), [Outcome(history=history, best=0, state={})], status=status, best=0))
    engine.record = engine.trials[:1]
    return engine


@pytest.mark.parametrize(
    ("best", "wanted"),
    [
        ([19, 16], 40.0),
        ([15], EPOCHS),  # one trial is luck
        ([19, 10], EPOCHS),
        ([10, 10, 20, 20], EPOCHS),  # not the best ones
        ([20, 20, 10, 10, *[3] * 12], 40.0),  # two of the best four
        ([20, 10, 10, 10, *[3] * 12], EPOCHS),
        ([], EPOCHS),
    ],
)
def test_the_best_trials_decide(best: list[float], wanted: float) -> None:
    engine = engine_of(best)
    lengthen(engine)
    assert engine.epochs == {"small": wanted}


def test_up_to_the_plans_bound() -> None:
    engine = engine_of([20, 20], longest=30.0)
    lengthen(engine)
    assert engine.epochs == {"small": 30.0}
    lengthen(engine)  # the same trials lie in the middle of the new run
    assert engine.epochs == {"small": 30.0}
    for bound in (0.0, EPOCHS):
        engine = engine_of([20, 20], longest=bound)
        lengthen(engine)
        assert engine.epochs == {"small": EPOCHS}


def test_trials_that_were_dropped_do_not_count() -> None:
    engine = engine_of([20, 20], status="dropped at epoch 20")
    lengthen(engine)
    assert engine.epochs == {"small": EPOCHS}


def test_all_plans_grow_alike_so_that_rungs_compare_equals() -> None:
    engine = engine_of([20, 20])
    other, short = small_plan("other", epochs=EPOCHS, longest=50.0), small_plan("short", epochs=5.0)
    for plan in (other, short):
        engine.plans.append(plan)
        engine.epochs[plan.name] = plan.epochs
    lengthen(engine)
    assert engine.epochs == {"small": 40.0, "other": 40.0, "short": 5.0}


def test_rungs_stay_where_they_are() -> None:
    engine = engine_of([20, 20])
    engine.first_epochs = dict(engine.epochs)
    lengthen(engine)
    assert engine.planned(engine.plans[0]) == EPOCHS and engine.longest == 40.0


@pytest.mark.parametrize("what", ["the run", "what ships"])
def test_only_where_there_is_time(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = engine_of([20, 20])
    monkeypatch.setattr(engine, "seconds" if what == "the run" else "again", lambda plan, members, epochs: 1e6 if epochs > EPOCHS else 0.0)
    lengthen(engine)
    assert engine.epochs == {"small": EPOCHS}


def test_nothing_is_kept_for_what_ships_where_nothing_is_trained_again(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = engine_of([20, 20])
    monkeypatch.setattr(engine, "again", lambda plan, members, epochs: 1e6)
    engine.settings = replace(engine.settings, retrain=None)
    lengthen(engine)
    assert engine.epochs == {"small": 40.0}


def test_not_without_a_budget_nor_with_few_runs() -> None:
    engine = engine_of([20, 20], seconds=None)
    lengthen(engine)
    assert engine.epochs == {"small": EPOCHS}
    engine = engine_of([20, 20])
    engine.few = FewRuns(engine.plans[0], 2)
    lengthen(engine)
    assert engine.epochs == {"small": EPOCHS}


def test_a_search_lengthens_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every run is found to end too early; trials of later waves plan twice the steps, and the notes say it."""
    monkeypatch.setattr("temperance.search.lengthen.at_end", lambda *_: True)
    monkeypatch.setattr("temperance.search.lengthen._fits", lambda *_: True)
    settings: dict[str, Any] = {"split": hold_out(), "trials": 40, "budget": 600, "ensemble": 1, "refits": 1}
    found = search_plans([small_plan(epochs=4.0, longest=8.0, earliest=1)], two_classes(), **settings)
    planned = [trial.row()["planned_steps"] for trial in found.trials]
    assert planned[0] == 8 and planned[-1] == 16
    assert any("later ones were longer: small 8 in place of 4 epochs" in note for note in found.notes)


def test_where_no_longer_wave_fits_the_length_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, way = engine_of([20, 20]), Rungs((0.25,), careful=False)
    monkeypatch.setattr(way, "cost", lambda engine, count, length: 1e6 if engine.epochs["small"] > EPOCHS else 0.0)
    assert way.plan(engine, first=False)[0] > 0 and engine.epochs == {"small": EPOCHS}
    engine.settings = replace(engine.settings, trials=len(engine.trials))
    assert way.plan(engine, first=False) == (0, None) and engine.epochs == {"small": EPOCHS}


def test_further_seeds_train_as_long_as_the_trial_that_they_confirm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials of the first wave have 8 steps; when seeds are added, a full run has 16."""
    monkeypatch.setattr("temperance.search.lengthen.at_end", lambda *_: True)
    monkeypatch.setattr("temperance.search.lengthen._fits", lambda *_: True)
    monkeypatch.setattr("temperance.search.confirm.rivals", lambda trials, top, greater: [trials[0], trials[-1]])
    settings: dict[str, Any] = {"split": hold_out(), "trials": 40, "budget": 600, "ensemble": 1, "refits": 1, "seeds": 2}
    found = search_plans([small_plan(epochs=4.0, longest=8.0, earliest=1)], two_classes(), **settings)
    first, last = found.trials[40:]
    assert (found.trials[0].row()["planned_steps"], first.outcomes[0].steps, last.outcomes[0].steps) == (8, 8, 16)


def test_tables_with_many_rows_alone() -> None:
    """A full run is 2,000 steps there, 1,000 of networks that answer from similar rows; with fewer rows it has up to 100 passes as it is."""
    data = two_classes(6000)
    assert isinstance(data.x, Tensor)
    data = replace(data, x={"num": data.x, "cat": data.x[:, :0].long()})
    many = tabular_plans(data, range(5500), without=["neighbors"])
    assert all(plan.longest == 16_000 * plan.batch_size / 5500 > plan.epochs for plan in many)
    assert all(plan.longest == 0.0 for plan in tabular_plans(data, range(4000)))
    neighbors = tabular_plans(data, range(5500))[-1]
    assert (neighbors.name, neighbors.epochs) == ("neighbors", round(1000 * neighbors.batch_size / 5500))
    assert neighbors.longest == 4000 * neighbors.batch_size / 5500
