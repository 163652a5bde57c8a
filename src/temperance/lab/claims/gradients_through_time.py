"""Gradients through time vanish or explode with the size of the recurrent weights."""

import torch

import temperance as tp
from temperance.lab import PATHAK, Chart, Experiment, Line, Slider, every
from temperance.lab.linear import basis, draws

STEPS = 40


def norms(seed: int, size: float, steps: int = STEPS) -> list[float]:
    """Norm of the gradient that reaches each earlier step of h ← W h, W orthogonal times ``size``."""
    w, back = size * basis(seed, 5), draws(seed + 9, 5)
    back = back / back.norm()
    out = [1.0]
    for _ in range(steps):
        back = w.T @ back
        out.append(float(back.norm()))
    return out


def clipped(norm: float) -> float:
    """What GradClip leaves of a gradient of this norm."""
    layer = torch.nn.Linear(1, 1, bias=False, dtype=torch.float64)
    torch.nn.init.zeros_(layer.weight)
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    reg = tp.Cocktail(tp.GradClip(1.0)).attach(layer, optimizer, torch.nn.MSELoss())
    reg.loss(torch.ones(1, 1, dtype=torch.float64), torch.full((1, 1), norm / 2, dtype=torch.float64)).backward()
    optimizer.step()
    reg.detach()
    return float(layer.weight.detach().abs())


class GradientsThroughTime(Experiment):
    topic = "Optimization"
    question = "Why do gradients through time vanish or explode?"
    claim = "Each step back multiplies the gradient by Wᵀ: with W = ρ times an orthogonal matrix its norm is ρᵗ after t steps. Clipping bounds what explodes."
    source = f"{PATHAK}, vanishing and exploding gradients; cliffs"
    expect = "ρ = 1.1 looks harmless. How large is the gradient after 40 steps? And for ρ = 0.9?"
    rules = (every("largest relative gap to ρᵗ", "<", 1e-10), every("norm after 40 steps at ρ = 1.2, clipped at 1", "<", 1.000001))
    control = "No clipping."
    seeds = 3
    next = "Clipping saves a step from a cliff. It cannot bring back what vanished: that takes gates, skips or orthogonal starts."
    limits = "Linear recurrences. Saturated units multiply by σ' < 1 as well, so that real networks vanish more often than they explode."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        gaps = [abs(norm / rho**t - 1) for rho in (0.9, 1.0, 1.2) for t, norm in enumerate(norms(seed, rho))]
        last = norms(seed, 1.2)[-1]
        return {"largest relative gap to ρᵗ": max(gaps), "norm after 40 steps at ρ = 1.2, clipped at 1": last if control else clipped(last)}

    def draw(self) -> Slider:
        sizes = [0.7, 0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.2, 1.3]
        charts = []
        for size in sizes:
            found = norms(0, size)
            note = f"ρ = {size:g}: after {STEPS} steps the gradient is {found[-1]:.3g} times as long."
            charts.append(Chart("steps back in time", "norm of the gradient (log scale)", [Line("norm", range(STEPS + 1), found)], log_y=True, note=note))
        return Slider("ρ", "rho", sizes, charts, start=6)
