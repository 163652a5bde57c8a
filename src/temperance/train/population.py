"""A population: members grouped by static plan, chunked to memory, checked, stopped and compacted as they train."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from temperance.core.ambient import dtype_of, plainly, settled
from temperance.core.batch import map_leaves
from temperance.core.criterion import Opaque, criterion_for
from temperance.core.device import device_of, out_of_memory, precision_of, told
from temperance.core.errors import ConfigError, DataError, expected
from temperance.core.inputs import refuse_changed_inputs, refuse_without_images
from temperance.core.renamed import OldName, renamed
from temperance.core.statistics import tracked_norms
from temperance.core.torch_losses import trainer_criterion
from temperance.data.dataset import Dataset
from temperance.train.allocator import keep_freed_memory
from temperance.train.chunk import Chunk, Common
from temperance.train.evaluator import Evaluator
from temperance.train.grouping import Grouping
from temperance.train.kernel import REPAID, Kernel, Kernels
from temperance.train.member import Member
from temperance.train.metrics import Metric, metric_for
from temperance.train.outcome import Outcome
from temperance.train.own import check_rows, own_rows, parts_of, pulse_of
from temperance.train.remember import with_state
from temperance.train.rows import drawn
from temperance.train.steady import steady_products
from temperance.train.stopping import EarlyStopping
from temperance.train.threads import side_by_side
from temperance.train.ways import DEFAULT_MEMORY, parse_memory


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
        batch_size: rows per step; a member with fewer rows takes all of them.
        total_steps: steps planned: what schedules and progress refer to.
        check_every: steps between checks (default: an epoch of the member's rows).
        early_stopping: the stopping rule, or ``None`` to train all steps.
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

    @renamed(stopping="early_stopping")
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
        early_stopping: EarlyStopping | None = None,
        memory: str | int = DEFAULT_MEMORY,
        clean_rows: int = 2000,
        way: str | None = None,
        compile: bool | None = None,
        kernels: Kernels | None = None,
        device: str | torch.device | None = None,
        precision: str = "fp32",
    ) -> None:
        refuse(model, members, data, way=way, batch_size=batch_size, total_steps=total_steps)
        keep_freed_memory()
        self.dtype = dtype_of(model)
        self.home, wanted = data.leaves()[0].device, device_of(device, "Population")
        self.device, precision = self.home if wanted is None else wanted, precision_of(precision, "Population")
        data = data.to(self.device)
        self.data = data = replace(prepared(data, self.dtype), weight=data.weight)  # which every member divides by the mean over its own rows
        validation = None if validation is None else prepared(validation.to(self.device), self.dtype)
        self.criterion = criterion_for(data.task) if criterion is None else trainer_criterion(criterion)
        if isinstance(self.criterion, Opaque) and (data.weight is not None or data.labeled is not None):
            what = "weights of rows" if data.weight is not None else "rows without a target"
            raise ConfigError(f"A loss of your own gives one number for all rows and cannot take {what}. Use a loss of temperance, or leave these out.")
        self.scored_by = criterion_for(data.task) if isinstance(self.criterion, Opaque) else self.criterion
        self.metric = metric if isinstance(metric, Metric) else None if isinstance(data.task, dict) else metric_for(metric, data.task)
        self.total_steps, self._asked, self.memory = total_steps, compile is True, parse_memory(memory)
        batch_size = min(batch_size, len(data))
        pulses = [pulse_of(m, data, min(batch_size, own_rows(m, data)), check_every, clean_rows, refreshes(m, model)) for m in members]
        self.outcomes = [Outcome(name=m.name or str(i)) for i, m in enumerate(members)]
        self._plain = copy.deepcopy(model).to(self.home)
        grouping = Grouping(
            model,
            members,
            data,
            self.criterion,
            batch_size=batch_size,
            total_steps=total_steps,
            memory=self.memory,
            way=way,
            compile=compile,
            kernels=kernels,
            precision=precision,
        )
        clean = data.take(drawn(len(data), clean_rows).sort().values)
        self.evaluator = Evaluator(self.criterion, self.scored_by, self.metric, validation, clean, clean_rows)
        self.common = Common(self.evaluator, early_stopping, self.outcomes, pulses, self.home)
        self._buckets = grouping.buckets()
        self.plans = [bucket.plan for bucket in self._buckets]
        self.chunks: list[Chunk] = []
        for bucket in self._buckets:
            for i in bucket.indices:
                self.outcomes[i].compiled = bucket.kernel is not None
            self.chunks += [Chunk(self.common, grouping.group(bucket, part), part) for part in parts_of(bucket.indices, pulses, bucket.plan.chunk)]
        self._abreast = grouping.abreast
        self.notes: list[str] = []

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
        tell = None if on_progress is None else partial(on_progress, self)
        side_by_side(compiled, lambda chunk: chunk.run(until, deadline, tell), self.common.halted, self._abreast)
        waiting = [chunk for chunk in self.chunks if not chunk.group.compiled]
        while waiting:
            chunk = waiting.pop(0)
            try:
                chunk.run(until, deadline, tell)
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

    @property
    def kernels(self) -> list[Kernel]:
        """The compiled steps of its groups, also those that were refused."""
        return list({id(bucket.kernel): bucket.kernel for bucket in self._buckets if bucket.kernel is not None}.values())

    def release(self, kernel: Kernel, chunk: Chunk, why: str) -> None:
        """Let the groups of a kernel run by plain steps."""
        place = self._place(chunk)
        self.plans[place] = replace(self.plans[place], chunk=self._buckets[place].fits, compiled=False)
        self.notes.append(f"not compiled: {why}")
        for part in self.chunks:
            if part.group.kernel is kernel:
                part.group.release()
                for i in part.indices:
                    self.outcomes[i].compiled = False
        self.merge()

    def _halve(self, chunk: Chunk) -> Chunk:
        """Out of memory: half of the chunk's members wait for the other half, and so do those of later chunks; nothing that was computed is lost."""
        place = self._place(chunk)
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
        self.merge()

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

    @property
    def step(self) -> int:
        """The step that the members that still train have reached."""
        return max((chunk.group.step for chunk in self.chunks), default=0)

    def _place(self, chunk: Chunk) -> int:
        """Which of the plans a chunk belongs to."""
        return next(i for i, bucket in enumerate(self._buckets) if bucket.program is chunk.group.program)

    def _drop_empty(self) -> None:
        self.chunks = [chunk for chunk in self.chunks if chunk.indices]

    def merge(self) -> None:
        """Chunks of one program that together fit one group become one, so that few members still train as one program."""
        merged: list[Chunk] = []
        for chunk in self.chunks:
            limit = self.plans[self._place(chunk)].chunk
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

    module = OldName("model")

    @plainly
    def model(self, index: int, state: dict[str, Tensor] | None = None) -> nn.Module:
        """A plain network with a member's best state (its final state if it was never validated)."""
        return network_of(self._plain, self.outcomes[index], state)


