"""Which weights a step with dropout updates."""

from typing import Any

import torch

import temperance as tp
from temperance.lab import SCHONHUTH, Chart, Experiment, Line, every

UNITS = 20


def shares(seed: int, momentum: float) -> tuple[float, float]:
    """The share of hidden units that a step drops, and the share of those whose weights it changes; earlier steps dropped nothing."""
    net: Any = torch.nn.Sequential(torch.nn.Linear(3, UNITS), torch.nn.Tanh(), torch.nn.Linear(UNITS, 1))
    tp.nets.initialize(net, seed)
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.randn(16, 3, generator=generator), torch.randn(16, 1, generator=generator)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=momentum)
    for _ in range(2):
        torch.nn.functional.mse_loss(net(x), y).backward()
        optimizer.step()
        optimizer.zero_grad()
    reg = tp.Cocktail(tp.Dropout(0.5, mask="exact")).attach(net, optimizer, torch.nn.MSELoss(), seed=seed)
    before = net[0].weight.detach().clone()
    reg.loss(x, y).backward()
    slope = net[0].weight.grad
    dropped = (slope == 0).all(1)
    optimizer.step()
    reg.detach()
    changed = (net[0].weight.detach() != before).any(1)
    return float(dropped.double().mean()), float((dropped & changed).double().sum() / dropped.double().sum())


class SlipDroppedWeights(Experiment):
    topic = "Slips"
    question = "Does a step with dropout update all weights?"
    printed = "Train the resulting network with the minibatch; update all weights and biases."
    claim = "Only those of the units that are there: the others have no gradient, and plain descent leaves them where they are."
    source = f"{SCHONHUTH}, dropout: procedure, step 3"
    expect = "Half of 20 hidden units are removed. How many of their incoming weights change in this step?"
    rules = (every("share of units without gradient", ">", 0.49), every("share of these that the step moves", "<", 1e-9))
    control = "Momentum of 0.9, with which the printed statement is true: the velocity of earlier steps moves dropped weights too."
    seeds = 3
    next = "Add L2: every weight moves again, dropped or not."
    limits = "Plain descent without decay, and one mask for the whole minibatch."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        dropped, moved = shares(seed, 0.9 if control else 0.0)
        return {"share of units without gradient": dropped, "share of these that the step moves": moved}

    def draw(self) -> Chart:
        runs = {"plain descent": shares(0, 0.0), "momentum 0.9": shares(0, 0.9)}
        lines = [
            Line("dropped", range(2), [run[0] for run in runs.values()], "bars"),
            Line("of these moved", range(2), [run[1] for run in runs.values()], "bars"),
        ]
        return Chart("optimizer", "share of units", lines, names=list(runs), low=0, high=1, note="20 hidden units, of which exactly half are dropped.")
