"""More networks than the memory setting holds: waves are smaller, and what ships trains in parts; nothing that was found is lost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from tests.search.small import ACCURACY, config, hold_out, same_bits, small_plan, two_classes, two_folds

from temperance.search import Search, ending, search_plans
from temperance.search.engine import Engine
from temperance.search.race import Race, Trial
from temperance.search.refit import refit
from temperance.train.ways import OverMemory

DATA, PLAN = two_classes(), small_plan()


def race(members: int, memory: int) -> Race:
    return Race([config(PLAN, i) for i in range(members)], DATA, hold_out().folds, ACCURACY, patience=9, memory=memory)


def memory_for(members: int) -> int:
    """The least setting for which so many members can be planned."""
    low, high = 0, 1 << 30
    while high - low > 1:
        middle = (low + high) // 2
        try:
            race(members, middle)
            high = middle
        except OverMemory:
            low = middle
    return high


@pytest.mark.parametrize("members", [1, 3])
def test_a_plan_says_how_many_members_the_memory_holds(members: int) -> None:
    (plan,) = race(1, memory_for(members)).groups[0][1].plans
    assert plan.holds == members
    with pytest.raises(OverMemory, match=rf"Expected `memory` to hold {members + 1} members"):
        race(members + 1, memory_for(members))


@pytest.mark.parametrize(("split", "of_each_wave"), [(hold_out(), 3), (two_folds(), 1)])
def test_waves_have_as_many_trials_as_the_memory_holds(split: Any, of_each_wave: int, engines: list[Engine]) -> None:
    found = search_plans([PLAN], DATA, trials=7, split=split, memory=memory_for(3), refits=8)
    assert len(found.trials) == 7 and all(t.status != "not started" for t in found.trials)
    waves = [row["members"] for row in engines[0].rungs if row["epoch"] < 3]
    assert max(waves, default=of_each_wave) == of_each_wave
    assert len(found.refit.networks) == 8 and found.refit.how == "same_epochs"


def limited(monkeypatch: pytest.MonkeyPatch, most: int, error: Exception) -> list[int]:
    """The last training has memory for so many networks at a time; returns how many were tried."""
    tried: list[int] = []

    def train(picks: Sequence[Trial], *arguments: Any, **settings: Any) -> Any:
        tried.append(len(picks))
        if len(picks) > most:
            raise error
        return refit(picks, *arguments, **settings)

    monkeypatch.setattr(ending, "refit", train)
    return tried


def find(**settings: Any) -> Search:
    return search_plans([PLAN], DATA, trials=4, split=hold_out(), refits=5, **settings)


NO_MEMORY = [OverMemory("too many"), MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")]


@pytest.mark.parametrize(
    ("error", "most", "expected"), [(NO_MEMORY[0], 1, [5, 3, 2, 1, 1, 1, 2, 1, 1]), (NO_MEMORY[1], 2, [5, 3, 2, 1, 2]), (NO_MEMORY[2], 2, [5, 3, 2, 1, 2])]
)
def test_what_ships_trains_in_parts_with_the_same_bits(error: Exception, most: int, expected: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = find()
    tried = limited(monkeypatch, most, error)
    parts = find()
    assert tried == expected and parts.refit.how == "same_epochs"
    assert len(parts.refit.networks) == 5 and all(map(same_bits, parts.refit.networks, whole.refit.networks))
    assert [course.seed for course in parts.refit.courses] == [course.seed for course in whole.refit.courses]


def test_where_not_even_one_can_be_trained_the_search_ships_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    limited(monkeypatch, 0, OverMemory("too many"))
    found = find()
    assert found.refit.how == "none" and "the refit ran out of memory; the model is the best state of the search" in found.notes
    assert found.winner.population is not None and same_bits(found.model, found.winner.population.model(found.winner.indices[0]))


def test_then_all_configurations_of_the_average_ship_from_the_search(monkeypatch: pytest.MonkeyPatch, engines: list[Engine]) -> None:
    found = find()
    limited(monkeypatch, 0, MemoryError())
    picks = [t for t in found.trials if t.score == t.score][:2]
    made = ending._trained(engines[0], picks, "same_epochs")
    assert (made.how, made.why, [c.number for c in made.configs]) == ("none", "ran out of memory", [t.config.number for t in picks])


def test_a_control_that_does_not_fit_costs_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    def control(*arguments: Any, **settings: Any) -> Any:
        raise OverMemory("too many")

    monkeypatch.setattr(ending, "control", control)
    found = find()
    assert found.refit.how == "same_epochs" and found.without is None and "without" not in found.gap
    assert "there was not enough memory to train the winner without its cocktail" in found.notes


def test_other_errors_are_not_taken_for_want_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    limited(monkeypatch, 0, RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        find()
