"""Members that share one program, stacked: the state of a population and its training step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from temperance.core.batch import Batch, map_leaves
from temperance.core.cocktail import Cocktail
from temperance.core.errors import ConfigError
from temperance.core.program import Moment, Program, step_key
from temperance.core.random import key_of
from temperance.core.selector import Weights
from temperance.core.statistics import refresh_statistics
from temperance.data.dataset import Dataset
from temperance.train.optimizers import AdamW, Optimizer
from temperance.train.rows import RowSampler, drawn
from temperance.train.trace import Traced


@dataclass(frozen=True, eq=False)
class Member:
    """One network of a population.

    Attributes:
        cocktail: its regularizers.
        optimizer: its optimizer, with its own numbers.
        seed: of its rows, masks and noise.
        initial: its state dict at the start (``None``: the given network's own).
        rows: the rows it trains on (``None``: all); repeats are a bootstrap.
        validation: the rows of the training data it is validated on, for folds (``None``: the common validation data).
        length: its share of the planned steps: it goes through its schedules in that time, and ends there.
        name: for tables and errors.
    """

    cocktail: Cocktail = field(default_factory=Cocktail)
    optimizer: Optimizer = field(default_factory=AdamW)
    seed: int = 0
    initial: Mapping[str, Tensor] | None = None
    rows: Sequence[int] | Tensor | None = None
    validation: Sequence[int] | Tensor | None = None
    length: float = 1.0
    name: str = ""


class Arena:
    """One flat ``(members, parameters)`` tensor, weights first, and named views of it."""

    def __init__(self, flat: Tensor, shapes: Mapping[str, torch.Size]) -> None:
        self.flat, self.shapes = flat, shapes
        self.views = self.views_of(flat)
        self.leaves = {name: view.detach() for name, view in self.views.items()}
        for leaf in self.leaves.values():
            leaf.requires_grad_(leaf.is_floating_point())

    def views_of(self, flat: Tensor) -> dict[str, Tensor]:
        out: dict[str, Tensor] = {}
        start = 0
        for name, shape in self.shapes.items():
            n = shape.numel()
            out[name] = flat[:, start : start + n].unflatten(1, shape) if shape else flat[:, start]
            start += n
        return out


def _index_tree(tree: Any, index: Tensor) -> Any:
    return tree_map(lambda t: t[index], tree)


class Group:
    """Members with one static plan, as stacked tensors.

    Args:
        model: the skeleton whose hooks the program uses; its own parameters are never changed.
        program: the cocktail bound to the skeleton.
        members: alike in their static parts.
        data: training data on the device.
        batch_size: rows a step.
        total_steps: steps planned.
        vmapped: whether the members train as one batched program.
    """

    def __init__(
        self, model: nn.Module, program: Program, members: Sequence[Member], data: Dataset, *, batch_size: int, total_steps: int, vmapped: bool
    ) -> None:
        self.model, self.program, self.members, self.data = model, program, list(members), data
        self.batch_size, self.total_steps, self.vmapped = batch_size, total_steps, vmapped
        self.optimizer = members[0].optimizer
        self._has_norms = any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules())  # pyright: ignore[reportPrivateUsage] -- no public base
        self._thin = any(1 in p.shape[-2:] for p in model.parameters() if p.dim() > 1)
        device = data.leaves()[0].device
        own = {name: t.detach() for name, t in (*model.named_parameters(), *model.named_buffers())}
        for m in members:
            strange = sorted(set(m.initial or {}) - set(own) - set(model.state_dict()))
            if strange:
                raise ConfigError(
                    f"Expected `initial` of Member {m.name or '(unnamed)'} to be a state of the network, got {strange[0]!r}, which the network has not."
                )
        states = [{**own, **{k: v for k, v in (m.initial or {}).items() if k in own}} for m in members]
        trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
        weights = [name for name in Weights().match(model) if name in trainable]
        order = weights + [name for name in trainable if name not in weights]
        self.decayed = sum(trainable[name].numel() for name in weights)
        shapes = {name: trainable[name].shape for name in order}
        flat = torch.stack([torch.cat([s[name].reshape(-1) for name in order]) for s in states]).to(device)
        self.arena = Arena(flat, shapes)
        self.fixed = {name: torch.stack([s[name] for s in states]).to(device) for name, p in model.named_parameters() if not p.requires_grad}
        self.buffers = {name: torch.stack([s[name] for s in states]).to(device) for name, _ in model.named_buffers()}
        self.slots = {name: torch.zeros_like(flat) for name in self.optimizer.slots}
        dtype = flat.dtype
        self.values = _columns([m.cocktail.strengths() for m in members], dtype, device)
        self.hypers = _columns([m.optimizer.hypers() for m in members], dtype, device)
        self.keys = torch.stack([key_of(m.seed) for m in members]).to(device)
        self.state: dict[str, Any] = self.over(program.init)(self.params())
        self.first_bad = torch.full((len(members),), -1, dtype=torch.long, device=device)
        self.sums: dict[str, Tensor] = {}
        self.counted = 0
        self.step = 0
        self.rows = self._sampler(device)
        self._forward_backward, self._finish = Traced(self._gradient), Traced(self._settle)
        self._clips, self._finishes = program.has("grads"), program.has("after_step", "track")

    def _reshaped(self) -> None:
        self._forward_backward.forget()
        self._finish.forget()

    def _sampler(self, device: torch.device) -> RowSampler:
        n = len(self.data)
        rows = [torch.arange(n) if m.rows is None else torch.as_tensor(m.rows, dtype=torch.long) for m in self.members]
        counts = torch.tensor([len(r) for r in rows])
        padded = torch.zeros(len(rows), int(counts.max()), dtype=torch.long)
        for i, r in enumerate(rows):
            padded[i, : len(r)] = r
        return RowSampler(padded.to(device), counts.to(device), self.keys, min(self.batch_size, int(counts.min())))

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
        if self.vmapped and len(self.members) == 1 and (self._thin or 1 < torch.get_num_threads() <= 4):

            def twice(*args: Any) -> Any:
                out = torch.vmap(function)(*tree_map(lambda t: torch.cat([t, t.detach()]), args))
                return tree_map(lambda t: t[:1], out)

            return twice
        if self.vmapped:
            return torch.vmap(function)

        def single(*args: Any) -> Any:
            assert len(self.members) == 1
            out = function(*tree_map(lambda t: t[0], args))
            return tree_map(lambda t: t.unsqueeze(0), out)

        return single

    def planned(self) -> list[int]:
        """Every member's own number of steps."""
        return [max(1, round(self.total_steps * m.length)) for m in self.members]

    def progress(self) -> Tensor:
        """Every member's share of its planned steps that is done, in double precision."""
        return torch.tensor([min(self.step / planned, 1.0) for planned in self.planned()], dtype=torch.float64, device=self.arena.flat.device)

    def moment(self) -> dict[str, Tensor]:
        """Where every member stands, as tensors over members."""
        k, progress = len(self.members), self.progress()
        dtype = self.arena.flat.dtype
        factor = self.optimizer.factor(progress).to(dtype)
        return {
            "key": step_key(self.keys, self.step),
            "step": torch.full((k,), self.step, dtype=torch.long, device=self.keys.device),
            "progress": progress.to(dtype),
            "lr": self.hypers["lr"] * factor,
            "lr_factor": factor,
        }

    def batch(self) -> Batch:
        """The next minibatch of every member."""
        rows = self.rows.at(self.step)
        flat = rows.reshape(-1)

        def pick(leaf: Tensor) -> Tensor:
            return leaf.index_select(0, flat).reshape(*rows.shape, *leaf.shape[1:])

        data = self.data
        weight = torch.ones(rows.shape, dtype=self.arena.flat.dtype, device=rows.device) if data.weight is None else pick(data.weight)
        labeled = (
            map_leaves(lambda leaf: torch.ones(rows.shape, dtype=torch.bool, device=rows.device), data.y)
            if data.labeled is None
            else map_leaves(pick, data.labeled)
        )
        return Batch(map_leaves(pick, data.x), map_leaves(pick, data.y), weight, labeled, rows)

    def train_step(self) -> None:
        """One step of every member."""
        arena, ahead = self.arena, self.total_steps - self.step
        moment, batch = self.moment(), self.batch()
        leaves = {**arena.leaves, **self.fixed}
        total, report, buffers, grad = self._forward_backward(leaves, self.buffers, self.state, self.values, moment, tuple(batch), ahead=ahead)
        with torch.no_grad():
            self.buffers = {name: b.detach() for name, b in buffers.items()}
            self._note(total.detach(), {name: v.detach() for name, v in report.items()})
            if self._clips:
                self._change_grads(grad, moment)
            self.optimizer.sweep(arena.flat, grad, self.slots, self.hypers, moment["lr"], self.step, self.decayed)
            if self._finishes:
                changed, self.state = self._finish(arena.views, self.fixed, self.state, self.values, moment, ahead=ahead)
                for name, new in changed.items():
                    arena.views[name].copy_(new)
        self.step += 1

    def _gradient(self, leaves: Any, buffers: Any, state: Any, values: Any, moment: Any, batch: Any) -> Any:
        """Losses, reports, buffers and the flat gradient ``(members, n)`` of one minibatch a member."""
        program = self.program

        def loss(params: Any, buffers: Any, state: Any, values: Any, where: Any, rows: Any) -> Any:
            total, report, after, _ = program.loss(params, buffers, state, values, Moment(**where), Batch(*rows))
            return total, report, after

        total, report, after = self.over(loss)(leaves, buffers, state, values, moment, batch)
        wanted = [leaves[name] for name in self.arena.shapes]
        got = torch.autograd.grad(total.sum(), wanted, allow_unused=True)
        parts = [torch.zeros_like(leaf) if g is None else g for g, leaf in zip(got, wanted, strict=True)]
        return total, report, after, torch.cat([g.reshape(len(self.members), -1) for g in parts], 1)

    def _change_grads(self, grad: Tensor, moment: Any) -> None:
        views = self.arena.views_of(grad)

        def change(grads: Any, params: Any, state: Any, values: Any, where: Any) -> Any:
            return self.program.change_grads(grads, params, state, values, Moment(**where))

        for name, new in self.over(change)(views, self.arena.views, self.state, self.values, moment).items():
            views[name].copy_(new)

    def _settle(self, views: Any, fixed: Any, state: Any, values: Any, moment: Any) -> Any:
        """What follows the optimizer: the parameters that change, and the next state of every regularizer."""
        program = self.program

        def after(params: Any, still: Any, state: Any, values: Any, where: Any) -> Any:
            here = Moment(**where)
            new = program.after_step(params, state, values, here) if program.has("after_step") else params
            changed = {name: value for name, value in new.items() if value is not params[name]}
            return changed, program.track(state, {**new, **still}, values, here) if program.has("track") else state

        return self.over(after)(views, fixed, state, values, moment)

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
            self.sums, self.counted = {}, 0
        return out

    def epochs(self) -> list[float]:
        """Every member's passes over its own rows so far."""
        return [self.step / (count / self.rows.batch_size) for count in self.rows.counts.tolist()]

    def readout(self, refresh_rows: int = 2048) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Parameters and buffers to evaluate and ship, stacked; averages come with re-estimated BatchNorm statistics."""
        params = self.params()
        if not self.program.has("readout"):
            return params, self.buffers
        n = min(refresh_rows, len(self.data))
        size = max(2, min(n, 256))
        shared, k = self.members[0].rows is None, len(self.members)
        index = torch.stack([self._refresh_rows(i, n) for i in range(1 if shared else k)])

        def block(leaf: Tensor, a: int) -> Tensor:
            rows = leaf[index[:, a : a + size]]
            return rows.expand(k, *rows.shape[1:])

        blocks = [map_leaves(lambda leaf, a=a: block(leaf, a), self.data.x) for a in range(0, n - size + 1, size)] if self._has_norms else []

        def read(p: Any, b: Any, state: Any, values: Any, progress: Any, x: Any) -> Any:
            return self.program.readout(state, p, b, values, progress, lambda q, c: refresh_statistics(self.program, q, c, x))

        with torch.no_grad():
            return self.over(read)(params, self.buffers, self.state, self.values, self.progress().to(self.arena.flat.dtype), blocks)

    def _refresh_rows(self, i: int, n: int) -> Tensor:
        """``n`` of the rows that a member trains on, in random order, from the start again where it has fewer."""
        order = drawn(int(self.rows.counts[i]), n)
        return self.rows.rows[i, order[torch.arange(n) % len(order)].to(self.rows.rows.device)]

    def gather(self, index: Tensor) -> None:
        """Keep some of the members, in this order: one gather over everything that belongs to a member."""
        index = index.to(self.keys.device)
        self.members = [self.members[i] for i in index.tolist()]
        self.arena = Arena(self.arena.flat[index].clone(), self.arena.shapes)
        self.fixed, self.buffers, self.slots, self.values, self.hypers, self.state, self.sums = (
            _index_tree(tree, index) for tree in (self.fixed, self.buffers, self.slots, self.values, self.hypers, self.state, self.sums)
        )
        self.keys, self.first_bad, self.rows = self.keys[index], self.first_bad[index], self.rows.gather(index)
        self._reshaped()

    def join(self, other: Group) -> None:
        """Take in the members of a group that runs the same program and stands at the same step."""

        def both(a: Tensor, b: Tensor) -> Tensor:
            return torch.cat([a, b])

        self.members += other.members
        self.arena = Arena(both(self.arena.flat, other.arena.flat), self.arena.shapes)
        self.fixed, self.buffers, self.slots, self.values, self.hypers, self.state, self.sums = (
            tree_map(both, mine, theirs)
            for mine, theirs in zip(
                (self.fixed, self.buffers, self.slots, self.values, self.hypers, self.state, self.sums),
                (other.fixed, other.buffers, other.slots, other.values, other.hypers, other.state, other.sums),
                strict=True,
            )
        )
        self.keys, self.first_bad = both(self.keys, other.keys), both(self.first_bad, other.first_bad)
        width = max(self.rows.rows.shape[1], other.rows.rows.shape[1])
        padded = [torch.nn.functional.pad(r.rows, (0, width - r.rows.shape[1])) for r in (self.rows, other.rows)]
        self.rows = RowSampler(torch.cat(padded), both(self.rows.counts, other.rows.counts), self.keys, self.rows.batch_size)
        self._reshaped()

    def tensors(self) -> dict[str, Any]:
        """Everything that resuming needs, as a tree of tensors."""
        return {
            "flat": self.arena.flat,
            "fixed": self.fixed,
            "buffers": self.buffers,
            "slots": self.slots,
            "state": self.state,
            "first_bad": self.first_bad,
            "sums": self.sums,
        }

    def load_tensors(self, tree: Mapping[str, Any], step: int, counted: int) -> None:
        self.arena = Arena(tree["flat"].clone(), self.arena.shapes)
        self.fixed, self.buffers, self.slots = dict(tree.get("fixed", {})), dict(tree.get("buffers", {})), dict(tree.get("slots", {}))
        self.state, self.first_bad, self.sums = dict(tree.get("state", {})), tree["first_bad"], dict(tree.get("sums", {}))
        self.step, self.counted = step, counted


def _columns(rows: Sequence[Mapping[str, float]], dtype: torch.dtype, device: torch.device) -> dict[str, Tensor]:
    return {name: torch.tensor([row[name] for row in rows], dtype=dtype, device=device) for name in rows[0]}
