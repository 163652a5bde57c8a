"""Workers as actors of a Ray cluster."""

from __future__ import annotations

import importlib
import os
import re
import signal
import socket
import time
from collections.abc import Collection, Generator, Hashable, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch

from temperance.core.errors import ConfigError, expected
from temperance.data.dataset import Dataset
from temperance.search.cluster.crew import WorkerDied
from temperance.search.cluster.spread import Spread
from temperance.search.cluster.worker import Report, Worker, packed

PATIENCE = 120.0  # seconds until the first worker has to be there
ANSWER = 10.0  # seconds for a cluster to answer
GRACE = 30.0  # seconds in which those that have room may follow
ENGINES = ("local", "ray")
CONTROL = "control"  # calls that do not wait for the one that runs


def check_engine(engine: object = "local", address: str | None = None) -> None:
    """Refuse what is no engine.

    Raises:
        ConfigError: an unknown one, an address without Ray, or Ray is not installed.
    """
    if engine not in ENGINES:
        raise ConfigError(expected("engine", "search", f"to be one of {', '.join(ENGINES)}", engine))
    if engine != "ray" and address is not None:
        raise ConfigError(expected("address", "search", "to be None without engine='ray'", address, "Add engine='ray' (--engine ray), or leave it out."))
    if engine == "ray":
        _ray()


@contextmanager
def crew_for(engine: str, address: str | None, device: torch.device | None) -> Generator[RayCrew | None]:
    """The workers of an engine for the time of a search; none for the local one."""
    if engine == "local":
        yield None
        return
    crew = RayCrew(address, torch.get_num_threads(), graphics=device is not None and device.type == "cuda")
    try:
        yield crew
    finally:
        crew.close()


def _ray() -> Any:
    try:
        return importlib.import_module("ray")
    except ImportError:
        mend = "Install it with `pip install 'temperance[ray]'`, or use the local engine."
        raise ConfigError(f"Expected Ray to be installed for the engine 'ray', found none. {mend}") from None


