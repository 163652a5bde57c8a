"""Decoupled weight decay is L2 for plain gradient descent, and for nothing else."""

from functools import cache

import torch

import temperance as tp
from temperance.lab import LEGENSTEIN, SCHONHUTH, Chart, Experiment, Line, every
from temperance.lab.linear import descend, draws, rows_of

D = torch.tensor([4.0, 1.0, 0.25], dtype=torch.float64)
OPTIMIZERS = {"plain descent": tp.optim.SGD(0.02), "momentum": tp.optim.SGD(0.02, 0.9), "Adam": tp.optim.Adam(0.02)}


@cache
def gaps(seed: int, counts: tuple[int, ...]) -> dict[str, list[float]]:
    """The largest difference between weights trained with L2 and with decay of the same strength, by optimizer, after so many steps each."""
    x = rows_of(D)
    runs = [(each, regularizer, n) for each in OPTIMIZERS.values() for n in counts for regularizer in (tp.L2(0.5), tp.WeightDecay(0.5))]
    w = descend(x, x @ draws(seed, 3), [tp.Cocktail(r) for _, r, _ in runs], [n for *_, n in runs], [each for each, *_ in runs])
    found = (w[::2] - w[1::2]).abs().amax(1).reshape(len(OPTIMIZERS), len(counts))
    return dict(zip(OPTIMIZERS, found.tolist(), strict=True))


class WeightDecayAndL2(Experiment):
    topic = "Norms"
    question = "Is weight decay the same as L2?"
    claim = "w ← (1 − ελ)w − εg and the gradient of J + λ/2 ‖w‖² give the same weights in plain gradient descent, not with momentum, and not in Adam."
    source = f"{LEGENSTEIN}, L2 regularization (weight decay); {SCHONHUTH}, L2 regularization (26)"
    expect = "Adam divides a gradient by its usual size. What does that do to the λw that L2 adds to the gradient?"
    rules = (
        every("gap, plain descent", "<", 1e-12),
        every("gap, momentum", ">", 1e-4),
        every("gap, Adam", ">", 1e-4),
    )
    control = "Momentum of 0.9 in the place of plain descent."
    seeds = 3
    next = "Train to the end: both still differ, for decay is then no gradient of any loss. With momentum only the path differs much."
    limits = "Both must use the same learning rate at every step; decay that is not scaled by the learning rate is another strength."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        found = {name: values[0] for name, values in gaps(seed, (40,)).items()}
        found["plain descent"] = found["momentum" if control else "plain descent"]
        return {f"gap, {name}": value for name, value in found.items()}

    def draw(self) -> Chart:
        steps = (1, 5, 10, 20, 40)
        lines = [Line(name, steps, gaps(0, steps)[name]) for name in OPTIMIZERS]
        note = "Largest difference of a weight between L2 and decay, λ = 0.5 and ε = 0.02. That of plain descent is rounding."
        return Chart("step", "largest gap between the weights", lines, note=note)
