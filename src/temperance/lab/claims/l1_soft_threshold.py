"""L1 on a diagonal quadratic moves every weight by λ / H and stops at zero."""

from functools import cache

import torch

import temperance as tp
from temperance.lab import LEGENSTEIN, SCHONHUTH, Chart, Experiment, Line, Slider, every
from temperance.lab.linear import descend, draws, rows_of

H = torch.tensor([4.0, 2.0, 1.0, 1.0, 0.5, 0.5], dtype=torch.float64)


@cache
def trained(seed: int, lams: tuple[float, ...], mode: str = "prox") -> tuple[torch.Tensor, torch.Tensor]:
    """The minimum without penalty, and the weights at every strength."""
    best, x = draws(seed, 6), rows_of(H)
    cocktails = [tp.Cocktail(tp.L1(lam, mode=mode)) for lam in lams]
    return best, descend(x, x @ best, cocktails, 150, tp.optim.SGD(0.24))


def threshold(best: torch.Tensor, lam: float) -> torch.Tensor:
    """The closed form."""
    return best.sign() * (best.abs() - lam / H).clamp_min(0.0)


class L1SoftThreshold(Experiment):
    topic = "Norms"
    question = "Why does L1 give weights that are exactly zero?"
    claim = "With a diagonal Hessian H, L1 of strength λ gives w = sign(w*) max(|w*| − λ/H, 0): it shrinks by a constant, and what would cross zero is zero."
    source = f"{SCHONHUTH}, L1 regularization; {LEGENSTEIN}, L1 regularization"
    expect = "At λ = 0.3 and H = 1, a weight of 0.2 and one of 2.0: what is left of each under L1, and what under L2?"
    rules = (every("largest gap to the soft threshold", "<", 1e-6), every("zeros that are not exact", "<", 0.5))
    control = "The lectures' rule, a step along λ sign(w), in the place of the proximal step: the weights end near zero, not at it."
    next = "L2 at the same λ: nothing is zero, and large weights lose most."
    limits = "The Hessian must be diagonal, as for uncorrelated inputs. Otherwise L1 still gives zeros, but which ones depends on all weights together."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        lams = (0.1, 0.3, 1.0)
        best, w = trained(seed, lams, "subgradient" if control else "prox")
        wanted = torch.stack([threshold(best, lam) for lam in lams])
        inexact = (wanted == 0) & (w != 0)
        return {"largest gap to the soft threshold": float((w - wanted).abs().max()), "zeros that are not exact": float(inexact.sum())}

    def draw(self) -> Slider:
        lams = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0)
        best, w = trained(0, lams)
        names = [f"H = {h:g}" for h in H.tolist()]
        charts = []
        for lam, row in zip(lams, w, strict=True):
            lines = [Line("without penalty", range(6), best, "dots"), Line("trained with L1", range(6), row, "bars")]
            charts.append(Chart("weight, by its curvature H", "value", lines, names=names, note=f"λ = {lam:g}: {int((row == 0).sum())} of 6 weights are zero."))
        return Slider("λ", "lam", lams, charts, start=4)
