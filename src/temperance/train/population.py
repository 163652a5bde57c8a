"""A population: members grouped by static plan, chunked to memory, checked, stopped and compacted as they train."""

from __future__ import annotations

import copy
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from temperance.core.ambient import dtype_of, plainly, settled
from temperance.core.batch import map_leaves
from temperance.core.cocktail import Cocktail
from temperance.core.criterion import Opaque, criterion_for
from temperance.core.device import device_of, precision_of, told
from temperance.core.errors import ConfigError, DataError, expected
from temperance.core.program import Program, refuse_changed_inputs, refuse_without_images, wiring_for
from temperance.core.renamed import renamed
from temperance.core.schedule import Schedule
from temperance.core.statistics import tracked_norms
from temperance.core.torch_losses import trainer_criterion
from temperance.data.dataset import Dataset
from temperance.train.allocator import keep_freed_memory
from temperance.train.chunk import Chunk
from temperance.train.compiled import compiler_missing
from temperance.train.group import Group
from temperance.train.kernel import REPAID, Kernel, Kernels, group_size, plain_tensors, seconds_saved
from temperance.train.member import Member
from temperance.train.metrics import Metric, metric_for
from temperance.train.outcome import Outcome
from temperance.train.own import Scales, check_rows, own_rows, parts_of, pulse_of
from temperance.train.remember import bytes_at_work, remembers, with_own_rows, with_state
from temperance.train.rows import drawn
from temperance.train.steady import steady, steady_products
from temperance.train.stopping import EarlyStopping
from temperance.train.threads import side_by_side
from temperance.train.ways import DEFAULT_MEMORY, absorb, bytes_a_member, choose_way, chunk_size, parse_memory, refuse_own_randomness


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


