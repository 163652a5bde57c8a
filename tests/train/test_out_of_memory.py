"""Memory that runs out in the middle of a run."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.laws.test_trainer_laws import assert_same, members, population, result, run

from temperance.core.device import out_of_memory
from temperance.regularizers import L2
from temperance.train.group import Group

REFUSAL = "[enforce fail at alloc_cpu.cpp:128] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 400 bytes."


def failing(monkeypatch: pytest.MonkeyPatch, most: int, error: type[RuntimeError] = RuntimeError) -> list[int]:
    """Let a step of more than ``most`` members fail from the third one on; the sizes that failed are noted."""
    step, failed = Group.train_step, list[int]()

    def train_step(group: Group) -> None:
        if group.step >= 2 and len(group) > most:
            failed.append(len(group))
            raise error(REFUSAL)
        step(group)

    monkeypatch.setattr(Group, "train_step", train_step)
    return failed


@pytest.mark.parametrize("error", [RuntimeError, torch.OutOfMemoryError])
def test_the_plan_is_halved_recorded_and_nothing_is_lost(monkeypatch: pytest.MonkeyPatch, error: Any) -> None:
    chosen = members(L2(0.1))
    whole = run(chosen)
    failed = failing(monkeypatch, 1, error)
    made = population(chosen)
    made.run()
    assert failed == [4, 2, 2]
    assert [p.chunk for p in made.plans] == [1]
    assert "out of memory with 4 networks at once: going on with 2" in made.plan()
    for i, _ in enumerate(chosen):
        assert_same(result(made, i), result(whole, i))


def test_one_network_that_does_not_fit_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, 0)
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        population(members(L2(0.1))).run()


def test_other_errors_are_not_taken_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(group: Group) -> None:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(Group, "train_step", broken)
    assert not out_of_memory(RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        population(members(L2(0.1))).run()
