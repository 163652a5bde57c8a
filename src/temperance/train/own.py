"""What the rows of a member's own decide about it, whoever trains beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from temperance.core.errors import ConfigError, expected
from temperance.data.dataset import Dataset

if TYPE_CHECKING:
    from temperance.train.group import Member

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
    """What members must share to be checked together: steps between checks, and the lengths of the tables that their own rows are scored in."""

    every: int
    held: int
    clean: int


def own_rows(member: Member, data: Dataset) -> int:
    """How many rows a member trains on."""
    return len(data) if member.rows is None else len(member.rows)


def pulse_of(member: Member, data: Dataset, batch_size: int, every: int | None, clean_rows: int) -> Pulse:
    """A member's pulse, from its own rows alone.

    Example:
        >>> from temperance.train.group import Member
        >>> data = Dataset(torch.zeros(100, 1), torch.zeros(100, 1), "regression")
        >>> pulse_of(Member(rows=range(90), validation=range(90, 100)), data, 12, None, 2000)
        Pulse(every=8, held=64, clean=128)
    """
    rows = own_rows(member, data)
    held = 0 if member.validation is None else table_length(len(member.validation))
    clean = 0 if member.rows is None else table_length(min(rows, clean_rows))
    return Pulse(every or max(1, round(rows / batch_size)), held, clean)


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


def leveling(weight: Tensor, rows: Sequence[Tensor]) -> Tensor:
    """What brings the weights of every member's rows to a mean of one: they say how rows compare, and a member knows its own alone.

    Example:
        >>> leveling(torch.tensor([1.0, 3.0, 4.0]), [torch.tensor([0, 1]), torch.tensor([2])])
        tensor([0.5000, 0.2500])
    """
    means = torch.stack([weight[own.to(weight.device)].mean() for own in rows])
    return torch.where(means > 0, 1.0 / means.clamp_min(torch.finfo(weight.dtype).tiny), torch.ones_like(means))
