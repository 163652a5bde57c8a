"""Members that change their worker while they train go on where they stand, with the same bits, whoever dies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from tests.search.pretended import DATA, Pretended, small_engine
from tests.search.small import config, hold_out

import temperance as tp
from temperance.search.cluster import leveling
from temperance.search.cluster.spread import Spread
from temperance.train.compiled import compiler_missing
from temperance.train.group import Group
from temperance.train.kernel import Kernel
from temperance.train.outcome import Outcome


def raced(crew: Pretended | None, kept: Sequence[int] = (3, 6), planned: int | None = None, steps: int | None = None) -> Any:
    """The population of eight members that have trained for a few steps, when some are kept: by default two, by one worker of three."""
    engine = small_engine(crew, None)
    plan = engine.plans[0]
    population = engine.race_of([config(plan, i, lr=0.003 * (i + 1), seed=i) for i in range(8)]).groups[0][1]
    if planned is not None:
        population.plan_steps(planned)
    population.run(population.total_steps // 3 if steps is None else steps)
    population.keep(list(kept), "dropped")
    if crew is not None:
        population._level()
    return population


def same_outcome(one: Outcome, two: Outcome) -> bool:
    told = (one.status, one.history, one.best) == (two.status, two.history, two.best)
    return told and one.state is not None and two.state is not None and all(torch.equal(one.state[name], two.state[name]) for name in one.state)


@pytest.fixture
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Moving costs nothing, so that it pays for these small networks."""
    torch.set_num_threads(1)
    monkeypatch.setattr(leveling, "FIXED", 0)
    monkeypatch.setattr(leveling, "MOVING", 0)


@pytest.mark.parametrize(("death", "share"), [("nobody", -1), ("who gives", 0), ("who took", 3)])
def test_members_that_one_worker_alone_keeps_are_shared_out_again(death: str, share: int, one_thread: None) -> None:
    """With the same bits, also where a worker dies that gives some away or took some."""
    alone = raced(None)
    alone.run(alone.total_steps)
    dead: list[int] = []

    def dies(number: int, whose: int) -> bool:
        dead.extend([number] if number > 4 and whose == share and not dead else [])
        return number in dead

    spread = raced(Pretended(3, dies=dies))
    assert [[part.indices[k] for k in part.alive] for part in spread.parts] == [[3], [], [], [6]]
    assert len({part.hand for part in spread.parts if part.alive}) == (1 if death == "who gives" else 2), "another worker had to go on with what it gave"
    spread.run(spread.total_steps)
    assert len(dead) == (death != "nobody")
    assert all(map(same_outcome, alone.outcomes, spread.outcomes))


