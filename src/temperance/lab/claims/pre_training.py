"""Ten rows per class, and a hidden layer that has seen other images before."""

import dataclasses
import math
from functools import cache
from typing import Any

import torch

import temperance as tp
from temperance.lab import WHITEHILL_14, Chart, Experiment, Line, Slider, on_average
from temperance.lab.rows import accuracy, images, network

ANGLES = (0.0, 10.0, 20.0, 45.0, 90.0)
FIRST, FEW = 300, 10


def turned(data: tp.data.Dataset, angle: float) -> tp.data.Dataset:
    """All images turned by this angle."""
    inputs: Any = data.x
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    turn = torch.tensor([[c, -s, 0.0], [s, c, 0.0]]).expand(len(inputs), 2, 3)
    grid = torch.nn.functional.affine_grid(turn, list(inputs.shape), align_corners=False)
    return dataclasses.replace(data, x=torch.nn.functional.grid_sample(inputs, grid, align_corners=False))


def few(data: tp.data.Dataset) -> tp.data.Dataset:
    """Ten rows of each class."""
    y: Any = data.y
    return data.take(torch.cat([column.nonzero()[:FEW, 0] for column in y.T]))


@cache
def found(seed: int, data: Any) -> list[tuple[float, float]]:
    """Test accuracy on digits turned by each angle, learned from ten rows per class: from random weights, and from a hidden layer that knows upright ones."""
    train, test = images(seed, 3 * FIRST, data)
    ten = few(train.take(range(FIRST, len(train))))
    net = network(train, 64, seed)
    settings: Any = {"validation": None, "early_stopping": None}
    before = tp.fit(net, tp.Cocktail(), train.take(range(FIRST)), optimizer=tp.optim.Adam(3e-3), steps=300, batch_size=50, seed=seed, **settings).member(0)
    fresh = {name: value.clone() for name, value in net.state_dict().items()}
    *_, weight, bias = fresh  # the output layer starts fresh
    starts = (fresh, {**before.state_dict(), weight: fresh[weight], bias: fresh[bias]})
    rows = [turned(ten, angle) for angle in ANGLES]
    both = dataclasses.replace(ten, x=torch.cat([part.x for part in rows]), y=torch.cat([part.y for part in rows]))  # type: ignore[misc]
    places = [torch.arange(len(ten)) + k * len(ten) for k in range(len(ANGLES))]
    members = [tp.Member(tp.Cocktail(), tp.optim.Adam(1e-3), seed, rows=place, initial=start) for place in places for start in starts]
    done = tp.fit(net, members, both, steps=200, batch_size=len(ten), check_every=200, **settings)
    tests = [turned(test, angle) for angle in ANGLES]
    return [(accuracy(done.member(2 * k), part), accuracy(done.member(2 * k + 1), part)) for k, part in enumerate(tests)]


class PreTraining(Experiment):
    topic = "Data"
    question = "When is a pre-trained layer a better start than random weights?"
    claim = "With ten images a class it is if it learned from similar ones: digits turned by 10° gain from upright ones. Those turned by 45° lose."
    source = f"{WHITEHILL_14}, pre-training"
    expect = (
        "A hidden layer has seen 300 upright digits. Ten of each class, turned, are all there is of the new task. Up to what angle is the layer worth keeping?"
    )
    rules = (on_average("accuracy gained, turned by 10°", ">", 0.0), on_average("accuracy lost, turned by 45°", ">", 0.0))
    control = "No pre-training."
    takes_images = True
    seeds = 10
    quick_seeds = 5
    next = "Three rows per class gain more, thirty less: change `FEW`. Or hold the weights near their start with `tp.L2SP`."
    limits = "Similar is what counts: 0 to 4 as a start for 5 to 9 was worse than random weights as well. With hundreds of rows per class it stops mattering."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        gains = dict(zip(ANGLES, (0.0 if control else after - before for before, after in found(seed, self.data)), strict=True))
        return {
            "accuracy gained, turned by 10°": gains[10.0],
            "accuracy lost, turned by 45°": -gains[45.0],
            "accuracy gained, not turned": gains[0.0],
            "accuracy from random weights, turned by 10°": found(seed, self.data)[1][0],
        }

    def draw(self) -> Slider:
        scores = found(0, self.data)
        charts = []
        for angle, (before, after) in zip(ANGLES, scores, strict=True):
            lines = [
                Line("from random weights", ANGLES, [score[0] for score in scores]),
                Line("from upright digits", ANGLES, [score[1] for score in scores]),
                Line("at this angle", [angle] * 2, [before, after], "dots"),
            ]
            note = f"Turned by {angle:g}°: {before:.1%} right from random weights, {after:.1%} from upright digits."
            charts.append(Chart("angle of the new digits (degrees)", "accuracy on new digits", lines, note=note))
        return Slider("angle", "angle", ANGLES, charts, start=1)
