"""Turned, slanted and pulled about: more digits from the same ones."""

from functools import cache
from typing import Any

import temperance as tp
from temperance.lab import LEGENSTEIN, SCHONHUTH, Chart, Experiment, Line, Slider, every
from temperance.lab.rows import accuracy, changed, images, loss, network, trained

ANGLES = (0.0, 5.0, 10.0, 15.0, 20.0, 30.0)


@cache
def found(seed: int, data: Any) -> dict[str, tuple[float, float, float, Any]]:
    """For each change of the training images: accuracy on test images, on the same turned by up to 15 degrees, test loss, and what it makes of ten images."""
    train, test = images(seed, 100 if data is None else 1000, data)
    changes: dict[str, Any] = {f"rotate {angle:g}": tp.Affine(rotate=angle) for angle in ANGLES}
    changes["skew 15"] = tp.Affine(rotate=0.0, shear=15.0)
    changes["elastic"] = tp.Elastic(3.0, sigma=1.2) if data is None else tp.Elastic(34.0)  # displacements grow with the side
    nets = trained(network(train, 100, seed), train, [tp.Cocktail(change) for change in changes.values()], seed, steps=400)
    turned, ten = changed(tp.Affine(rotate=15.0), test), train.take(range(10))
    return {
        name: (accuracy(net, test), accuracy(net, test, turned), loss(net, test), changed(change, ten)[:, 0].clamp(0, 1))
        for (name, change), net in zip(changes.items(), nets, strict=True)
    }


class RotationSkewElastic(Experiment):
    topic = "Data"
    question = "Are a digit turned by 15 degrees, a slanted one and a distorted one new training data?"
    claim = "They are: with rotation test images may be turned, and elastic distortions make even images that are not turned easier to tell."
    source = f"{SCHONHUTH}, generating artificial training data; {LEGENSTEIN}, dataset augmentation"
    expect = "A hundred images. Which change of them helps most: turning by 15 degrees, slanting, or pulling them about like rubber?"
    rules = (every("accuracy gained on turned images, rotation", ">", 0.0), every("share of the test loss that elastic distortions save", ">", 0.0))
    control = "The images as they are in every step."
    takes_images = True
    slow = True
    next = "Turn by 60 degrees and more, until a 6 becomes a 9: `flips_that_hurt`."
    limits = "With thousands of images the gain is smaller: more of the variation is there already."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        rows = found(seed, self.data)
        plain = rows["rotate 0"]
        turning, skewed, pulled = (plain if control else rows[name] for name in ("rotate 15", "skew 15", "elastic"))
        return {
            "accuracy gained on turned images, rotation": turning[1] - plain[1],
            "accuracy gained, rotation": turning[0] - plain[0],
            "accuracy gained, skew": skewed[0] - plain[0],
            "accuracy gained, elastic": pulled[0] - plain[0],
            "share of the test loss that elastic distortions save": 1 - pulled[2] / plain[2],
        }

    def draw(self) -> Slider:
        rows = found(0, self.data)
        charts = []
        for angle in ANGLES:
            row = rows[f"rotate {angle:g}"]
            lines = [
                Line("test images", ANGLES, [rows[f"rotate {a:g}"][0] for a in ANGLES]),
                Line("test images turned by up to 15°", ANGLES, [rows[f"rotate {a:g}"][1] for a in ANGLES]),
                Line("at this angle", [angle] * 2, row[:2], "dots"),
            ]
            pictures = [("training images turned", row[3]), ("the same images under elastic distortion", rows["elastic"][3])]
            note = f"Turned by up to {angle:g}°: {row[0]:.1%} right; skewed by 15° {rows['skew 15'][0]:.1%}, elastic {rows['elastic'][0]:.1%}."
            charts.append(Chart("largest angle in training (degrees)", "accuracy", lines, note=note, pictures=pictures))
        return Slider("largest angle", "rotate", ANGLES, charts, start=3)
