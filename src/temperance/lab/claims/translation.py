"""Random translation: places that do not matter, and smoother filters."""

from functools import cache
from typing import Any

import torch
from torch.nn.functional import pad

import temperance as tp
from temperance.lab import WHITEHILL_22, Chart, Experiment, Line, Slider, every
from temperance.lab.rows import accuracy, images, network, trained

SHIFTS = (0.0, 0.03, 0.06, 0.09, 0.125)


def moved(x: torch.Tensor) -> list[torch.Tensor]:
    """The images shifted by one pixel to the left, to the right, up and down."""
    wide = pad(x, (1, 1, 1, 1))
    h, w = x.shape[2:]
    return [wide[:, :, a : a + h, b : b + w] for a, b in ((1, 0), (1, 2), (0, 1), (2, 1))]


def variation(filters: torch.Tensor) -> float:
    """The mean over filters of Σ |difference of neighbors| / ‖w‖."""
    steps = filters.diff(dim=1).abs().sum((1, 2)) + filters.diff(dim=2).abs().sum((1, 2))
    return float((steps / filters.flatten(1).norm(dim=1)).mean())


@cache
def found(seed: int, data: Any) -> list[tuple[float, float, float, torch.Tensor]]:
    """For each shift: accuracy as they are, accuracy when moved, total variation of the filters, the filters."""
    train, test = images(seed, 300 if data is None else 2000, data)
    cocktails = [tp.Cocktail(tp.Affine(rotate=0.0, translate=shift)) for shift in SHIFTS]
    out = []
    for net in trained(network(train, 100, seed), train, cocktails, seed, steps=400):
        filters = next(iter(net.parameters())).detach().reshape(-1, *train.in_shape[1:])
        apart = sum(accuracy(net, test, x) for x in moved(test.x)) / 4  # type: ignore[arg-type]
        out.append((accuracy(net, test), apart, variation(filters), filters[:10]))
    return out


class Translation(Experiment):
    topic = "Data"
    question = "What does a network learn from images that are moved about?"
    claim = "Features that are useful wherever they stand: it stays right when test images move by a pixel, and its first filters are smoother."
    source = f"{WHITEHILL_22}, data augmentation (MNIST, 100 hidden units: 98.07 % without, 98.44 % with translation)"
    expect = "The same 300 images, or the same images shifted a little in every step. In which of the two networks do the filters look like strokes?"
    rules = (every("accuracy gained on moved images", ">", 0.05), every("total variation of the filters, with to without", "<", 0.95))
    control = "No translation."
    takes_images = True
    next = "`--mnist DIR` for the images of the lecture. On 2,000 of them accuracy rose by 1.7 points on images that are not moved, too (−0.6 to 4.0, n = 3)."
    limits = "Digits of 8 x 8 pixels fill their frame: a shift by a whole pixel cuts strokes off, and costs accuracy on images that do not move."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        rows = found(seed, self.data)
        plain, with_it = rows[0], rows[0 if control else 2]
        return {
            "accuracy gained on moved images": with_it[1] - plain[1],
            "accuracy gained on images as they are": with_it[0] - plain[0],
            "total variation of the filters, with to without": with_it[2] / plain[2],
        }

    def draw(self) -> Slider:
        rows = found(0, self.data)
        charts = []
        for k, (shift, row) in enumerate(zip(SHIFTS, rows, strict=True)):
            lines = [
                Line("images as they are", SHIFTS, [r[0] for r in rows]),
                Line("images moved by a pixel", SHIFTS, [r[1] for r in rows]),
                Line("at this shift", [shift] * 2, row[:2], "dots"),
            ]
            pictures = [("the first ten filters without translation", rows[0][3]), ("the same filters at this shift", rows[k][3])]
            note = f"Shifts up to {shift:.1%} of the side: {row[0]:.1%} right, {row[1]:.1%} when moved; total variation {row[2]:.1f}."
            charts.append(Chart("largest shift, as a share of the side", "accuracy on test images", lines, note=note, pictures=pictures))
        return Slider("largest shift", "translate", SHIFTS, charts, start=2)