def test_who_moves_goes_on_beside_those_that_are_there(one_thread: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the steps that were planned last, and no step is trained twice."""
    trained: list[int] = []
    step = Group.train_step
    monkeypatch.setattr(Group, "train_step", lambda group: [step(group), trained.append(len(group))])
    raced_by: list[tuple[Any, int]] = []
    crew = Pretended(2)
    for each in (None, crew):
        trained.clear()
        population = raced(each, kept=[0, 2, 4, 6, 7], planned=40)
        population.run(14)
        there = [population for worker in crew.workers.values() for population in worker._populations.values()]
        assert [len(population.chunks) for population in there] == ([] if each is None else [1, 1])
        population.run(40)
        raced_by.append((population, sum(trained)))
    (alone, steps), (spread, again) = raced_by
    assert sorted(map(len, (part.moved for part in spread.parts))) == [0, 1, 1], "one leaves, and the one that it comes to"
    assert all(map(same_outcome, alone.outcomes, spread.outcomes)) and steps == again


def test_who_moves_and_was_never_measured_has_its_state_in_the_end(one_thread: None) -> None:
    alone, spread = raced(None, steps=1), raced(Pretended(3), steps=1)
    assert not spread.parts[-1].begun and not spread.outcomes[6].history
    alone.end("interrupted")
    spread.end("interrupted")
    assert all(map(same_outcome, alone.outcomes, spread.outcomes))


@pytest.mark.parametrize(
    ("loads", "steps", "wanted"),
    [
        ({"p": ({"a": 6, "b": 2}, 0)}, 1000, {"p": {"a": 4, "b": 4}}),
        ({"p": ({"a": 6, "b": 2}, 0)}, 50, {"p": {"a": 6, "b": 2}}),  # less is left than moving takes
        ({"p": ({"a": 20, "b": 19}, 0)}, 1000, {"p": {"a": 20, "b": 19}}),
        (
            {"p": ({"a": 4, "b": 0}, 0), "q": ({"a": 4, "b": 0}, 0)},
            1000,
            {"p": {"b": 4}, "q": {"a": 4}},
        ),  # the fixed part of a program
        ({"p": ({"a": 3, "b": 0}, 0)}, 1000, {"p": {"a": 2, "b": 1}}),  # as a second worker has a fixed part too
        ({"p": ({"a": 1, "b": 1}, 0), "q": ({"a": 6, "b": 0}, 0)}, 1000, {"p": {"b": 2}, "q": {"a": 5, "b": 1}}),  # which the first one is rid of
        ({"p": ({"a": 7, "b": 1}, 1)}, 1000, {"p": {"a": 4, "b": 4}}),  # compiled steps of one member each
        ({"p": ({"a": 5, "b": 3}, 4)}, 1000, {"p": {"a": 4, "b": 4}}),  # a group less
        ({"p": ({"a": 8, "b": 1}, 8)}, 1000, {"p": {"a": 8, "b": 1}}),  # a group takes as long for one
        ({"p": ({"a": 7}, 1), "q": ({"a": 1, "b": 2}, 0)}, 1000, {"p": {"a": 7}, "q": {"b": 3}}),  # the other one has not compiled its step
        ({"p": ({"a": 5, "b": 4, "c": 3}, 4)}, 1000, {"p": {"a": 4, "b": 4, "c": 4}}),  # room is with one that is not the least busy alone
        ({"p": ({"a": 4, "b": 0}, 1, 4)}, 1000, {"p": {"a": 4}}),  # four threads train four groups at once
        ({}, 1000, {}),
    ],
)
def test_members_are_shared_out_so_that_nobody_waits(loads: Any, steps: int, wanted: Any) -> None:
    assert leveling.leveled({program: leveling.Load(*load) for program, load in loads.items()}, steps) == wanted


def test_where_there_is_nobody_to_move_nobody_moves() -> None:
    """All have stopped."""
    spread = raced(Pretended(2), kept=[])
    assert not spread.alive and len(spread.parts) == 2


@dataclass(eq=False)
class Compiled:
    """Eight members with compiled steps, here and on workers.

    Attributes:
        made: of every step that was compiled, what it was.
    """

    monkeypatch: pytest.MonkeyPatch
    size: int = 1
    refusing: Sequence[int] = ()
    lasting: bool = True
    made: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        torch.set_num_threads(1)
        compile = Kernel.compile

        def counted(kernel: Kernel, group: Group) -> None:
            if kernel.step is None and not kernel.refused:
                self.made.append(len(self.made))
                if self.made[-1] in self.refusing:
                    kernel.refused = "no compiler is here"
            compile(kernel, group)
            kernel.lasting &= self.lasting

        self.monkeypatch.setattr(Kernel, "compile", counted)
        self.monkeypatch.setattr("temperance.train.grouping.group_size", lambda *_: self.size)

    def population(self, crew: Pretended | None, kept: Sequence[int] = (0, 2, 4, 6, 7), hired: int = 0) -> Any:
        """Trained to step 8, some kept, and on to the end; after step 8 so many workers more are there."""
        network = tp.nets.build_seeded(lambda: tp.nets.MLP(DATA.in_features, DATA.out_features, hidden=(6,)), 0)
        train, held = hold_out().folds[0]
        rows = DATA.take(torch.as_tensor(train)), DATA.take(torch.as_tensor(held))
        members = [tp.Member(tp.Cocktail(tp.L2(0.001 * i)), tp.optim.Adam(0.003 * (i + 1)), seed=i) for i in range(8)]
        settings: dict[str, Any] = {"total_steps": 24, "check_every": 4, "batch_size": 16, "compile": True}
        found = tp.Population(network, members, *rows, **settings) if crew is None else Spread(crew, network, members, *rows, **settings)
        found.run(8)
        found.keep(list(kept), "dropped")
        if crew is not None and hired:
            crew.count += hired
            found._hands = list(crew.hands())
        found.run(24)
        found.end()
        return found


@pytest.mark.skipif(bool(compiler_missing()), reason="needs a C++ compiler")
class TestCompiledMembers:
    """They change their worker with the same bits, and no step is compiled for it."""

    @pytest.mark.parametrize(("size", "parts"), [(1, 3), (4, 2)])
    def test_they_are_shared_out_again_where_a_group_less_is_trained(self, size: int, parts: int, one_thread: None, monkeypatch: pytest.MonkeyPatch) -> None:
        work = Compiled(monkeypatch, size)
        alone, spread = work.population(None), work.population(Pretended(2))
        assert all(outcome.compiled for outcome in spread.outcomes) and all(map(same_outcome, alone.outcomes, spread.outcomes))
        assert len(work.made) == 3, "once here, once a worker"
        assert len(spread.parts) == parts, [part.indices for part in spread.parts]

    def test_they_stay_where_later_populations_cannot_use_the_step(self, one_thread: None, monkeypatch: pytest.MonkeyPatch) -> None:
        spread = Compiled(monkeypatch, lasting=False).population(Pretended(2))
        assert len(spread.parts) == 2 and all(outcome.compiled for outcome in spread.outcomes)

    def test_a_worker_without_the_step_gets_none(self, one_thread: None, monkeypatch: pytest.MonkeyPatch) -> None:
        work = Compiled(monkeypatch)
        spread = work.population(Pretended(2), kept=(0, 2, 4, 1, 3, 5), hired=1)
        assert len(work.made) == 2 == len(spread.parts)

    def test_nobody_changes_between_compiled_and_plain_steps(self, one_thread: None, monkeypatch: pytest.MonkeyPatch) -> None:
        spread = Compiled(monkeypatch, refusing=[1]).population(Pretended(2))
        assert len(spread.parts) == 2 and [outcome.compiled for outcome in spread.outcomes] == [True, False] * 4

    def test_where_all_workers_refuse_plain_members_move(self, one_thread: None, monkeypatch: pytest.MonkeyPatch) -> None:
        work = Compiled(monkeypatch, refusing=range(9))
        alone, spread = work.population(None), work.population(Pretended(2))
        assert len(spread.parts) == 3 and not any(outcome.compiled for outcome in spread.outcomes)
        assert all(map(same_outcome, alone.outcomes, spread.outcomes))


def test_members_move_when_they_train_on_and_not_at_each_cut(one_thread: None) -> None:
    spread = raced(Pretended(2), kept=range(8))
    spread.keep([0, 2, 4, 6, 1, 3], "stopped")
    spread.keep([0, 2, 4, 1, 3], "dropped")
    assert len(spread.parts) == 2
    spread.run(spread.total_steps)
    assert len(spread.parts) == 2, "three and two stay"


def test_nobody_moves_to_a_worker_that_died(one_thread: None) -> None:
    """Where two die of a share, the other two have two members and one, and neither is busier than it need be."""
    crew = Pretended(4)
    spread = raced(crew, kept=range(8))
    crew.dies, crew.last = (lambda call, share: share == 1), True
    spread.run(spread.step + 2)
    crew.dies = lambda call, share: False
    living = [part for part in spread.parts if part.alive and part.hand in crew.workers]
    kept = [*living[0].indices, living[1].indices[0]]
    spread.keep(kept, "dropped")
    spread.run(spread.total_steps)
    spread.end()
    assert len(crew.workers) == 2 and len(spread.parts) == 4
    assert all(spread.outcomes[i].status == "finished" for i in kept)


@pytest.mark.parametrize("halted", [False, True])
def test_an_interrupt_before_a_moved_member_is_where_it_was_keeps_what_was_known(halted: bool, one_thread: None) -> None:
    crew = Pretended(3)
    spread = raced(crew)
    known = [(list(o.history), o.best, o.state) for o in spread.outcomes]
    taken = spread.parts[-1]
    if halted:
        crew.halt(taken.hand, taken.key)
        spread.run(spread.total_steps)
    spread.end("interrupted")
    for k in taken.indices:
        outcome, (history, best, state) = spread.outcomes[k], known[k]
        assert (outcome.status, outcome.history, outcome.best) == ("interrupted", history, best) and outcome.state is state
