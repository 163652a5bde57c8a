"""Adam's δ inside or outside the root."""

from functools import cache

import torch

import temperance as tp
from temperance.lab import PATHAK, Chart, Experiment, Line, every
from temperance.lab.linear import descend

GRADIENTS = (1e-2, 1e-4, 1e-5, 1e-6)


@cache
def step(gradient: float, inside: bool, delta: float) -> float:
    """The first step of Adam at a learning rate of 1, for a weight with this gradient."""
    x = torch.ones(1, 1, dtype=torch.float64)
    return float(descend(x, x[:, 0] * gradient, [tp.Cocktail()], 1, tp.optim.Adam(1.0, eps=delta, inside=inside))[0, 0])


class AdamDelta(Experiment):
    topic = "Optimization"
    question = "Does it matter whether Adam's δ stands inside or outside the root?"
    claim = (
        "Yes, for small gradients: √(r̂ + δ) with δ = 10⁻⁸ bounds the divisor by 10⁻⁴, as δ = "
        "10⁻⁴ outside does. A gradient of 10⁻⁶ then makes a hundredth of a step."
    )
    source = f"{PATHAK}, Adam, with RMSProp's δ inside the root"
    expect = "A weight has a gradient of 10⁻⁶ in every step. How long is Adam's step: about the learning rate, or far less?"
    rules = (every("step with δ outside, gradient 10⁻⁶", ">", 0.95), every("step with δ inside, gradient 10⁻⁶", "<", 0.02))
    control = "δ outside in both."
    seeds = 1
    next = "Take δ = 10⁻¹⁶ inside: it acts as 10⁻⁸ outside, and both agree again."
    limits = "Gradients far above 10⁻⁴ do not notice. Well-trained networks have many below."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        return {
            "step with δ outside, gradient 10⁻⁶": step(1e-6, False, 1e-8),
            "step with δ inside, gradient 10⁻⁶": step(1e-6, not control, 1e-8),
        }

    def draw(self) -> Chart:
        gradients = [10.0**k for k in (-8, -7, -6, -5, -4, -3, -2)]
        runs = {"δ = 10⁻⁸ outside": (False, 1e-8), "δ = 10⁻⁸ inside": (True, 1e-8), "δ = 10⁻⁴ outside": (False, 1e-4)}
        lines = [Line(name, gradients, [step(g, *run) for g in gradients]) for name, run in runs.items()]
        return Chart("gradient (log scale)", "first step, in learning rates", lines, log_x=True, low=0, note="A step of 1 is what Adam promises.")
