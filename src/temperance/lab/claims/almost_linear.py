"""Far too much L2 makes a network nearly linear."""

from functools import cache

import torch

import temperance as tp
from temperance.lab import PATHAK, Chart, Experiment, Line, Slider, every

LAMS = (0.0, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3)
GRID = torch.linspace(-2, 2, 81)[:, None]


@cache
def functions(seed: int) -> torch.Tensor:
    """What networks of 20 tanh units make of 40 noisy points of a sine (strengths, places)."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.linspace(-2, 2, 40)[:, None]
    y = torch.sin(3 * x) + 0.5 * x + 0.2 * torch.randn(40, 1, generator=generator)
    net = tp.nets.MLP(1, 1, hidden=(20,), activation="tanh")
    tp.nets.initialize(net, seed)
    members = [tp.Member(tp.Cocktail(tp.L2(lam)), tp.optim.Adam(0.03), seed) for lam in LAMS]
    data = tp.data.Dataset(x, y, "regression")
    done = tp.fit(net, members, data, validation=None, early_stopping=None, steps=400, batch_size=40, check_every=400)
    with torch.no_grad():
        return torch.stack([done.member(i)(GRID)[:, 0] for i in range(len(LAMS))])


def bend(values: torch.Tensor) -> float:
    """The root mean squared distance to the nearest straight line."""
    ones = torch.cat([GRID, torch.ones_like(GRID)], 1)
    line = ones @ torch.linalg.lstsq(ones, values[:, None]).solution
    return float((values - line[:, 0]).square().mean().sqrt())


class AlmostLinear(Experiment):
    topic = "Norms"
    question = "What is left of a network when λ is far too large?"
    claim = "Small weights keep tanh units in their linear part: the function becomes almost a straight line, and under-fits."
    source = f"{PATHAK}, L2 parameter regularization: how it helps"
    expect = "A network of 20 tanh units has learned a sine. What does it look like as λ grows: a smaller sine, or a line?"
    rules = (every("distance to a line, λ = 0", ">", 0.3), every("distance to a line, largest λ", "<", 0.05))
    control = "λ = 0 in both."
    seeds = 3
    next = "Stop early instead: the function starts as a line, and bends as the weights grow."
    limits = "Units that are linear near zero. ReLU has a kink at zero however small the weights are; its network only becomes flat."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        found = functions(seed)
        return {"distance to a line, λ = 0": bend(found[0]), "distance to a line, largest λ": bend(found[0 if control else -1])}

    def draw(self) -> Slider:
        truth = torch.sin(3 * GRID[:, 0]) + 0.5 * GRID[:, 0]
        charts = []
        for lam, values in zip(LAMS, functions(0), strict=True):
            lines = [Line("truth", GRID[:, 0], truth), Line("network", GRID[:, 0], values)]
            charts.append(Chart("input", "output", lines, note=f"λ = {lam:g}: distance to the nearest line {bend(values):.3f}."))
        return Slider("λ", "lam", LAMS, charts, start=3)
