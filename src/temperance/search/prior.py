"""Configurations before anything is known of the data: from a mild prior, or near what did well elsewhere."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from temperance.search.parzen import Mixture
from temperance.search.places import numbers_of, points_of
from temperance.search.space import StaticPlan, draw

Drawn = tuple[dict[str, float], float, float]  # strengths, learning rate, length


@cache
def known() -> list[dict[str, Any]]:
    """What did well on other tables: ``lr`` and the ``strengths`` that were on, one entry a configuration.

    The best four trials each of eighteen tables, by validation accuracy; ``python -m benchmarks.known`` makes them anew.

    Example:
        >>> len(known()), sorted(known()[0])
        (72, ['lr', 'strengths'])
    """
    return json.loads(files("temperance.search").joinpath("known.json").read_text(encoding="utf-8"))


def draws(plan: StaticPlan, count: int, generator: np.random.Generator) -> list[Drawn]:
    """So many configurations for a plan.

    Where the plan is ``known``, they are drawn from kernels around what did well on other tables, with the widths of the sampler's own; a strength
    that was not searched over there is on with probability 0.35, anywhere in its range. Otherwise from :func:`temperance.search.space.draw`.

    Args:
        plan: its ranges.
        count: how many.
        generator: of all draws.
    """
    if not plan.known:
        return [draw(generator, plan) for _ in range(count)]
    specs, searched = plan.space(), {name for entry in known() for name in entry["strengths"]}
    strengths = [{name: entry["strengths"].get(name, spec.off) for name, spec in specs.items()} for entry in known()]
    centers = points_of(plan, strengths, [entry["lr"] for entry in known()], [0] * len(known()))
    near, _ = Mixture(centers, 1).draw(count, generator)
    out: list[Drawn] = []
    for i in range(count):
        mild, _, length = draw(generator, plan)
        wise, rate = numbers_of(plan, near, i)
        out.append(({name: (wise if name in searched else mild)[name] for name in specs}, rate, length))
    return out
