"""Configurations before anything is known of the data: from a mild prior, or near what did well elsewhere."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from temperance.search.parzen import Mixture, Points
from temperance.search.space import StaticPlan, draw, number_at, place_of

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
    specs, searched = plan.cocktail.specs(), {name for entry in known() for name in entry["strengths"]}
    on = np.array([[name in entry["strengths"] for name in specs] for entry in known()], bool)
    places = [
        [place_of(entry["strengths"][name], s.low, s.high, s.log) if name in entry["strengths"] else 0.5 for name, s in specs.items()] for entry in known()
    ]
    rates = [place_of(entry["lr"], *plan.lr, True) for entry in known()]
    near, _ = Mixture(Points(on, np.column_stack([np.array(places).reshape(on.shape), rates]), np.zeros(len(on), np.int64)), 1).draw(count, generator)
    out: list[Drawn] = []
    for i in range(count):
        mild, _, length = draw(generator, plan)
        strengths = {
            name: mild[name] if name not in searched else number_at(near.values[i, k], s.low, s.high, s.log) if near.on[i, k] else s.off
            for k, (name, s) in enumerate(specs.items())
        }
        out.append((strengths, number_at(near.values[i, -1], *plan.lr, True), length))
    return out
