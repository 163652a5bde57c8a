"""The sign of the gradient is the worst small change for a linear model of two classes."""

import itertools

import torch
from torch.nn.functional import cross_entropy

from temperance.lab import LEGENSTEIN, Chart, Experiment, Line, Slider, every
from temperance.lab.linear import draws

EPSILON = 0.5


def losses(seed: int, classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss of every row at the attacked input, and at the worst of all 64 corners of the cube around it."""
    weights, x = draws(seed, classes, 6), draws(seed + 1, 40, 6)
    labels = torch.arange(40) % classes
    point = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(cross_entropy(point @ weights.T, labels, reduction="sum"), point)
    attacked = cross_entropy((x + EPSILON * slope.sign()) @ weights.T, labels, reduction="none")
    corners = [
        cross_entropy((x + EPSILON * torch.tensor(c, dtype=x.dtype)) @ weights.T, labels, reduction="none") for c in itertools.product((-1, 1), repeat=6)
    ]
    return attacked, torch.stack(corners).amax(0)


class FgsmLinear(Experiment):
    topic = "Data"
    question = "Is the fast gradient sign attack the worst there is?"
    claim = "For a linear model of two classes it is: x + ε sign(∇J) has the largest loss in the whole cube of half-width ε. With more classes it need not be."
    source = f"{LEGENSTEIN}, adversarial example"
    expect = "A linear model has the same gradient direction everywhere. Does a softmax over five classes have it too?"
    rules = (every("loss that a worse corner adds, two classes", "<", 1e-10), every("loss that a worse corner adds, five classes", ">", 1e-3))
    control = "Five classes in both."
    next = "Networks: several small steps (PGD) find worse points than one large one."
    limits = "The loss is convex in x for every linear model, so the worst point is a corner of the cube; with many inputs they cannot be tried one by one."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        out = {}
        for name, classes in (("two", 5 if control else 2), ("five", 5)):
            attacked, worst = losses(seed, classes)
            out[f"loss that a worse corner adds, {name} classes"] = float((worst - attacked).max())
        return out

    def draw(self) -> Slider:
        sizes = [0.0, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0]
        weights, x = draws(0, 2, 6), draws(1, 300, 6)
        labels = (x @ weights.T).argmax(1)
        signs = (weights[0] - weights[1]).sign()
        charts = []
        for size in sizes:
            moved = x - size * signs * torch.where(labels == 0, 1.0, -1.0)[:, None]
            noise = x + size * draws(2, 300, 6).sign()
            shares = [float(((inputs @ weights.T).argmax(1) == labels).double().mean()) for inputs in (moved, noise)]
            lines = [Line("accuracy", range(2), shares, "bars")]
            note = f"ε = {size:g}: signs of the gradient leave {shares[0]:.0%} right, random signs of the same size {shares[1]:.0%}."
            charts.append(Chart("change of the inputs", "accuracy", lines, names=["gradient's signs", "random signs"], note=note, low=0, high=1))
        return Slider("ε", "epsilon", sizes, charts, start=3)
