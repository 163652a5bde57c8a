"""Multiplying by the keep probability, against the mean over all thinned networks."""

import itertools

import torch

from temperance.lab import LEGENSTEIN, SCHONHUTH, WHITEHILL_14, Chart, Experiment, Line, Slider, every
from temperance.lab.linear import draws


class Net:
    """Three inputs, five hidden units, three classes."""

    def __init__(self, seed: int, activation: str) -> None:
        self.first, self.second = draws(seed, 5, 3), draws(seed + 50, 3, 5)
        self.activation = torch.tanh if activation == "tanh" else torch.nn.Identity()

    def logits(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Outputs with the hidden units multiplied by a mask."""
        return (self.activation(x @ self.first.T) * mask) @ self.second.T


def ensemble(net: Net, x: torch.Tensor, keep: float, mean: str) -> torch.Tensor:
    """The mean over all 32 masks: of the outputs, or of the log-probabilities, renormalized."""
    total = torch.zeros(len(x), 3, dtype=x.dtype)
    for bits in itertools.product((0.0, 1.0), repeat=5):
        share = keep ** sum(bits) * (1 - keep) ** (5 - sum(bits))
        out = net.logits(x, torch.tensor(bits, dtype=x.dtype))
        total += share * (out if mean == "arithmetic" else torch.log_softmax(out, 1))
    return total if mean == "arithmetic" else torch.softmax(total, 1)


def gaps(seed: int, keep: float, scale: float) -> dict[str, float]:
    """Largest differences between the scaled network and the ensembles."""
    x, every_unit = 2 * draws(seed + 99, 6, 3), torch.ones(5, dtype=torch.float64)
    linear, net = Net(seed, "identity"), Net(seed, "tanh")
    arithmetic = ensemble(linear, x, keep, "arithmetic") - linear.logits(x, scale * every_unit)
    scaled = torch.softmax(net.logits(x, scale * every_unit), 1)
    geometric = ensemble(net, x, keep, "geometric") - scaled
    probabilities = torch.zeros_like(scaled)
    for bits in itertools.product((0.0, 1.0), repeat=5):
        share = keep ** sum(bits) * (1 - keep) ** (5 - sum(bits))
        probabilities += share * torch.softmax(net.logits(x, torch.tensor(bits, dtype=x.dtype)), 1)
    names = ("linear network, mean of the outputs", "softmax, geometric mean", "softmax, arithmetic mean")
    return {name: float(gap.abs().max()) for name, gap in zip(names, (arithmetic, geometric, probabilities - scaled), strict=True)}


class WeightScaling(Experiment):
    topic = "Noise and dropout"
    question = "Is multiplying the weights by p the mean of all thinned networks?"
    claim = (
        "Yes, exactly, for linear networks, and for a softmax on dropped units if the mean is the renormalized geometric one. "
        "For the ordinary mean of probabilities it comes near, no more."
    )
    source = f"{LEGENSTEIN}, dropout: final network; {WHITEHILL_14}, ensemble of many smaller networks; {SCHONHUTH}, dropout"
    expect = "Five units that may be there or not: 32 networks. Which average of their 32 predictions is the prediction of one network with halved weights?"
    rules = (
        every("linear network, mean of the outputs", "<", 1e-12),
        every("softmax, geometric mean", "<", 1e-12),
        every("softmax, arithmetic mean", ">", 1e-3),
    )
    control = "No scaling at the end."
    next = "Drop units before a hidden layer that is not linear, and neither mean is met exactly."
    limits = "Exact where all that follows the dropped units is affine, up to a softmax. In deeper networks it is an approximation of second order."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        return gaps(seed, 0.5, 1.0 if control else 0.5)

    def draw(self) -> Slider:
        keeps = [0.2, 0.35, 0.5, 0.65, 0.8, 0.95]
        scales = torch.linspace(0.05, 1.0, 39).tolist()
        charts = []
        for keep in keeps:
            found = [gaps(0, keep, scale) for scale in scales]
            lines = [Line(name, scales, [row[name] / (10 if name.startswith("linear") else 1) for row in found]) for name in found[0]]
            lines[0] = Line("linear network, mean of the outputs, tenth", lines[0].x, lines[0].y)
            charts.append(Chart("factor of the weights", "largest gap", lines, note=f"p = {keep:g}: both exact means are met at a factor of {keep:g}."))
        return Slider("keep p", "p", keeps, charts, start=2)
