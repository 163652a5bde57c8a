"""L2 as a Gaussian prior of the weights, whose variance holds the number of rows."""

from functools import cache
from typing import Any

import torch
from torch.nn.functional import binary_cross_entropy_with_logits

import temperance as tp
from temperance.lab import LEGENSTEIN, Chart, Experiment, Line, Slider, every
from temperance.lab.linear import draws

LAM, ROWS = 0.05, 40


@cache
def rows(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Forty rows of two inputs with labels of 0 and 1."""
    x = draws(seed, ROWS, 2)
    return x, ((x @ torch.tensor([1.5, -0.5], dtype=torch.float64) + draws(seed + 50, ROWS)) > 0).double()


@cache
def trained(seed: int) -> torch.Tensor:
    """Weights of logistic regression with L2 on the mean loss."""
    x, y = rows(seed)
    net: Any = torch.nn.Linear(2, 1, bias=False, dtype=torch.float64)
    torch.nn.init.zeros_(net.weight)
    data = tp.data.Dataset(x, y[:, None], "multilabel")
    optimizer = tp.optim.SGD(0.8, 0.8)
    done = tp.fit(net, tp.Cocktail(tp.L2(LAM)), data, validation=None, optimizer=optimizer, steps=200, batch_size=ROWS, check_every=200)
    return done.model.state_dict()["weight"][0]


def posterior(x: torch.Tensor, y: torch.Tensor, w: torch.Tensor, variance: float) -> torch.Tensor:
    """Minus the log of the posterior, but for a constant: all rows and a Gaussian prior."""
    return binary_cross_entropy_with_logits(x @ w, y, reduction="sum") + (w @ w) / (2 * variance)


class MapPriors(Experiment):
    topic = "Norms"
    question = "Which prior does a strength of L2 stand for?"
    claim = "With the mean loss over n rows, L2 of strength λ finds the mode of the posterior under a Gaussian prior of variance 1/(nλ) for every weight."
    source = f"{LEGENSTEIN}, L2 regularization (weight decay): MAP inference"
    expect = "You collect twice as many rows and keep λ. Do you still believe the same of the weights before seeing data?"
    rules = (every("slope of the posterior at the trained weights", "<", 1e-5),)
    control = "A prior of variance 1/λ, without the number of rows."
    next = "L1 in the place of L2: a Laplace prior of scale 1/(nλ). `tp.Cocktail(...).describe(model)` prints the prior of every weight."
    limits = "The loss must be a log-likelihood. Squared error is one only for noise of known variance s², and the prior is then 2s²/(nλ)."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        w = trained(seed).clone().requires_grad_()
        variance = 1 / LAM if control else 1 / (ROWS * LAM)
        (slope,) = torch.autograd.grad(posterior(*rows(seed), w, variance), w)
        return {"slope of the posterior at the trained weights": float(slope.norm()), "standard deviation of the prior": variance**0.5}

    def draw(self) -> Slider:
        lams = [0.001, 0.003, 0.01, 0.03, 0.05, 0.1, 0.3, 1.0]
        grid = torch.linspace(-4, 4, 161, dtype=torch.float64)
        charts = []
        for lam in lams:
            lines = []
            for n in (10, 40, 160):
                deviation = (1 / (n * lam)) ** 0.5
                density = torch.exp(-(grid**2) / (2 * deviation**2)) / (deviation * (2 * torch.pi) ** 0.5)
                lines.append(Line(f"n = {n}", grid, density))
            note = f"λ = {lam:g}: the prior of a weight has a standard deviation of {(40 * lam) ** -0.5:.2f} with 40 rows, half of that with 160."
            charts.append(Chart("weight", "density of the prior", lines, note=note, low=0.0))
        return Slider("λ", "lam", lams, charts, start=4)
