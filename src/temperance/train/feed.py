"""The minibatches of the members of a group."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from temperance.core.batch import Batch, map_leaves
from temperance.data.dataset import Dataset
from temperance.train.curriculum import Pace
from temperance.train.member import Member
from temperance.train.own import mean_weights
from temperance.train.rows import RowSampler
from temperance.train.windows import window


class Feed:
    """Every member's rows, in its own order, gathered from the data.

    Args:
        data: of all members, on the device.
        members: who trains.
        keys: ``(members,)``.
        batch_size: rows per step.
        dtype: of row weights.

    Attributes:
        own: the rows that each member trains on.
        rows: which of them come when.
    """

    def __init__(self, data: Dataset, members: Sequence[Member], keys: Tensor, batch_size: int, dtype: torch.dtype) -> None:
        n, device = len(data), keys.device
        self.data = data
        everyone = torch.arange(n)
        self.own = [everyone if m.rows is None else torch.as_tensor(m.rows, dtype=torch.long) for m in members]
        counts = torch.tensor([len(rows) for rows in self.own])
        padded = everyone.expand(len(members), n)
        if any(m.rows is not None for m in members):
            padded = torch.zeros(len(members), int(counts.max()), dtype=torch.long)
            for i, rows in enumerate(self.own):
                padded[i, : len(rows)] = rows
        padded, counts = padded.to(device), counts.to(device)
        curricula = [m.curriculum for m in members]
        self._pace = Pace(curricula, padded, counts, keys) if any(c is not None for c in curricula) else None
        self.rows = RowSampler(padded, counts, keys, batch_size)
        self._ones = torch.ones(len(members), batch_size, dtype=dtype, device=device)
        self._known = self._ones.bool()
        self._level = None if data.weight is None else mean_weights(data.weight, self.own).unsqueeze(1)

    def batches(self, step: int, most: int, clock: tuple[Tensor, Tensor]) -> Batch:
        """Minibatches from this step on, at least one and at most so many, their leaves ``(steps, members, rows, ...)``; the clock is every member's."""
        pieces = self._pieces(step, most)
        if len(pieces) > 1:  # a step in which one window ends and the next one begins
            parts = [self._picked(data, rows) for data, rows in pieces]
            return Batch(*(map_leaves(lambda *leaves: torch.cat(leaves, 2), *trees) for trees in zip(*parts, strict=True)))
        ((data, rows),) = pieces
        if self._pace is not None:
            offset, whole = clock
            rows = self._pace.at(rows, step, whole, offset)
        return self._picked(data, rows)

    def _pieces(self, step: int, most: int) -> list[tuple[Dataset, Tensor]]:
        """Positions ``(steps, members, rows)`` from this step on, and the data that they count in."""
        if self.data.further is None:
            return [(self.data, self.rows.several(step, most))]
        n, size = len(self.data), self.rows.batch_size
        turn, done = divmod(step * size, n)
        whole = (n - done) // size
        if whole:
            return [(window(self.data, turn), self.rows.several(step, min(most, whole)))]
        first, second = self.rows.several(step, 1).split([n - done, size - (n - done)], 2)
        return [(window(self.data, turn), first), (window(self.data, turn + 1), second)]

    def _picked(self, data: Dataset, rows: Tensor) -> Batch:
        """The minibatches of these positions."""
        flat = rows.reshape(-1)

        def pick(leaf: Tensor) -> Tensor:
            return leaf.index_select(0, flat).reshape(*rows.shape, *leaf.shape[1:])

        known = self._known[:, : rows.shape[2]].expand(rows.shape)
        weight = self._ones[:, : rows.shape[2]].expand(rows.shape) if data.weight is None or self._level is None else pick(data.weight) / self._level
        labeled = map_leaves(lambda leaf: known, data.y) if data.labeled is None else map_leaves(pick, data.labeled)
        return Batch(map_leaves(pick, data.x), map_leaves(pick, data.y), weight, labeled, rows)
