"""Stopping after τ steps on a quadratic is L2 with a strength for every direction."""

from functools import cache

import torch

import temperance as tp
from temperance.lab import LEGENSTEIN, PATHAK, Chart, Experiment, Line, Slider, every
from temperance.lab.linear import basis, descend, draws, rows_of

D = torch.tensor([4.0, 2.0, 1.0, 0.25], dtype=torch.float64)
RATE = 0.2


@cache
def stopped(seed: int, counts: tuple[int, ...]) -> torch.Tensor:
    """Weights (counts, directions) after so many steps each, as shares of the minimum in each eigen-direction."""
    turn, best = basis(seed, 4), draws(seed + 100, 4)
    x = rows_of(D, turn)
    return (descend(x, x @ turn @ best, [tp.Cocktail()] * len(counts), counts, tp.optim.SGD(RATE)) @ turn) / best


class EarlyStoppingIsL2(Experiment):
    topic = "Stopping"
    question = "Is early stopping a form of L2?"
    claim = "From zero, τ steps of size ε on a quadratic reach what L2 reaches, direction by direction, with λ = D r/(1 − r), where r is 1 − εD to the power τ."
    source = f"{LEGENSTEIN}, early stopping: how it acts as a regularizer; {PATHAK}, early stopping"
    expect = "After few steps, which directions have come far: the steep ones or the flat ones? Which does L2 shrink least?"
    rules = (every("largest gap to L2 with a strength for each direction", "<", 1e-9),)
    control = "One strength for all directions, λ = 1/(ετ): true to first order only."
    seeds = 3
    next = "Compare the strengths that belong to one τ: at 5 steps those of steep directions are much smaller than those of flat ones."
    limits = "Quadratics, plain descent, from zero. From another start w₀ it is L2-SP, a pull towards w₀. λ = 1/(ετ) for all is off by .204 at worst."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        gaps, counts = [], (3, 10, 30)
        for steps, share in zip(counts, stopped(seed, counts), strict=True):
            r = (1 - RATE * D) ** steps
            lam = torch.full_like(D, 1 / (RATE * steps)) if control else D * r / (1 - r)
            gaps.append(float((share - D / (D + lam)).abs().max()))
        return {"largest gap to L2 with a strength for each direction": max(gaps)}

    def draw(self) -> Slider:
        counts = (1, 2, 3, 5, 8, 12, 20, 40)
        names = [f"D = {d:g}" for d in D.tolist()]
        charts = []
        for steps, share in zip(counts, stopped(0, counts), strict=True):
            lam = 1 / (RATE * steps)
            lines = [Line("stopped", range(4), share, "bars"), Line("L2, λ = 1/(ετ)", range(4), D / (D + lam), "dots")]
            note = f"τ = {steps}: one strength for all directions, λ = {lam:.3g}, comes near, no more."
            charts.append(Chart("eigen-direction, by its curvature D", "share of the minimum", lines, names=names, note=note, low=0, high=1))
        return Slider("steps τ", "steps", counts, charts, start=3)
