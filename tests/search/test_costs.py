"""Seconds of training: zero before a measurement, linear in members and epochs, corrected by what is seen."""

from __future__ import annotations

import itertools
import math
import time
from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.search.small import ACCURACY, config, hold_out, small_plan, two_classes

from temperance.search.costs import CHECKS, FEW, MARGIN, MORE, SOME, STARTING, Costs
from temperance.search.race import Race

PLAN = small_plan()


def start(members: int) -> Race:
    return Race([config(PLAN, i) for i in range(members)], two_classes(), hold_out().folds, ACCURACY, patience=9, memory="1G")


def measured(
    monkeypatch: pytest.MonkeyPatch,
    fixed: float = 2.0,
    each: float = 0.5,
    sizes: list[int] | None = None,
    check: float = 0.0,
    most: float = math.inf,
    steps: list[int] | None = None,
) -> Costs:
    """Every step takes so many seconds, and so many a member; a check takes so many a member."""
    costs, now = Costs([PLAN]), [0.0]

    def run(members: int) -> Race:
        race = start(members)
        _, population, _ = race.groups[0]

        def step(until: int) -> None:
            if steps is not None:
                steps.append(until)
            now[0] += fixed + each * members

        def judge() -> None:
            now[0] += check * members

        population.run, population.check = step, judge  # pyright: ignore[reportAttributeAccessIssue] -- no step is trained
        if sizes is not None:
            sizes.append(members)
        return race

    with monkeypatch.context() as patch:
        patch.setattr(time, "monotonic", lambda: now[0])
        costs.measure(PLAN, run, most)
    return costs


@pytest.mark.parametrize(("each", "larger"), [(0.004, MORE), (0.04, SOME)])
def test_large_networks_are_measured_in_a_smaller_population(monkeypatch: pytest.MonkeyPatch, each: float, larger: int) -> None:
    sizes: list[int] = []
    costs = measured(monkeypatch, fixed=0.01, each=each, sizes=sizes)
    assert sizes == [FEW, larger]
    assert costs.seconds(PLAN, 20, 1.0) == pytest.approx(MARGIN * 2.0 * (0.01 + 20 * each) + STARTING)


