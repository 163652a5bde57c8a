"""Which members should change their worker, so that none waits for another."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

FIXED = 2  # members whose time a plain step takes however few it trains (measured: MLPs of two layers of 64)
WORTH = 0.9  # of the time of the last worker, that a move must come below


class Load(Protocol):
    """Members that one worker trains together."""

    hand: Hashable
    alive: list[int]

    @property
    def trained(self) -> int:
        """The step that they have reached there."""
        ...


L = TypeVar("L", bound=Load)


@dataclass(frozen=True)
class Move(Generic[L]):
    """So many members of ``source`` go to the worker ``hand``."""

    source: L
    count: int
    hand: Hashable


def best_move(parts: Sequence[L], hands: Sequence[Hashable], total: int) -> Move[L] | None:
    r"""The move after which the last worker is done soonest, if it is worth it.

    A part of :math:`n` members at step :math:`s` of :math:`T` takes :math:`(T-s)(n+c)`, with a fixed part :math:`c` of every
    step. Members that move are trained from their start, beside what their new worker has: :math:`T(m+c)`.

    Args:
        parts: who trains what.
        hands: all workers.
        total: steps of a whole run.

    Example:
        >>> from types import SimpleNamespace as Part
        >>> busy, done = Part(hand="a", alive=[0, 1, 2, 3], trained=1), Part(hand="b", alive=[], trained=1)
        >>> best_move([busy, done], ["a", "b"], total=20).count
        2
    """
    times = {hand: sum((total - p.trained) * (len(p.alive) + FIXED) for p in parts if p.hand == hand and p.alive) for hand in hands}
    if len(times) < 2 or not any(times.values()):
        return None
    last, first = max(times, key=lambda hand: times[hand]), min(times, key=lambda hand: times[hand])
    source = max((p for p in parts if p.hand == last), key=lambda p: len(p.alive))
    found, soonest = None, WORTH * times[last]
    for m in range(1, len(source.alive)):
        after = max(times[last] - m * (total - source.trained), times[first] + total * (m + FIXED))
        if after < soonest:
            found, soonest = Move(source, m, first), after
    return found
