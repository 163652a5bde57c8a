"""What grows while a network is trained: its weights, and what it does that no linear function can."""

from functools import cache
from typing import Any

import torch

import temperance as tp
from temperance.lab import LEGENSTEIN, Chart, Experiment, Line, every
from temperance.lab.rows import loss, split

EPOCHS = (1, 2, 4, 8, 16, 32, 64, 128)


def bent(net: Any, x: torch.Tensor) -> float:
    """The share of the outputs' variance that the best linear function of the inputs leaves unexplained."""
    with torch.no_grad():
        z = net(x).double()
    wide = torch.cat([x.double(), torch.ones(len(x), 1, dtype=torch.float64)], 1)
    rest = z - wide @ torch.linalg.lstsq(wide, z, driver="gelsd").solution
    return float(rest.square().sum() / (z - z.mean(0)).square().sum())


@cache
def found(seed: int, lam: float) -> tuple[list[float], list[float], list[float]]:
    """Norm of the weights, non-linearity and validation loss after each number of epochs, under L2 of this strength."""
    train, held, _ = split(seed, 100)
    net = tp.nets.MLP(64, 10, hidden=(64,), activation="tanh")
    tp.nets.initialize(net, seed)
    most = 2 * EPOCHS[-1]
    members = [tp.Member(tp.Cocktail(tp.L2(lam)), tp.optim.Adam(1e-2), seed, length=epochs / EPOCHS[-1]) for epochs in EPOCHS]
    done = tp.fit(net, members, train, validation=None, early_stopping=None, steps=most, batch_size=50, check_every=most)
    nets = [done.member(i) for i in range(len(EPOCHS))]
    norms = [float(torch.cat([p.detach().flatten() for p in each.parameters() if p.ndim > 1]).norm()) for each in nets]
    inputs: Any = held.x
    return norms, [bent(each, inputs) for each in nets], [loss(each, held) for each in nets]


class Growth(Experiment):
    topic = "Stopping"
    question = "What does early stopping keep small?"
    claim = "The weights start small and grow with every epoch, and with them the part of the function that is not linear. Stopping early keeps both small."
    source = f"{LEGENSTEIN}, how early stopping acts as a regularizer"
    expect = "tanh is a straight line near zero. How linear is the network after one epoch, and how linear after a hundred?"
    rules = (every("norm of the weights, last to first", ">", 1.3), every("non-linearity, last to first", ">", 1.5))
    control = "L2 of strength .03: the weights grow less, and the function stays nearly linear."
    seeds = 3
    next = "`almost_linear`: large λ keep the function a straight line for good."
    limits = "Non-linearity is measured on these rows, against the best linear fit; a network may be bent elsewhere."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        norms, bends, losses = found(seed, 0.03 if control else 0.0)
        return {
            "norm of the weights, last to first": norms[-1] / norms[0],
            "non-linearity, last to first": bends[-1] / bends[0],
            "epoch with the least validation loss": float(EPOCHS[losses.index(min(losses))]),
        }

    def draw(self) -> Chart:
        norms, bends, losses = found(0, 0.0)
        stop = losses.index(min(losses))
        scaled = [norm / norms[-1] for norm in norms]
        lines = [
            Line("‖w‖, as a share of that at the end", EPOCHS, scaled),
            Line("non-linearity, as a share of that at the end", EPOCHS, [b / bends[-1] for b in bends]),
            Line("validation loss", EPOCHS, losses),
            Line("where early stopping stops", [EPOCHS[stop]] * 2, [scaled[stop], losses[stop]], "dots"),
        ]
        note = f"‖w‖ grows from {norms[0]:.1f} to {norms[-1]:.1f}, non-linearity from {bends[0]:.1%} to {bends[-1]:.1%}; best after {EPOCHS[stop]} epochs."
        return Chart("epochs (log scale)", "share, or loss", lines, log_x=True, low=0, note=note)
