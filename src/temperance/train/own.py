"""What the rows of a member's own decide about it, whoever trains beside it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from temperance.core.batch import map_leaves
from temperance.core.errors import ConfigError, expected
from temperance.core.inputs import scale_of
from temperance.data.dataset import Dataset

if TYPE_CHECKING:
    from temperance.train.member import Member

ROUND_UP = 64  # products of very few rows run through other kernels, with another last bit


def check_rows(member: Member, n: int) -> None:
    """Rows of a member's own are positions in the data, and its schedules go forward.

    Raises:
        ConfigError: none, or one that the data has not; schedules that end where they start.
    """
    start, end = member.schedule
    if not 0.0 <= start < end < math.inf:
        raise ConfigError(expected("schedule", "Member", "to be a start in [0, inf) and an end beyond it", member.schedule))
    for name in ("rows", "validation"):
        given = getattr(member, name)
        if given is None:
            continue
        rows = torch.as_tensor(given, dtype=torch.long)
        if not len(rows) or int(rows.min()) < 0 or int(rows.max()) >= n:
            got = "none" if not len(rows) else f"positions from {int(rows.min())} to {int(rows.max())}"
            raise ConfigError(
                f"Expected `{name}` of Member {member.name or '(unnamed)'} to be positions from 0 to {n - 1}, got {got}. They count in the training data."
            )


def table_length(rows: int) -> int:
    """The length of the table in which so many rows of a member's own are scored: it depends on their number alone, and is the same for nearly as many.

    Example:
        >>> [table_length(n) for n in (12, 90, 3600, 3700)]
        [64, 128, 3840, 3840]
    """
    unit = max(ROUND_UP, 1 << max(0, rows.bit_length() - 4))
    return -(-rows // unit) * unit


@dataclass(frozen=True)
class Pulse:
    """What members must share to be checked together.

    Attributes:
        every: steps between checks.
        held: length of the table that their own validation rows are scored in.
        clean: likewise of their own training rows.
        refreshed: rows that re-estimate BatchNorm statistics, where an average of weights needs them.
    """

    every: int
    held: int
    clean: int
    refreshed: int = 0


def own_rows(member: Member, data: Dataset) -> int:
    """How many rows a member trains on."""
    return len(data) if member.rows is None else len(member.rows)


def pulse_of(member: Member, data: Dataset, batch_size: int, every: int | None, clean_rows: int, refreshes: bool = False) -> Pulse:
    """A member's pulse, from its own rows alone; it ``refreshes`` BatchNorm statistics where it ships an average of weights.

    Example:
        >>> from temperance.train.member import Member
        >>> data = Dataset(torch.zeros(100, 1), torch.zeros(100, 1), "regression")
        >>> pulse_of(Member(rows=range(90), validation=range(90, 100)), data, 12, None, 2000)
        Pulse(every=8, held=64, clean=128, refreshed=0)
    """
    rows = own_rows(member, data)
    held = 0 if member.validation is None else table_length(len(member.validation))
    clean = 0 if member.rows is None else table_length(min(rows, clean_rows))
    return Pulse(every or max(1, round(rows / batch_size)), held, clean, refreshed_rows(rows) if refreshes else 0)


def parts_of(indices: Sequence[int], pulses: Sequence[Pulse], size: int) -> list[list[int]]:
    """These members by their pulse, at most so many together.

    Example:
        >>> a, b = Pulse(1, 0, 0), Pulse(2, 0, 0)
        >>> parts_of([0, 1, 2, 3], [a, b, a, a], 2)
        [[0, 2], [3], [1]]
    """
    alike: dict[Pulse, list[int]] = {}
    for i in indices:
        alike.setdefault(pulses[i], []).append(i)
    return [some[a : a + size] for some in alike.values() for a in range(0, len(some), size)]


def refreshed_rows(rows: int, most: int = 2048, block: int = 256) -> int:
    """How many of so many rows re-estimate BatchNorm statistics: all of a few, else whole blocks of them.

    Example:
        >>> [refreshed_rows(n) for n in (1, 100, 300, 1000, 5000)]
        [2, 100, 256, 768, 2048]
    """
    few = min(rows, most)
    return max(2, few) if few < block else few - few % block


def mean_weights(weight: Tensor, rows: Sequence[Tensor]) -> Tensor:
    """The mean weight of every member's rows, by which they are divided: they say how rows compare, and a member knows its own alone.

    Example:
        >>> mean_weights(torch.tensor([1.0, 3.0, 4.0]), [torch.tensor([0, 1]), torch.tensor([2])])
        tensor([2., 4.])
    """
    means = torch.stack([weight[own.to(weight.device)].mean() for own in rows])
    return torch.where(means > 0, means, torch.ones_like(means))


class Scales:
    """The units of noise and attacks for members: standard deviations over the rows that each trains on, computed once for the same rows.

    Example:
        >>> data = Dataset(torch.tensor([[0.0], [2.0], [8.0]]), torch.zeros(3, 1), "regression")
        >>> Scales(data).stacked([torch.tensor([0, 1]), torch.tensor([0, 2])])["input_scale"]
        tensor([[1.],
                [4.]])
    """

    def __init__(self, data: Dataset) -> None:
        self.data = data
        self._known: dict[bytes, dict[str, Any]] = {}

    def stacked(self, rows: Sequence[Tensor]) -> dict[str, Any]:
        """``input_scale`` and ``target_scale`` of every member, leaves ``(members, ...)``."""
        each = [self._of(own) for own in rows]
        return tree_map(lambda *leaves: torch.stack(leaves), each[0], *each[1:])

    def _of(self, rows: Tensor) -> dict[str, Any]:
        key = hashlib.blake2b(rows.numpy().tobytes()).digest()
        if key not in self._known:
            whole = len(rows) == len(self.data) and bool((rows == torch.arange(len(rows))).all())
            part = self.data if whole else self.data.take(rows)
            self._known[key] = {"input_scale": scale_of(part.x), "target_scale": target_scale(part)}
        return self._known[key]


def target_scale(data: Dataset) -> Any:
    """Standard deviation of every target over the rows that have one, ones where none has: the unit of noise on targets."""
    if data.labeled is None:
        return scale_of(data.y)
    return map_leaves(lambda leaf, known: scale_of(leaf[known]) if bool(known.any()) else torch.ones_like(scale_of(leaf)), data.y, data.labeled)
