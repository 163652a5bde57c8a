"""How members are shared out, so that no worker waits for another."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

FIXED = 2  # members whose time a plain step takes however few it trains (measured: MLPs of two layers of 64)
WORTH = 0.9  # of the time of the last worker, that moves must come below
MOVING = 200.0  # members times steps in the time that moving takes (measured: half a second, in which a plain step is prepared again)

Counts = dict[Hashable, int]


def leveled(counts: Mapping[Hashable, Counts], hands: Sequence[Hashable], steps: int) -> dict[Hashable, Counts]:
    r"""Who should train how many, so that the last worker is done soonest.

    Members of one program train together: :math:`n` of them take :math:`n+c` a step on a worker, with a fixed part :math:`c`.
    Nobody moves for less than a tenth of the time, or for less than moving takes.

    Args:
        counts: of every program, members on each worker that has any.
        hands: all workers.
        steps: that are left.

    Returns:
        the same, leveled.

    Example:
        >>> leveled({"program": {"a": 6, "b": 1}}, ["a", "b"], steps=1000)
        {'program': {'a': 4, 'b': 3}}
    """
    out = {program: {hand: n for hand, n in have.items() if n} for program, have in counts.items()}
    while (times := _times(out, hands)) and (move := _best_move(out, times)):
        program, giver, taker, n = move
        have = out[program]
        have[giver] -= n
        have[taker] = have.get(taker, 0) + n
        out[program] = {hand: count for hand, count in have.items() if count}
    before, after = (max(_times(each, hands).values(), default=0.0) for each in (counts, out))
    worth = after <= WORTH * before and steps * (before - after) >= MOVING
    return out if worth else {program: dict(have) for program, have in counts.items()}


def _times(counts: Mapping[Hashable, Counts], hands: Sequence[Hashable]) -> dict[Hashable, float]:
    return {hand: sum(n + FIXED for have in counts.values() if (n := have.get(hand, 0))) for hand in hands}


def _best_move(counts: Mapping[Hashable, Counts], times: Mapping[Hashable, float]) -> tuple[Hashable, Hashable, Hashable, int] | None:
    """Program, giver, taker and number of members of the move after which the later of the last and the first worker is done soonest."""
    last, first = max(times, key=lambda hand: times[hand]), min(times, key=lambda hand: times[hand])
    found, soonest = None, times[last]
    for program, have in counts.items():
        here, there = have.get(last, 0), have.get(first, 0)
        for n in range(1, here + 1):
            after = max(times[last] - n - FIXED * (n == here), times[first] + n + FIXED * (there == 0))
            if after < soonest:
                found, soonest = (program, last, first, n), after
    return found
