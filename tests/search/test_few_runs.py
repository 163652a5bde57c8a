"""Searches whose time holds few full runs: what is tried, for how long, and what ships."""

from __future__ import annotations

import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from tests.search.small import hold_out, same_bits, small_plan, two_classes

from temperance.core.cocktail import Cocktail
from temperance.core.schedule import FlatCosine
from temperance.nets import MLP
from temperance.search import Search, search_plans
from temperance.search.costs import MARGIN, STARTING, Costs
from temperance.search.few_runs import FULL_RUNS, SEARCHED, FewRuns, left_of
from temperance.search.refit import PACE, paced
from temperance.search.resume import CUT
from temperance.search.space import Known, StaticPlan
from temperance.train.follow import follow
from temperance.train.member import Member
from temperance.train.optimizers import AdamW
from temperance.train.outcome import Outcome
from temperance.train.population import Population

DATA = two_classes()
EPOCHS, BUDGET = 60.0, 60.0
SPEC = {"network": "MLP", "arguments": {"in_features": 3, "out_features": 2, "hidden": (8,)}}


def plans(epochs: float, recipes: int = 3) -> list[StaticPlan]:
    """A small network, and two that are better: with two steps an epoch, a run of 80 epochs is worth having."""
    known = [Known({"dropout.rate": 0.1 * (i + 1)}, 0.01, 1.0) for i in range(recipes)]
    good = replace(
        small_plan("good", epochs=epochs), best=True, known=known, first=recipes, alone=1.0, spec=SPEC, short=Known({"input_noise.sigma": 0.2}, 0.01, 1.0)
    )
    return [small_plan("plain"), good, replace(good, name="half")]


def find(monkeypatch: pytest.MonkeyPatch, a_step: dict[str, float], budget: float = 60.0, epochs: float = EPOCHS, **settings: Any) -> Search:
    """A search in which a step of these plans is said to take so many seconds; what it really takes is next to nothing."""

    def measure(self: Costs, plan: StaticPlan, race: Any) -> None:
        self.steps[plan.name] = race.steps_an_epoch(plan)
        self._cost[plan.name] = (0.0, a_step[plan.name])

    monkeypatch.setattr(Costs, "measure_one", measure)
    monkeypatch.setattr(Costs, "observe", lambda self, plan, members, epochs, seconds: None)
    return search_plans(plans(epochs), DATA, budget=budget, split=hold_out(), **settings)


def test_the_first_plan_for_which_there_is_time_is_the_only_one_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the better one 120 steps, as many of the control, and of what ships twice as many take longer than there is."""
    found = find(monkeypatch, {"good": 1.0, "half": 0.1})
    (alone,) = found.trials
    assert (alone.config.plan.name, alone.status) == ("half", "finished")
    assert dict(alone.config.strengths)["dropout.rate"] == pytest.approx(0.1)


@pytest.mark.parametrize(("a_step", "trials"), [(0.07, 1), (0.04, 2)])
def test_trials_are_as_many_full_runs_as_a_share_of_the_time_holds(monkeypatch: pytest.MonkeyPatch, a_step: float, trials: int) -> None:
    found = find(monkeypatch, {"good": a_step, "half": 0.0}, budget=BUDGET)
    whole = MARGIN * a_step * 2 * EPOCHS + STARTING
    assert whole * FULL_RUNS > BUDGET and int(SEARCHED * BUDGET / whole) == trials
    assert [t.config.plan.name for t in found.trials] == ["good"] * trials and {t.status for t in found.trials} == {"finished"}
    assert [round(t.config.strengths["dropout.rate"], 3) for t in found.trials] == [0.1, 0.2][:trials], "the recipes in their order"
    assert found.without is not None and found.without.best >= 0 and found.trials[0].epochs == found.without.epochs == EPOCHS
    (note,) = [note for note in found.notes if "large part of the budget" in note]
    assert f"to try {trials} configuration" in note


def test_no_more_trials_than_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(find(monkeypatch, {"good": 0.04, "half": 0.0}, budget=BUDGET, trials=1).trials) == 1


@pytest.mark.parametrize(("status", "late", "more"), [("finished", False, 2), (CUT, False, 3), ("diverged at step 3", False, 2), ("finished", True, 0)])
def test_a_search_that_goes_on_tries_what_was_not_finished(status: str, late: bool, more: int) -> None:
    engine = SimpleNamespace(trials=[SimpleNamespace(status=status)], most=lambda: 9, late=lambda: late)
    few = FewRuns(small_plan(), 3)
    assert left_of(engine, few, first=False) == more and left_of(engine, few, first=True) == 3  # pyright: ignore[reportArgumentType] -- what is asked of it


def test_where_not_one_full_run_fits_into_the_share_it_is_shorter_and_what_ships_trains_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The recipe of what ships says for how long, through the whole of its schedule, and trains it again to the last bit."""
    found = find(monkeypatch, {"good": 0.1, "half": 0.0}, epochs=200.0, budget=200.0, keep_test=True)
    epochs = found.trials[0].epochs
    assert 80.0 <= epochs == pytest.approx(200 * SEARCHED * 200 / (MARGIN * 0.1 * 400 + STARTING), abs=1.0) and found.without is not None
    course = found.refit.courses[0]
    assert epochs < course.epochs <= 200.0 and course.progress == 1.0 and found.refit.outcomes[0].status == "finished"
    rows = [*hold_out().train.tolist(), *hold_out().validation.tolist()]  # pyright: ignore[reportOptionalMemberAccess] -- there is one
    again = follow(found.recipe, DATA.take(sorted(rows)))
    assert all(map(same_bits, again.networks, found.refit.networks))


