"""Members that share one program, stacked: the state of a population and its training step."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from temperance.core.batch import Batch, map_leaves
from temperance.core.errors import ConfigError
from temperance.core.program import Program
from temperance.core.random import key_of
from temperance.core.selector import Weights
from temperance.core.statistics import tracked_norms
from temperance.core.wiring import Wiring, observed
from temperance.data.dataset import Dataset
from temperance.train.feed import Feed
from temperance.train.flat import FlatParameters
from temperance.train.member import Member
from temperance.train.optimizers.muon import hidden_matrices
from temperance.train.own import Scales, refreshed_rows
from temperance.train.rows import drawn
from temperance.train.step import clipped, loss, settle, shipped, step_moments
from temperance.train.trace import Traced

if TYPE_CHECKING:
    from temperance.train.kernel import Kernel


class Group:
    """Members with one static plan, as stacked tensors.

    Args:
        model: the skeleton whose hooks the program uses; its own parameters are never changed.
        program: the cocktail bound to the skeleton.
        members: alike in their static parts.
        data: training data on the device.
        scales: of its rows.
        batch_size: rows per step.
        total_steps: steps planned.
        vmapped: whether the members train as one batched program.
        kernel: the compiled step of the program; its groups have one size, so that slots without a member are filled with copies.
    """

    def __init__(
        self,
        model: nn.Module,
        program: Program,
        members: Sequence[Member],
        data: Dataset,
        scales: Scales,
        *,
        batch_size: int,
        total_steps: int,
        vmapped: bool,
        kernel: Kernel | None = None,
    ) -> None:
        self.model, self.program, self.members, self.data, self._scales = model, program, list(members), data, scales
        self.batch_size, self.total_steps, self.vmapped, self.kernel = batch_size, total_steps, vmapped, kernel
        self.optimizer = members[0].optimizer
        self.has_norms = bool(tracked_norms(model))
        self._thin = any(1 in p.shape[-2:] for p in model.parameters() if p.dim() > 1)
        device = data.leaves()[0].device
        own = {name: t.detach() for name, t in (*model.named_parameters(), *model.named_buffers())}
        everyone = self.everyone()
        for m in members:
            strange = sorted(set(m.initial or {}) - set(own) - set(model.state_dict()))
            if strange:
                raise ConfigError(
                    f"Expected `initial` of Member {m.name or '(unnamed)'} to be a state of the network, got {strange[0]!r}, which is not in the network."
                )
        states = [{**own, **{k: v.to(device) for k, v in (m.initial or {}).items() if k in own}} for m in everyone]
        trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
        weights = [name for name in Weights().match(model) if name in trainable]
        order = weights + [name for name in trainable if name not in weights]
        self.weights = frozenset(weights)
        self.decayed = sum(trainable[name].numel() for name in weights)
        shapes = {name: trainable[name].shape for name in order}
        flat = torch.stack([torch.cat([s[name].reshape(-1) for name in order]) for s in states])
        self.arena = FlatParameters(flat, shapes)
        self.matrices = hidden_matrices(model, weights, self._seen()) if self.optimizer.by_matrix else {}
        self._firsts = self.arena.firsts(self.matrices)
        self.fixed = {name: torch.stack([s[name] for s in states]) for name, p in model.named_parameters() if not p.requires_grad}
        self.buffers = {name: torch.stack([s[name] for s in states]) for name, _ in model.named_buffers()}
        self.slots = self.optimizer.start(flat, shapes)
        dtype = flat.dtype
        self.values = _columns([m.cocktail.strengths() for m in everyone], dtype, device)
        self.hypers = _columns([m.optimizer.hypers() for m in everyone], dtype, device)
        self.keys = torch.stack([key_of(m.seed) for m in everyone]).to(device)
        self.state: dict[str, Any] = self.over(program.init)(self.params())
        self.first_bad = torch.full((len(everyone),), -1, dtype=torch.long, device=device)
        self.sums: dict[str, Tensor] = {}
        self.counted = 0
        self.step = 0
        self.feed = self._feed()
        self.own = scales.stacked(self.feed.own)
        self._forward_backward, self._finish = Traced(self._gradient), Traced(self.settle)
        self.constant: dict[str, Any] = {}
        self.clips, self.finishes, self.scaled = program.has("grads"), program.has("after_step", "track"), program.wants_metric()
        self.looks_back = program.wants_before()

    def _seen(self) -> Wiring:
        """What a pass over a few rows shows of the network, whatever the cocktails of the population need to know."""
        return observed(self.model, map_leaves(lambda leaf: leaf[:8], self.data.x))

    def everyone(self) -> list[Member]:
        """The members, and copies of the last one in the slots that a compiled step has beside."""
        spare = 0 if self.kernel is None else self.kernel.size - len(self.members)
        return [*self.members, *[self.members[-1]] * spare]

    @property
    def width(self) -> int:
        """Slots of the stacked tensors: as many as members, or the size of the compiled step."""
        return len(self.members) if self.kernel is None else self.kernel.size

    @property
    def compiled(self) -> bool:
        """Whether its steps run as machine code."""
        return self.kernel is not None and self.kernel.step is not None

    def changed(self) -> None:
        """Tensors were replaced, not changed in place: what was prepared from them is made again."""
        self.constant = {}

    def _reshaped(self) -> None:
        self.changed()
        self._forward_backward.forget()
        self._finish.forget()

    def _feed(self) -> Feed:
        return Feed(self.data, self.everyone(), self.keys, self.batch_size, self.arena.flat.dtype)

    def __len__(self) -> int:
        return len(self.members)

    def params(self) -> dict[str, Tensor]:
        return {**self.arena.views, **self.fixed}

    def over(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function of one member, for all: vmapped, or for a group of one called as it is.

        A vmapped group of one runs as two copies, of which one counts, where a product of a single pair of matrices runs through another kernel than
        a batch of pairs (a side of length one, or a few threads that share it): the member would differ in the last bit from the same member in
        company.
        """
        if self.vmapped and self.width == 1 and self.kernel is None and (self._thin or 1 < torch.get_num_threads() <= 4):

            def twice(*args: Any) -> Any:
                out = torch.vmap(function)(*tree_map(lambda t: torch.cat([t, t.detach()]), args))
                return tree_map(lambda t: t[:1], out)

            return twice
        if self.vmapped and not (self.width == 1 and self.kernel is not None):
            return torch.vmap(function)

        def single(*args: Any) -> Any:
            assert self.width == 1
            out = function(*tree_map(lambda t: t[0], args))
            return tree_map(lambda t: t.unsqueeze(0), out)

        return single

    def each(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function of one member, for one after another."""

        def one_by_one(*args: Any) -> Any:
            found = [function(*tree_map(lambda t, i=i: t[i], args)) for i in range(self.width)]
            return tree_map(lambda *parts: torch.stack(parts), *found)

        return one_by_one

    def planned(self) -> list[int]:
        """Every member's own number of steps."""
        return [max(1, round(self.total_steps * m.length)) for m in self.members]

    def progress(self) -> Tensor:
        """How far every slot is in its schedules, in double precision."""
        offset, whole = self.clock()
        return ((self.step + offset) / whole).clamp_max(1.0)

    def clock(self) -> tuple[Tensor, Tensor]:
        """Every slot's steps of its schedules that lie before its start, and all of them."""
        if "clock" not in self.constant or self.constant["total"] != self.total_steps:
            wholes = [max(1, round(self.total_steps * m.length)) / (m.schedule[1] - m.schedule[0]) for m in self.everyone()]
            offsets = [m.schedule[0] * whole for m, whole in zip(self.everyone(), wholes, strict=True)]
            clock = tuple(torch.tensor(values, dtype=torch.float64, device=self.keys.device) for values in (offsets, wholes))
            self.constant |= {"clock": clock, "total": self.total_steps}
        return self.constant["clock"]

    def moment(self) -> dict[str, Any]:
        """Where every slot stands, as tensors over slots."""
        step = torch.tensor(self.step, device=self.keys.device)
        return step_moments(self.optimizer, self.hypers, self.keys, self.clock(), step, self.own)

    def batch(self, ahead: int = 0) -> Batch:
        """The next minibatch of every member, or the one so many steps after it."""
        return Batch(*(map_leaves(lambda leaf: leaf[0], part) for part in self.batches(1, ahead)))

    def batches(self, most: int, ahead: int = 0) -> Batch:
        """The next minibatches of every member, at least one and at most so many, their leaves ``(steps, members, rows, ...)``."""
        return self.feed.batches(self.step + ahead, most, self.clock())

    def train_step(self) -> None:
        """One step of every member."""
        if self.kernel is not None and self.kernel.run(self):
            self.step, self.counted = self.step + 1, self.counted + 1
            return
        arena, ahead = self.arena, self.total_steps - self.step
        moment, batch = self.moment(), self.batch()
        leaves = {**arena.leaves, **self.fixed}
        total, report, buffers, grad = self._forward_backward(leaves, self.buffers, self.state, self.values, moment, tuple(batch), ahead=ahead)
        with torch.no_grad():
            self.buffers = {name: b.detach() for name, b in buffers.items()}
            self._note(total.detach(), {name: v.detach() for name, v in report.items()})
            if self.clips:
                views = arena.views_of(grad)
                for name, new in self.clipped(views, arena.views, self.state, self.values, moment).items():
                    views[name].copy_(new)
            before = arena.views_of(arena.flat.clone()) if self.looks_back else {}
            self.optimizer.sweep(arena.flat, grad, self.slots, self.hypers, moment["lr"], self.step, self.decayed, self._firsts)
            if self.finishes:
                if self.scaled:
                    columns = {name: value.unsqueeze(1) for name, value in self.hypers.items()}
                    scale = self.optimizer.scale(self.slots, columns, self.step)
                    moment = {**moment, "metric": {} if scale is None else arena.views_of(scale)}
                moment = {**moment, "before": before}
                changed, self.state = self._finish(arena.views, self.fixed, self.state, self.values, moment, ahead=ahead)
                for name, new in changed.items():
                    arena.views[name].copy_(new)
        self.step += 1

    def _gradient(self, leaves: Any, buffers: Any, state: Any, values: Any, moment: Any, batch: Any) -> Any:
        """Losses, reports, buffers and the flat gradient ``(members, n)`` of one minibatch a member."""
        total, report, after = self.losses(leaves, buffers, state, values, moment, batch)
        wanted = [leaves[name] for name in self.arena.shapes]
        got = torch.autograd.grad(total.sum(), wanted, allow_unused=True)
        parts = [torch.zeros_like(leaf) if g is None else g for g, leaf in zip(got, wanted, strict=True)]
        return total, report, after, torch.cat([g.reshape(self.width, -1) for g in parts], 1)

    def losses(self, *trees: Any) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
        """Every slot's loss, its parts, and the buffers after the pass."""
        return self.over(partial(loss, self.program))(*trees)

    def clipped(self, *trees: Any) -> dict[str, Tensor]:
        """The gradients that regularizers change."""
        return self.over(partial(clipped, self.program))(*trees)

    def settle(self, *trees: Any) -> Any:
        """What follows the optimizer: the parameters that change, and the next state of every regularizer."""
        return self.over(partial(settle, self.program))(*trees)

    def _note(self, total: Tensor, report: Mapping[str, Tensor]) -> None:
        bad = ~torch.isfinite(total)
        self.first_bad = torch.where(bad & (self.first_bad < 0), self.step, self.first_bad)
        for name, value in {"total": total, **report}.items():
            self.sums[name] = value.clone() if name not in self.sums else self.sums[name].add_(value)
        self.counted += 1

    def running(self, keep: bool = False) -> dict[str, Tensor]:
        """Means over the steps since the last call: ``total``, ``data`` and each penalty; with ``keep`` the count goes on."""
        out = {name: value / max(self.counted, 1) for name, value in self.sums.items()}
        if not keep:
            self.counted = 0
            for value in self.sums.values():
                value.zero_()
        return out

    def epochs(self) -> list[float]:
        """Every member's passes over its own rows so far."""
        return [self.step / (count / self.feed.rows.batch_size) for count in self.feed.rows.counts.tolist()]

    def readout(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Parameters and buffers to evaluate and ship, stacked; averages come with re-estimated BatchNorm statistics."""
        return self.read(*self.to_read())

    def to_read(self) -> tuple[Any, ...]:
        """The arguments of :meth:`read` as they stand now."""
        params = self.params()
        if not self.program.has("readout"):
            return params, self.buffers, {}, {}, (), []
        blocks: list[Any] = []
        if self.has_norms:
            n = refreshed_rows(int(self.feed.rows.counts[0]))
            size = min(n, 256)
            shared, k = self.members[0].rows is None, self.width
            index = torch.stack([self._refresh_rows(i, n) for i in range(1 if shared else k)])

            def block(leaf: Tensor, a: int) -> Tensor:
                rows = leaf[index[:, a : a + size]]
                return rows.expand(k, *rows.shape[1:])

            blocks = [map_leaves(lambda leaf, a=a: block(leaf, a), self.data.x) for a in range(0, n - size + 1, size)]
        return params, self.buffers, self.state, self.values, self.progress().to(self.arena.flat.dtype), blocks

    def read(self, params: Any, buffers: Any, state: Any, values: Any, progress: Any, blocks: Any) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """:meth:`readout` as a function of tensors."""
        if not self.program.has("readout"):
            return params, buffers

        with torch.no_grad():
            return self.over(partial(shipped, self.program))(params, buffers, state, values, progress, blocks)

    def _refresh_rows(self, i: int, n: int) -> Tensor:
        """``n`` of the rows that a member trains on, in random order, from the start again where it has fewer."""
        order = drawn(int(self.feed.rows.counts[i]), n)
        return self.feed.rows.rows[i, order[torch.arange(n) % len(order)].to(self.keys.device)]

    def gather(self, index: Tensor) -> None:
        """Keep some of the members, in this order: one gather over everything that belongs to a member."""
        self._take([self.members[i] for i in index.tolist()], index, None)

    def join(self, other: Group) -> None:
        """Take in the members of a group that runs the same program and stands at the same step."""
        both = torch.cat([torch.arange(len(self.members)), self.width + torch.arange(len(other.members))])
        self._take([*self.members, *other.members], both, other)

    def start_sums(self, names: Sequence[str]) -> None:
        """Have all sums of losses from the start on: a compiled step adds to them in place."""
        if not self.sums:
            self.sums = {name: torch.zeros(self.width, dtype=self.arena.flat.dtype) for name in names}

    def assembled(self, members: Sequence[Member]) -> Group:
        """The group of other members of the same program, their tensors still to be loaded."""
        other = copy.copy(self)
        other.members = list(members)
        if self.kernel is not None and len(members) > self.kernel.size:
            other.kernel = None
        everyone, device = other.everyone(), self.keys.device
        other.values = _columns([m.cocktail.strengths() for m in everyone], self.arena.flat.dtype, device)
        other.hypers = _columns([m.optimizer.hypers() for m in everyone], self.arena.flat.dtype, device)
        other.keys = torch.stack([key_of(m.seed) for m in everyone]).to(device)
        other.feed = other._feed()
        other.own = self._scales.stacked(other.feed.own)
        other._forward_backward, other._finish = Traced(other._gradient), Traced(other.settle)
        return other

    def release(self) -> None:
        """Go on without a compiled step."""
        self.kernel, self.sums = None, self.sums if self.step else {}
        self.gather(torch.arange(len(self.members)))

    def split(self, kept: int) -> Group:
        """Keep the first members; the others as a group of their own."""
        other = copy.copy(self)
        other._forward_backward, other._finish = Traced(other._gradient), Traced(other.settle)
        other.gather(torch.arange(kept, len(self.members)))
        self.gather(torch.arange(kept))
        return other

    def _take(self, members: list[Member], index: Tensor, other: Group | None) -> None:
        """Become the slots at these places, of this group or of it and another one; slots without a member hold copies."""
        self.members = members
        index = torch.cat([index, index[-1:].expand(self.width - len(index))]).to(self.keys.device)

        def pick(mine: Tensor, *theirs: Tensor) -> Tensor:
            return torch.cat([mine, *theirs])[index]

        def tree(name: str) -> Any:
            return tree_map(pick, getattr(self, name), *([] if other is None else [getattr(other, name)]))

        flat = pick(self.arena.flat, *([] if other is None else [other.arena.flat]))
        self.arena = FlatParameters(flat, self.arena.shapes)
        for name in ("fixed", "buffers", "slots", "values", "hypers", "state", "sums", "keys", "first_bad", "own"):
            setattr(self, name, tree(name))
        self.feed = self._feed()
        self._reshaped()

    def tensors(self) -> dict[str, Any]:
        """Everything of the members that resuming needs, as a tree of tensors."""
        names = ("fixed", "buffers", "slots", "state", "first_bad", "sums")
        tree = {"flat": self.arena.flat, **{name: getattr(self, name) for name in names}}
        return tree if self.kernel is None else tree_map(lambda t: t[: len(self.members)], tree)

    def load_tensors(self, tree: Mapping[str, Any], step: int, counted: int) -> None:
        spare = torch.arange(self.width).clamp_max(len(self.members) - 1)
        tree = tree_map(lambda t: t[spare].to(self.keys.device), dict(tree))
        self.arena = FlatParameters(tree["flat"], self.arena.shapes)
        self.fixed, self.buffers, self.slots = (dict(tree.get(name, {})) for name in ("fixed", "buffers", "slots"))
        self.state, self.first_bad, self.sums = dict(tree.get("state", {})), tree["first_bad"], dict(tree.get("sums", {}))
        self.step, self.counted = step, counted
        self._reshaped()


def _columns(rows: Sequence[Mapping[str, float]], dtype: torch.dtype, device: torch.device) -> dict[str, Tensor]:
    return {name: torch.tensor([row[name] for row in rows], dtype=dtype, device=device) for name in rows[0]}
