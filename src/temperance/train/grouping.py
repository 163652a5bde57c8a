"""How the members of a population are grouped: by static plan, each group with one program and, where that pays, a compiled step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from temperance.core.batch import map_leaves
from temperance.core.cocktail import Cocktail
from temperance.core.errors import ConfigError
from temperance.core.layout import filters
from temperance.core.program import Program, wiring_for
from temperance.core.regularizer import Regularizer
from temperance.core.schedule import Schedule
from temperance.data.dataset import Dataset
from temperance.train.compiled import compiler_missing
from temperance.train.group import Group
from temperance.train.kernel import REPAID, Kernel, Kernels, group_size, plain_tensors, seconds_saved
from temperance.train.member import Member
from temperance.train.own import Scales, own_rows
from temperance.train.remember import bytes_at_work, remembers, with_own_rows
from temperance.train.steady import steady
from temperance.train.ways import absorb, bytes_a_member, choose_way, chunk_size, holds, refuse_own_randomness


@dataclass(frozen=True)
class GroupPlan:
    """How one group trains: for people and for tests."""

    members: int
    vmapped: bool
    why: str
    chunk: int
    memory: int
    cocktail: str
    compiled: bool = False
    batch_size: int = 0
    holds: int = 0  # members for which the memory would do


@dataclass(frozen=True, eq=False)
class Bucket:
    """Members of one static plan.

    Attributes:
        indices: of the members.
        program: their bound cocktail.
        plan: how they train.
        fits: how many of them train at once by plain steps.
        kernel: their compiled step.
    """

    indices: list[int]
    program: Program
    plan: GroupPlan
    fits: int
    kernel: Kernel | None


class Grouping:
    """Sorts members into groups that train as one program.

    Args:
        model: the network.
        members: who trains.
        data: their rows, on the device.
        criterion: the loss.
        batch_size: rows per step, at most.
        total_steps: steps planned.
        memory: bytes to plan for.
        way: as for :class:`~temperance.train.population.Population`, and so for the rest.

    Attributes:
        abreast: how many groups may train at a time.
    """

    def __init__(
        self,
        model: nn.Module,
        members: Sequence[Member],
        data: Dataset,
        criterion: Any,
        *,
        batch_size: int,
        total_steps: int,
        memory: int,
        way: str | None,
        compile: bool | None,
        kernels: Kernels | None,
        precision: str,
    ) -> None:
        self.data, self.criterion, self.total_steps, self.memory = data, criterion, total_steps, memory
        self.compile, self.kernels, self.precision = compile, kernels, precision
        self.device = data.leaves()[0].device
        self.model, absorbed = absorb(model)
        self.model.train()
        self.model.to(self.device)
        self._at_work = bytes_at_work(self.model, batch_size) if remembers(self.model) else 0
        self.members = with_own_rows(self.model, members, data) if self._at_work else list(members)
        self._remembered = [own_rows(m, data) if self._at_work else 0 for m in members]
        refuse_own_randomness(self.model, data.x, self.device)
        chosen = choose_way(self.model, data.x, self.device)
        self.vmapped = chosen.vmapped if way is None else way == "vmap"
        self.why = chosen.why if way is None else f"asked for with way={way!r}"
        if self.vmapped and self.device.type == "cpu":
            steady(self.model)
        self._sizes = [min(batch_size, own_rows(m, data)) for m in members]
        self._cocktails = [m.cocktail.active() for m in members]
        if absorbed:
            self._cocktails = [Cocktail(*[r.replace(name=label) for label, r in c.items()], *absorbed) for c in self._cocktails]
        self._fixed = [data.further is None and _asks_once(c) for c in self._cocktails]  # places in a window are no places in the table
        self._wiring = wiring_for(self._cocktails, self.model, data.x)
        self._constants = {"tasks": data.task} | ({} if data.tangents is None else {"tangents": data.tangents})
        self._scales = Scales(data)
        self.abreast = 1 << 10

    def buckets(self) -> list[Bucket]:
        """The members by what they must share to train as one program."""
        found: dict[Any, list[int]] = {}
        for i, m in enumerate(self.members):
            by_itself = self._sizes[i], self._remembered[i], self._fixed[i]
            shared = self._cocktails[i].static(), m.optimizer.static(), m.rows is None, m.validation is None, *by_itself
            found.setdefault(shared, []).append(i)
        return [self._bucket(indices) for indices in found.values()]

    def _bucket(self, indices: list[int]) -> Bucket:
        first, count = indices[0], len(indices)
        cocktail, batch, slots = self._cocktails[first], self._sizes[first], len(self.members[first].optimizer.slots)
        cocktails = [self._cocktails[i] for i in indices]
        for one in cocktails:
            refuse_two_averages(one)
        tracked = sum("track" in r.sites() for r in cocktail)
        resting, working = bytes_a_member(self.model, map_leaves(lambda leaf: leaf[:8], self.data.x), batch, slots, tracked)
        working, rows_bytes = self._at_work or working, 16 * len(self.data)
        fits = chunk_size(resting, working, count, self.memory, rows_bytes)
        fits, each = fits if self.vmapped else 1, resting + working + rows_bytes
        kernel = self._kernel(first, count, each)
        size = fits if kernel is None else kernel.size
        self.abreast = max(1, min(self.abreast, int((self.memory - count * resting) // each) // (1 if kernel is None else kernel.size)))
        idle = idle_strengths(cocktails) if kernel is None or self.kernels is None else set[str]()
        laid = () if self.vmapped or self.device.type != "cpu" else filters(self.model)
        told = {name: value for r in cocktail for name, value in r.of_rows(self.data.x).items()} if self._fixed[first] else {}
        program = Program(cocktail, self.model, self.criterion, {**self._constants, **told}, idle, self._wiring, self.precision, laid)
        plan = GroupPlan(
            count, self.vmapped, self.why, size, self.memory, repr(cocktail), kernel is not None, batch, holds(resting, working, self.memory, rows_bytes)
        )
        return Bucket(indices, program, plan, fits, kernel)

    def group(self, bucket: Bucket, part: Sequence[int]) -> Group:
        """Some members of a bucket as a group."""
        return Group(
            self.model,
            bucket.program,
            [replace(self.members[i], cocktail=self._cocktails[i]) for i in part],
            self.data,
            self._scales,
            batch_size=bucket.plan.batch_size,
            total_steps=self.total_steps,
            vmapped=self.vmapped,
            kernel=bucket.kernel,
        )

    def _kernel(self, first: int, members: int, each: int) -> Kernel | None:
        """A compiled step for members like the first, of so many bytes each, if it is known, asked for or repaid; its size does not depend on how many."""
        batch_size = self._sizes[first]
        if next(self.model.parameters()).device.type != "cpu" or self.compile is False:
            return None
        key = self.key(first)
        known = None if self.kernels is None else self.kernels.get(key)
        if known is not None and (known.lasting or known.refused):
            return None if known.refused else known
        parameters = sum(p.numel() for p in self.model.parameters())
        if self.compile is None and (compiler_missing() or seconds_saved(parameters, batch_size, members * self.total_steps) < REPAID):
            return None
        size = group_size(parameters, batch_size) if self.vmapped else 1
        while size > 1 and size * each > self.memory:
            size //= 2
        made = Kernel(size)
        if self.kernels is not None:
            self.kernels[key] = made
        return made

    def key(self, first: int) -> tuple[Any, ...]:
        """What decides about the machine code of a step of members like the first."""
        model, data = self.model, self.data
        tensors = [(name, tuple(t.shape), t.dtype, t.requires_grad) for name, t in (*model.named_parameters(), *model.named_buffers())]
        leaves = [
            (name, tuple(leaf.shape[1:]), leaf.dtype) for tree in (data.x, data.y) for name, leaf in (tree.items() if isinstance(tree, dict) else [("", tree)])
        ]
        fixed = len(data) if data.tangents is not None or self._fixed[first] else None
        plain = [(name, tuple(value.shape), value.dtype, value.numpy(force=True).tobytes()) for name, value in plain_tensors(model)]
        of_network = repr(model), tuple(tensors), tuple(plain), tuple(leaves)
        of_step = repr(self.criterion), vars_of(self.criterion), self._sizes[first], self.vmapped, fixed, self.precision
        of_members = self._wiring, self._cocktails[first].static(), self.members[first].optimizer.static(), self._remembered[first], self._fixed[first]
        return *of_network, *of_step, *of_members


def _asks_once(cocktail: Cocktail) -> bool:
    """Whether some of its regularizers compute from all rows beforehand: a member decides that by itself, whoever trains beside it."""
    early = any(type(r).of_rows is not Regularizer.of_rows and not r.is_off() for r in cocktail)
    return early and not any(r.changes_inputs() for r in cocktail)


def vars_of(criterion: Any) -> str:
    """The settings of a loss that its repr may hide.

    Example:
        >>> vars_of(nn.HuberLoss(delta=2.0)) == vars_of(nn.HuberLoss(delta=3.0))
        False
    """
    inner = getattr(criterion, "function", criterion)
    return str(sorted((name, value) for name, value in getattr(inner, "__dict__", {}).items() if isinstance(value, (int, float, str, bool))))


def refuse_two_averages(cocktail: Cocktail) -> None:
    """Every member may ship one average, whatever the others of its group do."""
    averages = [type(r).__name__ for r in cocktail if "readout" in r.sites() and r.wants("readout") and not r.is_off()]
    if len(averages) > 1:
        raise ConfigError(f"{' and '.join(averages)} both average the weights; a network ships one average. Leave one out, or off.")


def idle_strengths(cocktails: Sequence[Cocktail]) -> set[str]:
    """Strengths that are off in every one of the cocktails, at every time."""
    specs = cocktails[0].specs()
    return {name for name, spec in specs.items() if all(_stays(c, name, spec.off) for c in cocktails)}


def _stays(cocktail: Cocktail, name: str, off: float) -> bool:
    """Whether a strength is off all the time: a schedule of peak one comes down from an off value of one."""
    label, _, field = name.partition(".")
    scheduled = isinstance(getattr(cocktail[label], field), Schedule)
    return cocktail.strengths()[name] == off and (off == 0.0 or not scheduled)
