"""How members are shared out, so that no worker waits for another."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass

FIXED = 2  # members whose time a plain step takes however few it trains (measured: MLPs of two layers of 64)
WORTH = 0.9  # of the time of the last worker, that moves must come below
MOVING = 200.0  # members times steps in the time that moving takes (measured: half a second, in which a step is prepared again)

Counts = dict[Hashable, int]


@dataclass(frozen=True)
class Load:
    """Members of one program.

    Attributes:
        counts: how many each worker trains; 0 for those that could take some.
        size: of its compiled groups; 0 for plain steps.
        abreast: compiled groups that a worker trains at once, one on each of its threads.
    """

    counts: Counts
    size: int = 0
    abreast: int = 1

    def time(self, count: int) -> float:
        r"""How long a worker takes for one step of so many members, in units of what a member adds to a plain step.

        A plain step takes :math:`n + c` with a part :math:`c` that is the same for any :math:`n`; a compiled group takes as long for one member as
        for all that fit.
        """
        if not count:
            return 0
        return self.size * math.ceil(math.ceil(count / self.size) / self.abreast) if self.size else count + FIXED


def leveled(loads: Mapping[Hashable, Load], steps: int) -> dict[Hashable, Counts]:
    """Who should train how many, so that the last worker is done soonest.

    Nobody moves for less than a tenth of the time, or for less than moving takes.

    Args:
        loads: of every program.
        steps: that are left.

    Returns:
        members on each worker that has any, by program.

    Example:
        >>> leveled({"program": Load({"a": 6, "b": 1})}, steps=1000)
        {'program': {'a': 4, 'b': 3}}
        >>> leveled({"program": Load({"a": 6, "b": 1}, size=4)}, steps=1000)  # two groups here, one there
        {'program': {'a': 4, 'b': 3}}
    """
    out = {program: Load(dict(load.counts), load.size, load.abreast) for program, load in loads.items()}
    while (times := _times(out)) and (move := _best_move(out, times)):
        program, giver, taker, n = move
        out[program].counts[giver] -= n
        out[program].counts[taker] += n
    before, after = (max(_times(each).values(), default=0.0) for each in (loads, out))
    worth = after <= WORTH * before and steps * (before - after) >= MOVING
    return {program: {hand: n for hand, n in load.counts.items() if n} for program, load in (out if worth else loads).items()}


def _times(loads: Mapping[Hashable, Load]) -> dict[Hashable, float]:
    hands = {hand for load in loads.values() for hand in load.counts}
    return {hand: sum(load.time(load.counts.get(hand, 0)) for load in loads.values()) for hand in hands}


def _best_move(loads: Mapping[Hashable, Load], times: Mapping[Hashable, float]) -> tuple[Hashable, Hashable, Hashable, int] | None:
    """Program, giver, taker and number of members of the move from the last worker after which the later of the two is done soonest."""
    last = max(times, key=lambda hand: times[hand])
    found, soonest = None, times[last]
    for program, load in loads.items():
        here = load.counts.get(last, 0)
        for taker, there in load.counts.items():
            for n in range(1, here + 1) if taker != last else ():
                gives, takes = (load.time(count) - load.time(before) for count, before in ((here - n, here), (there + n, there)))
                after = max(times[last] + gives, times[taker] + takes)
                if after < soonest:
                    found, soonest = (program, last, taker, n), after
    return found
