"""Between waves the networks that would ship train for a few steps: what ships is planned by their pace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from tests.search.small import ACCURACY, config, hold_out, small_plan, two_classes

from temperance.core.criterion import criterion_for
from temperance.search.budget import Clock
from temperance.search.costs import Costs
from temperance.search.engine import Engine
from temperance.search.few_runs import FewRuns
from temperance.search.pace import EVERY, TIMED, WARM, look, shipping
from temperance.search.programs import Programs
from temperance.search.race import Race, Trial
from temperance.search.settings import Settings
from temperance.search.space import StaticPlan
from temperance.search.study import Ledger
from temperance.train.outcome import Outcome
from temperance.train.population import Population

SETTINGS = Settings(ACCURACY, criterion_for("classification"), ensemble=8)


def engine_of(plans: Sequence[StaticPlan], trials: Sequence[int], seconds: float | None = 1000.0, **settings: Any) -> Engine:
    """An engine with trials of these plans, the best one first."""
    asked = replace(SETTINGS, **settings)
    engine = Engine([replace(plan, epochs=20.0) for plan in plans], two_classes(), hold_out(), asked, Clock(seconds), Ledger(None, True), Programs(False))
    for i, which in enumerate(trials):
        history = [{"epoch": 3.0, "step": 6, "validation_score": 0.9 - 0.01 * i, "validation_loss": 0.5}]
        engine.trials.append(Trial(config(engine.plans[which], i), [Outcome(history=history, best=0, state={})], status="finished", best=0))
    engine.record = engine.trials[:1]
    return engine


@pytest.fixture
def paces(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int]]:
    """The plan, the members and their steps of every measurement."""
    seen: list[tuple[str, int, int]] = []
    stepped = list[int]()
    run = Population.run

    def counted(self: Population, until: int | None = None, **settings: Any) -> Any:
        out = run(self, until, **settings)
        stepped.append(self.step)
        return out

    def noted(self: Costs, plan: StaticPlan, members: int, seconds: float) -> None:
        assert seconds > 0
        seen.append((plan.name, members, stepped[-1]))

    monkeypatch.setattr(Population, "run", counted)
    monkeypatch.setattr(Costs, "pace", noted)
    return seen


def test_every_plan_is_measured_with_the_networks_of_it_that_would_ship(paces: list[tuple[str, int, int]]) -> None:
    one, other = small_plan("one"), small_plan("other")
    engine = engine_of([one, other, small_plan("third")], [0, 1, 1, 0, 1, 2, *[1] * 20], ensemble=5)
    look(engine)
    last = WARM + TIMED
    assert paces == [("one", 10, last), ("other", 14, last)], "24 networks: the best five, over and over"


def test_with_seeds_of_the_winner_alone_these_are_measured(paces: list[tuple[str, int, int]]) -> None:
    look(engine_of([small_plan()], [0, 0], ensemble=1, refits=4))
    assert paces == [("small", 24, WARM + TIMED)]


def test_the_members_have_the_cocktails_and_seeds_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, made = engine_of([small_plan()], [0, 0], ensemble=2), list[Race]()
    race_on = engine.race_on
    monkeypatch.setattr(engine, "race_on", lambda configs, folds: made.append(race_on(configs, folds)) or made[-1])
    look(engine)
    configs = [trial.config for trial in made[0].trials]
    assert [c.strengths for c in configs[:2]] == [t.config.strengths for t in engine.trials] and len({c.seed for c in configs}) == len(configs) == 24
    assert all(c.number < 0 for c in configs), "no trial of the search"
    assert len(engine.trials) == 2 and engine.race is None


def test_nothing_is_measured_where_it_tells_nothing(paces: list[tuple[str, int, int]]) -> None:
    few = engine_of([small_plan()], [0, 0])
    few.few = FewRuns(few.plans[0], 2)
    for engine in (engine_of([small_plan()], [0, 0], seconds=None), engine_of([small_plan()], [0, 0], retrain=None), engine_of([small_plan()], []), few):
        look(engine)
    assert not paces


def test_nor_soon_after_the_last_time(paces: list[tuple[str, int, int]]) -> None:
    engine = engine_of([small_plan()], [0, 0], seconds=1000.0)
    look(engine)
    look(engine)
    assert len(paces) == 1
    engine.clock.start -= EVERY * 1000.0
    look(engine)
    assert len(paces) == 2


def test_nor_of_networks_of_which_a_few_steps_take_long(monkeypatch: pytest.MonkeyPatch, paces: list[tuple[str, int, int]]) -> None:
    """24 networks, six steps, a hundredth of 1,000 seconds: 1.67 seconds a step at most."""
    engine = engine_of([small_plan()], [0, 0], seconds=1000.0)
    for seconds, measured in ((1.7, 0), (1.6, 1)):
        engine.paced = 0.0
        monkeypatch.setattr(Costs, "step", lambda self, plan, members, seconds=seconds: seconds * members / 24)
        look(engine)
        assert len(paces) == measured


def test_what_would_ship() -> None:
    engine = engine_of([small_plan()], [0] * 4, ensemble=3)
    top = engine.trials[0]
    assert shipping(engine, top) == engine.trials[:3]
    assert shipping(engine, top, 5) == [*engine.trials[:3], *engine.trials[:2]]
    engine.settings = replace(engine.settings, ensemble=1, refits=2)
    assert shipping(engine, top) == [top, top] and shipping(engine, top, 3) == [top] * 3
