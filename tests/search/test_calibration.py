"""The first seconds of a search with a budget: how long runs may be, and what is kept from the search."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from tests.search.small import hold_out, small_plan, two_classes

from temperance.search import engine as engine_module, reserve, search_plans
from temperance.search.budget import Clock
from temperance.search.costs import Costs
from temperance.search.engine import Engine
from temperance.search.space import StaticPlan

DATA = two_classes()


def timed(monkeypatch: pytest.MonkeyPatch, each: float) -> None:
    """A step of a member is said to take so many seconds; what it really takes is next to nothing."""

    def measure(self: Costs, plan: StaticPlan, start: Any, most: float = 0.0) -> None:
        self.steps[plan.name], self._cost[plan.name] = 2.0, (0.0, each)

    monkeypatch.setattr(Costs, "measure", measure)
    monkeypatch.setattr(Costs, "observe", lambda self, plan, members, epochs, seconds: None)


@pytest.mark.parametrize(("each", "budget", "epochs", "planned"), [(1e-6, 2.0, 20.0, 20.0), (10.0, 60.0, 1.0, 1.0), (10.0, 60.0, 20.0, 3.0)])
def test_runs_are_shortened_to_three_epochs_at_least_and_never_lengthened(
    each: float, budget: float, epochs: float, planned: float, monkeypatch: pytest.MonkeyPatch, engines: list[Engine]
) -> None:
    timed(monkeypatch, each)
    search_plans([small_plan(epochs=epochs)], DATA, budget=budget, split=hold_out(), clock=Still(budget), on_progress=Stop())
    assert engines[0].epochs == {"small": planned}


class Still(Clock):
    """A clock on which nothing takes time."""

    @property
    def spent(self) -> float:
        return 0.0


class Stop:
    """Ctrl-C as soon as there is something to ship."""

    def __call__(self, report: Mapping[str, Any]) -> None:
        if report["best"] is not None and report["phase"].startswith("round"):
            raise KeyboardInterrupt


@pytest.mark.parametrize("known", [{}, {"small": 3.0}])
def test_runs_are_shortened_until_a_wave_has_begun(known: dict[str, float], monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a head start is all that an earlier process has done."""

    class Calibrated(Exception):
        pass

    def restored(engine: Engine, *, ship: bool) -> int:
        engine.first_epochs = known
        return 1

    def calibrated(engine: Engine, shorten: bool = True) -> None:
        assert shorten == (not known)
        raise Calibrated

    monkeypatch.setattr(engine_module, "resume", restored)
    monkeypatch.setattr(engine_module, "calibrate", calibrated)
    with pytest.raises(Calibrated):
        search_plans([small_plan()], DATA, budget=60.0, split=hold_out())


def test_further_seeds_leave_time_for_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reserve, "cost", lambda engine: 1e9)
    timed(monkeypatch, 1e-6)
    found = search_plans([small_plan()], DATA, budget=5.0, split=hold_out(), seeds=2, on_progress=Stop())
    assert len(found.trials) > 1 and not any("before a network was evaluated" in note for note in found.notes)
