"""The four equations of back-propagation, against automatic differentiation."""

from itertools import pairwise

import torch

from temperance.lab import SCHONHUTH, Chart, Experiment, Line, every
from temperance.lab.linear import draws

WIDTHS = (4, 6, 5, 3)


def by_hand(seed: int, slopes: bool) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Gradients of every weight and bias by BP1 to BP4, and by autograd, for sigmoid layers and the quadratic loss."""
    weights = [draws(seed + i, b, a).requires_grad_() for i, (a, b) in enumerate(pairwise(WIDTHS))]
    biases = [draws(seed + 20 + i, b).requires_grad_() for i, b in enumerate(WIDTHS[1:])]
    x, y = draws(seed + 40, WIDTHS[0]), draws(seed + 41, WIDTHS[-1]).sigmoid()
    activations, a = [x], x
    for w, b in zip(weights, biases, strict=True):
        a = torch.sigmoid(w @ a + b)
        activations.append(a)
    cost = 0.5 * (a - y).square().sum()
    auto = list(torch.autograd.grad(cost, [*weights, *biases]))
    with torch.no_grad():
        slope = [(h * (1 - h) if slopes else torch.ones_like(h)) for h in activations]
        delta = (activations[-1] - y) * slope[-1]  # BP1
        own_w, own_b = [], []
        for layer in reversed(range(len(weights))):
            own_b.insert(0, delta)  # BP3
            own_w.insert(0, torch.outer(delta, activations[layer]))  # BP4
            delta = (weights[layer].T @ delta) * slope[layer]  # BP2
    return [*own_w, *own_b], auto


class BackPropagation(Experiment):
    topic = "Optimization"
    question = "Do the four equations of back-propagation give the gradient?"
    claim = "Yes: δ = ∂C/∂a ⊙ σ'(z) at the output, δ = Wᵀδ ⊙ σ'(z) below, ∂C/∂b = δ and ∂C/∂W = δ aᵀ are what automatic differentiation finds."
    source = f"{SCHONHUTH}, backpropagation: the equations"
    expect = "Where would the equations go wrong if a layer's slope σ' were forgotten: in that layer only, or in all below it too?"
    rules = (every("largest gap to autograd", "<", 1e-12),)
    control = "σ'(z) left out."
    next = "Put a softmax in the last layer: its outputs depend on each other, and the first equation needs a whole Jacobian."
    limits = "Activations that act on each unit alone, and losses of one row; minibatches take the mean."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        own, auto = by_hand(seed, slopes=not control)
        return {"largest gap to autograd": max(float((a - b).abs().max()) for a, b in zip(own, auto, strict=True))}

    def draw(self) -> Chart:
        own, auto = by_hand(0, True)
        flat = [torch.cat([g.flatten() for g in side]) for side in (auto, own)]
        lines = [Line("parameters", flat[0], flat[1], "dots")]
        return Chart("gradient by autograd", "gradient by BP1 to BP4", lines, note=f"Each of {len(flat[0])} weights and biases is a dot.")
