"""Before a batch norm the scale of the weights does not matter."""

import torch

from temperance.lab import PATHAK, Chart, Experiment, Line, Slider, every
from temperance.lab.linear import draws


def outputs(seed: int, alpha: float, norm: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs of a layer whose weights are multiplied by α, and the gradient of a loss with respect to them."""
    layer = torch.nn.Linear(4, 6, bias=False, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(alpha * draws(seed, 6, 4))
    after = torch.nn.BatchNorm1d(6, eps=1e-12, dtype=torch.float64) if norm else torch.nn.Identity()
    x, y = draws(seed + 1, 30, 4), draws(seed + 2, 30, 6)
    out = torch.tanh(after(layer(x)))
    (gradient,) = torch.autograd.grad((out - y).square().mean(), layer.weight)
    return out.detach(), gradient


class BatchNormScale(Experiment):
    topic = "Structure and averaging"
    question = "What does L2 do to weights before a batch norm?"
    claim = (
        "Nothing to the function: outputs are the same for every α w, and the gradient is 1/α as long. What L2 changes there is the effective learning rate."
    )
    source = f"{PATHAK}, batch normalization"
    expect = "All weights of a layer are halved by decay. What does the normalized layer compute now, and how large is its next step?"
    rules = (every("largest change of an output, α = 0.1 to 10", "<", 1e-9), every("gap of the gradient's length to 1/α", "<", 1e-9))
    control = "No batch norm."
    next = "Decay shrinks w, so steps turn it more and more: after a while both balance, at a rate that ε and λ set together."
    limits = "Exact while training and but for the ε of the norm, here 10⁻¹²; the usual 10⁻⁵ matters once the weights are tiny."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        base, slope = outputs(seed, 1.0, not control)
        changes, lengths = [], []
        for alpha in (0.1, 0.5, 2.0, 10.0):
            out, gradient = outputs(seed, alpha, not control)
            changes.append(float((out - base).abs().max()))
            lengths.append(abs(float(gradient.norm() / slope.norm()) * alpha - 1))
        return {"largest change of an output, α = 0.1 to 10": max(changes), "gap of the gradient's length to 1/α": max(lengths)}

    def draw(self) -> Slider:
        alphas = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0]
        charts = []
        for alpha in alphas:
            found = {name: outputs(0, alpha, norm) for name, norm in (("with batch norm", True), ("without", False))}
            lines = [Line(name, range(12), out[:2].flatten(), "bars") for name, (out, _) in found.items()]
            lengths = [float(gradient.norm()) for _, gradient in found.values()]
            note = f"α = {alpha:g}: the gradient's length is {lengths[0]:.3g} with and {lengths[1]:.3g} without the norm."
            charts.append(Chart("unit, of two rows", "output", lines, note=note, low=-1, high=1))
        return Slider("α", "alpha", alphas, charts, start=3)
