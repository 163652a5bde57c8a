"""The factor of the quadratic term of a Taylor expansion."""

import torch

from temperance.lab import SCHONHUTH, Chart, Experiment, Line, every
from temperance.lab.linear import draws


def gap(seed: int, factor: float, size: float) -> float:
    """How far C(w* + d) is from C(w*) + factor · dᵀHd, as a share of dᵀHd, for a smooth C with its minimum at w*."""
    x, d = draws(seed, 30, 3), draws(seed + 1, 3)
    d = size * d / d.norm()

    def cost(w: torch.Tensor) -> torch.Tensor:
        return torch.cosh(x @ w).mean()  # least at w* = 0

    zero = torch.zeros(3, dtype=torch.float64)
    hessian = torch.autograd.functional.hessian(cost, zero)
    assert isinstance(hessian, torch.Tensor)
    bend = d @ hessian @ d
    return float((cost(d) - cost(zero) - factor * bend).abs() / bend)


class SlipTaylorHalf(Experiment):
    topic = "Slips"
    question = "What is the loss near its minimum?"
    printed = "C(w) ≈ C(w*) + (w − w*)ᵀH(w − w*)."
    claim = "C(w) ≈ C(w*) + ½ (w − w*)ᵀH(w − w*). With the ½ the minimum under L2 shrinks by D/(D+λ), as the lecture then finds; without, by 2D/(2D+λ)."
    source = f"{SCHONHUTH}, L2 regularization: explanations (22)"
    expect = "Expand x² around 0: H is 2. What factor belongs before x·2·x?"
    rules = (every("gap to the quadratic, as a share, at a distance of 0.01", "<", 1e-3),)
    control = "The expansion as printed."
    seeds = 3
    next = "Halve the distance: the gap falls by a factor of four, for the third derivative is zero here."
    limits = "Near the minimum. Far away the loss is what it is."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        return {"gap to the quadratic, as a share, at a distance of 0.01": gap(seed, 1.0 if control else 0.5, 0.01)}

    def draw(self) -> Chart:
        sizes = [0.01, 0.03, 0.1, 0.3, 1.0]
        lines = [Line(name, sizes, [gap(0, factor, s) for s in sizes]) for name, factor in (("with ½", 0.5), ("as printed", 1.0))]
        return Chart(
            "distance to w* (log scale)", "gap as a share of dᵀHd (log scale)", lines, log_x=True, log_y=True, note="Only with the ½ does the gap vanish."
        )