class Population:
    """Hundreds of differently regularized networks, trained as few programs.

    Nothing of a member depends on its company: with the same ``compile`` it ends as it would alone, bit for bit. By default the planned steps of all
    members decide whether steps are compiled; :attr:`Outcome.compiled` says so, and given as ``compile`` it has the member again.
    Compiled and plain steps agree to rounding: to 1e-4 of every weight (and 1e-5 near zero) after eight steps, less after more. To rounding alone agrees, too,
    a compiled member for which a strength is off, beside members for which it is on: what is off for all of them is not in the machine code.

    Args:
        model: the network; every member is a copy of it (or starts from its own ``initial`` state). It is never changed.
        members: what differs.
        data: training rows.
        validation: rows that decide the best state and when to stop (members may have folds of the training rows instead).
        criterion: the loss: of temperance, of torch, or any ``(out, y) -> scalar``; the task's default if not given.
        metric: decides the best state; the task's default if not given, with several heads the data loss.
        batch_size: rows a step; a member with fewer rows takes all of them.
        total_steps: steps planned: what schedules and progress refer to.
        check_every: steps between checks (default: an epoch of the member's rows).
        stopping: the stopping rule, or ``None`` to train all steps.
        memory: how much memory the population may plan for, such as ``"4G"``; the size of the batched groups follows from it alone.
        clean_rows: size of the fixed clean training subset on which the gap is measured.
        way: ``"vmap"`` or ``"loop"`` to overrule the planner.
        compile: whether the step is compiled to machine code, which takes some ten seconds the first time; by default where the planned
            steps repay it and a C++ compiler is there.
        kernels: compiled steps of earlier populations of the same network, to be used again and added to.
        device: where it trains: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, or ``"auto"`` for a graphics card where there is one; by default where the
            data are. States, histories and networks come out where the data are.
        precision: ``"bf16"`` for products of 16 bits in training; parameters, moments, losses and what is measured stay as they are.

    Raises:
        ConfigError: a cocktail that the network cannot take, or memory too small for one member.

    Example:
        >>> import temperance as tp
        >>> data = tp.data.as_dataset(torch.randn(64, 5).numpy(), torch.arange(64).numpy() % 2)
        >>> members = [tp.Member(tp.Cocktail(tp.L2(lam))) for lam in (0.0, 0.1)]
        >>> population = tp.Population(tp.nets.MLP(5, 2, hidden=(8,)), members, data, batch_size=16, total_steps=4)
        >>> [outcome.status for outcome in population.run()]
        ['finished', 'finished']
    """

    @plainly
    def __init__(
        self,
        model: nn.Module,
        members: Sequence[Member],
        data: Dataset,
        validation: Dataset | None = None,
        *,
        criterion: Any = None,
        metric: str | Metric | None = None,
        batch_size: int = 128,
        total_steps: int = 1000,
        check_every: int | None = None,
        stopping: EarlyStopping | None = None,
        memory: str | int = DEFAULT_MEMORY,
        clean_rows: int = 2000,
        way: str | None = None,
        compile: bool | None = None,
        kernels: Kernels | None = None,
        device: str | torch.device | None = None,
        precision: str = "fp32",
    ) -> None:
        if not members:
            raise ConfigError("Expected `members` of Population to hold at least one Member, got none.")
        if way not in (None, "vmap", "loop"):
            raise ConfigError(expected("way", "Population", "to be 'vmap', 'loop' or None", way))
        for name, value in (("batch_size", batch_size), ("total_steps", total_steps)):
            if value < 1:
                raise ConfigError(expected(name, "Population", "to be a whole number in [1, inf)", value))
        for m in members:
            check_rows(m, len(data))
            if m.curriculum is not None and len(m.curriculum.difficulty) != len(data):
                raise ConfigError(expected("difficulty", "Curriculum", f"to have a number for each of the {len(data)} rows", len(m.curriculum.difficulty)))
            refuse_without_images(m.cocktail, data.x)
            refuse_changed_inputs(m.cocktail, model)
        keep_freed_memory()
        self.dtype = dtype_of(model)
        self.home, wanted = data.leaves()[0].device, device_of(device, "Population")
        self.device, self.precision = self.home if wanted is None else wanted, precision_of(precision, "Population")
        data = data.to(self.device)
        data = replace(prepared(data, self.dtype), weight=data.weight)  # which every member divides by the mean over its own rows
        self.data, self.stopping = data, stopping
        self.validation = None if validation is None else prepared(validation.to(self.device), self.dtype)
        self.criterion = criterion_for(data.task) if criterion is None else trainer_criterion(criterion)
        if isinstance(self.criterion, Opaque) and (data.weight is not None or data.labeled is not None):
            what = "weights of rows" if data.weight is not None else "rows without a target"
            raise ConfigError(f"A loss of your own gives one number for all rows and cannot take {what}. Use a loss of temperance, or leave these out.")
        self.scored_by = criterion_for(data.task) if isinstance(self.criterion, Opaque) else self.criterion
        self.metric = metric if isinstance(metric, Metric) else None if isinstance(data.task, dict) else metric_for(metric, data.task)
        self.batch_size, self.total_steps = min(batch_size, len(data)), total_steps
        self.clean_rows, self._asked = clean_rows, compile is True
        sizes = [min(self.batch_size, own_rows(m, data)) for m in members]
        averages = [bool(tracked_norms(model)) and any(r.wants("readout") and "readout" in r.sites() for r in m.cocktail.active()) for m in members]
        self.pulses = [pulse_of(m, data, size, check_every, clean_rows, average) for m, size, average in zip(members, sizes, averages, strict=True)]
        self.memory = parse_memory(memory)
        self.outcomes = [Outcome(name=m.name or str(i)) for i, m in enumerate(members)]
        skeleton, absorbed = absorb(model)
        skeleton.train()
        skeleton.to(self.device)
        at_work = 0
        if remembers(skeleton):
            members = with_own_rows(skeleton, members, data)
            at_work = bytes_at_work(skeleton, self.batch_size)
        self._plain = copy.deepcopy(model).to(self.home)
        refuse_own_randomness(skeleton, data.x, self.device)
        self._clean = data.take(drawn(len(data), clean_rows).sort().values)
        chosen = choose_way(skeleton, data.x, self.device)
        if way is not None:
            chosen = replace(chosen, vmapped=way == "vmap", why=f"asked for with way={way!r}")
        if chosen.vmapped and self.device.type == "cpu":
            steady(skeleton)
        constants: dict[str, Any] = {"tasks": data.task}
        scales = Scales(data)
        if data.tangents is not None:
            constants["tangents"] = data.tangents
        buckets: dict[Any, list[int]] = {}
        cocktails = [
            Cocktail(*[r.replace(name=label) for label, r in m.cocktail.active().items()], *absorbed) if absorbed else m.cocktail.active() for m in members
        ]
        wiring = wiring_for(cocktails, skeleton, data.x)
        for i, member in enumerate(members):
            key = (
                cocktails[i].static(),
                member.optimizer.static(),
                member.rows is None,
                member.validation is None,
                sizes[i],
                own_rows(member, data) if at_work else 0,
            )
            buckets.setdefault(key, []).append(i)
        self.chunks: list[Chunk] = []
        self.plans: list[GroupPlan] = []
        self._programs: list[Program] = []
        self._fit: list[int] = []
        self._abreast = 1 << 10
        self.notes: list[str] = []
        self.alone, self.halted = threading.RLock(), threading.Event()
        rows_bytes = 16 * len(data)
        for indices in buckets.values():
            cocktail, batch = cocktails[indices[0]], sizes[indices[0]]
            for i in indices:
                refuse_two_averages(cocktails[i])
            slots = len(members[indices[0]].optimizer.slots)
            tracked = sum("track" in r.sites() for r in cocktail)
            resting, working = bytes_a_member(skeleton, map_leaves(lambda leaf: leaf[:8], data.x), batch, slots, tracked)
            working = at_work if at_work else working
            fits = chunk_size(resting, working, len(indices), self.memory, rows_bytes)
            size = fits if chosen.vmapped else 1
            slot = resting + working + rows_bytes
            remembered = own_rows(members[indices[0]], data) if at_work else 0
            key = (*self._key(skeleton, chosen.vmapped, batch), wiring, cocktail.static(), members[indices[0]].optimizer.static(), remembered)
            kernel = self._kernel(skeleton, compile, len(indices), slot, chosen.vmapped, batch, None if kernels is None else kernels.get(key))
            if kernel is not None and kernels is not None:
                kernels[key] = kernel
            self._abreast = max(1, min(self._abreast, int((self.memory - len(indices) * resting) // slot) // (1 if kernel is None else kernel.size)))
            self._fit.append(size)
            size = size if kernel is None else kernel.size
            idle = idle_strengths([cocktails[i] for i in indices]) if kernel is None or kernels is None else set[str]()
            program = Program(cocktail, skeleton, self.criterion, constants, idle, wiring, self.precision)
            self._programs.append(program)
            self.plans.append(GroupPlan(len(indices), chosen.vmapped, chosen.why, size, self.memory, repr(cocktail), kernel is not None, batch))
            for i in indices:
                self.outcomes[i].compiled = kernel is not None
            for part in parts_of(indices, self.pulses, size):
                group = Group(
                    skeleton,
                    program,
                    [replace(members[i], cocktail=cocktails[i]) for i in part],
                    data,
                    scales,
                    batch_size=batch,
                    total_steps=total_steps,
                    vmapped=chosen.vmapped,
                    kernel=kernel,
                )
                self.chunks.append(Chunk(self, group, part))

    def _key(self, model: nn.Module, vmapped: bool, batch_size: int) -> tuple[Any, ...]:
        """What decides about the machine code of a step, beside the cocktail's shape and the optimizer's kind."""
        tensors = [(name, tuple(t.shape), t.dtype, t.requires_grad) for name, t in (*model.named_parameters(), *model.named_buffers())]
        leaves = [
            (name, tuple(leaf.shape[1:]), leaf.dtype)
            for tree in (self.data.x, self.data.y)
            for name, leaf in (tree.items() if isinstance(tree, dict) else [("", tree)])
        ]
        fixed = None if self.data.tangents is None else len(self.data)
        plain = [(name, tuple(value.shape), value.dtype, value.numpy(force=True).tobytes()) for name, value in plain_tensors(model)]
        of_network = repr(model), tuple(tensors), tuple(plain), tuple(leaves)
        return *of_network, repr(self.criterion), vars_of(self.criterion), batch_size, vmapped, fixed, self.precision

    def _kernel(self, model: nn.Module, compile: bool | None, members: int, each: int, vmapped: bool, batch_size: int, known: Kernel | None) -> Kernel | None:
        """A compiled step for a group of members of so many bytes, if it is known, asked for or repaid; its size does not depend on how many they are."""
        if next(model.parameters()).device.type != "cpu" or compile is False:
            return None
        if known is not None and (known.lasting or known.refused):
            return None if known.refused else known
        parameters = sum(p.numel() for p in model.parameters())
        if compile is None and (compiler_missing() or seconds_saved(parameters, batch_size, members * self.total_steps) < REPAID):
            return None
        size = group_size(parameters, batch_size) if vmapped else 1
        while size > 1 and size * each > self.memory:
            size //= 2
        return Kernel(size)

    def plan(self) -> str:
        """The way each group takes, and why, as text."""
        sizes = [str(n) for n in sorted({p.batch_size for p in self.plans})]
        many = f" {sizes[0]}" if len(sizes) == 1 else f"s {', '.join(sizes[:-1])} and {sizes[-1]}"
        lines = [
            f"{len(self.outcomes)} members in {len(self.plans)} group{'s' if len(self.plans) != 1 else ''}, memory {self.memory / 2**30:g}G, batch size{many}"
        ]
        if self.device.type != "cpu":
            lines.append(f"  on {told(self.device)}")
        for p in self.plans:
            how = f"vmap, {p.chunk} at a time" if p.vmapped else "loop, one after another"
            how += ", compiled" if p.compiled else ""
            lines.append(f"  {p.members} x {p.cocktail}: {how}: {p.why}")
        lines += [f"  {note}" for note in self.notes]
        if self.device.type == "cpu" and any(p.vmapped for p in self.plans) and not steady_products():
            lines.append(
                "  matrix products differ in the last bit from slot to slot here: import temperance before the first product, or set MKL_CBWR=AUTO,STRICT"
            )
        return "\n".join(lines)

    @renamed(on_check="on_progress")
    @plainly
    def run(self, until: int | None = None, *, deadline: float | None = None, on_progress: Callable[[Population], None] | None = None) -> list[Outcome]:
        """Train to a step (default: all planned steps), checking, stopping and retiring members on the way.

        Args:
            until: the step to reach.
            deadline: a ``time.monotonic()`` after which training ends at the next step, with a last check; at least one step is done. Steps are not
                compiled where that alone would take the time left.
            on_progress: called after every check, for progress displays.

        Returns:
            every member's outcome so far; the same objects at every call.
        """
        until = self.total_steps if until is None else min(until, self.total_steps)
        self._shun_compiling(deadline)
        self.compile()
        compiled = [chunk for chunk in self.chunks if chunk.group.compiled]
        side_by_side(compiled, lambda chunk: chunk.run(until, deadline, on_progress), self.halted, self._abreast)
        waiting = [chunk for chunk in self.chunks if not chunk.group.compiled]
        while waiting:
            chunk = waiting.pop(0)
            try:
                chunk.run(until, deadline, on_progress)
            except RuntimeError as error:
                if not out_of_memory(error) or len(chunk.indices) < 2:
                    raise
                waiting = [chunk, self._halve(chunk), *waiting]
        for chunk in self.chunks:
            if chunk.group.step >= self.total_steps:
                chunk.finish("finished")
        self._drop_empty()
        return self.outcomes

    @plainly
    def compile(self) -> None:
        """Make the compiled steps that are planned and not there yet; groups whose step cannot be compiled run as they are, as many at a time as fit."""
        for kernel, chunk in {chunk.group.kernel: chunk for chunk in self.chunks}.items():
            if kernel is None:
                continue
            kernel.compile(chunk.group)
            if not kernel.refused:
                for part in self.chunks:
                    if part.group.kernel is kernel:
                        part.group.start_sums(kernel.names)
                continue
            self.release(kernel, chunk, kernel.refused)

    def _shun_compiling(self, deadline: float | None) -> None:
        """Plain steps, where compiling was not asked for and would take most of the time that is left."""
        left = math.inf if deadline is None else deadline - time.monotonic()
        if self._asked or left >= REPAID:
            return
        for kernel, chunk in {chunk.group.kernel: chunk for chunk in self.chunks}.items():
            if kernel is not None and kernel.step is None and not kernel.refused:
                self.release(kernel, chunk, f"the deadline leaves {max(left, 0.0):.0f} seconds")

    def release(self, kernel: Kernel, chunk: Chunk, why: str) -> None:
        """Let the groups of a kernel run by plain steps."""
        place = self._programs.index(chunk.group.program)
        self.plans[place] = replace(self.plans[place], chunk=self._fit[place], compiled=False)
        self.notes.append(f"not compiled: {why}")
        for part in self.chunks:
            if part.group.kernel is kernel:
                part.group.release()
                for i in part.indices:
                    self.outcomes[i].compiled = False
        self._merge()

    def _halve(self, chunk: Chunk) -> Chunk:
        """Out of memory: half of the chunk's members wait for the other half, and so do those of later chunks; nothing that was computed is lost."""
        place = self._programs.index(chunk.group.program)
        plan = self.plans[place]
        self.plans[place] = replace(plan, chunk=max(1, len(chunk.indices) // 2))
        self.notes.append(f"out of memory with {len(chunk.indices)} networks at once: going on with {self.plans[place].chunk}")
        other = chunk.split()
        self.chunks.append(other)
        return other

    @plainly
    def check(self) -> None:
        """Measure every member now, if it has not been measured at this step."""
        for chunk in list(self.chunks):
            if chunk.indices and chunk.group.step > 0 and chunk.checked != chunk.group.step:
                chunk.check()

    def plan_steps(self, total: int) -> None:
        """Plan another number of steps: schedules and progress refer to it from now on."""
        self.total_steps = total
        for chunk in self.chunks:
            chunk.group.total_steps = total
            chunk.group.changed()

    def keep(self, indices: Sequence[int], status: str) -> None:
        """Go on with these members only; the others end with this status, their best state kept."""
        wanted = set(indices)
        for chunk in self.chunks:
            leaving = [i for i in chunk.indices if i not in wanted]
            chunk.measure_unjudged(leaving)
            chunk.retire(dict.fromkeys(leaving, status))
        self._drop_empty()
        self._merge()

    @plainly
    def end(self, status: str = "finished", short: bool = False) -> list[Outcome]:
        """End the training of every member that still runs, with this status; with ``short`` it says after how many of the steps planned."""
        for chunk in self.chunks:
            chunk.finish(status, short)
        self._drop_empty()
        return self.outcomes

    @property
    def alive(self) -> list[int]:
        return [i for chunk in self.chunks for i in chunk.indices]

    def _drop_empty(self) -> None:
        self.chunks = [chunk for chunk in self.chunks if chunk.indices]

    def _merge(self) -> None:
        """Chunks of one program that together fit one group become one, so that few members still train as one program."""
        merged: list[Chunk] = []
        for chunk in self.chunks:
            limit = self.plans[self._programs.index(chunk.group.program)].chunk
            host = next(
                (
                    c
                    for c in merged
                    if c.group.program is chunk.group.program
                    and c.pulse == chunk.pulse
                    and len(c.indices) + len(chunk.indices) <= limit
                    and c.group.step == chunk.group.step
                ),
                None,
            )
            if host is None or not chunk.group.vmapped:
                merged.append(chunk)
            else:
                host.absorb(chunk)
        self.chunks = merged

    @plainly
    def module(self, index: int, state: dict[str, Tensor] | None = None) -> nn.Module:
        """A plain network with a member's best state (its final state if it was never validated)."""
        outcome = self.outcomes[index]
        state = state or outcome.state or outcome.final
        if state is None:
            raise ConfigError(f"Member {outcome.name} has no state: {outcome.status}.")
        return with_state(self._plain, state)


def vars_of(criterion: Any) -> str:
    """The settings of a loss that its repr may hide.

    Example:
        >>> vars_of(nn.HuberLoss(delta=2.0)) == vars_of(nn.HuberLoss(delta=3.0))
        False
    """
    inner = getattr(criterion, "function", criterion)
    return str(sorted((name, value) for name, value in getattr(inner, "__dict__", {}).items() if isinstance(value, (int, float, str, bool))))


def out_of_memory(error: RuntimeError) -> bool:
    """Whether an error says that memory could not be had.

    Example:
        >>> out_of_memory(RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"))
        True
    """
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def prepared(data: Dataset, dtype: torch.dtype = torch.float32) -> Dataset:
    """Numbers in the network's dtype, row weights of mean one, and zeros for targets that are missing: what stands there is never read."""
    data = replace(data, x=map_leaves(partial(settled, dtype=dtype), data.x), y=map_leaves(partial(settled, dtype=dtype), data.y))
    weight = data.weight
    if weight is not None:
        if not bool(weight.sum() > 0):
            raise DataError("Expected row weights of which some are above 0, got none that is. Leave the weights out to count every row once.")
        weight = weight / weight.mean()
    if data.labeled is None:
        return replace(data, weight=weight)
    y = map_leaves(lambda leaf, known: torch.where(known.reshape(-1, *[1] * (leaf.dim() - 1)), leaf, torch.zeros_like(leaf)), data.y, data.labeled)
    return replace(data, weight=weight, y=y)


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