class RayCrew:
    """A worker for every so many cores of a Ray cluster, as long as there is room; those that die make room for others.

    Args:
        address: of the cluster, ``"auto"`` for the one that runs on this machine; ``None`` for that of the environment, or one for this process alone.
        threads: of a worker, which reserves as many cores.
        graphics: whether each reserves a graphics card.

    Raises:
        ConfigError: Ray is missing, there is no such cluster, or no room in it.
    """

    def __init__(self, address: str | None, threads: int, *, graphics: bool = False) -> None:
        self._ray, self.threads = _ray(), threads
        self._needs: dict[str, float] = {"CPU": threads, **({"GPU": 1} if graphics else {})}
        self._own = not self._ray.is_initialized()
        if self._own:
            self._connect(address)
        self._actors: list[Any] = []
        self._ready: dict[Any, Any] = {}  # workers that were asked who they are
        self._stored: list[tuple[Dataset, Dataset | None, Any]] = []
        self.processors = set[str]()
        try:
            self.hands()
        except BaseException:
            self.close()
            raise

    def _connect(self, address: str | None) -> None:
        before = signal.getsignal(signal.SIGTERM)
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
        address = address or os.environ.get("RAY_ADDRESS")
        alone = address is None
        silent = os.environ.get("RAY_USAGE_STATS_ENABLED")
        try:
            _answers(address)
            if alone:
                os.environ["RAY_USAGE_STATS_ENABLED"] = silent or "0"
            self._ray.init(address=address, **quiet, **({"include_dashboard": False} if alone else {}))
        except (OSError, ValueError, RuntimeError) as error:
            mend = "Start one with `ray start --head`, or leave the address out for one of this machine alone."
            raise ConfigError(f"Expected a Ray cluster at {address!r}, found none: {_first_line(error)}. {mend}") from None
        finally:
            if alone and silent is None:
                del os.environ["RAY_USAGE_STATS_ENABLED"]
            with suppress(ValueError):  # not the main thread, which alone has handlers
                signal.signal(signal.SIGTERM, before)

    def population(self, *arguments: Any, **settings: Any) -> Any:
        """A population whose members the workers train."""
        settings["device"] = "cuda" if "GPU" in self._needs else None  # a worker sees its own card alone
        return Spread(self, *arguments, **settings)

    def begin(self, population: Any, until: int) -> None:
        """Have a population train to a step without waiting for it."""
        population.compile()
        population.begin(until)

    def size(self) -> int:
        """How many workers there are."""
        return max(1, len(self._there()))

    def hands(self) -> Sequence[Hashable]:
        """The workers that live."""
        news = [self._hire() for _ in range(self._room() - len(self._actors))]
        began = time.monotonic()
        while self._ready:
            done, _ = self._ray.wait(list(self._ready), num_returns=len(self._ready), timeout=0.2)
            for ticket in done:
                self._greet(ticket)
            patience = (GRACE if any(ticket in self._ready for ticket in news) else 0.0) if self._there() else PATIENCE
            if time.monotonic() - began >= patience:
                break
        if not (there := self._there()):
            needs = " and ".join(f"{amount:g} {kind}" for kind, amount in self._needs.items())
            mend = "Add machines, wait until others have left, or give fewer --threads."
            found = ", ".join(str({kind: machine.get(kind, 0) for kind in self._needs}) for machine in self._machines()) or "no machine"
            raise ConfigError(f"Expected room for a worker with {needs} on a machine of the Ray cluster, found {found}. {mend}")
        return there

    def _there(self) -> list[Any]:
        """The workers that have said who they are."""
        late = list(self._ready.values())
        return [actor for actor in self._actors if actor not in late]

    def _machines(self) -> list[dict[str, float]]:
        """What the machines of the cluster have."""
        return [node["Resources"] for node in self._ray.nodes() if node["Alive"]]

    def _room(self) -> int:
        """How many workers the machines of the cluster have room for, if nobody else is there."""
        return sum(int(min(machine.get(kind, 0) // amount for kind, amount in self._needs.items())) for machine in self._machines())

    def _hire(self) -> Any:
        needs = {"num_cpus": self._needs["CPU"], "num_gpus": self._needs.get("GPU", 0)}
        actor = self._ray.remote(**needs, concurrency_groups={CONTROL: 1})(Worker).remote(self.threads)
        self._actors.append(actor)
        ticket = actor.about.remote()
        self._ready[ticket] = actor
        return ticket

    def _greet(self, ticket: Any) -> None:
        """A worker says who it is: it has to run the same code."""
        actor = self._ready.pop(ticket)
        try:
            about = self._ray.get(ticket)
        except self._ray.exceptions.RayError as error:
            self.bury(actor)
            raise ConfigError(f"A worker of the Ray cluster cannot start: {_raised(error)}. Is temperance installed on its machine?") from None
        mine = Worker(self.threads).about()
        for name in ("temperance", "torch"):
            if about[name] != mine[name]:
                raise ConfigError(f"Expected {name} {mine[name]} on every machine of the Ray cluster, got {about[name]} on {about['host']}. Install the same.")
        self.processors.add(about["processor"])

    def stored(self, data: Dataset, validation: Dataset | None) -> Any:
        """The rows in the object store, where they stay for the whole search."""
        for one, two, rows in self._stored:
            if one is data and two is validation:
                return rows
        rows = [None if part is None else self._ray.put(packed(part)) for part in (data, validation)]
        self._stored.append((data, validation, rows))
        return rows

    def call(self, hand: Any, key: str, share: Any, rows: Any, *rest: Any) -> Hashable:
        return hand.do.remote(key, share, *(rows if share is not None else (None, None)), *rest)

    def wait(self, tickets: Sequence[Any], seconds: float) -> Collection[Any]:
        return self._ray.wait(list(tickets), num_returns=len(tickets), timeout=seconds)[0]

    def result(self, ticket: Any) -> Report:
        errors = self._ray.exceptions
        try:
            return self._ray.get(ticket)
        except errors.RayTaskError as error:
            raise (error.cause or error) from None
        except (errors.RayActorError, errors.WorkerCrashedError, errors.ObjectLostError, errors.OutOfMemoryError) as error:
            raise WorkerDied(_cause(error)) from None

    def halt(self, hand: Any, key: str) -> None:
        hand.halt.options(concurrency_group=CONTROL).remote(key)

    def bury(self, hand: Any) -> None:
        if hand in self._actors:
            self._actors.remove(hand)
        self._ready = {ticket: actor for ticket, actor in self._ready.items() if actor is not hand}
        with suppress(Exception):  # it may be gone, or not quite
            self._ray.kill(hand)

    def close(self) -> None:
        """Let the workers go, and the cluster if this process came to it."""
        for actor in list(self._actors):
            self.bury(actor)
        self._stored.clear()
        if self._own:
            self._ray.shutdown()


def _answers(address: str | None) -> None:
    """Look whether somebody listens there: Ray itself tries for a minute, and may end the process.

    Raises:
        OSError: nobody does.
    """
    host, _, port = (address or "").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.rpartition("/")[2], int(port)), ANSWER).close()


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[0].rstrip(".")


def _raised(error: BaseException) -> str:
    r"""What was raised on the worker at the bottom of Ray's report of it, which quotes the tracebacks of every process in between; else its first line.

    Example:
        >>> _raised(RuntimeError("The actor died in its creation task, ray::Worker()\n    ^^^^^\nModuleNotFoundError: No module named 'temperance'"))
        "ModuleNotFoundError: No module named 'temperance'"
    """
    lines = [line.rstrip(" .") for line in str(error).splitlines()]
    return next((line for line in reversed(lines) if re.match(r"[A-Za-z_][\w.]*(Error|Exception|Exit|Interrupt)\b", line)), _first_line(error))


def _cause(error: BaseException) -> str:
    """Ray's own words on a death, without the numbers of who died."""
    text = " ".join(str(error).split())
    return text.partition("The actor is dead because ")[2].partition(" Some common causes")[0] or _first_line(error)
