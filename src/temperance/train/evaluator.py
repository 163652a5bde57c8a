"""What a check measures: losses, scores and growth of the members of a group."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from temperance.core.batch import Batch, leaves_of, map_leaves, rows_of
from temperance.core.criterion import Criterion, Opaque
from temperance.data.dataset import Dataset
from temperance.train.group import Group
from temperance.train.growth import can_be_joined, growth, pairs
from temperance.train.member import Member
from temperance.train.metrics import Metric
from temperance.train.noise import standard_error
from temperance.train.own import mean_weights, table_length
from temperance.train.products import place_eager_products
from temperance.train.remember import remembers
from temperance.train.rows import drawn
from temperance.train.trace import Traced

Rows = tuple[Any, dict[str, Tensor], Any, Tensor, Any]  # inputs, places and marks of members' own rows, targets, weights, which are known
Measured = tuple[Any, Any, Any, Any, dict[str, Tensor]]  # parameters, buffers, three tensors for validation rows (or None) and for clean ones, and growth
EVAL_BLOCK = 2048
SHARED = 1 << 20  # checks still to come, as good as: a graph of the measurement serves all groups of a compiled step, in later populations too
ALONE = 512  # rows from which the networks of a compiled group are measured one after another: two plain matrices are what the faster library multiplies
MOST_ALONE = 64 * EVAL_BLOCK  # rows of all of them up to which that is so: each block of each network is a part of the graph


@dataclass(frozen=True, eq=False)
class Evaluator:
    """Measures the members of a group on the rows that decide, and on a fixed part of their training rows.

    Attributes:
        criterion: the loss.
        scored_by: what turns outputs into predictions.
        metric: the score (``None``: the loss itself).
        validation: the rows that decide, where members have none of their own.
        clean: rows of the training data, for members that train on all of it.
        clean_rows: at most so many, for members with training rows of their own.
    """

    criterion: Any
    scored_by: Criterion
    metric: Metric | None
    validation: Dataset | None
    clean: Dataset
    clean_rows: int

    def measured(self, group: Group, *, aside: bool = False) -> Measured | None:
        """What a check measures; ``aside``, without the lock, only if it is a replayed graph, which leaves the network's modules alone."""
        if "measured" not in group.constant:
            clean = self._rows(group, folds=False)
            group.constant["measured"] = self._rows(group, folds=True), clean, None if remembers(group.model) else lines_of(clean)
        *rows, lines = group.constant["measured"]
        measure = self._measure(group, rows, lines)
        own = isinstance(self.criterion, Opaque) and any(part is not None and part[1] for part in rows)  # counts every member's rows in Python
        if aside and (group.kernel is None or own or not measure.traced):
            return None
        with torch.no_grad():
            return measure(group.to_read(), *rows, lines, ahead=SHARED if group.kernel is not None and not own else 0)

    def _rows(self, group: Group, folds: bool) -> Rows | None:
        """Rows to measure on, the same for all members or each member's own of the training data, with targets, weights and which of them are known."""
        data = self.validation if folds else self.clean
        first, rows = group.members[0], list[Tensor]()
        if (first.validation if folds else first.rows) is not None:
            rows = [self._own(m, folds) for m in group.members]
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
        if data.weight is not None and data is not self.validation:
            compared = [rows[min(i, len(rows) - 1)] for i in range(k)] if folds else group.feed.own
            weight = weight / mean_weights(cast(Tensor, group.data.weight), compared).unsqueeze(1)
        labeled = map_leaves(lambda leaf: known, data.y) if data.labeled is None else map_leaves(take, data.labeled)
        y = map_leaves(take, data.y)
        if mask is not None:
            labeled = map_leaves(lambda known: known & mask, labeled)
        own = {} if index is None or mask is None else {"index": index, "mask": mask}
        return data.x, own, y, weight, labeled

    def _own(self, member: Member, folds: bool) -> Tensor:
        """A member's validation rows, or its clean ones out of those it trains on."""
        rows = torch.as_tensor(member.validation if folds else member.rows, dtype=torch.long)
        return rows if folds else rows[drawn(len(rows), self.clean_rows).sort().values]

    def _measure(self, group: Group, rows: Sequence[Rows | None], lines: Tensor | None) -> Traced:
        """The measurement as one function of tensors; groups of one compiled step share it, and so its graph."""
        kernel = group.kernel
        if kernel is None:
            return Traced(self._measuring(group))
        shapes = [None if part is None else (*(leaf.shape for leaf in leaves_of(part[0])), part[3].shape, bool(part[1])) for part in rows]
        key = (self.metric, *shapes, None if lines is None else lines.shape)
        if key not in kernel.scorers:
            kernel.scorers[key] = Traced(self._measuring(group), place_eager_products)
        return kernel.scorers[key]

    def _measuring(self, group: Group) -> Callable[..., Measured]:
        """What gives the networks to ship, mean loss, score and the score's standard error of every one on rows that decide and on clean ones, and growth."""
        criterion, metric, scored_by = self.criterion, self.metric, self.scored_by

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

        def measure(read: Any, validation: Rows | None, clean: Rows | None, lines: Tensor | None) -> Measured:
            params, buffers = group.read(*read)
            held, seen = (None if rows is None else scores(params, buffers, folds, *rows) for folds, rows in ((True, validation), (False, clean)))
            assert clean is not None
            return params, buffers, held, seen, growth(group, params, buffers, clean[0], lines)

        return measure


def lines_of(clean: Rows | None) -> Tensor | None:
    """The pairs of clean rows between which outputs are followed, of each member's own or of all; none where nothing lies between two rows."""
    assert clean is not None
    x, own, _, weight, _ = clean
    if not can_be_joined(x):
        return None
    if not own:
        return None if weight.shape[1] < 2 else pairs(weight.shape[1]).to(weight.device)
    counts = own["mask"].sum(1).tolist()  # a slot without a member has no rows
    if min(n for n in counts if n) < 2:
        return None
    return torch.stack([index[pairs(max(n, 1)).to(index.device)] for index, n in zip(own["index"], counts, strict=True)])


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


def _opaque_losses(criterion: Opaque, out: Any, y: Any, mask: Tensor) -> Tensor:
    """A loss that knows no marks gets every member's own rows alone."""

    def one(i: int, n: int) -> Tensor:
        return criterion.function(*(map_leaves(lambda leaf: leaf[i, :n], tree) for tree in (out, y)))

    counts = mask.sum(1).tolist()
    known = [one(i, n) if n else None for i, n in enumerate(counts)]  # a slot without a member has no rows
    like = next(value for value in known if value is not None)
    return torch.stack([torch.zeros_like(like) if value is None else value for value in known])
