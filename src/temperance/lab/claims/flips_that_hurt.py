"""Augmentation that changes what a digit is: 6 and 9 turned upside down."""

from functools import cache
from typing import Any

import torch

import temperance as tp
from temperance.lab import WHITEHILL_22, Chart, Experiment, Line, Slider, every
from temperance.lab.rows import accuracy, changed, images, network, trained

ANGLES = (0.0, 15.0, 45.0, 90.0, 135.0, 180.0)


@cache
def found(seed: int, data: Any) -> list[tuple[float, float, torch.Tensor]]:
    """For each largest angle: accuracy on 6 and 9, accuracy on the other digits, and ten turned images of 6 and 9."""
    train, test = images(seed, 300 if data is None else 1000, data)
    labels: Any = test.y
    two = (labels[:, 6] + labels[:, 9]) > 0
    nets = trained(network(train, 100, seed), train, [tp.Cocktail(tp.Affine(rotate=angle)) for angle in ANGLES], seed, steps=400)
    rows = test.take(two.nonzero()[:10, 0])
    seen = [changed(tp.Affine(rotate=angle), rows)[:, 0].clamp(0, 1) for angle in ANGLES]
    return [
        (accuracy(net, test.take(two.nonzero()[:, 0])), accuracy(net, test.take((~two).nonzero()[:, 0])), picture)
        for net, picture in zip(nets, seen, strict=True)
    ]


class FlipsThatHurt(Experiment):
    topic = "Data"
    question = "When does augmentation hurt?"
    claim = "Where the change alters the label: digits turned by up to 180 degrees cost far more accuracy on 6 and 9 than on the others."
    source = f"{WHITEHILL_22}, data augmentation: a change is allowed where it leaves the label as it is"
    expect = "A 6 turned upside down is a 9. If training images are turned by any angle, which digits does the network get wrong?"
    rules = (every("accuracy lost on 6 and 9", ">", 0.15), every("loss on 6 and 9 beyond that on others", ">", 0.05))
    control = "Turned by up to 15 degrees, which leaves every label as it is."
    takes_images = True
    slow = True
    next = "Mirror images: which digits survive `tp.Affine(rotate=0, flip=0.5)`?"
    limits = "Where there is no up and down, as under a microscope, every turn is allowed."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        rows = found(seed, self.data)
        plain, turned = rows[0], rows[1 if control else -1]
        lost = plain[0] - turned[0]
        return {"accuracy lost on 6 and 9": lost, "loss on 6 and 9 beyond that on others": lost - (plain[1] - turned[1])}

    def draw(self) -> Slider:
        rows = found(0, self.data)
        charts = []
        for angle, row in zip(ANGLES, rows, strict=True):
            lines = [
                Line("6 and 9", ANGLES, [r[0] for r in rows]),
                Line("other digits", ANGLES, [r[1] for r in rows]),
                Line("at this angle", [angle] * 2, row[:2], "dots"),
            ]
            note = f"Turned by up to {angle:g}°: {row[0]:.0%} of 6 and 9 are right, {row[1]:.0%} of the others."
            charts.append(Chart("largest angle in training (degrees)", "accuracy on test images", lines, note=note, pictures=[("6 and 9 in training", row[2])]))
        return Slider("largest angle", "rotate", ANGLES, charts, start=5)
