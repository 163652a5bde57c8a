"""Seconds of training, measured on a few steps and corrected by what is seen."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import torch

from temperance.search.race import Race
from temperance.search.space import StaticPlan

FEW, SOME, MORE = 2, 4, 34
TRIED = 2.0  # seconds of measuring more, as few let expect at most, above which some are measured instead
STEPS, ONE = 5, 3
FIRST_CHECKS = 3  # of networks with compiled steps: the first is recorded, the second compared with its graph, which the third replays
MARGIN = 1.15
TRUSTED = 0.5  # seconds of observation that count as much as the first measurement
MEMORY = 10.0  # seconds after which an observation counts a third
STARTING = 0.1
CHECKS = 8  # of what ships


class Costs:
    """Estimated seconds of training a population, for every static plan.

    A plain step costs a fixed part and a part a member, measured on populations of two sizes. Compiled steps come in groups of one size, a group a
    core, so that a round of groups takes as long for one member as for all that it holds. What later runs really take corrects the plan's estimate
    by one factor; older observations count less and less, so that a machine that becomes busy is noticed.

    Args:
        plans: the static plans.
    """

    def __init__(self, plans: list[StaticPlan]) -> None:
        self.steps = {plan.name: 1.0 for plan in plans}
        self._cost = {plan.name: (0.0, 0.0) for plan in plans}
        self._check = {plan.name: 0.0 for plan in plans}  # seconds per member and epoch
        self._round: dict[str, int] = {}  # members that train at once by compiled steps
        self._seen = {plan.name: (TRUSTED, TRUSTED) for plan in plans}
        self.holds: dict[str, int] = {}  # members for which the memory setting would do
        self._pace: dict[str, tuple[float, float]] = {}  # of a step of what ships, for one as measured first; and what corrected estimates at that time

    def measure(self, plan: StaticPlan, start: Callable[[int], Race], most: float = math.inf) -> None:
        """Time a check and the fastest of five steps of a population of two members and of a larger one; ``start(members)`` makes them.

        Networks whose time is nearly all their members' are measured in a smaller one: many of them would take the time of the search. Where that would
        take more than ``most`` seconds, two are enough, and of these a single step.
        """
        self._pace.pop(plan.name, None)
        few = self._fastest(plan, start(FEW), most=most)
        one = STEPS * few / FEW + 2 * self._check[plan.name]
        if SOME * one > most and plan.name not in self._round:
            self._cost[plan.name], self._seen[plan.name] = (0.0, few / FEW), (TRUSTED, TRUSTED)
            return
        many = MORE if MORE * one <= TRIED else SOME
        time_of_many = self._fastest(plan, start(many))
        if plan.name in self._round:
            self._cost[plan.name], self._seen[plan.name] = (time_of_many / self._rounds(plan, many), 0.0), (TRUSTED, TRUSTED)
            return
        each = max((time_of_many - few) / (many - FEW), time_of_many / (4 * many))
        self._cost[plan.name], self._seen[plan.name] = (max(few - FEW * each, 0.0), each), (TRUSTED, TRUSTED)

    def measure_one(self, plan: StaticPlan, race: Race) -> None:
        """Time the fastest of a few steps of a population of one, and a check: of networks whose time is nearly all their own."""
        self._cost[plan.name], self._seen[plan.name] = (0.0, self._fastest(plan, race, ONE)), (TRUSTED, TRUSTED)

    def know(self, plan: StaticPlan, race: Race) -> None:
        """How many members of a plan the memory setting holds, from a race of a few."""
        self.holds[plan.name] = min(group.holds for group in race.groups[0][1].plans)

    def _fastest(self, plan: StaticPlan, race: Race, count: int = STEPS, most: float = math.inf) -> float:
        """Seconds of the fastest of a few steps, which are fewer where they take more than so many seconds."""
        self.know(plan, race)
        _, population, _ = race.groups[0]
        steps: list[float] = []
        for step in range(1, count + 1):
            began = time.monotonic()
            population.run(until=step)
            steps.append(time.monotonic() - began)
            if sum(steps) > most:
                break
        self.steps[plan.name] = race.steps_an_epoch(plan)
        members = max(1, len(population.alive))  # a run of five steps has none left
        compiled = population.plans[0].compiled
        for more in range(1, FIRST_CHECKS if compiled else 2):
            population.check()
            population.run(until=len(steps) + more)
        began = time.monotonic()
        population.check()
        self._check[plan.name] = (time.monotonic() - began) / members
        if compiled:
            self._round[plan.name] = population.plans[0].chunk * torch.get_num_threads()
        return min(steps)

    def seconds(self, plan: StaticPlan, members: float, epochs: float) -> float:
        """Estimated seconds of training so many members for so many epochs, checks included; zero before a measurement."""
        guess = self._guess(plan, members, epochs)
        return guess * self._corrected(plan) + (STARTING if guess else 0.0)

    def observe(self, plan: StaticPlan, members: int, epochs: float, seconds: float) -> None:
        """What training so many members for so many epochs really took."""
        guess, faded = self._guess(plan, members, epochs), math.exp(-seconds / MEMORY)
        if guess > 0:
            actual, guessed = self._seen[plan.name]
            self._seen[plan.name] = (faded * actual + seconds, faded * guessed + guess / MARGIN)

    def step(self, plan: StaticPlan, members: float) -> float:
        """Seconds of a step of so many members, as measured first; zero before that."""
        fixed, each = self._cost[plan.name]
        return fixed * (self._rounds(plan, members) if plan.name in self._round else 1) + each * members

    def check(self, plan: StaticPlan) -> float:
        """Seconds of a member's check; zero before a measurement."""
        return self._check[plan.name]

    def pace(self, plan: StaticPlan, members: int, seconds: float) -> None:
        """What a step of so many members takes that have their own regularizers only, as what ships has."""
        guess = self.step(plan, members)
        if guess > 0:
            self._pace[plan.name] = seconds / guess, self._corrected(plan)

    def again(self, plan: StaticPlan, members: float, epochs: float, checks: float = CHECKS, otherwise: float = 1.0) -> float:
        """Estimated seconds of training what ships.

        By a wave, times a factor: a plain step has every regularizer in it that one of its members has on; one of a few picks only theirs. Compiled groups
        have one size, and a few picks seldom fill theirs on every core. Or by the pace of its own steps, where that is known and lets expect less (long
        runs of plain steps become faster, which waves tell). Where waves have become slower since, the machine has become busy, and the pace counts so
        much more.

        Args:
            plan: of the networks.
            members: how many; of networks with epochs of their own, as many as train for the most in the time of all.
            epochs: of each.
            checks: of each. One in an epoch is what is counted at most: those of what ships have no validation rows.
            otherwise: the factor.
        """
        by_waves = otherwise * self.seconds(plan, members, epochs)
        if plan.name not in self._pace:
            return by_waves
        pace, then = self._pace[plan.name]
        training = pace * max(1.0, self._corrected(plan) / then) * epochs * self.steps[plan.name] * self.step(plan, members)
        return min(by_waves, MARGIN * (training + min(checks, epochs) * members * self._check[plan.name]) + STARTING)

    def _corrected(self, plan: StaticPlan) -> float:
        """What a wave takes for its estimate."""
        actual, guessed = self._seen[plan.name]
        return actual / guessed

    def member(self, plan: StaticPlan) -> float:
        """Seconds of an epoch of one member among many, as measured first; zero before that."""
        fixed, each = self._cost[plan.name]
        return self.steps[plan.name] * (each + fixed / self._round.get(plan.name, MORE)) + self._check[plan.name]

    def filling(self, plan: StaticPlan) -> float:
        """Members with which half of a step's time is theirs, or of one round; zero before a measurement."""
        fixed, each = self._cost[plan.name]
        if plan.name in self._round:
            return float(self._round[plan.name])
        return fixed / each if each else 0.0

    def _guess(self, plan: StaticPlan, members: float, epochs: float) -> float:
        return MARGIN * max(epochs, 0.0) * (self.steps[plan.name] * self.step(plan, members) + self._check[plan.name] * members)

    def _rounds(self, plan: StaticPlan, members: float) -> int:
        return math.ceil(members / self._round[plan.name])
