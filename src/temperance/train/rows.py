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
FEW = 4096  # rows of a member that are looked up in one go where an epoch has fewer


class RowSampler:
    """Every member walks its own rows in a fresh random order each epoch.

    The clock is steps: rows wrap around, so a batch is never padded and its size never changes. The order of an epoch is a function of the
    member's key and of the epoch alone, so a member sees the same rows whoever trains beside it.

    Args:
        rows: ``(members, n_max)`` positions in the data, padded at the end; repeated rows are a bootstrap.
        counts: ``(members,)`` how many of them count.
        keys: ``(members,)``.
        batch_size: rows per step, at most the smallest count.
    """

    def __init__(self, rows: Tensor, counts: Tensor, keys: Tensor, batch_size: int) -> None:
        self.rows, self.counts, self.keys, self.batch_size = rows, counts, keys, batch_size
        self._padded = bool((counts < rows.shape[1]).any())
        self._orders: list[tuple[Tensor, Tensor]] = []
        self._ahead, self._from = torch.empty(0), -1

    def _epochs(self, first: Tensor, count: int) -> Tensor:
        """Every member's rows ``(members, count, n_max)`` in the orders of so many epochs from its ``first (members,)`` on; what is padding comes last."""
        known = {k: next((order for at, order in self._orders if torch.equal(at, first + k)), None) for k in range(count)}
        new = [k for k, order in known.items() if order is None]
        if new:
            k, n = len(self.keys), self.rows.shape[1]
            epochs = first.unsqueeze(1) + torch.tensor(new, device=first.device)
            bits = random.bits_of(fold(self.keys.unsqueeze(1), epochs), _STREAM, n)
            if self._padded:
                outside = torch.arange(n, device=bits.device) >= self.counts[:, None, None]
                bits = bits.masked_fill(outside, 2**31 - 1)
            found = torch.gather(self.rows.unsqueeze(1).expand(k, len(new), n), 2, sorting(bits.reshape(-1, n)).reshape(k, len(new), n))
            known |= {e: found[:, i].clone() for i, e in enumerate(new)}
        self._orders = [(first + e, order) for e, order in known.items() if order is not None][-2:]
        orders = [order for order in known.values() if order is not None]
        return orders[0].unsqueeze(1) if count == 1 else torch.stack(orders, 1)

    def at(self, step: int) -> Tensor:
        """Positions ``(members, batch)`` for this step."""
        return self.several(step, 1)[0]

    def several(self, step: int, most: int) -> Tensor:
        """Positions ``(steps, members, batch)`` for this step and those that follow: at least one, at most so many."""
        if not self._from <= step < self._from + len(self._ahead):
            self._ahead, self._from = self._block(step), step
        return self._ahead[step - self._from : step - self._from + most]

    def _block(self, step: int) -> Tensor:
        """Positions ``(steps, members, batch)`` for this step and some that follow: at most :data:`AHEAD`, and an epoch or :data:`FEW` rows."""
        counts, ahead = self.counts.unsqueeze(1), max(1, min(AHEAD, max(self.rows.shape[1], FEW) // self.batch_size))
        first = step * self.batch_size // self.counts  # every member's epoch at the start
        place = step * self.batch_size + torch.arange(ahead * self.batch_size, device=self.counts.device) - first.unsqueeze(1) * counts
        turn = place // counts
        orders = self._epochs(first, int(turn.max()) + 1)
        found = torch.gather(orders.flatten(1), 1, turn * self.rows.shape[1] + place - turn * counts)
        return found.unflatten(1, (ahead, self.batch_size)).movedim(1, 0).contiguous()


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
