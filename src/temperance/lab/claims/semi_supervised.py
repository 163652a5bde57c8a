"""A hundred labels, and the other images without: what these are good for."""

import dataclasses
from functools import cache
from typing import Any

import torch

import temperance as tp
from temperance.lab import LEGENSTEIN, Chart, Experiment, Line, Slider, on_average
from temperance.lab.rows import accuracy, images, network, trained

RADII = (0.0, 0.5, 1.5, 4.0, 8.0)
LABELS = 100


@cache
def found(seed: int, data: Any) -> list[float]:
    """Test accuracy for each radius of VAT, on 100 images with a label and the others without."""
    train, test = images(seed, 1000 if data is None else 5000, data)
    rows = dataclasses.replace(train, labeled=torch.arange(len(train)) < LABELS)
    cocktails = [tp.Cocktail(tp.VAT(eps=eps, lam=1.0)) for eps in RADII]
    return [accuracy(net, test) for net in trained(network(train, 64, seed), rows, cocktails, seed, steps=400, rows=200)]


class SemiSupervised(Experiment):
    topic = "Data"
    question = "What are images without a label good for?"
    claim = (
        "They show where the rows lie. Asked to give neighbors the same answer (VAT), a network with 100 labels gets more "
        "right; asked to agree over distances that reach other classes, it does not."
    )
    source = f"{LEGENSTEIN}, semi-supervised learning"
    expect = "A hundred digits have a label, nine hundred have none. Can the nine hundred raise accuracy if nobody says what they are?"
    rules = (on_average("accuracy gained, ε = 1.5", ">", 0.0), on_average("gain of ε = 1.5 beyond ε = 8", ">", 0.0))
    control = "The images without a label, and no use made of them."
    slow = True
    takes_images = True
    quick_seeds = 5
    next = "`tp.PseudoLabels` on the same rows: about half the gain. With 50 labels the gain is larger."
    limits = "Where neighbors often have other labels, agreement between them is the wrong demand: at ε = 8 standard deviations the gain is gone."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        scores = found(seed, self.data)
        near, far = (scores[0 if control else RADII.index(eps)] for eps in (1.5, 8.0))
        return {"accuracy gained, ε = 1.5": near - scores[0], "gain of ε = 1.5 beyond ε = 8": near - far, "accuracy with 100 labels alone": scores[0]}

    def draw(self) -> Slider:
        scores = found(0, self.data)
        charts = []
        for k, eps in enumerate(RADII):
            lines = [Line("accuracy", range(len(RADII)), scores), Line("at this ε", [k], [scores[k]], "dots")]
            note = f"ε = {eps:g} standard deviations: {scores[k]:.1%} right; with the 100 labels alone {scores[0]:.1%}."
            charts.append(Chart("ε of VAT", "accuracy on test images", lines, names=[f"{value:g}" for value in RADII], note=note))
        return Slider("ε", "eps", RADII, charts, start=2)
