"""Smoothed targets are flipped labels on average, and bound the gap of the logits."""

import math
from typing import Any

import torch
from scipy.optimize import minimize_scalar
from torch.nn.functional import log_softmax, one_hot

import temperance as tp
from temperance.lab import LEGENSTEIN, Chart, Experiment, Line, Slider, every
from temperance.lab.linear import draws

CLASSES = 10


def flipped(logits: torch.Tensor, labels: torch.Tensor, epsilon: float) -> float:
    """The expected loss when each label turns with probability ε into one of the other classes: all cases, summed up."""
    losses = -log_softmax(logits, 1)
    right = losses.gather(1, labels[:, None])[:, 0]
    others = (losses.sum(1) - right) / (CLASSES - 1)
    return float(((1 - epsilon) * right + epsilon * others).mean())


def smoothed(logits: torch.Tensor, labels: torch.Tensor, epsilon: float, exclude_true: bool) -> float:
    """The loss on the library's soft targets."""
    net: Any = torch.nn.Linear(CLASSES, CLASSES, dtype=torch.float64)
    smoothing = tp.LabelSmoothing(epsilon, exclude_true=exclude_true)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.0)
    reg = tp.Cocktail(smoothing).attach(net, optimizer, torch.nn.CrossEntropyLoss())
    _, targets = reg.batch(logits, labels)
    reg.detach()
    return float(-(targets * log_softmax(logits, 1)).sum(1).mean())


def best_gap(epsilon: float, exclude_true: bool) -> float:
    """The gap between the true class's logit and the others' that has the least loss on the library's targets."""
    label = torch.tensor([0])

    def loss(gap: float) -> float:
        logits = torch.zeros(1, CLASSES, dtype=torch.float64)
        logits[0, 0] = gap
        return smoothed(logits, label, epsilon, exclude_true)

    found: Any = minimize_scalar(loss, bounds=(0, 20), method="bounded", options={"xatol": 1e-9})
    return float(found.x)


class LabelSmoothing(Experiment):
    topic = "Noise and dropout"
    question = "What does label smoothing assume about the labels?"
    claim = (
        "That each is wrong with probability ε: the loss on targets {ε/(k−1), 1−ε} is the "
        "expected loss under such flips. The best gap of logits is ln 81 at k = 10, ε = .1."
    )
    source = f"{LEGENSTEIN}, label smoothing"
    expect = "With hard targets the best logits are infinite. Where does a smoothing of 0.1 stop them: at a gap of 2, of 4, or of 10?"
    rules = (every("gap to the expected loss under flips", "<", 1e-12), every("gap of the best logits to ln 81", "<", 1e-6))
    control = "Targets (1 − ε) onehot + ε/k, which most libraries use, at the same ε: the best gap is then ln 91."
    next = "The two forms are one: ε of the second is ε k/(k − 1) of the first."
    limits = "Flips to all other classes alike. Labels that are confused in pairs, such as 4 and 9, are another noise."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        logits, epsilon = 3 * draws(seed, 50, CLASSES), 0.1
        labels = torch.randint(CLASSES, (50,), generator=torch.Generator().manual_seed(seed))
        gap = abs(flipped(logits, labels, epsilon) - smoothed(logits, labels, epsilon, exclude_true=not control))
        return {"gap to the expected loss under flips": gap, "gap of the best logits to ln 81": abs(best_gap(epsilon, not control) - math.log(81))}

    def draw(self) -> Slider:
        epsilons = [0.0, 0.01, 0.05, 0.1, 0.2, 0.4]
        grid = torch.linspace(0, 12, 121, dtype=torch.float64)
        logits = torch.zeros(121, CLASSES, dtype=torch.float64)
        logits[:, 0] = grid
        truth = one_hot(torch.tensor(0), CLASSES).double()
        charts = []
        for epsilon in epsilons:
            targets = (1 - epsilon) * truth + epsilon * (1 - truth) / (CLASSES - 1)
            losses = -(targets * log_softmax(logits, 1)).sum(1)
            lines = [Line("loss", grid, losses)]
            gap = math.inf
            if epsilon:
                gap = math.log((1 - epsilon) * (CLASSES - 1) / epsilon)
                lines.append(Line("best gap", [gap], [float(losses.min())], "dots"))
            note = f"ε = {epsilon:g}: the best gap is {f'{gap:.3f}' if gap < math.inf else 'infinite'}."
            charts.append(Chart("logit of the true class minus the others", "expected loss, nats", lines, note=note, low=0.0))
        return Slider("ε", "epsilon", epsilons, charts, start=3)
