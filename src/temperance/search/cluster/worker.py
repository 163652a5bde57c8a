"""What a worker does: it trains some members of a population, and reports what has changed since it was last asked."""

from __future__ import annotations

import os
import platform
import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from temperance.data.dataset import Dataset
from temperance.train.kernel import Kernels
from temperance.train.member import Member
from temperance.train.moving import Luggage, packed_members, unpack_members
from temperance.train.outcome import Outcome
from temperance.train.population import Population

Step = tuple[str, tuple[Any, ...]]
STATE, FINAL = "state", "final"
MOVED = "moved"  # to another worker, as its old one knows it


@dataclass(frozen=True, eq=False)
class Share:
    """Some members of a population, with all but the rows that one needs to train them.

    Attributes:
        model: the network.
        members: who trains.
        settings: the other arguments of :class:`~temperance.train.population.Population`.
        brought: luggage of those that have trained elsewhere, and their places there, in the order of ``members``; empty where nobody has.
    """

    model: nn.Module
    members: Sequence[Member]
    settings: Mapping[str, Any]
    brought: Sequence[tuple[Luggage, Sequence[int]]] = ()


@dataclass
class Told:
    """What is new of one member: ``rows`` of its history from ``start`` on, and the fields of its outcome."""

    member: int
    start: int
    rows: list[dict[str, Any]]
    fields: dict[str, Any]


@dataclass
class Report:
    """What a worker says after a call.

    Attributes:
        told: of the members of which something is new.
        states: their states, as the bytes of a safetensors file: ``member/kind/name``.
        alive: places of the members that still train.
        step: where they stand.
        notes: what the population has to say.
        kernels: of its compiled steps, whether later populations can use them, and why there is none.
        given: luggage of the members that leave.
    """

    told: list[Told]
    states: bytes
    alive: list[int]
    step: int
    notes: list[str] = field(default_factory=list)
    kernels: list[tuple[bool, str]] = field(default_factory=list)
    given: Luggage | None = None

    def states_of(self) -> dict[int, dict[str, dict[str, Tensor]]]:
        """The states by member and kind."""
        found: dict[int, dict[str, dict[str, Tensor]]] = {}
        for path, tensor in load(self.states).items() if self.states else ():
            member, kind, name = path.split("/", 2)
            found.setdefault(int(member), {}).setdefault(kind, {})[name] = tensor.clone()  # where a tensor lies changes the last bits of products
        return found


class Worker:
    """Trains shares of populations, one call at a time; only :meth:`halt` may come between.

    Args:
        threads: of torch.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._populations: dict[str, Population] = {}
        self._sent: dict[str, dict[int, tuple[int, Any]]] = {}
        self._kernels: Kernels = {}
        self._halted = set[str]()
        self._lock = threading.Lock()

    def about(self) -> dict[str, Any]:
        """Where it runs, and what decides about the bits of its networks."""
        from temperance import __version__

        processor = f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
        return {"host": platform.node(), "process": os.getpid(), "temperance": __version__, "torch": str(torch.__version__), "processor": processor}

    def do(self, key: str, share: Share | None, data: Any, validation: Any, before: Sequence[Step], name: str, arguments: Sequence[Any]) -> Report:
        """One call of a population.

        Args:
            key: of the population.
            share: its members, where they are new to this worker.
            data: training rows, as :func:`packed` makes them.
            validation: rows that are held out, likewise, or ``None``.
            before: the calls that brought them to where they are, made again where the share is new.
            name: ``"plan_steps"``, ``"compile"``, ``"run"``, ``"keep"``, ``"give"`` or ``"end"``.
            arguments: of the call; of a run, the step to reach, and the seconds until it has to end or ``None``; of ``"give"``, who leaves.
        """
        torch.set_num_threads(self.threads)  # of this thread
        deadline = None
        if name == "run" and arguments[1] is not None:
            deadline = time.monotonic() + arguments[1]
        if share is not None:
            held = None if validation is None else unpacked(validation)
            population = Population(share.model, share.members, unpacked(data), held, kernels=self._kernels, **share.settings)
            if share.brought:
                unpack_members(population, share.brought)
            known = {i: (len(o.history), None if (kept := kept_of(o)) is None else kept[1]) for i, o in enumerate(population.outcomes)}
            self._populations[key], self._sent[key] = population, known if share.brought else {}
            for step in before:
                self._call(key, *step, deadline)
        given = self._call(key, name, arguments, deadline)
        with self._lock:
            self._halted.discard(key)
            self._populations[key].common.halted.clear()
        report = self._report(key)
        report.given = given
        if not report.alive:
            del self._populations[key], self._sent[key]
        return report

    def halt(self, key: str) -> None:
        """Have the call that runs, or the next one, train no further than its next step."""
        with self._lock:
            self._halted.add(key)
            if key in self._populations:
                self._populations[key].common.halted.set()

    def _call(self, key: str, name: str, arguments: Sequence[Any], deadline: float | None) -> Luggage | None:
        population = self._populations[key]
        if name == "give":
            given = packed_members(population, arguments[0])
            population.keep([i for i in population.alive if i not in arguments[0]], MOVED)
            return given
        if name != "run":
            getattr(population, name)(*arguments)
            return None
        with self._lock:
            halted = key in self._halted
        if not halted:
            population.run(arguments[0], deadline=deadline)
        return None

    def _report(self, key: str) -> Report:
        population, sent = self._populations[key], self._sent[key]
        told: list[Told] = []
        tensors: dict[str, Tensor] = {}
        for i, outcome in enumerate(population.outcomes):
            start, last = sent.get(i, (0, None))
            new = kept_of(outcome)
            fields = {"best": outcome.best, "status": outcome.status, "steps": outcome.steps, "compiled": outcome.compiled}
            told.append(Told(i, start, outcome.history[start:], fields))
            if new is not None and new[1] is not last:
                tensors |= {f"{i}/{new[0]}/{name}": t.detach().cpu().contiguous().clone() for name, t in new[1].items()}
            sent[i] = (len(outcome.history), None if new is None else new[1])
        known = [(kernel.lasting, kernel.refused) for kernel in population.kernels if kernel.step is not None or kernel.refused]
        return Report(told, save(tensors) if tensors else b"", population.alive, population.step, list(population.notes), known)


def kept_of(outcome: Outcome) -> tuple[str, dict[str, Tensor]] | None:
    """The state of a member that the search may ask for: the best one; the last where there is none."""
    if outcome.state is not None:
        return STATE, outcome.state
    return None if outcome.final is None else (FINAL, outcome.final)


@dataclass(frozen=True, eq=False)
class _Array:
    """A tensor as numpy holds it: several processes of a machine read it from the same memory."""

    values: np.ndarray


def packed(data: Dataset) -> dict[str, Any]:
    """Rows as they travel."""
    return tree_map_only(Tensor, lambda t: _Array(t.detach().cpu().contiguous().numpy()), dict(vars(data)))


def unpacked(rows: Mapping[str, Any]) -> Dataset:
    """The rows of :func:`packed`, which nothing may write to: their memory is shared."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that they cannot be written to
        return Dataset(**tree_map_only(_Array, lambda array: torch.from_numpy(array.values), dict(rows)))
