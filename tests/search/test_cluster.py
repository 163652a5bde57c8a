"""Members that train in other processes are the same to the last bit, whoever trains what, and whoever dies."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Collection, Hashable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from tests.search.small import ACCURACY, config, hold_out, small_plan, two_classes, two_folds
from tests.search.test_resume import same

import temperance as tp
from temperance.core.criterion import criterion_for
from temperance.core.errors import ConfigError
from temperance.data import Dataset
from temperance.search import engine as engine_module, rungs, search as search_module
from temperance.search.budget import Clock
from temperance.search.cluster import leveling
from temperance.search.cluster.crew import WorkerDied
from temperance.search.cluster.spread import Spread
from temperance.search.cluster.worker import Report, Worker, packed
from temperance.search.engine import Engine
from temperance.search.programs import Programs
from temperance.search.result import Search
from temperance.search.search import search_plans
from temperance.search.settings import Settings
from temperance.search.study import Ledger
from temperance.train.compiled import compiler_missing
from temperance.train.group import Group
from temperance.train.kernel import Kernel
from temperance.train.outcome import Outcome

DATA = two_classes()


@dataclass(eq=False)
class Pretended:
    """A crew of workers in this process, to which everything travels as bytes.

    Attributes:
        count: how many there are.
        dies: told the number of a call and the share that it is for, in the order in which shares come: whether its worker dies of it.
        last: whether nobody comes for those that died.
    """

    count: int
    dies: Callable[[int, int], bool] = lambda call, share: False
    last: bool = False
    calls: int = 0
    put: int = 0
    hired: int = 0
    workers: dict[int, Worker] = field(default_factory=dict)
    done: dict[int, Any] = field(default_factory=dict)
    rows: dict[tuple[int, int], Any] = field(default_factory=dict)
    keys: list[str] = field(default_factory=list)
    interrupt: int = 0
    threads: int = 1

    def population(self, *arguments: Any, **settings: Any) -> Any:
        del settings["device"]
        return Spread(self, *arguments, **settings)

    def begin(self, population: Any, until: int) -> None:
        population.compile()
        population.begin(until)

    def size(self) -> int:
        return self.count

    def hands(self) -> Sequence[Hashable]:
        if not self.last or not self.calls:
            for _ in range(self.count - len(self.workers)):
                self.hired += 1
                self.workers[self.hired] = Worker(1)
        if not self.workers:
            raise ConfigError("nobody is there")
        return list(self.workers)

    def stored(self, data: Dataset, validation: Dataset | None) -> Any:
        key = (id(data), id(validation))
        if key not in self.rows:
            self.put += 1
            self.rows[key] = (data, validation), [None if part is None else packed(part) for part in (data, validation)]
        return self.rows[key][1]

    def call(self, hand: Any, key: str, share: Any, rows: Any, *rest: Any) -> Hashable:
        self.calls += 1
        self.keys += [key] if key not in self.keys else []
        if hand not in self.workers or self.dies(self.calls, self.keys.index(key)):
            self.done[self.calls] = WorkerDied("out of memory")
        else:
            share, rest = pickle.loads(pickle.dumps((share, rest)))
            self.done[self.calls] = pickle.dumps(self.workers[hand].do(key, share, *rows, *rest))
        return self.calls

    def wait(self, tickets: Sequence[Any], seconds: float) -> Collection[Any]:
        if self.calls == self.interrupt:
            self.interrupt = 0
            raise KeyboardInterrupt
        return tickets[-1:]

    def result(self, ticket: Any) -> Report:
        found = self.done.pop(ticket)
        if isinstance(found, WorkerDied):
            raise found
        return pickle.loads(found)

    def halt(self, hand: Any, key: str) -> None:
        self.workers[hand].halt(key)

    def bury(self, hand: Any) -> None:
        self.workers.pop(hand, None)


@pytest.fixture
def find(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Search]:
    """A search in waves of four and five trials, by the crew that is given."""
    torch.set_num_threads(1)
    monkeypatch.setattr(rungs, "FIRST", 4)
    monkeypatch.setattr(engine_module, "MOST_WAVE", 5)

    def search(crew: Pretended | None, **settings: Any) -> Search:
        @contextmanager
        def given(*_: Any) -> Any:
            yield crew

        monkeypatch.setattr(search_module, "crew_for", given)
        settings = {"split": hold_out(), "trials": 9, "ensemble": 4, "refits": 1, "strategy": "rungs", **settings}
        return search_plans([small_plan("a", earliest=1), small_plan("b", hidden=5, earliest=1)], DATA, **settings)

    return search


def small_engine(crew: Any, seconds: float | None) -> Engine:
    settings = Settings(ACCURACY, criterion_for("classification"))
    return Engine([small_plan()], DATA, hold_out(), settings, Clock(seconds), Ledger(None, True), Programs(False), crew=crew)


SPLITS = {"hold-out": hold_out(), "folds": two_folds()}
made: dict[str, Search] = {}


@pytest.fixture
def local(find: Callable[..., Search]) -> Callable[[str], Search]:
    """What this process finds, trained once for all tests."""

    def searched(split: str) -> Search:
        if split not in made:
            made[split] = find(None, split=SPLITS[split])
        return made[split]

    return searched


@pytest.mark.parametrize(("split", "workers"), [("hold-out", 1), ("hold-out", 3), ("folds", 3)])
def test_the_same_search_whatever_the_number_of_workers(split: str, workers: int, find: Callable[..., Search], local: Callable[[str], Search]) -> None:
    crew = Pretended(workers)
    assert same(local(split), find(crew, split=SPLITS[split]))
    assert crew.put == 1, "rows travel once"


def test_workers_that_die_change_nothing(find: Callable[..., Search], local: Callable[[str], Search]) -> None:
    """Others train the same networks from their start, as often as a share has got on in between."""
    dead: list[int] = []

    def dies(number: int, share: int) -> bool:
        dead.extend([share] if number in (1, 6, 15) else [])
        return number in (1, 6, 15)

    assert same(local("hold-out"), find(Pretended(3, dies=dies)))
    assert len(dead) == 3 and len(set(dead)) == 2, "one share twice"


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


def test_trials_whose_workers_die_twice_end_with_the_cause(find: Callable[..., Search], local: Callable[[str], Search]) -> None:
    """What they had reported stays, and the search goes on without them."""
    deaths: list[int] = []

    def dies(number: int, share: int) -> bool:
        deaths.extend([number] if share == 1 and number > 8 and len(deaths) < 2 else [])
        return number in deaths

    found = find(Pretended(2, dies=dies))
    lost = [t for t in found.trials if t.status.startswith("lost")]
    assert lost and {t.status for t in lost} == {"lost with its worker: out of memory"}
    assert all(t.outcomes[0].state is not None and t.score == t.score for t in lost), "reported before"
    assert len(found.trials) == 9 and {t.status for t in found.trials if t not in lost} <= {"finished", "dropped at epoch 1"}
    assert "networks were lost with their worker: out of memory" in found.notes
    untouched = local("hold-out")
    same_place = [t.config.number for t in found.trials[:4] if t not in lost]
    assert [t.score for t in found.trials if t.config.number in same_place] == [untouched.trials[n].score for n in same_place]


def test_without_workers_the_search_ends_with_what_to_do(find: Callable[..., Search]) -> None:
    with pytest.raises(ConfigError, match="nobody is there"):
        find(Pretended(1, dies=lambda number, share: number == 3, last=True))


def test_an_interrupt_ships_what_the_workers_have_reported(find: Callable[..., Search]) -> None:
    crew = Pretended(2, interrupt=8)
    found = find(crew, retrain=None)
    assert found.ended == "interrupted" and found.score["value"] == found.score["value"] and not crew.done


def test_with_a_budget_a_wave_grows_with_the_workers() -> None:
    engine = small_engine(Pretended(3), seconds=60.0)
    assert engine.most() == 3 * engine_module.WAVE and small_engine(Pretended(3), None).most() == engine_module.WAVE
    engine.costs.measure(engine.plans[0], lambda members: engine.race_on([config(engine.plans[0], i) for i in range(members)], engine.folds))
    assert engine.seconds(engine.plans[0], 30, 2.0) == engine.costs.seconds(engine.plans[0], 10, 2.0)
    assert engine.again(engine.plans[0], 30, 2.0) == engine.plans[0].alone * engine.costs.seconds(engine.plans[0], 30, 2.0), "what ships trains here"


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"engine": "dask"}, "Expected `engine` of search to be one of local, ray, got 'dask'"),
        ({"address": "auto"}, r"Expected `address` of search to be None without engine='ray', got 'auto'\. Add engine='ray'"),
    ],
)
def test_what_is_no_engine_is_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        search_plans([small_plan()], DATA, trials=1, **settings)


def test_ray_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"Expected Ray to be installed for the engine 'ray', found none\. Install it with `pip install 'temperance\[ray\]'`"):
        search_plans([small_plan()], DATA, trials=1, engine="ray")
