"""Compiled steps in a search: when they are made, and what a search does until then."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.search.small import hold_out, small_plan, two_classes

from temperance.search import programs
from temperance.search.calibration import compiled
from temperance.search.costs import Costs
from temperance.search.engine import Engine
from temperance.search.journal import Journal
from temperance.search.programs import WORTH, Programs
from temperance.search.search import search_plans


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Compilations pay at once, are counted, and fail."""
    tried: list[int] = []

    def broken(*_: Any) -> Any:
        tried.append(1)
        raise ValueError("no machine code today")

    monkeypatch.setattr("temperance.train.kernel._tried", broken)
    monkeypatch.setattr("temperance.train.kernel.compiler_missing", lambda: "")
    monkeypatch.setattr(programs, "compiler_missing", lambda: "")
    monkeypatch.setattr(programs, "WORTH", 0.0)
    monkeypatch.setattr("temperance.search.calibration.HEAD_START", 0.2)
    return tried


def find(**settings: Any) -> Any:
    return search_plans(settings.pop("plans", [small_plan()]), two_classes(), split=hold_out(), metric="accuracy", seed=1, retrain=None, refits=1, **settings)


def until(trials: int, phase: str = "") -> Any:
    """Interrupts a search, once, that has started so many trials or has come to a phase: nothing here waits for a clock."""
    done: list[str] = []

    def stop(state: Any) -> None:
        if not done and (state["trials"] >= trials or state["phase"] == phase):
            done.append(state["phase"])
            raise KeyboardInterrupt

    return stop


def test_the_head_start_counts_for_nothing_and_its_networks_are_tried_again(refusing: list[int]) -> None:
    found = find(trials=None, budget="10m", on_progress=until(5))
    first = found.trials[:2]
    assert all(t.status.startswith(("dropped after the head start", "finished", "stopped")) for t in first)
    later = [t.config.strengths for t in found.trials[2:]]
    assert all(t.config.strengths in later for t in first)
    assert len(refusing) == 1, "a step that was refused is not tried again"
    assert any("not compiled: ValueError: no machine code today" in note for note in found.notes)
    assert not any(t.row()["compiled"] for t in found.trials)


def test_rungs_lie_by_the_length_that_runs_have_after_the_head_start(
    refusing: list[int], engines: list[Engine], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The networks of the head start are planned before anything is measured; a search that is resumed knows the same."""
    monkeypatch.setattr("temperance.search.calibration.LONGEST", 1e-9)
    plans = [small_plan(epochs=50.0)]
    find(plans=plans, trials=None, budget="10m", on_progress=until(5), journal=Journal(tmp_path))
    find(plans=plans, trials=None, budget="10m", ship=True, journal=Journal(tmp_path))
    assert len(engines) == 2 and engines[1].trials
    for engine in engines:
        assert engine.first_epochs == engine.epochs == {"small": 3.0}


def test_with_a_number_of_trials_there_is_none(refusing: list[int]) -> None:
    found = find(trials=3, budget="20s")
    assert len(found.trials) == 3
    assert not any("head start" in t.status for t in found.trials)


@pytest.mark.parametrize(("budget", "at_once"), [("10m", True), ("40s", False)], ids=["a small share of the time", "a large one"])
def test_several_plans_are_compiled_at_once_or_the_leader_after_the_first_wave(refusing: list[int], budget: str, at_once: bool) -> None:
    said: list[str] = []
    stop = until(2000, "compiling")

    def note(state: Any) -> None:
        said.append(state["phase"])
        stop(state)

    plans = [small_plan("one"), small_plan("two", hidden=4)]
    if at_once:
        with pytest.raises(KeyboardInterrupt):  # there is nothing to ship yet
            find(plans=plans, trials=None, budget=budget, on_progress=note)
        assert "compiling" in said and "round 1" not in said
        return
    assert find(plans=plans, trials=None, budget=budget, on_progress=note).ended == "interrupted"
    phases = list(dict.fromkeys(said))
    assert phases.index("round 1") < phases.index("compiling")


def test_after_a_slow_compilation_the_next_plan_trains_as_it_is(refusing: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy processor the first plan's step takes forty seconds: three of them would take half of the budget."""
    measured, real, now = Costs.measure, time.monotonic, [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: real() + now[0])

    def slow(self: Costs, plan: Any, *given: Any) -> None:
        measured(self, plan, *given)
        now[0] += 40.0

    monkeypatch.setattr(Costs, "measure", slow)
    said: list[str] = []
    stop = until(2000, "round 1")
    plans = [small_plan(name, hidden=k) for k, name in enumerate(("one", "two", "three"), 4)]
    find(plans=plans, trials=None, budget="4m", on_progress=lambda state: (said.append(state["phase"]), stop(state)))
    assert said.count("compiling") == 1


def test_when_it_is_worth_it() -> None:
    plan, search, counted = small_plan(), Programs(budgeted=True), Programs(budgeted=False)
    search.missing = ""
    assert not search.worth(plan, WORTH - 1.0)
    assert search.worth(plan, WORTH)
    assert search.settings(plan, making=True)["compile"] is False
    search.add(plan)
    assert not search.worth(plan, WORTH)
    assert search.settings(plan, making=True)["compile"] is True
    assert search.settings(plan, making=False)["compile"] is None
    assert not counted.worth(plan, 1e9)
    assert counted.settings(plan, making=True)["compile"] is None
    search.missing = "no C++ compiler was found"
    assert not search.worth(small_plan("other"), 1e9)


@pytest.mark.parametrize(
    ("fixed", "each", "left", "expected"),
    [(0.003, 0.001, WORTH, True), (0.003, 0.001, WORTH - 1, False), (0.001, 0.003, WORTH, False), (0.001, 0.003, 2 * WORTH, True), (0.0, 0.0, WORTH, True)],
)
def test_a_step_that_is_nearly_all_the_members_own_is_compiled_for_twice_the_time(fixed: float, each: float, left: float, expected: bool) -> None:
    """Compiling saves the fixed part of a step; a plan that was not measured yet counts as any other."""
    plan = small_plan()
    costs: Any = Costs([plan])
    costs._cost[plan.name] = (fixed, each)
    compiling: Any = Programs(True)
    compiling.missing = ""
    engine: Any = SimpleNamespace(costs=costs, programs=compiling, left=lambda: left, say=lambda *_: None, share_done=lambda: 0.0)
    assert compiled(engine, plan) == compiling.compiles(plan) == expected
