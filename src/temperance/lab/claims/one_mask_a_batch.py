"""One mask for a whole minibatch: the step stays in a coordinate subspace."""

from typing import Any

import torch

import temperance as tp
from temperance.lab import SCHONHUTH, Chart, Experiment, Line, Slider, every

UNITS = 40


def moved(seed: int, mask: str, rate: float) -> tuple[int, int]:
    """How many hidden units a step of plain descent moves, and how many it leaves exactly where they are."""
    generator = torch.Generator().manual_seed(seed)
    net: Any = torch.nn.Sequential(torch.nn.Linear(5, UNITS), torch.nn.Tanh(), torch.nn.Linear(UNITS, 1))
    tp.nets.initialize(net, seed)
    x, y = torch.randn(32, 5, generator=generator), torch.randn(32, 1, generator=generator)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    reg = tp.Cocktail(tp.Dropout(rate, mask=mask)).attach(net, optimizer, torch.nn.MSELoss(), seed=seed)
    before = net[0].weight.detach().clone()
    reg.loss(x, y).backward()
    optimizer.step()
    reg.detach()
    still = int((net[0].weight.detach() == before).all(1).sum())
    return UNITS - still, still


class OneMaskABatch(Experiment):
    topic = "Noise and dropout"
    question = "In which directions does a step with dropout move?"
    claim = (
        "With one mask for the minibatch, a step of plain descent leaves the weights of every "
        "dropped unit exactly where they are: it stays in a coordinate subspace."
    )
    source = f"{SCHONHUTH}, dropout: explanations"
    expect = "Half of 40 hidden units are dropped for a minibatch of 32 rows. How many units' weights change? And if every row draws its own mask?"
    rules = (every("units that stay", ">", 9.5), every("units that move", ">", 9.5))
    control = "A mask of its own for every row, as libraries do it: every unit is kept in some row."
    next = 'Tompson\'s "channel" masks for images; `mask="exact"` drops exactly half of the units, as one lecture draws it.'
    limits = "Plain descent only: momentum, Adam's moments and decay move dropped weights as well."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        moves, stays = moved(seed, "row" if control else "batch", 0.5)
        return {"units that move": moves, "units that stay": stays}

    def draw(self) -> Slider:
        rates = [0.0, 0.1, 0.25, 0.5, 0.75, 0.9]
        charts = []
        for rate in rates:
            counts = [moved(0, mask, rate) for mask in ("batch", "row")]
            lines = [Line("move", range(2), [c[0] for c in counts], "bars"), Line("stay", range(2), [c[1] for c in counts], "bars")]
            note = f"rate = {rate:g}, 40 hidden units, 32 rows: with one mask for all rows {counts[0][1]} units stay, with one a row {counts[1][1]}."
            charts.append(Chart("masks", "hidden units", lines, names=["one a batch", "one a row"], note=note, high=UNITS))
        return Slider("rate", "rate", rates, charts, start=3)
