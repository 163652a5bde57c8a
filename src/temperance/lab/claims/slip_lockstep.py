"""Which weights of equal hidden units stay equal."""

import torch

from temperance.lab import WHITEHILL_22, Chart, Experiment, Line, every
from temperance.lab.linear import draws


def trained(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """W1 and W2 after 200 steps of plain descent from equal hidden units."""
    w1 = draws(seed, 1, 3).expand(4, 3).clone().requires_grad_()
    w2 = draws(seed + 1, 2, 1).expand(2, 4).clone().requires_grad_()
    x, y = draws(seed + 2, 20, 3), draws(seed + 3, 20, 2)
    for _ in range(200):
        loss = (torch.tanh(x @ w1.T) @ w2.T - y).square().mean()
        slopes = torch.autograd.grad(loss, [w1, w2])
        with torch.no_grad():
            for w, slope in zip((w1, w2), slopes, strict=True):
                w -= 0.1 * slope
    return w1.detach(), w2.detach()


def spread(w: torch.Tensor, dim: int) -> float:
    """How far the rows (0) or columns (1) of a matrix differ."""
    return float((w - w.mean(dim, keepdim=True)).abs().max())


class SlipLockstep(Experiment):
    topic = "Slips"
    question = "Which rows move in lockstep?"
    printed = "All the rows of each weight matrix move in lockstep."
    claim = "The rows of W1 and the columns of W2 do: they belong to a hidden unit. W2's rows belong to outputs with targets of their own, and differ."
    source = f"{WHITEHILL_22}, symmetry breaking"
    expect = "Four equal hidden units, two outputs with different targets. Can both outputs have the same weights after training?"
    rules = (every("spread of W1's rows", "<", 1e-12), every("spread of W2 within what moves together", "<", 1e-12))
    control = "The statement as printed: W2's rows."
    seeds = 3
    next = "Start W2's rows equal too: they still separate, in the first step, for their targets differ."
    limits = "With one output W2 has one row, and there is nothing to differ."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        w1, w2 = trained(seed)
        return {"spread of W1's rows": spread(w1, 0), "spread of W2 within what moves together": spread(w2, 0 if control else 1)}

    def draw(self) -> Chart:
        _, w2 = trained(0)
        lines = [Line(f"output {k + 1}", range(4), row, "bars") for k, row in enumerate(w2)]
        names = [f"hidden {k + 1}" for k in range(4)]
        return Chart("hidden unit", "weight in W2 after training", lines, names=names, note="Columns are equal, rows are not.")
