"""The first equation of back-propagation at a softmax."""

import torch

from temperance.lab import SCHONHUTH, Chart, Experiment, Line, every
from temperance.lab.linear import draws


def gap(seed: int, whole: bool, softmax: bool = True) -> float:
    """How far δ = ∂C/∂a ⊙ ∂a/∂z, with the whole Jacobian or its diagonal, is from ∂C/∂z, for the quadratic loss."""
    z, y = draws(seed, 4).requires_grad_(), draws(seed + 1, 4).softmax(0)

    def outputs(z: torch.Tensor) -> torch.Tensor:
        return torch.softmax(z, 0) if softmax else torch.sigmoid(z)

    (exact,) = torch.autograd.grad(0.5 * (outputs(z) - y).square().sum(), z)
    jacobian = torch.autograd.functional.jacobian(outputs, z.detach())
    assert isinstance(jacobian, torch.Tensor)
    error = (outputs(z) - y).detach()
    delta = jacobian.T @ error if whole else error * jacobian.diagonal()
    return float((delta - exact).abs().max())


class SlipSoftmaxOutput(Experiment):
    topic = "Slips"
    question = "Does δ = ∂C/∂a ⊙ σ'(z) hold for every output layer?"
    printed = "δ = ∂C/∂a ⊙ σ'(z) (10), for any activation."
    claim = "For activations of each unit alone. A softmax output depends on every z: δ is Jᵀ ∂C/∂a with the whole Jacobian J."
    source = f"{SCHONHUTH}, backpropagation: the equations (10)"
    expect = "Raise one z of a softmax. How many outputs change?"
    rules = (every("largest gap to ∂C/∂z", "<", 1e-12),)
    control = "The equation as printed: the diagonal of the Jacobian alone."
    next = "With cross-entropy the sum collapses again: δ = a − y, as for the sigmoid."
    limits = "The printed equation is right for sigmoid, tanh and ReLU."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        return {"largest gap to ∂C/∂z": gap(seed, whole=not control), "gap of the printed equation, sigmoid": gap(seed, False, softmax=False)}

    def draw(self) -> Chart:
        seeds = range(6)
        lines = [
            Line("softmax, as printed", seeds, [gap(s, False) for s in seeds], "bars"),
            Line("softmax, whole Jacobian", seeds, [gap(s, True) for s in seeds], "bars"),
            Line("sigmoid, as printed", seeds, [gap(s, False, softmax=False) for s in seeds], "bars"),
        ]
        return Chart("seed", "gap to ∂C/∂z", lines, names=[str(s) for s in seeds], low=0, note="Only the softmax with the printed equation has a gap.")
