"""Two units that are right together and wrong alone, and what dropout makes of them."""

from functools import cache
from typing import Any

import torch

import temperance as tp
from temperance.lab import WHITEHILL_14, Chart, Experiment, Line, Slider, every
from temperance.lab.linear import draws

START = torch.tensor([[2.0, -3.0, 1.0, -1.0], [2.0, -3.0, -1.0, 1.0]], dtype=torch.float64)


class Mean(torch.nn.Module):
    """The average of the hidden units."""

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return h.mean(1, keepdim=True)


@cache
def trained(seed: int, rate: float) -> torch.Tensor:
    """W after 300 steps of plain descent from the lecture's, averaged over the last 100."""
    x = torch.linalg.qr(draws(seed, 64, 4)).Q * 8.0
    y = x @ torch.tensor([[2.0], [-3.0], [0.0], [0.0]], dtype=torch.float64)
    net: Any = torch.nn.Sequential(torch.nn.Linear(4, 2, bias=False), torch.nn.Identity(), Mean()).double()
    with torch.no_grad():
        net[0].weight.copy_(START)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    reg = tp.Cocktail(tp.Dropout(rate, where="1")).attach(net, optimizer, torch.nn.MSELoss(), seed=seed)
    kept = []
    for step in range(300):
        reg.loss(x, y).backward()
        optimizer.step()
        optimizer.zero_grad()
        if step >= 200:
            kept.append(net[0].weight.detach().clone())
    reg.detach()
    return torch.stack(kept).mean(0)


def pathway_error(w: torch.Tensor) -> float:
    """Mean squared error of each unit as the whole network, for uncorrelated inputs of mean square one."""
    return float((w - torch.tensor([2.0, -3.0, 0.0, 0.0], dtype=torch.float64)).square().sum(1).mean())


class CoAdaptation(Experiment):
    topic = "Noise and dropout"
    question = "Does dropout make every pathway stand on its own?"
    claim = "W = [[2, −3, 1, −1], [2, −3, −1, 1]] is right on average and wrong in each row. Plain descent leaves it so; dropout removes what only cancels."
    source = f"{WHITEHILL_14}, co-adaptation"
    expect = "The loss is zero already. Why would anything move, with dropout?"
    rules = (every("error of single units, no dropout", ">", 1.99), every("error of single units, dropout 0.2", "<", 0.3))
    control = "Dropout switched off in both."
    seeds = 3
    next = "More dropout: the weights shrink below [2, −3] as well, by 1/(1 + rate/(2 − 2 rate)), for every unit pays for the others' absence."
    limits = "The start is no bad minimum but a flat direction: any a in [2, −3, a, −a], [2, −3, −a, a] has the same loss without dropout."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        return {
            "error of single units, no dropout": pathway_error(trained(seed, 0.0)),
            "error of single units, dropout 0.2": pathway_error(trained(seed, 0.0 if control else 0.2)),
        }

    def draw(self) -> Slider:
        rates = [0.0, 0.05, 0.1, 0.2, 0.35, 0.5]
        names = ["x₁", "x₂", "x₃", "x₄"]
        charts = []
        for rate in rates:
            w = trained(0, rate)
            lines = [Line("unit 1", range(4), w[0], "bars"), Line("unit 2", range(4), w[1], "bars")]
            note = f"rate = {rate:g}: mean squared error of a single unit {pathway_error(w):.2f}."
            charts.append(Chart("input", "weight", lines, names=names, note=note))
        return Slider("rate", "rate", rates, charts, start=3)