def network_of(plain: nn.Module, outcome: Outcome, state: dict[str, Tensor] | None = None) -> nn.Module:
    """A plain network with a state, or with the member's best one, or its final one if it was never validated."""
    state = state or outcome.state or outcome.final
    if state is None:
        raise ConfigError(f"Member {outcome.name} has no state: {outcome.status}.")
    return with_state(plain, state)


def refuse(model: nn.Module, members: Sequence[Member], data: Dataset, *, way: str | None, batch_size: int, total_steps: int) -> None:
    """Refuse what no population can train with.

    Raises:
        ConfigError: no members, settings out of range, or members that the data or the network cannot serve.
    """
    if not members:
        raise ConfigError("Expected `members` of Population to hold at least one Member, got none.")
    if way not in (None, "vmap", "loop"):
        raise ConfigError(expected("way", "Population", "to be 'vmap', 'loop' or None", way))
    for name, value in (("batch_size", batch_size), ("total_steps", total_steps)):
        if value < 1:
            raise ConfigError(expected(name, "Population", "to be a whole number in [1, inf)", value))
    if data.further is not None and data.tangents is not None:
        mend = "Leave `tangents` out, or hold all rows in memory."
        raise ConfigError(f"Expected no `tangents` of a data set of which some rows are read from a disk, as these have none, got both. {mend}")
    for m in members:
        check_rows(m, len(data))
        if data.further is not None and (m.rows is not None or m.validation is not None or m.curriculum is not None):
            mend = "Leave `rows`, `validation` and `curriculum` out, or hold all rows in memory."
            raise ConfigError(f"Expected Member {m.name or '(unnamed)'} to train on all rows where some are read from a disk, got rows of its own. {mend}")
        if m.curriculum is not None and len(m.curriculum.difficulty) != len(data):
            raise ConfigError(expected("difficulty", "Curriculum", f"to have a number for each of the {len(data)} rows", len(m.curriculum.difficulty)))
        refuse_without_images(m.cocktail, data.x)
        refuse_changed_inputs(m.cocktail, model)


def refreshes(member: Member, model: nn.Module) -> bool:
    """Whether what a member ships needs BatchNorm statistics re-estimated: an average of weights does."""
    return bool(tracked_norms(model)) and any(r.wants("readout") and "readout" in r.sites() for r in member.cocktail.active())


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
