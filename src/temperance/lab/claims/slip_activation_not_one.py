"""When the update of an output weight is large."""

import torch

from temperance.lab import SCHONHUTH, Chart, Experiment, Line, every


def slope(a: float, y: float, h: float = 1.0) -> float:
    """|∂C/∂w| of a sigmoid output a under cross-entropy, for an input h from the layer below, by autograd."""
    z = torch.tensor(a, dtype=torch.float64).logit()
    w = (z / h).requires_grad_()
    loss = torch.nn.functional.binary_cross_entropy_with_logits(w * h, torch.tensor(y, dtype=torch.float64))
    (found,) = torch.autograd.grad(loss, w)
    return float(found.abs())


class SlipActivationNotOne(Experiment):
    topic = "Slips"
    question = "When does cross-entropy make a large update?"
    printed = "Updates are large when the output a is not one."
    claim = "When a is far from its target: ∂C/∂w = h (a − y). An output of 0 with the target 0 is not one, and has no update."
    source = f"{SCHONHUTH}, L2-regularized cross entropy, beside (13)"
    expect = "a = 0.01 and y = 0. Is the update large or small?"
    rules = (every("update at a = 0.01 to that at a = 0.99, y = 0", "<", 0.02),)
    control = "The statement as printed, which is true for y = 1 alone: the same ratio with y = 1."
    seeds = 1
    next = "Draw |a − y| for both targets: two straight lines that cross at ½."
    limits = "Sigmoid and softmax outputs with cross-entropy."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        y = 1.0 if control else 0.0
        return {"update at a = 0.01 to that at a = 0.99, y = 0": slope(0.01, y) / slope(0.99, y)}

    def draw(self) -> Chart:
        grid = torch.linspace(0.01, 0.99, 50).tolist()
        lines = [Line(f"y = {y:g}", grid, [slope(a, y) for a in grid]) for y in (0.0, 1.0)]
        return Chart("output a", "|∂C/∂w| for h = 1", lines, low=0, note="Not one is far from the target only where the target is one.")
