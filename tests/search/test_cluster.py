"""Members that train in other processes are the same to the last bit, whoever trains what, and whoever dies."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Collection, Hashable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from tests.search.small import hold_out, small_plan, two_classes, two_folds
from tests.search.test_resume import same

from temperance.data import Dataset
from temperance.search import engine as engine_module, rungs, search as search_module
from temperance.search.cluster.spread import Spread, WorkerDied
from temperance.search.cluster.worker import Report, Worker, packed
from temperance.search.result import Search
from temperance.search.search import search_plans

DATA = two_classes()


@dataclass(eq=False)
class Pretended:
    """A crew of workers in this process, to which everything travels as bytes, and which die at the calls with these numbers."""

    size: int
    deaths: Sequence[int] = ()
    calls: int = 0
    put: int = 0
    workers: dict[int, Worker] = field(default_factory=dict)
    done: dict[int, Any] = field(default_factory=dict)
    rows: dict[tuple[int, ...], Any] = field(default_factory=dict)
    kept: list[Any] = field(default_factory=list)

    def population(self, *arguments: Any, **settings: Any) -> Any:
        del settings["device"]
        return Spread(self, *arguments, **settings)

    def begin(self, population: Any, until: int) -> None:
        population.compile()
        population.begin(until)

    def hands(self) -> Sequence[Hashable]:
        for i in range(self.size):
            self.workers.setdefault(i, Worker(1))
        return list(self.workers)

    def stored(self, data: Dataset, validation: Dataset | None) -> Any:
        key = (id(data), id(validation))
        if key not in self.rows:
            self.put += 1
            self.kept.append((data, validation))  # so that no other object gets their names
            self.rows[key] = [None if part is None else packed(part) for part in (data, validation)]
        return self.rows[key]

    def call(self, hand: Any, key: str, share: Any, rows: Any, *rest: Any) -> Hashable:
        self.calls += 1
        if self.calls in self.deaths:
            self.done[self.calls] = WorkerDied("out of memory")
        else:
            share, rest = pickle.loads(pickle.dumps((share, rest)))
            self.done[self.calls] = pickle.dumps(self.workers[hand].do(key, share, *rows, *rest))
        return self.calls

    def wait(self, tickets: Sequence[Any], seconds: float) -> Collection[Any]:
        return list(reversed(tickets))

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


@pytest.mark.parametrize("split", [hold_out(), two_folds()], ids=["hold-out", "folds"])
def test_the_same_search_whatever_the_number_of_workers(split: Any, find: Callable[..., Search]) -> None:
    local = find(None, split=split)
    for size in (1, 3):
        crew = Pretended(size)
        assert same(local, find(crew, split=split)), size
        assert crew.put == 1, "rows travel once"
