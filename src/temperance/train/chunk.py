"""Members that train together: their checks, best states, and ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from temperance.core.batch import Batch, leaves_of, map_leaves, rows_of
from temperance.core.criterion import Opaque
from temperance.data.dataset import Dataset
from temperance.train.group import Group
from temperance.train.noise import standard_error
from temperance.train.outcome import Outcome
from temperance.train.own import mean_weights, table_length
from temperance.train.products import place_eager_products
from temperance.train.remember import remembers
from temperance.train.rows import drawn
from temperance.train.stopping import EarlyStopping, better
from temperance.train.trace import Traced

if TYPE_CHECKING:
    from temperance.train.population import Population

Rows = tuple[Any, dict[str, Tensor], Any, Tensor, Any]  # inputs, places and marks of members' own rows, targets, weights, which are known
Measured = tuple[Any, Any, Any, Any]  # parameters, buffers, and three tensors for validation rows (or None) and for clean training rows
EVAL_BLOCK = 2048
NOT_STARTED = "not started"
SHARED = 1 << 20  # checks still to come, as good as: a graph of the measurement serves all groups of a compiled step, in later populations too
ALONE = 512  # rows from which the networks of a compiled group are measured one after another: two plain matrices are what the faster library multiplies
MOST_ALONE = 64 * EVAL_BLOCK  # rows of all of them up to which that is so: each block of each network is a part of the graph


def _outputs(group: Group, params: Any, buffers: Any, x: Any, index: Tensor | None) -> Any:
    """The network's outputs ``(members, rows, ...)`` for the same rows, or for each member's own ones."""
    k, n = group.width, rows_of(x) if index is None else index.shape[1]

    def one(p: Any, b: Any, rows: Any) -> Any:
        return group.program.forward(p, b, rows, "eval")[0]

    parts: list[Any] = []
    alone = (group.kernel is not None and n >= ALONE and k * n <= MOST_ALONE) or remembers(group.model)
    with torch.no_grad():
        for a in range(0, n, EVAL_BLOCK):
            if index is None:
                rows = map_leaves(lambda leaf, a=a: leaf[a : a + EVAL_BLOCK].expand(k, *leaf[a : a + EVAL_BLOCK].shape), x)
            else:
                rows = map_leaves(lambda leaf, a=a: leaf[index[:, a : a + EVAL_BLOCK]], x)
            parts.append((group.each if alone else group.over)(one)(params, buffers, rows))
    if isinstance(parts[0], dict):
        return {name: torch.cat([p[name] for p in parts], 1) for name in parts[0]}
    return torch.cat(parts, 1)


class Chunk:
    """Members that train together, with their checks and best states."""

    def __init__(self, owner: Population, group: Group, indices: list[int]) -> None:
        self.owner, self.group, self.indices = owner, group, list(indices)
        self.pulse = owner.pulses[self.indices[0]]
        self.checked = -1
        self.owed = False
        self._clean: dict[int, Tensor] = {}

    def split(self) -> Chunk:
        """Give half of the members to a new chunk."""
        kept = (len(self.indices) + 1) // 2
        other = Chunk(self.owner, self.group.split(kept), self.indices[kept:])
        other.checked, other.owed, self.indices = self.checked, self.owed, self.indices[:kept]
        return other

    def absorb(self, other: Chunk) -> None:
        self.group.join(other.group)
        self.indices += other.indices

    def _due(self) -> Sequence[int]:
        """Places of the members that are measured at this step."""
        group = self.group
        if group.step % self.pulse.every == 0:
            return range(len(self.indices))
        return [k for k, planned in enumerate(group.planned()) if group.step == planned]

    def _checked(self, on_check: Callable[[Population], None] | None) -> None:
        """The check that is due, which is owed until it is done: memory may run out in the middle of it."""
        self.owed = True
        ahead = self._measured(aside=True)
        with self.owner.alone:
            self.check(self._due(), ahead)
            self.owed = False
            if on_check is not None:
                on_check(self.owner)

    def run(self, until: int, deadline: float | None, on_check: Callable[[Population], None] | None) -> None:
        """Train to a step or a deadline, with the checks on the way; a population that has nothing to show yet takes one step all the same."""
        group = self.group
        if self.owed and self.indices:
            self._checked(on_check)
        while self.indices and group.step < until and not self.owner.halted.is_set():
            if deadline is not None and time.monotonic() >= deadline and (group.step > 0 or any(o.history for o in self.owner.outcomes)):
                if self.checked != group.step and group.step > 0:
                    with self.owner.alone:
                        self.check()
                break
            group.train_step()
            if self._due():
                self._checked(on_check)

    def _measured(self, aside: bool = False) -> Measured | None:
        """What a check measures; ``aside``, without the lock, only if it is a replayed graph, which leaves the network's modules alone."""
        group = self.group
        if "measured" not in group.constant:
            group.constant["measured"] = self._rows(self.owner.validation, folds=True), self._rows(self.owner._clean, folds=False)
        rows = group.constant["measured"]
        measure = self._measure(rows)
        own = isinstance(self.owner.criterion, Opaque) and any(part is not None and part[1] for part in rows)  # counts every member's rows in Python
        if aside and (group.kernel is None or own or not measure.traced):
            return None
        with torch.no_grad():
            return measure(group.to_read(), *rows, ahead=SHARED if group.kernel is not None and not own else 0)

    def check(self, due: Sequence[int] | None = None, measured: Measured | None = None) -> None:
        """Measure the members at these places (default: all), keep best states, stop and retire; nothing changes for the others."""
        owner, group = self.owner, self.group
        due = range(len(self.indices)) if due is None else due
        measured = self._measured() if measured is None else measured
        assert measured is not None
        params, buffers, validation, clean = measured
        if len(due) == len(self.indices):
            self.checked = group.step
        assert clean is not None
        (train_loss, train_score), held = (t.tolist() for t in clean[:2]), None if validation is None else [t.tolist() for t in validation]
        running = {name: value.tolist() for name, value in group.running(keep=len(due) < len(self.indices)).items()}
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
            row["loss_running"] = running["data"][k] if "data" in running else float("nan")
            row.update({f"penalty_{name}": v[k] for name, v in running.items() if name not in ("data", "total")})
            row["train_loss"], row["train_score"] = train_loss[k], train_score[k]
            if held is not None:
                row["validation_loss"], row["validation_score"], row["validation_se"] = (values[k] for values in held)
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
        home = self.owner.home
        return {name: t[k].detach().clone().to(home) for name, t in (*params.items(), *buffers.items())}

    def _rows(self, data: Dataset | None, folds: bool) -> Rows | None:
        """Rows to measure on, the same for all members or each member's own of the training data, with targets, weights and which of them are known."""
        group = self.group
        first, rows = group.members[0], list[Tensor]()
        if (first.validation if folds else first.rows) is not None:
            rows = [torch.as_tensor(m.validation, dtype=torch.long) for m in group.members] if folds else self._own_clean()
            n = table_length(max(map(len, rows)))
            index, mask = torch.zeros(group.width, n, dtype=torch.long), torch.zeros(group.width, n, dtype=torch.bool)
            for i, r in enumerate(rows):
                index[i, : len(r)], mask[i, : len(r)] = r, True
            device = group.keys.device
            index, mask, data = index.to(device), mask.to(device), group.data
        elif data is None:
            return None
        else:
            n, index, mask = len(data), None, None
        like = group.arena.flat
        k = group.width

        def take(leaf: Tensor) -> Tensor:
            return leaf.expand(k, *leaf.shape) if index is None else leaf[index]

        ones, known = (torch.ones(1, n, dtype=dtype, device=like.device).expand(k, n) for dtype in (like.dtype, torch.bool))
        weight = ones if data.weight is None else take(data.weight)
        if data.weight is not None and data is not self.owner.validation:
            compared = [rows[min(i, len(rows) - 1)] for i in range(k)] if folds else group.feed.own
            weight = weight / mean_weights(cast(Tensor, group.data.weight), compared).unsqueeze(1)
        labeled = map_leaves(lambda leaf: known, data.y) if data.labeled is None else map_leaves(take, data.labeled)
        y = map_leaves(take, data.y)
        if mask is not None:
            labeled = map_leaves(lambda known: known & mask, labeled)
        own = {} if index is None or mask is None else {"index": index, "mask": mask}
        return data.x, own, y, weight, labeled

    def _measure(self, rows: tuple[Rows | None, Rows | None]) -> Traced:
        """The measurement as one function of tensors; groups of one compiled step share it, and so its graph."""
        kernel = self.group.kernel
        if kernel is None:
            return Traced(self._measuring())
        shapes = [None if part is None else (*(leaf.shape for leaf in leaves_of(part[0])), part[3].shape, bool(part[1])) for part in rows]
        key = (self.owner.metric, *shapes)
        if key not in kernel.scorers:
            kernel.scorers[key] = Traced(self._measuring(), place_eager_products)
        return kernel.scorers[key]

    def _measuring(self) -> Callable[..., Measured]:
        """What gives the networks to ship, and mean loss, score and the score's standard error of every one on rows that decide and on clean ones."""
        group, criterion, metric, scored_by = self.group, self.owner.criterion, self.owner.metric, self.owner.scored_by

        def scores(params: Any, buffers: Any, folds: bool, x: Any, own: Any, y: Any, weight: Tensor, labeled: Any) -> tuple[Tensor, Tensor, Tensor]:
            out = _outputs(group, params, buffers, x, own.get("index"))
            if own and isinstance(criterion, Opaque):
                losses = _opaque_losses(criterion, out, y, own["mask"])
            else:
                losses = torch.vmap(lambda o, t, w, m: criterion(o, Batch(None, t, w, m, w)))(out, y, weight, labeled)
            if metric is None:
                return losses, losses, torch.full_like(losses, float("nan"))
            counted, predictions = map_leaves(lambda known: weight * known.to(weight.dtype), labeled), scored_by.predict(out)
            error = standard_error(metric, predictions, y, counted) if folds else torch.full_like(losses, float("nan"))
            return losses, metric(predictions, y, counted), error

        def measure(read: Any, validation: Rows | None, clean: Rows | None) -> Measured:
            params, buffers = group.read(*read)
            held, seen = (None if rows is None else scores(params, buffers, folds, *rows) for folds, rows in ((True, validation), (False, clean)))
            return params, buffers, held, seen

        return measure

    def _own_clean(self) -> list[Tensor]:
        """Every member's clean rows, out of those it trains on."""
        for index, m in zip(self.indices, self.group.members, strict=True):
            if index not in self._clean:
                rows = torch.as_tensor(m.rows, dtype=torch.long)
                self._clean[index] = rows[drawn(len(rows), self.owner.clean_rows).sort().values]
        return [self._clean[index] for index in self.indices]

    def retire(self, statuses: Mapping[int, str]) -> None:
        """End some members, each with its status: their final state is put aside, and the rest is compacted. Who was never trained has no state."""
        leaving = [i for i in statuses if i in self.indices]
        if not leaving:
            return
        with torch.no_grad():
            params, buffers = self.group.readout()
        causes = self._divergence()
        for index in leaving:
            outcome, k = self.owner.outcomes[index], self.indices.index(index)
            if self.group.step == 0:
                outcome.status = NOT_STARTED
                continue
            outcome.status, outcome.steps = causes.get(k, statuses[index]), self.group.step
            outcome.final = self._state(k, params, buffers)
            if outcome.state is None and k not in causes:
                outcome.state = outcome.final
        kept = [k for k, i in enumerate(self.indices) if i not in leaving]
        self.indices = [self.indices[k] for k in kept]
        if kept:
            self.group.gather(torch.tensor(kept))

    def measure_unjudged(self, indices: Sequence[int]) -> None:
        """A check of those of these members that would otherwise leave with a state that was never measured; nothing changes for the others."""
        places = [k for k, i in enumerate(self.indices) if i in indices and self.owner.outcomes[i].state is None]
        if places and self.group.step > 0 and self.checked != self.group.step:
            self.check(places)

    def finish(self, status: str, short: bool = False) -> None:
        """End all members; ``short`` of the steps planned, the status says by how much."""
        self.measure_unjudged(self.indices)
        planned, step = self.group.planned()[: len(self.indices)], self.group.step  # a compiled group has slots that are copies
        self.retire({i: f"{status} after {step} of {n} steps" if short and step < n else status for i, n in zip(self.indices, planned, strict=True)})


def _opaque_losses(criterion: Opaque, out: Any, y: Any, mask: Tensor) -> Tensor:
    """A loss that knows no marks gets every member's own rows alone."""

    def one(i: int, n: int) -> Tensor:
        return criterion.function(*(map_leaves(lambda leaf: leaf[i, :n], tree) for tree in (out, y)))

    counts = mask.sum(1).tolist()
    known = [one(i, n) if n else None for i, n in enumerate(counts)]  # a slot without a member has no rows
    like = next(value for value in known if value is not None)
    return torch.stack([torch.zeros_like(like) if value is None else value for value in known])
