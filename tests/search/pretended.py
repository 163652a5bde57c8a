"""Workers that are pretended: they train in this process, and everything travels to them as bytes."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.search.small import ACCURACY, hold_out, small_plan, two_classes

from temperance.core.criterion import criterion_for
from temperance.core.errors import ConfigError
from temperance.data import Dataset
from temperance.search.budget import Clock
from temperance.search.cluster.crew import WorkerDied
from temperance.search.cluster.spread import Spread
from temperance.search.cluster.worker import Report, Worker, packed
from temperance.search.engine import Engine
from temperance.search.programs import Programs
from temperance.search.settings import Settings
from temperance.search.study import Ledger

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


def small_engine(crew: Any, seconds: float | None) -> Engine:
    settings = Settings(ACCURACY, criterion_for("classification"))
    return Engine([small_plan()], DATA, hold_out(), settings, Clock(seconds), Ledger(None, True), Programs(False), crew=crew)
