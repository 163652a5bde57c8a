"""Max-norm: no hidden unit's weights are longer than c."""

from functools import cache

import torch

import temperance as tp
from temperance.lab import PATHAK, Chart, Experiment, Line, Slider, every
from temperance.lab.rows import network, split

BOUNDS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0)


@cache
def lengths(seed: int, constrained: bool) -> torch.Tensor:
    """Norms of the hidden units' incoming weights (bounds, units) after 60 steps on 100 digits."""
    train, *_ = split(seed, 100)
    members = [tp.Member(tp.Cocktail(tp.MaxNorm(c)) if constrained else tp.Cocktail(), tp.optim.SGD(0.5), seed) for c in BOUNDS]
    done = tp.fit(network(train, 24, seed), members, train, validation=None, early_stopping=None, steps=60, batch_size=100, check_every=60)
    weights = [done.member(i).state_dict()["hidden.0.linear.weight"] for i in range(len(BOUNDS))]
    return torch.stack([w.norm(dim=1).sort().values for w in weights])


class MaxNormBall(Experiment):
    topic = "Norms"
    question = "What does max-norm do that L2 does not?"
    claim = "After every step it projects each unit's incoming weights into the ball of radius c: no unit is longer, and units inside are not touched."
    source = f"{PATHAK}, norm penalties as constrained optimization"
    expect = "c = 1. Units at length 0.3 and 3.0: what happens to each?"
    rules = (every("longest unit over c", "<", 1.00001), every("share of units at the bound, c = 0.25", ">", 0.5))
    control = "No constraint."
    seeds = 3
    next = "A large learning rate, from which weights would run away: a ball holds them, a penalty need not."
    limits = "c is a length, so it means something else for wide inputs than for narrow ones."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        found = lengths(seed, not control)
        over = max(float(row.max()) / c for row, c in zip(found, BOUNDS, strict=True))
        return {"longest unit over c": over, "share of units at the bound, c = 0.25": float((found[0] > 0.2499).double().mean())}

    def draw(self) -> Slider:
        free = lengths(0, False)[0]
        charts = []
        for c, row in zip(BOUNDS, lengths(0, True), strict=True):
            lines = [Line("with max-norm", range(len(row)), row, "bars"), Line("without", range(len(row)), free, "dots")]
            note = f"c = {c:g}: {int((row > c - 1e-4).sum())} of {len(row)} units are at the bound."
            charts.append(Chart("hidden unit, by length", "norm of its incoming weights", lines, note=note))
        return Slider("c", "c", BOUNDS, charts, start=2)
