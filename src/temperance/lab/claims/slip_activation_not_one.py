"""When the update of an output weight is large."""

import torch

from temperance.lab import SCHONHUTH, Chart, Experiment, Line, every


def slope(a: float, y: float, h: float = 1.0) -> float:
    """|∂C/∂w| of a sigmoid output a under the quadratic loss, for an input h from the layer below, by autograd."""
    z = torch.tensor(a, dtype=torch.float64).logit()
    w = (z / h).requires_grad_()
    loss = 0.5 * (torch.sigmoid(w * h) - y).square()
    (found,) = torch.autograd.grad(loss, w)
    return float(found.abs())


class SlipActivationNotOne(Experiment):
    topic = "Slips"
    question = "When is the update of an output weight large?"
    printed = "Updates are large when the output a is not one."
    claim = "When a is far from its target and not saturated: ∂C/∂w = h (a − y) σ'(z). An output near 0 with the target 0 has next to none."
    source = f"{SCHONHUTH}, backpropagation: the equations (13)"
    expect = "a = 0.01 and y = 0. Is the update large or small?"
    rules = (every("update at a = 0.01 to that at a = 0.99, y = 0", "<", 0.02),)
    control = "The statement as printed, which is true for y = 1 alone: the same ratio with y = 1."
    seeds = 1
    next = "Cross-entropy in its place: |a − y| without σ', two straight lines that cross at ½."
    limits = "Sigmoid outputs with the quadratic loss; the factor σ' belongs to it."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        y = 1.0 if control else 0.0
        return {"update at a = 0.01 to that at a = 0.99, y = 0": slope(0.01, y) / slope(0.99, y)}

    def draw(self) -> Chart:
        grid = torch.linspace(0.01, 0.99, 50).tolist()
        lines = [Line(f"y = {y:g}", grid, [slope(a, y) for a in grid]) for y in (0.0, 1.0)]
        return Chart("output a", "|∂C/∂w| for h = 1", lines, low=0, note="Not one is far from the target only where the target is one.")
