"""What a spread population asks of its workers, wherever they run."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from typing import Any, Protocol

from temperance.data.dataset import Dataset
from temperance.search.cluster.worker import Report


class WorkerDied(Exception):
    """A worker is gone, with its cause as text."""


class Crew(Protocol):
    """Workers, wherever they run.

    Attributes:
        threads: of each.
    """

    threads: int

    def hands(self) -> Sequence[Hashable]:
        """The workers that live, one at least.

        Raises:
            ConfigError: there is none, nor room for one.
        """
        ...

    def stored(self, data: Dataset, validation: Dataset | None) -> Any:
        """The rows, put once where every worker reads them."""
        ...

    def call(self, hand: Hashable, *arguments: Any) -> Hashable:
        """Have a worker :meth:`~temperance.search.cluster.worker.Worker.do` something, after all that it was asked before; a ticket."""
        ...

    def wait(self, tickets: Sequence[Hashable], seconds: float) -> Collection[Hashable]:
        """The tickets that are done, after so many seconds at most."""
        ...

    def result(self, ticket: Hashable) -> Report:
        """What came of a call.

        Raises:
            WorkerDied: nothing.
            Exception: what it raised.
        """
        ...

    def halt(self, hand: Hashable, key: str) -> None:
        """Have a run end at its next step."""
        ...

    def bury(self, hand: Hashable) -> None:
        """A worker is gone."""
        ...
