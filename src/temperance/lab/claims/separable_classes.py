"""Classes that a line separates: without a penalty the weights grow for ever."""

from functools import cache
from typing import Any

import torch

import temperance as tp
from temperance.lab import PATHAK, Chart, Experiment, Line, every
from temperance.lab.linear import draws

STEPS = (50, 100, 200, 400)


@cache
def norms(seed: int, lams: tuple[float, ...]) -> torch.Tensor:
    """Norm of the weights (strengths, steps) of a logistic regression on separable rows."""
    x = draws(seed, 30, 2)
    y = (x.sum(1) > 0).double()
    x = x + 0.5 * (2 * y - 1)[:, None]
    data = tp.data.Dataset(x, y[:, None], "multilabel")
    net: Any = torch.nn.Linear(2, 1, bias=False, dtype=torch.float64)
    torch.nn.init.zeros_(net.weight)
    members = [tp.Member(tp.Cocktail(tp.L2(lam)), tp.optim.SGD(1.0), length=steps / STEPS[-1]) for lam in lams for steps in STEPS]
    done = tp.fit(net, members, data, validation=None, early_stopping=None, steps=STEPS[-1], batch_size=30, check_every=STEPS[-1])
    lengths = [outcome.final["weight"].norm() for outcome in done.outcomes if outcome.final is not None]
    return torch.stack(lengths).reshape(len(lams), len(STEPS))


class SeparableClasses(Experiment):
    topic = "Norms"
    question = "Why does logistic regression need a penalty where a line separates the classes?"
    claim = "If w separates the classes, 2w has a smaller loss: without a penalty ‖w‖ grows with every step, with L2 it settles."
    source = f"{PATHAK}, regularization and under-constrained problems"
    expect = "All rows are classified correctly after 50 steps. What do the next 350 change?"
    rules = (every("growth of ‖w‖ from 200 to 400 steps, λ = 0", ">", 0.1), every("growth of ‖w‖ from 200 to 400 steps, λ = 0.1", "<", 1e-6))
    control = "λ = 0 in both."
    seeds = 3
    next = "Draw the norm against the logarithm of the steps: without a penalty it is nearly a straight line."
    limits = "Classes that overlap have a finite solution without any penalty. The direction of w settles in both cases; only its length does not."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        found = norms(seed, (0.0, 0.1))
        growth = (found[:, 3] - found[:, 2]).tolist()
        held = growth[0] if control else growth[1]
        return {"growth of ‖w‖ from 200 to 400 steps, λ = 0": growth[0], "growth of ‖w‖ from 200 to 400 steps, λ = 0.1": held}

    def draw(self) -> Chart:
        lams = (0.0, 0.001, 0.01, 0.1)
        lines = [Line(f"λ = {lam:g}", STEPS, row) for lam, row in zip(lams, norms(0, lams), strict=True)]
        return Chart("step (log scale)", "‖w‖", lines, log_x=True, note="Thirty rows in two separable classes, plain descent from zero.")
