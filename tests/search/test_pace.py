"""Between waves the networks that would ship train for a few steps: what ships is planned by their pace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.search.small import ACCURACY, config, hold_out, small_plan, two_classes, two_folds

from temperance.core.criterion import criterion_for
from temperance.core.errors import ConfigError
from temperance.search import pace, rungs
from temperance.search.budget import Clock
from temperance.search.calibration import measure
from temperance.search.costs import CHECKS, Costs
from temperance.search.engine import Engine
from temperance.search.few_runs import FewRuns
from temperance.search.pace import EVERY, TIMED, WARM, look, shipping
from temperance.search.pool import Pool
from temperance.search.programs import Programs
from temperance.search.race import Race, Trial
from temperance.search.reserve import SURELY, reserved
from temperance.search.search import search_plans
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


@pytest.fixture(autouse=True)
def nothing_to_choose_from(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The trials of :func:`engine_of` have trained nothing; gives the real function."""
    choose = pace.chosen
    monkeypatch.setattr(pace, "chosen", lambda engine, top, seconds: [])
    return choose


@pytest.fixture
def paces(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int]]:
    """The plan, the members and their steps of every measurement."""
    seen: list[tuple[str, int, int]] = []
    stepped = list[int]()
    monkeypatch.setattr(Costs, "step", lambda self, plan, members: 1e-3)
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


def test_what_would_ship_is_the_average_once_one_is_chosen(monkeypatch: pytest.MonkeyPatch, paces: list[tuple[str, int, int]]) -> None:
    engine = engine_of([small_plan("one"), small_plan("other")], [0, 1, 1, 0], ensemble=3, refits=4)
    one, other = engine.trials[:2]
    assert shipping(engine, one) == engine.trials[:3]
    monkeypatch.setattr(pace, "chosen", lambda engine, top, seconds: [other, other])
    look(engine)
    assert paces == [("other", 24, WARM + TIMED)]
    assert shipping(engine, one) == [other] * 4 and shipping(engine, one, 3) == [other] * 3
    assert shipping(engine_of([small_plan()], [0, 0], ensemble=1, refits=2), one) == [one] * 2


def test_an_average_is_chosen_of_what_was_trained(nothing_to_choose_from: Any) -> None:
    chosen = nothing_to_choose_from
    engine = engine_of([small_plan("one"), small_plan("other")], [], ensemble=5)
    race = engine.start(engine.propose(6, first=True), "round 1")
    engine.advance(race, 2)
    engine.close("out of time")
    top = engine.best()
    assert chosen(engine, top, 60.0) == [], "what a prediction takes is not known"
    engine.costs._check["one"] = engine.costs._check["other"] = 1.0
    picks = chosen(engine, top, 60.0)
    assert picks[0] is top and 1 <= len(picks) <= 5 and all(any(p is t for t in engine.trials) for p in picks)
    assert chosen(engine, top, 1.9) == [], "no time for a single prediction"
    assert chosen(engine, top, 3.9) == [], "time for the best one alone"
    assert len(chosen(engine, top, 4.0)) >= 1, "for two"
    engine.top_trials()[1].outcomes[0].state = None
    assert len(chosen(engine, top, 4.0)) >= 1, "for two that have a state"
    engine.average = picks
    assert chosen(engine, top, 1.9) == picks, "the last choice stands"
    two = engine_of([small_plan("one"), small_plan("other")], [], ensemble=5)
    two.folds = two_folds().folds
    two.trials, two.record, two.costs = engine.trials, engine.record, engine.costs
    assert chosen(two, top, 60.0) == [], "none was trained on two folds"
    engine.settings = replace(engine.settings, ensemble=1)
    assert chosen(engine, top, 60.0) == [], "the winner ships alone"


def test_a_choice_needs_another_trial_and_rows_to_choose_by() -> None:
    one, other, third = engine_of([small_plan()], [0, 0, 0]).trials
    data = two_classes(20)
    pool = Pool([one, other], torch.zeros(2, 20, 2), data, torch.arange(20))
    assert pool.offers(one) and pool.offers(other) and not pool.offers(third)
    assert not Pool([one], pool.predictions[:1], data, pool.places).offers(one)
    assert not Pool([one, other], pool.predictions[:, :19], data.take(range(19)), pool.places[:19]).offers(one)


def test_a_choice_over_folds_counts_a_prediction_on_each(nothing_to_choose_from: Any) -> None:
    engine = Engine([small_plan(epochs=20.0)], two_classes(), two_folds(), replace(SETTINGS, ensemble=3), Clock(1e3), Ledger(None, True), Programs(False))
    race = engine.start(engine.propose(4, first=True), "round 1")
    engine.advance(race, 2)
    engine.close("out of time")
    engine.costs._check["small"] = 1.0
    assert nothing_to_choose_from(engine, engine.best(), 7.9) == []
    assert nothing_to_choose_from(engine, engine.best(), 8.0)[0] is engine.best()


