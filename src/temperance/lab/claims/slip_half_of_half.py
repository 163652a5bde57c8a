"""Twice a half: α/2 times a penalty that has its ½ already."""

import torch

import temperance as tp
from temperance.lab import PATHAK, Chart, Experiment, Line, every
from temperance.lab.linear import basis, descend, draws, rows_of

D = torch.tensor([2.0, 1.0, 0.5], dtype=torch.float64)


def minimum(seed: int, factor: float, alpha: float) -> torch.Tensor:
    """What minimizes the quadratic plus ``factor`` · α/2 ‖w‖², in closed form."""
    turn, best = basis(seed, 3), draws(seed + 9, 3)
    hessian = turn @ torch.diag(D) @ turn.T
    return torch.linalg.solve(hessian + factor * alpha * torch.eye(3, dtype=D.dtype), hessian @ best)


class SlipHalfOfHalf(Experiment):
    topic = "Slips"
    question = "Is the penalty α/2 ‖w‖² or α/4 ‖w‖²?"
    printed = "The loss is J + α/2 Ω with Ω = ½ ‖w‖², and its gradient is ∇J + αw."
    claim = "With a gradient of ∇J + αw the penalty is α/2 ‖w‖²: one half, not two. And it is the squared norm; the norm itself has the gradient αw/‖w‖."
    source = f"{PATHAK}, L2 parameter regularization"
    expect = "Differentiate α/2 · ½ ‖w‖². Is it αw?"
    rules = (every("gap of the trained weights to the minimum", "<", 1e-8),)
    control = "The minimum of the loss as printed, with both halves."
    seeds = 3
    next = "A strength that was found with one convention is half or twice that of the other: look at the gradient, not at the name."
    limits = "Only a convention, but one that a comparison of two programs depends on."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        turn, best = basis(seed, 3), draws(seed + 9, 3)
        x = rows_of(D, turn)
        w = descend(x, x @ best, [tp.Cocktail(tp.L2(0.7))], 80, tp.optim.SGD(0.5))[0]
        return {"gap of the trained weights to the minimum": float((w - minimum(seed, 0.5 if control else 1.0, 0.7)).abs().max())}

    def draw(self) -> Chart:
        alphas = torch.linspace(0, 3, 31).tolist()
        lines = [Line(name, alphas, [float(minimum(0, factor, a).norm()) for a in alphas]) for name, factor in (("α/2 ‖w‖²", 1.0), ("α/4 ‖w‖²", 0.5))]
        return Chart("α", "‖w‖ at the minimum", lines, low=0, note="The loss as printed shrinks the weights half as much as its gradient does.")
