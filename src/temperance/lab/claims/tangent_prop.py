"""Derivatives that vanish along small movements, against images that are moved."""

import dataclasses
from functools import cache
from typing import Any

import torch

import temperance as tp
from temperance.lab import PATHAK, Chart, Experiment, Line, Slider, on_average
from temperance.lab.rows import accuracy, changed, images, network, trained

LAM = 3e-3
LAMS = (0.0, 1e-3, LAM, 1e-2, 3e-2)
SMALL = tp.Affine(rotate=8.0, translate=0.06, scale=0.08)
LARGE = tp.Affine(rotate=20.0, translate=0.15, scale=0.2)
WAYS = tuple(f"tangent prop {lam:g}" for lam in LAMS)
OTHERS = ("tangents at random", "augmentation, large movements")


def smooth(data: tp.data.Dataset) -> tp.data.Dataset:
    """The images under a Gaussian blur of 0.8 pixels: the tangent of a sharp stroke says little about a stroke that has moved."""
    inputs: Any = data.x
    bell = torch.exp(-torch.arange(-2.0, 3.0).square() / (2 * 0.8**2))
    kernel = torch.outer(bell, bell) / bell.sum() ** 2
    return dataclasses.replace(data, x=torch.nn.functional.conv2d(inputs, kernel[None, None], padding=2))


@cache
def found(seed: int, data: Any, sharp: bool = False) -> dict[str, tuple[float, float, float]]:
    """Accuracy on test images as they are, moved a little and moved far, for each way to train on 100 images."""
    train, test = images(seed, 100 if data is None else 500, data)
    train, test = (part if sharp else smooth(part) for part in (train, test.take(range(min(len(test), 1000)))))
    tangents = tp.data.image_tangents(train.x)  # type: ignore[arg-type]
    noise = torch.randn(tangents.shape, generator=torch.Generator().manual_seed(seed))
    size = tangents.flatten(2).norm(dim=2) / noise.flatten(2).norm(dim=2)
    along, aimless = (dataclasses.replace(train, tangents=each) for each in (tangents, noise * size[..., None, None, None]))
    net = network(train, 64, seed)
    nets = trained(net, along, [tp.Cocktail(tp.TangentProp(lam)) for lam in LAMS], seed, steps=400)
    nets += trained(net, aimless, [tp.Cocktail(tp.TangentProp(LAM))], seed, steps=400)
    nets += trained(net, train, [tp.Cocktail(LARGE)], seed, steps=400)
    little, far = changed(SMALL, test), changed(LARGE, test)
    return {name: (accuracy(each, test), accuracy(each, test, little), accuracy(each, test, far)) for name, each in zip(WAYS + OTHERS, nets, strict=True)}


class TangentPropAgainstAugmentation(Experiment):
    topic = "Data"
    question = "Is a derivative that vanishes worth as much as images that are moved?"
    claim = (
        "For small movements of smooth images tangent prop helps, and only along the right directions. How images look "
        "that have moved far is nothing that a derivative knows: there augmentation is better."
    )
    source = f"{PATHAK}, tangent distance, tangent prop and manifold tangent classifier"
    expect = "Instead of showing moved digits, forbid the output to change when a digit starts to move. Is that the same lesson?"
    rules = (
        on_average("moved a little: accuracy gained by tangent prop", ">", 0.0),
        on_average("moved a little: gained beyond tangents at random", ">", 0.0),
        on_average("moved far: augmentation beyond tangent prop", ">", 0.0),
    )
    control = "Tangents of the same length in random directions."
    takes_images = True
    slow = True
    seeds, quick_seeds = 12, 5
    next = "`temperance.lab.claims.tangent_prop.found(0, None, sharp=True)`: the same digits without the blur."
    limits = (
        "Images whose strokes are sharper than the movement: without the blur tangent prop gains less. Too strong a penalty: at 0.01 what it gains beyond "
        "tangents at random is within noise over five seeds."
    )

    def once(self, seed: int, control: bool) -> dict[str, float]:
        rows = found(seed, self.data)
        (plain, own), (aimless, moved) = (rows[WAYS[0]], rows[f"tangent prop {LAM:g}"]), (rows[name] for name in OTHERS)
        own = aimless if control else own
        return {
            "moved a little: accuracy gained by tangent prop": own[1] - plain[1],
            "moved a little: gained beyond tangents at random": own[1] - aimless[1],
            "moved far: augmentation beyond tangent prop": moved[2] - own[2],
            "as they are: accuracy gained by tangent prop": own[0] - plain[0],
        }

    def draw(self) -> Slider:
        rows = found(0, self.data)
        labels, charts = ("as they are", "moved a little", "moved far"), []
        for lam, way in zip(LAMS, WAYS, strict=True):
            lines = [Line(name, range(3), rows[name], "bars") for name in (WAYS[0], way, *OTHERS)]
            lines[0], lines[1] = (dataclasses.replace(line, label=label) for line, label in zip(lines, ("neither", "tangent prop"), strict=False))
            note = f"λ = {lam:g}: {rows[way][1]:.1%} of the images that moved a little are right; with neither {rows[WAYS[0]][1]:.1%}."
            charts.append(Chart("test images", "accuracy", lines, names=labels, note=note, low=0))
        return Slider("λ", "lam", LAMS, charts, start=2)
