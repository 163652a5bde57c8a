"""Which rows each member sees at each step."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from temperance.core import random
from temperance.core.random import Rng, fold, key_of, stream_of

_STREAM = stream_of("rows")


@lru_cache(maxsize=64)
def drawn(n: int, most: int) -> Tensor:
    """Positions of at most ``most`` of ``n`` rows in a random order that depends on ``n`` alone: rows of a sorted table are drawn from all of it.

    Example:
        >>> drawn(3, 5).sort().values.tolist(), len(drawn(100, 5))
        ([0, 1, 2], 5)
    """
    return Rng(key_of(0), stream_of("drawn rows")).permutation(n)[:most]


class RowSampler:
    """Every member walks its own rows in a fresh random order each epoch.

    The clock is steps: rows wrap around, so a batch is never padded and its size never changes. The order of an epoch is a function of the
    member's key and of the epoch alone, so a member sees the same rows whoever trains beside it.

    Args:
        rows: ``(members, n_max)`` positions in the data, padded at the end; repeated rows are a bootstrap.
        counts: ``(members,)`` how many of them count.
        keys: ``(members,)``.
        batch_size: rows a step, at most the smallest count.
    """

    def __init__(self, rows: Tensor, counts: Tensor, keys: Tensor, batch_size: int) -> None:
        self.rows, self.counts, self.keys, self.batch_size = rows, counts, keys, batch_size
        self._epoch = torch.full_like(counts, -1)
        self._now = self._next = torch.empty(0)

    def gather(self, index: Tensor) -> RowSampler:
        """The sampler of some of the members."""
        return RowSampler(self.rows[index], self.counts[index], self.keys[index], self.batch_size)

    def _order(self, epoch: Tensor) -> Tensor:
        keys = fold(self.keys, epoch)
        n = self.rows.shape[1]
        bits = random._bits(keys, _STREAM, n)
        outside = torch.arange(n, device=bits.device) >= self.counts.unsqueeze(1)
        if bool(outside.any()):
            bits = bits.masked_fill(outside, 2**31 - 1)
        order = torch.argsort(bits, dim=1, stable=True)
        return torch.gather(self.rows, 1, order)

    def at(self, step: int) -> Tensor:
        """Positions ``(members, batch)`` for this step."""
        start = step * self.batch_size
        epoch = start // self.counts
        if not torch.equal(epoch, self._epoch):
            self._now, self._next, self._epoch = self._order(epoch), torch.empty(0), epoch
        offset = start - epoch * self.counts
        position = offset.unsqueeze(1) + torch.arange(self.batch_size, device=self.counts.device)
        over = position >= self.counts.unsqueeze(1)
        if not bool(over.any()):
            return torch.gather(self._now, 1, position)
        if not len(self._next):
            self._next = self._order(epoch + 1)
        wrapped = torch.where(over, position - self.counts.unsqueeze(1), position)
        return torch.where(over, torch.gather(self._next, 1, wrapped), torch.gather(self._now, 1, wrapped))
