"""Hidden units that start equal stay equal, until dropout or a first difference breaks it."""

from functools import cache
from typing import Any

import torch

import temperance as tp
from temperance.lab import WHITEHILL_14, WHITEHILL_22, Chart, Experiment, Line, every
from temperance.lab.linear import draws


def spread(net: Any) -> float:
    """How far the hidden units' weights differ."""
    first, second = net[0].weight.detach(), net[2].weight.detach()
    return max(float((first - first.mean(0)).abs().max()), float((second - second.mean(1, keepdim=True)).abs().max()))


@cache
def path(seed: int, rate: float, start: float) -> tuple[float, ...]:
    """The spread after every tenth of 100 steps, from units that are equal but for ``start``."""
    net: Any = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2)).double()
    with torch.no_grad():
        net[0].weight.copy_(draws(seed, 1, 3).expand(4, 3) / 2 + start * draws(seed + 9, 4, 3))
        net[0].bias.fill_(0.3)
        net[2].weight.copy_(draws(seed + 1, 2, 1).expand(2, 4))
    x, y = draws(seed + 2, 20, 3), draws(seed + 3, 20, 2)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    reg = tp.Cocktail(tp.Dropout(rate)).attach(net, optimizer, torch.nn.MSELoss(), seed=seed)
    out = [spread(net)]
    for step in range(100):
        reg.loss(x, y).backward()
        optimizer.step()
        optimizer.zero_grad()
        if step % 10 == 9:
            out.append(spread(net))
    reg.detach()
    return tuple(out)


class Symmetry(Experiment):
    topic = "Noise and dropout"
    question = "Can hidden units that start alike become different?"
    claim = (
        "If all rows of W1 and entries of b1 are equal, and all columns of W2, gradient descent "
        "keeps them equal for ever. Dropout tells them apart, and so does a random start."
    )
    source = f"{WHITEHILL_22} and {WHITEHILL_14}, symmetry breaking"
    expect = "Four hidden units with the same weights see the same rows and the same errors. What could make their gradients differ?"
    rules = (every("spread after 100 steps, no dropout", "<", 1e-12), every("spread after 100 steps, dropout", ">", 0.01))
    control = "A random difference of 0.1 at the start, in both runs."
    seeds = 3
    next = "Make two of four units equal: these two stay alike, the others do not care."
    limits = "Exact for any optimizer without noise. Noise on the weights, or a mask, breaks it; noise on the inputs does not."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        start = 0.1 if control else 0.0
        return {"spread after 100 steps, no dropout": path(seed, 0.0, start)[-1], "spread after 100 steps, dropout": path(seed, 0.5, start)[-1]}

    def draw(self) -> Chart:
        runs = {"equal start": (0.0, 0.0), "equal start, dropout 0.5": (0.5, 0.0), "start differs by 0.1": (0.0, 0.1)}
        lines = [Line(name, range(0, 101, 10), path(0, *run)) for name, run in runs.items()]
        return Chart("step", "largest difference between hidden units", lines, note="Four tanh units; a spread of 0 means that they are one unit.")
