"""A population: members grouped by static plan, chunked to memory, checked, stopped and compacted as they train."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from temperance.core.batch import Batch, map_leaves
from temperance.core.cocktail import Cocktail
from temperance.core.criterion import Criterion, Opaque, criterion_for
from temperance.core.errors import ConfigError, expected
from temperance.core.program import Program, scale_of
from temperance.core.schedule import Schedule
from temperance.data.dataset import Dataset
from temperance.train.allocator import keep_freed_memory
from temperance.train.group import Group, Member
from temperance.train.metrics import Metric, metric_for
from temperance.train.outcome import Outcome
from temperance.train.rows import drawn
from temperance.train.steady import steady_norms, steady_products
from temperance.train.stopping import EarlyStopping, better
from temperance.train.ways import DEFAULT_MEMORY, absorb_dropout, bytes_a_member, choose_way, chunk_size, parse_memory, refuse_own_randomness

EVAL_BLOCK = 2048
ROUND_UP = 64  # own rows are scored in tables of a multiple of this length: products of very few rows run through other kernels, with another last bit


@dataclass(frozen=True)
class GroupPlan:
    """How one group trains: for people and for tests."""

    members: int
    vmapped: bool
    why: str
    chunk: int
    memory: int
    cocktail: str


class Population:
    """Hundreds of differently regularized networks, trained as few programs.

    Args:
        model: the network; every member is a copy of it (or starts from its own ``initial`` state). It is never changed.
        members: what differs.
        data: training rows.
        validation: rows that decide the best state and when to stop (members may have folds of the training rows instead).
        criterion: the loss; the task's default if not given.
        metric: decides the best state; the task's default if not given.
        batch_size: rows a step.
        total_steps: steps planned: what schedules and progress refer to.
        check_every: steps between checks (default: an epoch).
        stopping: the stopping rule, or ``None`` to train all steps.
        memory: how much memory the population may plan for, such as ``"4G"``; the size of the batched groups follows from it alone.
        clean_rows: size of the fixed clean training subset on which the gap is measured.
        way: ``"vmap"`` or ``"loop"`` to overrule the planner.

    Raises:
        ConfigError: a cocktail that the network cannot take, or memory too small for one member.

    Example:
        >>> import temperance as tp
        >>> data = tp.as_dataset(torch.randn(64, 5).numpy(), torch.arange(64).numpy() % 2)
        >>> members = [tp.Member(tp.Cocktail(tp.L2(lam))) for lam in (0.0, 0.1)]
        >>> population = tp.Population(tp.nets.MLP(5, 2, hidden=(8,)), members, data, batch_size=16, total_steps=4)
        >>> [outcome.status for outcome in population.run()]
        ['finished', 'finished']
    """

    def __init__(
        self,
        model: nn.Module,
        members: Sequence[Member],
        data: Dataset,
        validation: Dataset | None = None,
        *,
        criterion: Criterion | None = None,
        metric: str | Metric | None = None,
        batch_size: int = 128,
        total_steps: int = 1000,
        check_every: int | None = None,
        stopping: EarlyStopping | None = None,
        memory: str | int = DEFAULT_MEMORY,
        clean_rows: int = 2000,
        way: str | None = None,
    ) -> None:
        if not members:
            raise ConfigError("Expected `members` of Population to hold at least one Member, got none.")
        if way not in (None, "vmap", "loop"):
            raise ConfigError(expected("way", "Population", "to be 'vmap', 'loop' or None", way))
        keep_freed_memory()
        data = prepared(data)
        self.data, self.validation, self.stopping = data, None if validation is None else prepared(validation), stopping
        self.criterion = criterion or criterion_for(data.task)
        if isinstance(self.criterion, Opaque) and (data.weight is not None or data.labeled is not None):
            what = "weights of rows" if data.weight is not None else "rows without a target"
            raise ConfigError(f"A loss of your own gives one number for all rows and cannot take {what}. Use a loss of temperance, or leave these out.")
        self.scored_by = criterion_for(data.task) if isinstance(self.criterion, Opaque) else self.criterion
        self.metric = None if isinstance(data.task, dict) else (metric if isinstance(metric, Metric) else metric_for(metric, data.task))
        smallest = min(len(data) if m.rows is None else len(m.rows) for m in members)
        self.batch_size, self.total_steps = min(batch_size, smallest), total_steps
        self.check_every = check_every or max(1, round(smallest / self.batch_size))
        self.clean_rows = clean_rows
        self.memory = parse_memory(memory)
        self.outcomes = [Outcome(name=m.name or str(i)) for i, m in enumerate(members)]
        skeleton, absorbed = absorb_dropout(model)
        skeleton.train()
        device = data.leaves()[0].device
        skeleton.to(device)
        self._plain = copy.deepcopy(model).to(device)
        refuse_own_randomness(skeleton, data.x, device)
        self._clean = data.take(drawn(len(data), clean_rows).sort().values)
        chosen = choose_way(skeleton, data.x, device)
        if way is not None:
            chosen = replace(chosen, vmapped=way == "vmap", why=f"asked for with way={way!r}")
        if chosen.vmapped and device.type == "cpu":
            steady_norms(skeleton)
        constants = {"input_scale": scale_of(data.x)}
        buckets: dict[Any, list[int]] = {}
        cocktails = [
            Cocktail(*[r.replace(name=label) for label, r in m.cocktail.active().items()], *absorbed) if absorbed else m.cocktail.active() for m in members
        ]
        for i, member in enumerate(members):
            key = (cocktails[i].static(), member.optimizer.static(), member.rows is None, member.validation is None)
            buckets.setdefault(key, []).append(i)
        self.chunks: list[Chunk] = []
        self.plans: list[GroupPlan] = []
        self._programs: list[Program] = []
        rows_bytes = 16 * len(data)
        for indices in buckets.values():
            cocktail = cocktails[indices[0]]
            for i in indices:
                refuse_two_averages(cocktails[i])
            program = Program(cocktail, skeleton, self.criterion, constants, idle_strengths([cocktails[i] for i in indices]))
            self._programs.append(program)
            slots = len(members[indices[0]].optimizer.slots)
            resting, working = bytes_a_member(skeleton, map_leaves(lambda leaf: leaf[:8], data.x), self.batch_size, slots, len(program.of("track")))
            size = chunk_size(resting, working, len(indices), self.memory, rows_bytes)
            size = size if chosen.vmapped else 1
            self.plans.append(GroupPlan(len(indices), chosen.vmapped, chosen.why, size, self.memory, repr(cocktail)))
            for a in range(0, len(indices), size):
                part = indices[a : a + size]
                group = Group(
                    skeleton,
                    program,
                    [replace(members[i], cocktail=cocktails[i]) for i in part],
                    data,
                    batch_size=self.batch_size,
                    total_steps=total_steps,
                    vmapped=chosen.vmapped,
                )
                self.chunks.append(Chunk(self, group, part))

    def plan(self) -> str:
        """The way each group takes, and why, as text."""
        lines = [
            f"{len(self.outcomes)} members in {len(self.plans)} group{'s' if len(self.plans) != 1 else ''}, "
            f"memory {self.memory / 2**30:g}G, batch size {self.batch_size}"
        ]
        for p in self.plans:
            how = f"vmap, {p.chunk} at a time" if p.vmapped else "loop, one after another"
            lines.append(f"  {p.members} x {p.cocktail}: {how}: {p.why}")
        if any(p.vmapped for p in self.plans) and not steady_products():
            lines.append(
                "  matrix products differ in the last bit from slot to slot here: import temperance before the first product, or set MKL_CBWR=AUTO,STRICT"
            )
        return "\n".join(lines)

    def run(self, until: int | None = None, *, deadline: float | None = None, on_check: Callable[[Population], None] | None = None) -> list[Outcome]:
        """Train to a step (default: all planned steps), checking, stopping and retiring members on the way.

        Args:
            until: the step to reach.
            deadline: a ``time.monotonic()`` after which training ends at the next step, with a last check.
            on_check: called after every check, for progress displays.

        Returns:
            every member's outcome so far; the same objects at every call.
        """
        until = self.total_steps if until is None else min(until, self.total_steps)
        for chunk in self.chunks:
            chunk.run(until, deadline, on_check)
        for chunk in self.chunks:
            if chunk.group.step >= self.total_steps:
                chunk.finish("finished")
        self._drop_empty()
        return self.outcomes

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

    def keep(self, indices: Sequence[int], status: str) -> None:
        """Go on with these members only; the others end with this status, their best state kept."""
        wanted = set(indices)
        for chunk in self.chunks:
            chunk.retire({i: status for i in chunk.indices if i not in wanted})
        self._drop_empty()
        self._merge()

    def end(self, status: str = "finished") -> list[Outcome]:
        """End the training of every member that still runs."""
        for chunk in self.chunks:
            chunk.finish(status)
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
                    if c.group.program is chunk.group.program and len(c.indices) + len(chunk.indices) <= limit and c.group.step == chunk.group.step
                ),
                None,
            )
            if host is None or not chunk.group.vmapped:
                merged.append(chunk)
            else:
                host.absorb(chunk)
        self.chunks = merged

    def module(self, index: int, state: dict[str, Tensor] | None = None) -> nn.Module:
        """A plain network with a member's best state (its final state if it was never validated)."""
        outcome = self.outcomes[index]
        state = state or outcome.state or outcome.final
        if state is None:
            raise ConfigError(f"Member {outcome.name} has no state: {outcome.status}.")
        made = copy.deepcopy(self._plain)
        with torch.no_grad():
            for name, tensor in (*made.named_parameters(), *made.named_buffers()):
                tensor.copy_(state[name])
        return made.eval()