def test_slow_steps_are_measured_no_longer_than_the_time_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two members, one step of them, and what such steps take is all theirs."""
    sizes: list[int] = []
    steps: list[int] = []
    costs = measured(monkeypatch, fixed=2.0, each=0.5, sizes=sizes, most=2.5, steps=steps)
    assert sizes == [FEW] and steps == [1, 2] and costs.step(PLAN, 10) == pytest.approx(10 * 3.0 / FEW)
    assert costs.holds[PLAN.name] > 1000


def test_nothing_is_known_before_a_measurement() -> None:
    costs = Costs([PLAN])
    costs.observe(PLAN, 5, 1.0, 3.0)
    assert (costs.seconds(PLAN, 8, 3.0), costs.filling(PLAN)) == (0.0, 0.0)


def test_two_sizes_tell_the_fixed_part_from_that_of_a_member(monkeypatch: pytest.MonkeyPatch) -> None:
    costs = measured(monkeypatch)
    steps = 30 / 15  # an epoch
    assert costs.seconds(PLAN, 8, 3.0) == pytest.approx(MARGIN * 3.0 * steps * (2.0 + 8 * 0.5) + STARTING)
    assert costs.filling(PLAN) == pytest.approx(4.0)


def test_an_epoch_holds_a_check_of_every_member(monkeypatch: pytest.MonkeyPatch) -> None:
    costs = measured(monkeypatch, check=3.0)
    assert costs.seconds(PLAN, 8, 3.0) == pytest.approx(MARGIN * 3.0 * (2.0 * (2.0 + 8 * 0.5) + 8 * 3.0) + STARTING)
    assert costs.member(PLAN) == pytest.approx(2.0 * (0.5 + 2.0 / MORE) + 3.0)
    assert Costs([PLAN]).member(PLAN) == 0.0


def test_what_ships_is_told_by_the_pace_of_its_own_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """24 members took 7 seconds a step in place of 14: half of the estimate for any number, with a check in each of the first eight epochs."""
    costs = measured(monkeypatch, check=3.0)
    assert costs.again(PLAN, 8, 3.0, otherwise=0.5) == 0.5 * costs.seconds(PLAN, 8, 3.0) > 0
    costs.pace(PLAN, 24, 7.0)
    for epochs, checks in ((3.0, 3.0), (20.0, CHECKS)):
        assert costs.again(PLAN, 8, epochs) == pytest.approx(MARGIN * (epochs * 2.0 * 6.0 / 2 + checks * 8 * 3.0) + STARTING)
    assert costs.again(PLAN, 8, 20.0, checks=15.0) == pytest.approx(MARGIN * (20 * 2.0 * 6.0 / 2 + 15 * 8 * 3.0) + STARTING)
    costs.measure(PLAN, start)
    assert costs.again(PLAN, 8, 3.0) == costs.seconds(PLAN, 8, 3.0), "the pace was that of other steps"


def test_waves_that_let_expect_less_are_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    costs = measured(monkeypatch)
    costs.pace(PLAN, 24, 14.0)  # as measured first
    assert costs.again(PLAN, 8, 3.0, otherwise=0.5) == 0.5 * costs.seconds(PLAN, 8, 3.0)
    assert costs.again(PLAN, 8, 3.0, otherwise=2.0) == pytest.approx(MARGIN * 3 * 2 * 6.0 + STARTING)


def test_a_machine_that_has_become_busy_since_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    costs = measured(monkeypatch)
    for _ in range(3):
        costs.observe(PLAN, 8, 3.0, 36.0 * 2)  # twice as long as estimated, before the pace is measured
    costs.pace(PLAN, 24, 7.0)
    before = costs.again(PLAN, 8, 3.0)
    assert before == pytest.approx(MARGIN * 3 * 2 * 6.0 / 2 + STARTING)
    costs.observe(PLAN, 8, 3.0, 36.0 * 4)
    assert costs.again(PLAN, 8, 3.0) - STARTING == pytest.approx(2 * (before - STARTING), rel=1e-3)
    for _ in range(3):
        costs.observe(PLAN, 8, 3.0, 36.0)
    assert costs.again(PLAN, 8, 3.0) == pytest.approx(before), "a pace does not become faster by what waves do"


def test_no_pace_is_known_of_what_was_not_measured() -> None:
    costs = Costs([PLAN])
    costs.pace(PLAN, 24, 7.0)
    assert costs.again(PLAN, 8, 3.0) == 0.0


def test_what_is_seen_corrects_the_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    costs = measured(monkeypatch)
    guess = 2.0 * (2.0 + 8 * 0.5)
    for _ in range(30):
        costs.observe(PLAN, 8, 1.0, 0.5 * guess)
    assert costs.seconds(PLAN, 4, 2.0) == pytest.approx(0.5 * MARGIN * 2.0 * 2.0 * (2.0 + 4 * 0.5) + STARTING, rel=0.01)
    for _ in range(30):
        costs.observe(PLAN, 8, 1.0, 2.0 * guess)
    assert costs.seconds(PLAN, 4, 2.0) == pytest.approx(2.0 * MARGIN * 2.0 * 2.0 * (2.0 + 4 * 0.5) + STARTING, rel=0.01)


def test_a_real_race_is_measured() -> None:
    costs: Any = Costs([PLAN])
    costs.measure(PLAN, start)
    assert costs.seconds(PLAN, 8, 3.0) > 0 and costs.steps == {"small": 2.0}


def test_compiled_groups_take_as_long_for_one_member_as_for_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of eight members in groups of 4, one a core, take 7 seconds."""
    costs, at_once = Costs([PLAN]), 4 * torch.get_num_threads()
    clock = itertools.chain.from_iterable((t, t + (seconds if t < 500 else 0)) for seconds in (3.0, 7.0) for t in range(0, 600, 100))  # steps, a check

    def run(members: int) -> Race:
        race = start(members)
        _, population, _ = race.groups[0]
        population.plans[0] = replace(population.plans[0], compiled=True, chunk=4)
        population.run = lambda until: population.outcomes  # pyright: ignore[reportAttributeAccessIssue] -- no step is trained
        return race

    with monkeypatch.context() as patch:
        patch.setattr(time, "monotonic", lambda: float(next(clock)))
        costs.measure(PLAN, run)
    a_round = MARGIN * 3.0 * (30 / 15) * 7.0 / math.ceil(SOME / at_once)
    for members, rounds in ((1, 1), (at_once, 1), (at_once + 1, 2), (3 * at_once, 3)):
        assert costs.seconds(PLAN, members, 3.0) == pytest.approx(rounds * a_round + STARTING)
    assert costs.filling(PLAN) == at_once
