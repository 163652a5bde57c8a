"""Easy rows first: a curriculum, and what it does to the rows of a step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from temperance.core.errors import ConfigError, expected
from temperance.core.random import Rng, fold, stream_of
from temperance.core.shown import shown

_STREAM = stream_of("curriculum")


@shown
@dataclass(frozen=True, eq=False)
class Curriculum:
    """Which rows a member may see at which progress (Bengio, Louradour, Collobert & Weston, 2009).

    At progress p the easiest share s(p) = start + (1 - start) min(1, p / end) of the member's rows is open; rows as difficult as the hardest open one are open
    too. The order of an epoch stays what it is without a curriculum, except that a row which is not open yet gives its place to an open one drawn at
    random: every open row is as likely as any other. With ``start=1`` nothing changes, bit for bit.

    It is a continuation method: the first problems are easier, the last one is the one that is meant. Schedules on strengths (noise that fades, smoothing
    that ends) are others.

    Attributes:
        difficulty: a number for each row of the training data, such as its loss under a smaller network, its length or its noise.
        start: the share of rows at the start.
        end: the progress at which all rows are open.

    Raises:
        ConfigError: shares out of range, or difficulties that are not finite.

    Example:
        >>> Curriculum([0.1, 0.9, 0.4], start=0.5, end=0.8).share(torch.tensor([0.0, 0.4, 0.8, 1.0]))
        tensor([0.5000, 0.7500, 1.0000, 1.0000])
    """

    difficulty: Any
    start: float = 0.2
    end: float = 0.5

    def __post_init__(self) -> None:
        for name in ("start", "end"):
            given = getattr(self, name)
            if isinstance(given, bool) or not isinstance(given, (int, float)) or not 0.0 < given <= 1.0:
                raise ConfigError(expected(name, "Curriculum", "in (0, 1]", given, "It is a share of the rows, or of the planned steps."))
        levels = torch.as_tensor(self.difficulty, dtype=torch.float64)
        if levels.dim() != 1 or not bool(torch.isfinite(levels).all()):
            raise ConfigError(expected("difficulty", "Curriculum", "to be one finite number per row", self.difficulty))
        object.__setattr__(self, "difficulty", levels)

    def share(self, progress: Tensor) -> Tensor:
        """The share of the rows that is open at this progress."""
        return self.start + (1.0 - self.start) * (progress / self.end).clamp(0.0, 1.0)


class Pace:
    """The curricula of a population's members, as tensors.

    Args:
        curricula: one per member, or ``None`` where all its rows are open at once.
        rows: ``(members, n_max)`` positions in the data, padded at the end.
        counts: ``(members,)`` how many of them count.
        keys: ``(members,)``.
    """

    def __init__(self, curricula: Sequence[Curriculum | None], rows: Tensor, counts: Tensor, keys: Tensor) -> None:
        device = rows.device
        first = next(c for c in curricula if c is not None)
        own = [first if c is None else c for c in curricula]
        self.counts, self.keys = counts, keys
        self.start = torch.tensor([1.0 if c is None else c.start for c in curricula], dtype=torch.float64, device=device)
        self.end = torch.tensor([c.end for c in own], dtype=torch.float64, device=device)
        tables = list({id(c.difficulty): c.difficulty for c in own}.values())
        self.levels = torch.stack(tables).to(device)
        self.which = torch.tensor([next(i for i, t in enumerate(tables) if t is c.difficulty) for c in own], device=device)
        levels = self.levels[self.which.unsqueeze(1), rows]
        levels = levels.masked_fill(torch.arange(rows.shape[1], device=device) >= counts.unsqueeze(1), float("inf"))
        self.sorted, order = torch.sort(levels, dim=1, stable=True)
        self.easiest = torch.gather(rows, 1, order)

    def at(self, rows: Tensor, step: int, whole: Tensor, offset: Tensor | float = 0.0) -> Tensor:
        """The rows of these steps, with open ones in the place of those that are not.

        Args:
            rows: ``(steps, members, batch)``.
            step: the first of them.
            whole: ``(members,)`` steps of the schedules.
            offset: ``(members,)`` how many of them lie before the start.
        """
        steps = torch.arange(step, step + len(rows), device=rows.device).unsqueeze(1)
        progress = ((steps + offset) / whole).clamp_max(1.0)
        share = self.start + (1.0 - self.start) * (progress / self.end).clamp_max(1.0)
        wanted = torch.ceil(share * self.counts - 1e-9).long().clamp_min(1).clamp_max(self.counts)
        hardest = torch.gather(self.sorted, 1, wanted.T - 1)  # (members, steps)
        open_rows = torch.searchsorted(self.sorted, hardest, right=True).T.unsqueeze(2)
        closed = self.levels[self.which.unsqueeze(1), rows] > hardest.T.unsqueeze(2)
        place = Rng(fold(self.keys, steps), _STREAM).integers(open_rows, (rows.shape[2],))
        drawn = self.easiest[torch.arange(rows.shape[1], device=rows.device).unsqueeze(1), place]
        return torch.where(closed, drawn, rows)
