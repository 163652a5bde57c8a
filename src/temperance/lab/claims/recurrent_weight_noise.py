"""Noise on the weights of a recurrent network that reads digits row by row."""

from functools import cache
from typing import Any

import temperance as tp
from temperance.lab import PATHAK, Chart, Experiment, Line, Slider, on_average
from temperance.lab.rows import accuracy, images, loss, trained

SIGMAS = (0.0, 0.05, 0.1, 0.2, 0.3)


@cache
def found(seed: int) -> list[tuple[float, float, float]]:
    """Loss on training rows, loss on test rows and accuracy there for each σ."""
    parts: Any = images(seed, 100)
    train, test = (tp.data.Dataset(part.x[:, 0], part.y, part.task) for part in parts)
    net = tp.nets.RecurrentNet(8, 32, 10)
    tp.nets.initialize(net, seed)
    nets = trained(net, train, [tp.Cocktail(tp.WeightNoise(sigma)) for sigma in SIGMAS], seed, steps=400)
    return [(loss(each, train), loss(each, test), accuracy(each, test)) for each in nets]


class RecurrentWeightNoise(Experiment):
    topic = "Noise and dropout"
    question = "What does noise on the weights do for a recurrent network?"
    claim = "It keeps the network from fitting 100 sequences exactly: training loss rises, test loss falls. Three times as much noise drowns the state."
    source = f"{PATHAK}, noise robustness: noise on the weights, used primarily with recurrent networks"
    expect = "A digit is read row by row, and the weights tremble while it is. Does a network that trains so predict better when they stand still?"
    rules = (
        on_average("test loss saved, σ = 0.1", ">", 0.0),
        on_average("training loss added, σ = 0.1", ">", 0.0),
        on_average("test loss added, σ = 0.3", ">", 0.0),
    )
    control = "No noise."
    slow = True
    quick_seeds = 5
    next = "σ as a share of each weight: `tp.WeightNoise(0.1, form='relative')`."
    limits = "Between σ = 0.1 and 0.3 the gain turns into harm: every step of the recurrence adds to the noise in the state."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        rows = found(seed)
        plain, noisy, drowned = rows[0], rows[0 if control else SIGMAS.index(0.1)], rows[0 if control else -1]
        return {
            "test loss saved, σ = 0.1": plain[1] - noisy[1],
            "training loss added, σ = 0.1": noisy[0] - plain[0],
            "test loss added, σ = 0.3": drowned[1] - plain[1],
            "accuracy gained, σ = 0.1": noisy[2] - plain[2],
        }

    def draw(self) -> Slider:
        rows = found(0)
        charts = []
        for sigma, row in zip(SIGMAS, rows, strict=True):
            lines = [Line(name, SIGMAS, [r[k] for r in rows]) for k, name in enumerate(("training rows", "test rows"))]
            lines.append(Line("at this σ", [sigma] * 2, row[:2], "dots"))
            charts.append(Chart("σ of the weights' noise", "loss", lines, note=f"σ = {sigma:g}: test loss {row[1]:.2f}, {row[2]:.1%} right.", low=0))
        return Slider("σ", "sigma", SIGMAS, charts, start=2)
