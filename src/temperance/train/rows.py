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


AHEAD = 32  # steps whose rows are looked up in one go


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
        self._padded = bool((counts < rows.shape[1]).any())
        self._least = int(counts.min())
        self._orders: list[tuple[Tensor, Tensor]] = []
        self._ahead, self._from = torch.empty(0), -1

    def gather(self, index: Tensor) -> RowSampler:
        """The sampler of some of the members."""
        return RowSampler(self.rows[index], self.counts[index], self.keys[index], self.batch_size)

    def _order(self, epoch: Tensor) -> Tensor:
        """Every member's rows ``(members, n_max)`` in the order of its epoch ``(members,)``; what is padding comes last."""
        known = next((order for at, order in self._orders if torch.equal(at, epoch)), None)
        if known is not None:
            return known
        n = self.rows.shape[1]
        bits = random.bits_of(fold(self.keys, epoch), _STREAM, n)
        if self._padded:
            outside = torch.arange(n, device=bits.device) >= self.counts.unsqueeze(1)
            bits = bits.masked_fill(outside, 2**31 - 1)
        order = torch.gather(self.rows, 1, sorting(bits))
        self._orders = [*self._orders[-1:], (epoch, order)]
        return order

    def at(self, step: int) -> Tensor:
        """Positions ``(members, batch)`` for this step."""
        return self.several(step, 1)[0]

    def several(self, step: int, most: int) -> Tensor:
        """Positions ``(steps, members, batch)`` for this step and those that follow: at least one, at most so many."""
        if not self._from <= step < self._from + len(self._ahead):
            self._ahead, self._from = self._block(step), step
        return self._ahead[step - self._from : step - self._from + most]

    def _block(self, step: int) -> Tensor:
        """Positions ``(steps, members, batch)`` for this step and some that follow, at most :data:`AHEAD` and an epoch."""
        ahead = max(1, min(AHEAD, self._least // self.batch_size))
        first = step * self.batch_size // self.counts  # every member's epoch at the start
        place = step * self.batch_size + torch.arange(ahead * self.batch_size, device=self.counts.device) - (first * self.counts).unsqueeze(1)
        turn = place // self.counts.unsqueeze(1)
        out = torch.empty(0)
        for k in range(int(turn.max()) + 1):
            offset = place - k * self.counts.unsqueeze(1)
            found = torch.gather(self._order(first + k), 1, offset.clamp(0, self.rows.shape[1] - 1))
            out = torch.where(turn == k, found, out) if k else found
        return out.unflatten(1, (ahead, self.batch_size)).movedim(1, 0).contiguous()


def sorting(bits: Tensor) -> Tensor:
    """``torch.argsort(bits, dim=1, stable=True)`` of int32 values ``(k, n)``.

    On a CPU by sorting pairs of value and position as one 64-bit number, which NumPy does in vectors: five times as fast for ten thousand.
    """
    n = bits.shape[1]
    if bits.device.type != "cpu":
        return torch.argsort(bits, dim=1, stable=True)
    packed = ((bits.long() << 32) | torch.arange(n)).numpy()
    packed.sort(axis=1)
    return torch.from_numpy(packed) & 0xFFFFFFFF
