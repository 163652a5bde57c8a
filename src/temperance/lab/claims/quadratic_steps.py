"""The change of the loss that one gradient step makes, on f = 30 x²."""

import torch

import temperance as tp
from temperance.lab import PATHAK, Chart, Experiment, Line, Slider, every

PRINTED = {(3, 0.033): -10.692, (3, 0.034): 22.032, (3, 0.035): 56.7, (4, 0.033): -19.008, (4, 0.034): 39.168, (4, 0.035): 100.8}
PRINTED |= {(50, 0.033): -2970.0, (50, 0.034): 6120.0, (50, 0.035): 15750.0}


class Bowl(torch.nn.Module):
    """f(x) = 30 x² as a network of one weight."""

    def __init__(self, start: float) -> None:
        super().__init__()
        self.x = torch.nn.Parameter(torch.tensor([[start]], dtype=torch.float64))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return rows @ self.x


def changes(start: float, lr: float) -> tuple[float, float]:
    """Predicted and measured change of the loss by one step; 30 x² is the mean squared error of √30 x against 0."""
    rows, target = torch.full((2, 1), 30.0, dtype=torch.float64).sqrt(), torch.zeros(2, 1, dtype=torch.float64)
    finding = tp.diagnose(Bowl(start), tp.data.Dataset(rows, target, "regression"), lr=lr, checks="step").findings[0]
    return finding.value["predicted"], finding.value["measured"]


class QuadraticSteps(Experiment):
    topic = "Optimization"
    question = "When does a gradient step raise the loss?"
    claim = "A step −εg changes a quadratic loss by ½ε²gᵀHg − εgᵀg. On f = 30x² it falls for ε = .033 and rises for .034 and .035, from any start but 0."
    source = f"{PATHAK}, ill-conditioning"
    expect = "f = 30x² has H = 60. At which learning rate does a step first overshoot so far that the loss rises?"
    rules = (every("largest gap to f(x − εg) − f(x)", "<", 1e-8), every("largest gap to the nine values of the lecture", "<", 1e-8))
    control = "The first factor ½ left out: ε²gᵀHg − εgᵀg."
    seeds = 1
    next = "Move ε from .033 to .034: the factor |1 − 60ε| of a step crosses 1. In more dimensions the steepest one decides, and the others wait."
    limits = "Exact for quadratics only. One dimension has a condition number of 1: this is a step beyond 2/H, not ill-conditioning."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        gaps, printed = [], []
        for (start, lr), value in PRINTED.items():
            predicted, measured = changes(start, lr)
            g = 60.0 * start
            predicted += 0.5 * lr**2 * 60.0 * g * g if control else 0.0
            gaps.append(abs(predicted - measured))
            printed.append(abs(predicted - value))
        return {"largest gap to f(x − εg) − f(x)": max(gaps), "largest gap to the nine values of the lecture": max(printed)}

    def draw(self) -> Slider:
        rates = [0.005, 0.01, 1 / 60, 0.025, 0.03, 0.033, 0.034, 0.035]
        charts = []
        for lr in rates:
            path = [3.0 * (1 - 60 * lr) ** k for k in range(9)]
            grid = torch.linspace(-4.2, 4.2, 85)
            lines = [Line("f = 30x²", grid, 30 * grid**2), Line("eight steps from 3", path, [30 * x * x for x in path], "dots")]
            change = 0.5 * lr**2 * 60 * 180**2 - lr * 180**2
            charts.append(
                Chart("x", "loss", lines, note=f"ε = {lr:.3g}: the first step changes the loss by {change:+.3f}; x is multiplied by {1 - 60 * lr:+.2f}.")
            )
        return Slider("ε", "lr", rates, charts, start=5)
