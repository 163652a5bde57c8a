"""The sign of the update."""

import torch

from temperance.lab import SCHONHUTH, Chart, Experiment, Line, every
from temperance.lab.linear import draws


def path(seed: int, sign: float, steps: int = 30) -> list[float]:
    """The loss of a linear regression along w ← w + sign · η∇C."""
    x = draws(seed, 40, 3)
    y = x.sum(1) + 0.1 * draws(seed + 1, 40)
    w, out = torch.zeros(3, dtype=torch.float64), []
    for _ in range(steps + 1):
        out.append(float((x @ w - y).square().mean()))
        w = w + sign * 0.05 * 2 * x.T @ (x @ w - y) / len(x)
    return out


class SlipAscent(Experiment):
    topic = "Slips"
    question = "In which direction does the gradient point?"
    printed = "The steepest decline is given by the gradient ∇C, and the update is w ← w + η∇C."
    claim = "The gradient points where C rises fastest. The steepest decline is −∇C, and the update is w ← w − η∇C."
    source = f"{SCHONHUTH}, gradient descent"
    expect = "Follow w + η∇C for thirty steps. What does the loss do?"
    rules = (every("loss after 30 steps to loss at the start", "<", 0.5),)
    control = "The update as printed."
    seeds = 3
    next = "Minus log-likelihoods are descended, likelihoods are climbed: the sign belongs to what C is."
    limits = "Steepest in the Euclidean norm. In another norm, such as that of signs, another direction is."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        losses = path(seed, 1.0 if control else -1.0)
        return {"loss after 30 steps to loss at the start": losses[-1] / losses[0]}

    def draw(self) -> Chart:
        lines = [Line(name, range(16), path(0, sign, 15)) for name, sign in (("w − η∇C", -1.0), ("w + η∇C, as printed", 1.0))]
        return Chart("step", "loss (log scale)", lines, log_y=True, note="Linear regression on 40 rows from zero.")
