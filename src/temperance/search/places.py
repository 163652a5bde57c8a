"""Configurations as points of the sampler, and points as numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from temperance.search.parzen import Points
from temperance.search.space import StaticPlan


def points_of(plan: StaticPlan, strengths: Sequence[Mapping[str, float]], rates: Sequence[float], choices: Sequence[int]) -> Points:
    """Configurations as arrays, in the plan's ranges.

    Args:
        plan: its ranges.
        strengths: ``label.field`` to its value, for each configuration; the off value where it is off.
        rates: their learning rates.
        choices: which of the plan's lengths they have.
    """
    specs, n = plan.space(), len(strengths)
    on = np.array([[one[name] != spec.off for name, spec in specs.items()] for one in strengths], bool).reshape(n, len(specs))
    places = [[place_of(one[name], s.low, s.high, s.log) if one[name] != s.off else 0.5 for name, s in specs.items()] for one in strengths]
    values = np.array([[*row, place_of(rate, *plan.lr, True)] for row, rate in zip(places, rates, strict=True)]).reshape(n, len(specs) + 1)
    return Points(on, values, np.array(choices, np.int64))


def numbers_of(plan: StaticPlan, points: Points, i: int) -> tuple[dict[str, float], float]:
    """Strengths and learning rate of one of the points."""
    on, values = points.on[i], points.values[i]
    strengths = {name: number_at(values[k], s.low, s.high, s.log) if on[k] else s.off for k, (name, s) in enumerate(plan.space().items())}
    return strengths, number_at(values[-1], *plan.lr, True)


def place_of(value: float, low: float, high: float, log: bool) -> float:
    """Where a value lies in its range, from 0 to 1; in the middle of a range of one point."""
    if low == high:
        return 0.5
    share = math.log(max(value, low) / low) / math.log(high / low) if log else (value - low) / (high - low)
    return min(max(share, 0.0), 1.0)


def number_at(share: float, low: float, high: float, log: bool) -> float:
    """The value at a place in its range."""
    value = low * (high / low) ** float(share) if log else low + float(share) * (high - low)
    return min(max(value, low), high)