def test_of_short_runs_several_networks_ship_and_that_of_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """They begin with what suits short runs, and no two have a seed in common."""
    found = find(monkeypatch, {"good": 0.35, "half": 0.0}, epochs=6.0, refits=3, keep_test=True)
    assert [round(t.config.strengths["input_noise.sigma"], 3) for t in found.trials] == [0.2, 0.0]
    courses = found.refit.courses
    assert len(courses) == len(found.refit.networks) == 4 and len({course.seed for course in courses}) == 4
    assert courses[-1].seed == found.winner.config.seed and {course.epochs for course in courses[:3]} == {6.0}
    assert found.winner.population is not None
    (index,) = found.winner.indices
    assert same_bits(found.refit.networks[-1], found.winner.population.model(index))


def test_what_trains_slower_than_estimated_comes_to_the_end_of_its_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step is said to take a second: after a tenth of 2,000, which is 200 seconds, as many as the time left allows, less a margin."""
    now = [0.0]
    member = Member(Cocktail(), AdamW(FlatCosine(0.01, flat=0.5)), 0)
    population = Population(MLP(3, 2, hidden=(4,)), [member], DATA, batch_size=30, total_steps=2000, compile=False)
    train = population.run

    def run(until: int | None = None, **settings: Any) -> list[Outcome]:
        now[0] += until or 0
        return train(until, on_progress=settings.get("on_progress"))

    monkeypatch.setattr(population, "run", run)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    assert paced(population, [2000], 1e9, 1) == [2000] and population.total_steps == 2000 and population.step == 200
    now[0] = 0.0
    assert paced(population, [2000], 400.0, 390) == [200 + int(PACE * 200)] == [population.total_steps]
    now[0] = 0.0
    assert paced(population, [2000], 399.0, 390) == [2000], "too few to be worth anything: nothing is planned anew"
    (outcome,) = train()
    assert outcome.steps == 390 and outcome.history[-1]["learning_rate"] == pytest.approx(0.0, abs=1e-9)


def test_a_plan_without_time_rests_and_the_others_are_searched_in_waves(monkeypatch: pytest.MonkeyPatch) -> None:
    found = find(monkeypatch, {"good": 1e4, "half": 1e4}, budget=2.0)
    assert {t.config.plan.name for t in found.trials} == {"plain"} and len(found.trials) > 1
    assert not any("large part" in note for note in found.notes)


def test_a_cheap_plan_is_searched_beside_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    found = find(monkeypatch, {"good": 1e-7, "half": 1e-7}, budget=10.0)
    assert {t.config.plan.name for t in found.trials} == {"plain", "good"}
