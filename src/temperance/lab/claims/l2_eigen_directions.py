"""L2 pulls every eigen-direction of the curvature back by D / (D + λ)."""

from functools import cache

import torch

import temperance as tp
from temperance.lab import SCHONHUTH, Chart, Experiment, Line, Slider, every
from temperance.lab.linear import basis, descend, draws, rows_of

D = torch.tensor([4.0, 2.0, 1.0, 0.25], dtype=torch.float64)


@cache
def trained(seed: int, lams: tuple[float, ...]) -> torch.Tensor:
    """Weights (strengths, directions) in the eigenbasis of a random quadratic, as shares of the unpenalized minimum."""
    turn, best = basis(seed, 4), draws(seed + 100, 4)
    x = rows_of(D, turn)
    w = descend(x, x @ turn @ best, [tp.Cocktail(tp.L2(lam)) for lam in lams], 200, tp.optim.SGD(0.2, 0.6))
    return (w @ turn) / best


class L2EigenDirections(Experiment):
    topic = "Norms"
    question = "How far does L2 pull a weight back?"
    claim = "On a quadratic loss with the Hessian Q D Qᵀ, L2 of strength λ leaves D/(D+λ) of the minimum in each eigen-direction."
    source = f"{SCHONHUTH}, L2 regularization: explanations (34 to 38)"
    expect = "With λ = 1, which directions keep most of their length: those along which the loss is steep, or flat?"
    rules = (every("largest gap to D/(D+λ)", "<", 1e-6),)
    control = "The formula with λ/2 in the place of λ, as if the penalty were λ/4 ‖w‖²."
    next = (
        "Move λ to 4 and compare the steepest direction with the flattest. Then try L1, which takes the same amount off every direction of a diagonal Hessian."
    )
    limits = "The loss must be quadratic and λ the same for all weights; near a minimum of a network it holds to second order."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        lams = (0.1, 1.0, 4.0)
        shares = trained(seed, lams)
        formula = torch.stack([D / (D + (lam / 2 if control else lam)) for lam in lams])
        return {"largest gap to D/(D+λ)": float((shares - formula).abs().max()), "share left of the flattest, λ = 1": float(shares[1, 3])}

    def draw(self) -> Slider:
        lams = (0.0, 0.03, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 10.0)
        charts = []
        for lam, share in zip(lams, trained(0, lams), strict=True):
            lines = [Line("trained", range(4), share, "bars"), Line("D/(D+λ)", range(4), D / (D + lam), "dots")]
            note = f"λ = {lam:g}: {float((D / (D + lam)).sum()):.2f} of 4 parameters are decided by the data (the sum of the shares)."
            names = [f"D = {d:g}" for d in D.tolist()]
            charts.append(Chart("eigen-direction, by its curvature D", "share of the minimum that is left", lines, names=names, note=note, low=0, high=1))
        return Slider("λ", "lam", lams, charts, start=5)
