"""A saturated output that is wrong: the quadratic loss has no gradient left, cross-entropy has all."""

import torch

from temperance.lab import SCHONHUTH, Chart, Experiment, Line, every


def delta(z: float, y: float, loss: str) -> float:
    """∂C/∂z of a sigmoid output, by autograd."""
    point = torch.tensor(z, dtype=torch.float64, requires_grad=True)
    out = torch.sigmoid(point)
    cost = 0.5 * (out - y) ** 2 if loss == "quadratic" else torch.nn.functional.binary_cross_entropy_with_logits(point, torch.tensor(y, dtype=torch.float64))
    (slope,) = torch.autograd.grad(cost, point)
    return float(slope)


class SaturatedOutput(Experiment):
    topic = "Optimization"
    question = "Why is cross-entropy the loss of sigmoid outputs?"
    claim = (
        "At z = −10 with y = 1 the output is as wrong as can be. δ is −4.5·10⁻⁵ under the "
        "quadratic loss and −1.0 under cross-entropy, which is a − y everywhere."
    )
    source = f"{SCHONHUTH}, backpropagation, and L2-regularized cross entropy"
    expect = "How large should the gradient be where the output is most wrong? How large is (a − y) σ'(z) there?"
    rules = (every("gap of the quadratic δ to −4.5·10⁻⁵", "<", 1e-6), every("gap of the cross-entropy δ to a − y", "<", 1e-12))
    control = "The quadratic loss in the place of cross-entropy."
    seeds = 1
    next = "Start the output's bias at −10 and train: one loss waits, the other moves in the first step."
    limits = "Hidden units saturate under any loss: cross-entropy only takes σ' out of the last layer."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        entropy = delta(-10.0, 1.0, "quadratic" if control else "cross-entropy")
        error = float(torch.sigmoid(torch.tensor(-10.0, dtype=torch.float64))) - 1
        return {
            "gap of the quadratic δ to −4.5·10⁻⁵": abs(delta(-10.0, 1.0, "quadratic") + 4.5e-5),
            "gap of the cross-entropy δ to a − y": abs(entropy - error),
        }

    def draw(self) -> Chart:
        grid = torch.linspace(-12, 6, 91).tolist()
        lines = [Line(f"{loss} loss", grid, [abs(delta(z, 1.0, loss)) for z in grid]) for loss in ("quadratic", "cross-entropy")]
        return Chart("z", "|δ|, y = 1", lines, note="The farther to the left, the more wrong the output is.")
