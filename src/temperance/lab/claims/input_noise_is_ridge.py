"""Noise on the inputs of a linear regression is L2."""

import numpy as np
import torch

import temperance as tp
from temperance.lab import WHITEHILL_14, Chart, Experiment, Line, Slider, on_average
from temperance.lab.linear import draws


def rows(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Fifty rows of three inputs."""
    x = draws(seed, 50, 3)
    return x, x @ torch.tensor([2.0, -1.0, 0.5], dtype=torch.float64) + 0.3 * draws(seed + 50, 50)


def noisy(seed: int, sigma: float, kind: str, copies: int = 2000) -> torch.Tensor:
    """Least squares on many copies of the rows, each with noise of its own."""
    x, y = rows(seed)
    generator = np.random.default_rng(seed)
    shape = (copies, *x.shape)
    noise = generator.normal(0, sigma, shape) if kind == "Gaussian" else generator.laplace(0, sigma / 2**0.5, shape)
    many = (x + torch.as_tensor(noise)).reshape(-1, 3)
    return tp.train.least_squares(many, y.repeat(copies), block=3)


class InputNoiseIsRidge(Experiment):
    topic = "Noise and dropout"
    question = "Is noise on the inputs the same as L2?"
    claim = (
        "For linear regression yes: noise of variance σ², independent of the data, Gaussian or "
        "Laplace, adds σ² ‖w‖² to the expected squared error; λ = σ² for half of it."
    )
    source = f"{WHITEHILL_14}, L2 regularization ≅ Gaussian noise augmentation; {WHITEHILL_14}, data augmentation"
    expect = "Laplace noise has heavier tails than Gaussian noise of the same variance. Does it shrink the weights more?"
    rules = (on_average("relative gap to ridge, Gaussian", "<", 0.02), on_average("relative gap to ridge, Laplace", "<", 0.02))
    control = "Ridge with λ = 2σ² on half the squared error: the strength that belongs to the whole one."
    next = "Noise that grows with |x|, as in rounding to digits: it is not independent of x, and the strength then differs from column to column."
    limits = "Linear regression with the squared error. In other networks noise and L2 may have similar effects, no more."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        sigma = 0.7
        x, y = rows(seed)
        ridge = tp.train.least_squares(x, y, l2=sigma**2 * (2 if control else 1), block=3)
        kinds = ("Gaussian", "Laplace")
        return {f"relative gap to ridge, {kind}": float((noisy(seed, sigma, kind) - ridge).norm() / ridge.norm()) for kind in kinds}

    def draw(self) -> Slider:
        sigmas = [0.0, 0.2, 0.4, 0.7, 1.0, 1.5, 2.0]
        x, y = rows(0)
        charts = []
        for sigma in sigmas:
            lines = [Line(f"{kind} noise", range(3), noisy(0, sigma, kind, 400), "bars") for kind in ("Gaussian", "Laplace")]
            lines.append(Line("ridge with λ = σ²", range(3), tp.train.least_squares(x, y, l2=sigma**2, block=3), "dots"))
            note = f"σ = {sigma:g}: 400 noisy copies of 50 rows, and ridge with λ = {sigma**2:.2g}."
            charts.append(Chart("weight", "value", lines, names=["w₁", "w₂", "w₃"], note=note))
        return Slider("σ", "sigma", sigmas, charts, start=3)