@pytest.mark.parametrize("error", [TimeoutError, MemoryError, RuntimeError("can't allocate memory")])
def test_without_time_or_memory_the_last_choice_stands(monkeypatch: pytest.MonkeyPatch, nothing_to_choose_from: Any, error: Any) -> None:
    def failing(*given: Any, **settings: Any) -> Any:
        raise error

    monkeypatch.setattr(pace, "pool_of", failing)
    engine = engine_of([small_plan()], [0, 0])
    engine.average = engine.trials[1:]
    assert nothing_to_choose_from(engine, engine.trials[0], 60.0) == engine.average
    error = RuntimeError("a mistake")
    with pytest.raises(RuntimeError, match="mistake"):
        nothing_to_choose_from(engine, engine.trials[0], 60.0)


def test_time_is_kept_for_the_average_and_for_the_winner_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    dear, cheap = small_plan("dear"), small_plan("cheap")
    engine = engine_of([dear, cheap], [0, 1, 1], ensemble=4, refits=4)
    monkeypatch.setattr(engine, "retraining", lambda picks: sum(3.0 if t.config.plan is engine.plans[0] else 1.0 for t in picks))
    monkeypatch.setattr(engine, "controlling", lambda trial: 2.0)
    winner, other = engine.trials[:2]

    def kept() -> float:
        return reserved(engine, 1e3) - engine.settings.spare - 0.5

    engine.average = [winner, other, other, other]
    assert kept() == 6 * (3.0 + 3 * 1.0) + 2.0, "24 networks of the average, and the control"
    engine.average = [other]
    assert kept() == 24.0 + 2.0
    monkeypatch.setattr("temperance.search.reserve.MOST_SHIPPED", 4)
    assert kept() == SURELY * (12.0 + 2.0), "the winner with four seeds, should the average be no better"
    engine.trials[0], engine.trials[2] = engine.trials[2], engine.trials[0]
    engine.trials[0].outcomes[0].history[0]["validation_score"] = 0.99
    engine.record, engine._sorted = engine.trials[:1], None
    assert kept() == SURELY * (12.0 + 2.0), "the dear plan is among the leading four still, and may be chosen"
    engine.average = [engine.trials[0]]
    monkeypatch.setattr(engine, "retraining", lambda picks: sum(9.0 if t is engine.trials[1] else 1.0 for t in picks))
    assert kept() == SURELY * (4.0 + 2.0), "of each plan its best one"
    engine.settings = replace(engine.settings, ensemble=1)
    assert kept() == SURELY * (4.0 + 2.0), "the winner alone ships"


def test_with_seeds_of_the_winner_alone_these_are_measured(paces: list[tuple[str, int, int]]) -> None:
    look(engine_of([small_plan()], [0, 0], ensemble=1, refits=4))
    assert paces == [("small", 24, WARM + TIMED)]


def test_the_members_have_the_cocktails_and_seeds_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, made = engine_of([small_plan()], [0, 0], ensemble=2), list[Race]()
    monkeypatch.setattr(Costs, "step", lambda self, plan, members: 1e-3)
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


@pytest.mark.parametrize(("each", "measured"), [(0.4, 4), (0.5, 2), (1.6, 1)])
def test_of_costly_networks_a_part_is_measured(each: float, measured: int, monkeypatch: pytest.MonkeyPatch, paces: list[tuple[str, int, int]]) -> None:
    """Six steps of so many networks in a hundredth of a thousand seconds."""
    monkeypatch.setattr(pace, "MOST_SHIPPED", 4)
    monkeypatch.setattr(Costs, "step", lambda self, plan, members: each * members)
    look(engine_of([small_plan()], [0] * 4, refits=4))
    assert paces == [("small", measured, WARM + TIMED)]


def test_nor_of_networks_of_which_a_few_steps_take_long(monkeypatch: pytest.MonkeyPatch, paces: list[tuple[str, int, int]]) -> None:
    """24 networks, six steps, a hundredth of 1,000 seconds: 1.67 seconds a step at most."""
    engine = engine_of([small_plan()], [0, 0], seconds=1000.0)
    for seconds, measured in ((1.7, 0), (1.6, 1)):
        engine.paced = 0.0
        monkeypatch.setattr(Costs, "step", lambda self, plan, members, seconds=seconds: seconds)
        look(engine)
        assert len(paces) == measured


