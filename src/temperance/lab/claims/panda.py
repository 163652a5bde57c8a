"""A change that nobody sees and that a network answers wrongly: the panda, on digits."""

from functools import cache
from typing import Any

import torch

import temperance as tp
from temperance.lab import LEGENSTEIN, Chart, Experiment, Line, Slider, every
from temperance.lab.linear import draws
from temperance.lab.rows import accuracy, images, network, trained

SIZES = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2)


@cache
def found(seed: int, data: Any) -> tuple[Any, tp.data.Dataset, torch.Tensor]:
    """A network, test images, and the sign of the gradient of the loss by the image."""
    train, test = images(seed, 800 if data is None else 5000, data)
    (net,) = trained(network(train, 100, seed), train, [tp.Cocktail()], seed)
    y: Any = test.y
    x: Any = test.x.clone().requires_grad_()  # type: ignore[union-attr]
    tp.losses.SoftmaxCrossEntropy().per_row(net(x), y).sum().backward()
    return net, test, x.grad.sign()


def after(seed: int, data: Any, size: float, randomly: bool) -> tuple[float, float, torch.Tensor]:
    """Accuracy after a change of every pixel by ``size``, how sure the network is where it is wrong, and the images."""
    net, test, signs = found(seed, data)
    signs = draws(seed + 9, *signs.shape).sign().float() if randomly else signs
    x: Any = test.x
    changed = (x + size * signs).clamp(0, 1)
    with torch.no_grad():
        sure = torch.softmax(net(changed), 1).amax(1)
        wrong = net(changed).argmax(1) != torch.as_tensor(test.y).argmax(1)
    return accuracy(net, test, changed), float(sure[wrong].mean()) if wrong.any() else float("nan"), changed[:10, 0]


class Panda(Experiment):
    topic = "Data"
    question = "How small a change of an image makes a network wrong?"
    claim = (
        "A tenth of a pixel's range along the sign of the gradient makes half of the answers wrong, and the network is sure of them. "
        "With random signs the same change does next to nothing."
    )
    source = f"{LEGENSTEIN}, adversarial example (ε = .007: a panda, 57.7 %, becomes a gibbon, 99.3 %)"
    expect = "Every pixel changes by a tenth of its range. How many digits does the network get wrong if the signs are random, and if they follow the gradient?"
    rules = (every("accuracy lost beyond random signs", ">", 0.3), every("mean confidence where it is wrong", ">", 0.6))
    control = "Random signs in the place of the gradient's."
    takes_images = True
    next = "Train on such images: `adversarial_training`."
    limits = "With the 64 pixels of these digits ε = .1 is needed. An image of 224 x 224 pixels has 150,000 of them to move, and .007 is enough."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        attacked, sure, _ = after(seed, self.data, 0.1, control)
        return {"accuracy lost beyond random signs": after(seed, self.data, 0.1, True)[0] - attacked, "mean confidence where it is wrong": sure}

    def draw(self) -> Slider:
        rows = {randomly: [after(0, self.data, size, randomly) for size in SIZES] for randomly in (False, True)}
        charts = []
        for k, size in enumerate(SIZES):
            lines = [Line(name, SIZES, [row[0] for row in rows[r]]) for name, r in (("signs of the gradient", False), ("random signs", True))]
            lines.append(Line("at this ε", [size] * 2, [rows[False][k][0], rows[True][k][0]], "dots"))
            pictures = [("moved along the gradient", rows[False][k][2]), ("moved at random", rows[True][k][2])]
            note = f"ε = {size:g}: {rows[False][k][0]:.0%} right along the gradient, {rows[True][k][0]:.0%} under random signs."
            charts.append(Chart("ε, as a share of a pixel's range", "accuracy on test images", lines, note=note, pictures=pictures, low=0))
        return Slider("ε", "epsilon", SIZES, charts, start=3)
