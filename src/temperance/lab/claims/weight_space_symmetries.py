"""Networks with other weights that compute the same function."""

import itertools
import math

import torch

from temperance.lab import PATHAK, Chart, Experiment, Line, Slider, every
from temperance.lab.linear import draws


class Net:
    """Three inputs, four hidden units, two outputs."""

    def __init__(self, seed: int, activation: str = "relu") -> None:
        self.w1, self.b1, self.w2 = draws(seed, 4, 3), draws(seed + 1, 4), draws(seed + 2, 2, 4)
        self.activation = torch.relu if activation == "relu" else torch.tanh

    def out(self, x: torch.Tensor, order: tuple[int, ...] = (0, 1, 2, 3), alpha: float = 1.0) -> torch.Tensor:
        """Outputs with the hidden units in another order, their incoming weights times α and their outgoing ones over α."""
        picked = list(order)
        return self.activation(x @ (alpha * self.w1[picked]).T + alpha * self.b1[picked]) @ (self.w2[:, picked] / alpha).T


class WeightSpaceSymmetries(Experiment):
    topic = "Optimization"
    question = "How many minima does a network have at least?"
    claim = "Each comes n!ᵐ times, once for every order of n hidden units in m layers; and with ReLU, (αw, w/α) is the same function for every α > 0."
    source = f"{PATHAK}, local minima: weight space symmetry"
    expect = "Exchange two hidden units with all their weights. What changes for the loss? And if one unit's input weights double and its output weights halve?"
    rules = (every("largest change over all 24 orders", "<", 1e-12), every("largest change over α = 0.1 to 10", "<", 1e-12))
    control = "tanh in the place of ReLU, which is not homogeneous."
    next = "L2 is not the same for all α: it chooses the α at which both layers have the same norm."
    limits = "Scaling needs positively homogeneous units, such as ReLU, leaky ReLU or none. The orders need nothing."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        net, x = Net(seed, "tanh" if control else "relu"), draws(seed + 9, 20, 3)
        base = net.out(x)
        orders = max(float((net.out(x, order) - base).abs().max()) for order in itertools.permutations(range(4)))
        scaled = max(float((net.out(x, alpha=alpha) - base).abs().max()) for alpha in (0.1, 0.5, 2.0, 10.0))
        return {"largest change over all 24 orders": orders, "largest change over α = 0.1 to 10": scaled, "minima alike, 4 units, 1 layer": math.factorial(4)}

    def draw(self) -> Slider:
        alphas = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0]
        grid = torch.linspace(-2, 2, 81, dtype=torch.float64)
        x = torch.stack([grid, torch.zeros_like(grid), torch.zeros_like(grid)], 1)
        charts = []
        for alpha in alphas:
            lines = [Line(name, grid, Net(0, kind).out(x, alpha=alpha)[:, 0]) for name, kind in (("ReLU", "relu"), ("tanh", "tanh"))]
            norm = float((alpha * Net(0).w1).square().sum() + (Net(0).w2 / alpha).square().sum())
            charts.append(Chart("input", "output", lines, note=f"α = {alpha:g}: the ReLU network does not change; ‖w‖² = {norm:.1f} does."))
        return Slider("α", "alpha", alphas, charts, start=3)