def test_the_pace_is_that_of_a_single_step_and_a_slow_one_among_them_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of 9, 8, 1, 50, 2 and 3 seconds, of which the first two are for warming up: the median of 1, 50, 2 and 3 is 2.5."""
    now, noted, took = [0.0], list[float](), iter([9.0, 8.0, 1.0, 50.0, 2.0, 3.0])
    engine = engine_of([small_plan()], [0, 0])
    monkeypatch.setattr(Costs, "step", lambda self, plan, members: 1e-3)
    monkeypatch.setattr(Costs, "pace", lambda self, plan, members, seconds: noted.append(seconds))
    monkeypatch.setattr(engine, "late", lambda: False)
    run = Population.run

    def timed(self: Population, until: int | None = None, **settings: Any) -> Any:
        now[0] += next(took)
        return run(self, until, **settings)

    monkeypatch.setattr(Population, "run", timed)
    monkeypatch.setattr(pace.time, "monotonic", lambda: now[0])
    engine.clock = Clock(1000.0, start=0.0)
    look(engine)
    assert noted == [2.5]


def test_of_runs_shorter_than_that_nothing_is_told(paces: list[tuple[str, int, int]]) -> None:
    engine = engine_of([small_plan()], [0, 0])
    for plan in (engine.plans[0], *(t.config.plan for t in engine.trials)):
        object.__setattr__(plan, "epochs", 1.0)  # two steps
    look(engine)
    assert not paces


def test_when_the_time_is_over_only_what_was_never_measured_is(monkeypatch: pytest.MonkeyPatch, paces: list[tuple[str, int, int]]) -> None:
    engine = engine_of([small_plan()], [0, 0], seconds=1000.0)
    monkeypatch.setattr(Engine, "late", lambda self: True)
    look(engine)
    engine.clock.start -= EVERY * 1000.0
    look(engine)
    assert len(paces) == 1


@pytest.mark.parametrize("error", [ConfigError("too little memory"), MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_networks_that_need_too_much_memory_together_are_not_measured(
    monkeypatch: pytest.MonkeyPatch, paces: list[tuple[str, int, int]], error: Exception
) -> None:
    def race_on(*given: Any) -> Race:
        raise error

    engine = engine_of([small_plan()], [0, 0])
    monkeypatch.setattr(engine, "race_on", race_on)
    look(engine)
    assert not paces
    monkeypatch.setattr(engine, "race_on", lambda *given: 1 / 0)
    engine.paced = 0.0
    with pytest.raises(ZeroDivisionError):
        look(engine)


def test_before_costs_are_measured_there_is_nothing_to_compare_with(monkeypatch: pytest.MonkeyPatch, paces: list[tuple[str, int, int]]) -> None:
    """A search that is resumed when its time is over has measured nothing."""
    engine = engine_of([small_plan()], [0, 0])
    monkeypatch.undo()
    made = list[Any]()
    monkeypatch.setattr(engine, "race_on", lambda *given: made.append(given))
    look(engine)
    assert not made


def test_a_search_looks_after_every_wave_and_again_when_steps_are_measured_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = list[tuple[int, bool]]()
    monkeypatch.setattr(rungs, "look", lambda engine: looked.append((len(engine.rungs), engine.race is None)))
    found = search_plans([small_plan(epochs=4.0)], two_classes(), trials=40, split=hold_out(), retrain=None)
    waves = {row["round"] for row in found.rungs}
    assert len(looked) == len(waves) > 1 and all(over for _, over in looked), "between waves, where a shared study is not locked"
    engine = engine_of([small_plan()], [0, 0])
    engine.paced = 500.0
    measure(engine, engine.plans[0])
    assert engine.paced == 0.0


def test_networks_that_train_for_less_cost_less(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, asked = engine_of([small_plan("one"), small_plan("other")], [0, 0, 0, 1]), list[tuple[str, float, float]]()
    monkeypatch.setattr(Costs, "again", lambda self, plan, members, epochs, checks, otherwise: asked.append((plan.name, members, epochs)) or 7.0)
    for trial, epochs in zip(engine.trials, (5.0, 20.0, 10.0, 3.0), strict=True):
        trial.outcomes[0].history[0]["epoch"] = epochs
    assert engine.retraining(engine.trials) == engine.grown * 14.0
    assert asked == [("one", 1.75, 20.0), ("other", 1.0, 3.0)], "35 epochs are those of 1.75 networks"
    engine.trials[3].outcomes[0].history[0]["epoch"] = 0.0
    assert engine.retraining(engine.trials[3:]) == 0.0


def test_the_control_is_told_with_a_check_in_every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, asked = engine_of([small_plan()], [0, 0]), list[float]()
    monkeypatch.setattr(Costs, "again", lambda self, plan, members, epochs, checks=CHECKS, otherwise=1.0: asked.append(checks) or 1.0)
    engine.controlling(engine.trials[0])
    engine.retraining(engine.trials)
    assert asked == [engine.trials[0].epochs, CHECKS] == [3.0, 8]


def test_a_race_that_measures_takes_the_rows_of_the_search_where_these_are_those_of_the_one_hold_out(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = engine_of([small_plan()], [0, 0])
    held = engine.rows
    monkeypatch.setattr("temperance.search.race.seen", lambda *given: 1 / 0)
    race = engine.race_on([t.config for t in engine.trials], engine.folds[:1])
    assert race.rows == len(held.train)
    monkeypatch.undo()
    engine.split = two_folds()
    engine.folds = engine.split.folds
    engine.__dict__.pop("rows")
    assert len(engine.race_on([engine.trials[0].config], engine.folds[:1]).folds) == 1 < len(engine.folds)


def test_what_would_ship() -> None:
    engine = engine_of([small_plan()], [0] * 4, ensemble=3)
    top = engine.trials[0]
    assert shipping(engine, top) == engine.trials[:3]
    assert shipping(engine, top, 5) == [*engine.trials[:3], *engine.trials[:2]]
    engine.settings = replace(engine.settings, ensemble=1, refits=2)
    assert shipping(engine, top) == [top, top] and shipping(engine, top, 3) == [top] * 3