def _opaque_losses(criterion: Opaque, out: Any, y: Any, mask: Tensor) -> Tensor:
    """A loss that knows no marks gets every member's own rows alone."""

    def one(i: int, n: int) -> Tensor:
        return criterion.function(*(map_leaves(lambda leaf: leaf[i, :n], tree) for tree in (out, y)))

    return torch.stack([one(i, int(own.sum())) for i, own in enumerate(mask)])


def prepared(data: Dataset) -> Dataset:
    """Row weights of mean one, and zeros for targets that are missing: what stands there is never read."""
    weight = None if data.weight is None else data.weight / data.weight.mean()
    if data.labeled is None:
        return replace(data, weight=weight)
    y = map_leaves(lambda leaf, known: torch.where(known.reshape(-1, *[1] * (leaf.dim() - 1)), leaf, torch.zeros_like(leaf)), data.y, data.labeled)
    return replace(data, weight=weight, y=y)


def refuse_two_averages(cocktail: Cocktail) -> None:
    """Every member may ship one average, whatever the others of its group do."""
    averages = [type(r).__name__ for r in cocktail if "readout" in r.sites() and not r.is_off()]
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


class Chunk:
    """Members that train together, with their checks and best states."""

    def __init__(self, owner: Population, group: Group, indices: list[int]) -> None:
        self.owner, self.group, self.indices = owner, group, list(indices)
        self.checked = -1
        self._clean: dict[int, Tensor] = {}

    def absorb(self, other: Chunk) -> None:
        self.group.join(other.group)
        self.indices += other.indices

    def run(self, until: int, deadline: float | None, on_check: Callable[[Population], None] | None) -> None:
        group = self.group
        while self.indices and group.step < until:
            if deadline is not None and time.monotonic() >= deadline:
                if self.checked != group.step and group.step > 0:
                    self.check()
                break
            group.train_step()
            due = [k for k, planned in enumerate(group.planned()) if group.step % self.owner.check_every == 0 or group.step == planned]
            if due:
                self.check(due)
                if on_check is not None:
                    on_check(self.owner)

    def check(self, due: Sequence[int] | None = None) -> None:
        """Measure the members at these places (default: all), keep best states, stop and retire; nothing changes for the others."""
        owner, group = self.owner, self.group
        due = range(len(self.indices)) if due is None else due
        if len(due) == len(self.indices):
            self.checked = group.step
        running = group.running(keep=len(due) < len(self.indices))
        params, buffers = group.readout()
        validation = self._measure(params, buffers, owner.validation, folds=True)
        clean = self._measure(params, buffers, owner._clean, folds=False)
        assert clean is not None
        lr = (group.hypers["lr"] * group.optimizer.factor(group.progress())).tolist()
        ended: dict[int, str] = {}
        planned, epochs, causes = group.planned(), group.epochs(), self._divergence()
        for k in due:
            index = self.indices[k]
            outcome = owner.outcomes[index]
            if k in causes:
                ended[index] = causes[k]
                continue
            row: dict[str, Any] = {"step": group.step, "epoch": epochs[k], "learning_rate": lr[k]}
            row["loss_running"] = float(running["data"][k]) if "data" in running else float("nan")
            row.update({f"penalty_{name}": float(v[k]) for name, v in running.items() if name not in ("data", "total")})
            row["train_loss"], row["train_score"] = float(clean[0][k]), float(clean[1][k])
            if validation is not None:
                row["validation_loss"], row["validation_score"] = float(validation[0][k]), float(validation[1][k])
            outcome.history.append(row)
            outcome.steps = group.step
            self._judge(outcome, index, k, params, buffers, ended)
            if index not in ended and planned[k] < owner.total_steps and group.step >= planned[k]:
                ended[index] = "finished"
        self.retire(ended)

    def _divergence(self) -> dict[int, str]:
        """Places of members whose loss or weights are not finite, with step and cause."""
        group, out = self.group, dict[int, str]()
        for k, (bad, finite) in enumerate(zip(group.first_bad.tolist(), torch.isfinite(group.arena.flat).all(1).tolist(), strict=True)):
            if bad >= 0:
                out[k] = f"diverged at step {bad}: the loss is not finite"
            elif not finite:
                out[k] = f"diverged at step {group.step}: the weights are not finite"
        return out

    def _judge(self, outcome: Outcome, index: int, k: int, params: Any, buffers: Any, ended: dict[int, str]) -> None:
        owner = self.owner
        if "validation_score" not in outcome.history[-1]:
            return
        metric, rule = owner.metric, owner.stopping or EarlyStopping(optimum=False)
        greater, optimum = (False, None) if metric is None else (metric.greater_is_better, metric.optimum)
        scores = [row["validation_score"] for row in outcome.history]
        verdict = rule.decide(scores, [row["epoch"] for row in outcome.history], [row["step"] for row in outcome.history], greater=greater, optimum=optimum)
        tie = (
            outcome.best >= 0
            and scores[-1] == scores[outcome.best]
            and outcome.history[-1]["validation_loss"] < outcome.history[outcome.best]["validation_loss"]
        )
        if (verdict.best == len(scores) - 1 and (outcome.best < 0 or better(scores[-1], scores[outcome.best], greater))) or tie:
            outcome.best = len(scores) - 1
            outcome.state = self._state(k, params, buffers)
        if owner.stopping is not None and verdict.stop:
            ended[index] = f"stopped: {verdict.why}"

    def _state(self, k: int, params: Any, buffers: Any) -> dict[str, Tensor]:
        return {name: t[k].detach().clone() for name, t in (*params.items(), *buffers.items())}

    def _measure(self, params: Any, buffers: Any, data: Dataset | None, folds: bool) -> tuple[Tensor, Tensor] | None:
        """Mean loss and score of every member on the data, or on its own fold of the training rows."""
        group, owner = self.group, self.owner
        first = group.members[0]
        if (first.validation if folds else first.rows) is not None:
            rows = [torch.as_tensor(m.validation, dtype=torch.long) for m in group.members] if folds else self._own_clean()
            n = -(-max(map(len, rows)) // ROUND_UP) * ROUND_UP
            index, mask = torch.zeros(len(rows), n, dtype=torch.long), torch.zeros(len(rows), n, dtype=torch.bool)
            for i, r in enumerate(rows):
                index[i, : len(r)], mask[i, : len(r)] = r, True
            device = group.keys.device
            index, mask, data = index.to(device), mask.to(device), group.data
        elif data is None:
            return None
        else:
            n, index, mask = len(data), None, None
        out = self._outputs(params, buffers, data, n, index)
        k = len(self.indices)

        def take(leaf: Tensor) -> Tensor:
            return leaf.expand(k, *leaf.shape) if index is None else leaf[index]

        like = group.arena.flat
        weight = torch.ones(k, n, dtype=like.dtype, device=like.device) if data.weight is None else take(data.weight)
        labeled = (
            map_leaves(lambda leaf: torch.ones(k, n, dtype=torch.bool, device=like.device), data.y) if data.labeled is None else map_leaves(take, data.labeled)
        )
        y = map_leaves(take, data.y)
        if mask is not None:
            labeled = map_leaves(lambda known: known & mask, labeled)
        if mask is not None and isinstance(owner.criterion, Opaque):
            losses = _opaque_losses(owner.criterion, out, y, mask)
        else:
            losses = torch.vmap(lambda o, t, w, m: owner.criterion(o, Batch(None, t, w, m, w)))(out, y, weight, labeled)
        if owner.metric is None:
            return losses, losses
        counted = weight * labeled.to(weight.dtype)
        return losses, owner.metric(owner.scored_by.predict(out), y, counted)

    def _own_clean(self) -> list[Tensor]:
        """Every member's clean rows, out of those it trains on."""
        for index, m in zip(self.indices, self.group.members, strict=True):
            if index not in self._clean:
                rows = torch.as_tensor(m.rows, dtype=torch.long)
                self._clean[index] = rows[drawn(len(rows), self.owner.clean_rows).sort().values]
        return [self._clean[index] for index in self.indices]

    def _outputs(self, params: Any, buffers: Any, data: Dataset, n: int, index: Tensor | None) -> Any:
        group, k = self.group, len(self.indices)

        def one(p: Any, b: Any, x: Any) -> Any:
            return group.program.forward(p, b, x, "eval")[0]

        parts: list[Any] = []
        with torch.no_grad():
            for a in range(0, n, EVAL_BLOCK):
                if index is None:
                    x = map_leaves(lambda leaf, a=a: leaf[a : a + EVAL_BLOCK].expand(k, *leaf[a : a + EVAL_BLOCK].shape), data.x)
                else:
                    x = map_leaves(lambda leaf, a=a: leaf[index[:, a : a + EVAL_BLOCK]], data.x)
                parts.append(group.over(one)(params, buffers, x))
        if isinstance(parts[0], dict):
            return {name: torch.cat([p[name] for p in parts], 1) for name in parts[0]}
        return torch.cat(parts, 1)

    def retire(self, statuses: Mapping[int, str]) -> None:
        """End some members, each with its status: their final state is put aside, and the rest is compacted."""
        leaving = [i for i in statuses if i in self.indices]
        if not leaving:
            return
        with torch.no_grad():
            params, buffers = self.group.readout()
        causes = self._divergence()
        for index in leaving:
            outcome, k = self.owner.outcomes[index], self.indices.index(index)
            outcome.status, outcome.steps = causes.get(k, statuses[index]), self.group.step
            outcome.final = self._state(k, params, buffers)
            if outcome.state is None and k not in causes:
                outcome.state = outcome.final
        kept = [k for k, i in enumerate(self.indices) if i not in leaving]
        self.indices = [self.indices[k] for k in kept]
        if kept:
            self.group.gather(torch.tensor(kept))

    def retire_silently(self, kept: Sequence[int]) -> None:
        """Go on with the members at these places, without touching any outcome."""
        self.indices = [self.indices[k] for k in kept]
        self.group.gather(torch.tensor(list(kept), dtype=torch.long))

    def finish(self, status: str) -> None:
        self.retire(dict.fromkeys(self.indices, status))
