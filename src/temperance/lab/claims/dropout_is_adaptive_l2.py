"""Dropout on the inputs of a linear regression is an L2 penalty with a strength for every column."""

import itertools

import torch

from temperance.lab import WHITEHILL_14, Chart, Experiment, Line, Slider, every
from temperance.lab.linear import draws


def problem(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Rows of five columns of different sizes, targets, and weights."""
    x = draws(seed, 20, 5) * torch.tensor([3.0, 2.0, 1.0, 0.5, 0.2], dtype=torch.float64)
    return x, draws(seed + 50, 20), draws(seed + 99, 5)


def expected_loss(seed: int, rate: float) -> float:
    """The summed squared error under inverted dropout, over all masks: columns of a row are dropped independently, so one row's masks suffice."""
    x, y, w = problem(seed)
    total = 0.0
    for bits in itertools.product((0.0, 1.0), repeat=5):
        share = (1 - rate) ** sum(bits) * rate ** (5 - sum(bits))
        mask = torch.tensor(bits, dtype=torch.float64) / (1 - rate)
        total += share * float(((x * mask) @ w - y).square().sum())
    return total


def formula(seed: int, factor: float) -> float:
    """‖y − Xw‖² + factor Σⱼ wⱼ² Σᵢ xᵢⱼ²."""
    x, y, w = problem(seed)
    return float((x @ w - y).square().sum() + factor * (w.square() * x.square().sum(0)).sum())


class DropoutIsAdaptiveL2(Experiment):
    topic = "Noise and dropout"
    question = "Which penalty is dropout on the inputs of a linear model?"
    claim = "The expected squared error is ‖y − Xw‖² + rate/(1 − rate) Σⱼ wⱼ² Σᵢ xᵢⱼ²: L2, stronger on columns with large values."
    source = f"{WHITEHILL_14}, dropout, with the equivalence of noise and L2"
    expect = "Two columns say the same, one in meters, one in millimeters. Plain L2 treats their weights differently. Does dropout?"
    rules = (every("relative gap to the formula", "<", 1e-12),)
    control = "rate in the place of rate/(1 − rate)."
    next = "At a rate of ½ the factor is 1: each column then pays its own sum of squares, whatever its unit."
    limits = "Linear regression. In a network the penalty depends on the other layers as well, and is only of this kind to second order."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        gaps = []
        for rate in (0.1, 0.5, 0.8):
            exact = expected_loss(seed, rate)
            gaps.append(abs(formula(seed, rate if control else rate / (1 - rate)) - exact) / exact)
        return {"relative gap to the formula": max(gaps)}

    def draw(self) -> Slider:
        rates = [0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8]
        x, y, _ = problem(0)
        x = torch.linalg.qr(x)[0] * x.norm(dim=0)  # at right angles, so that every column is shrunk by itself
        charts = []
        for rate in rates:
            factor = rate / (1 - rate)
            own = x.T @ x + factor * torch.diag(x.square().sum(0))
            lam = factor * float(x.square().sum(0).mean())
            ridge = x.T @ x + lam * torch.eye(5, dtype=x.dtype)
            plain = torch.linalg.lstsq(x, y[:, None]).solution[:, 0]
            lines = [
                Line("dropout", range(5), torch.linalg.solve(own, x.T @ y) / plain, "bars"),
                Line("plain L2 of the same mean strength", range(5), torch.linalg.solve(ridge, x.T @ y) / plain, "bars"),
            ]
            names = ["size 3", "2", "1", "0.5", "0.2"]
            note = f"rate = {rate:g}: dropout leaves {1 - rate:.0%} of every weight; plain L2 takes most where the values are small. Columns at right angles."
            charts.append(Chart("column, by the size of its values", "weight as a share of that without penalty", lines, names=names, note=note))
        return Slider("rate", "rate", rates, charts, start=4)
