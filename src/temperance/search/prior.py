"""Configurations before anything is known of the data: from a mild prior, or near what did well elsewhere."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from temperance.search.parzen import Mixture
from temperance.search.places import numbers_of, points_of
from temperance.search.space import Known, StaticPlan, draw

Drawn = tuple[dict[str, float], float, float]  # strengths, learning rate, length


@cache
def entries(name: str) -> list[dict[str, Any]]:
    """What did well on other tables, best first.

    Args:
        name: ``"networks"``: the best four trials each of eighteen tables, by validation accuracy, with ``lr`` and the ``strengths`` that were
            on; ``python -m benchmarks.known`` makes them. ``"tables"``: a portfolio of cocktails for :func:`~temperance.search.plans.tabular_plans`, with
            ``rate``, which multiplies the plan's own learning rate, ``length`` and ``strengths``; ``python -m benchmarks.portfolio`` makes it.

    Example:
        >>> len(entries("networks")), sorted(entries("networks")[0]), sorted(entries("tables")[0])
        (72, ['lr', 'strengths'], ['length', 'rate', 'strengths'])
    """
    return json.loads(files("temperance.search").joinpath(f"known_{name}.json").read_text(encoding="utf-8"))


def for_networks() -> list[Known]:
    """Where searches over anyone's own network begin."""
    return [Known(one["strengths"], one["lr"]) for one in entries("networks")]


def for_tables(lr: float, lengths: Sequence[float]) -> list[Known]:
    """Where searches over a plan for tables begin.

    Args:
        lr: the plan's own learning rate.
        lengths: the plan's; each length is the nearest of these.
    """
    return [Known(one["strengths"], one["rate"] * lr, min(lengths, key=lambda share: abs(share - one["length"]))) for one in entries("tables")]


def draws(plan: StaticPlan, count: int, generator: np.random.Generator) -> list[Drawn]:
    """So many configurations for a plan.

    Where the plan has ``known`` ones, they are drawn from kernels around these, with the widths of the sampler's own; a strength that none of them
    has on is on with probability 0.35, anywhere in its range. Otherwise from :func:`temperance.search.space.draw`.

    Args:
        plan: its ranges.
        count: how many.
        generator: of all draws.
    """
    if not plan.known:
        return [draw(generator, plan) for _ in range(count)]
    searched = {name for one in plan.known for name in one.strengths}
    given, lengths = all(one.length is not None for one in plan.known), list(plan.lengths)
    choices = [lengths.index(one.length) if one.length in lengths else 0 for one in plan.known]
    centers = points_of(plan, [plan.of(one) for one in plan.known], [one.lr for one in plan.known], choices)
    near, _ = Mixture(centers, len(lengths) if given else 1).draw(count, generator)
    out: list[Drawn] = []
    for i in range(count):
        mild, _, length = draw(generator, plan)
        wise, rate = numbers_of(plan, near, i)
        out.append(({name: (wise if name in searched else mild)[name] for name in plan.space()}, rate, lengths[int(near.choice[i])] if given else length))
    return out
