"""The weights that L1 leaves have a spike at zero, those of L2 are a bell."""

from functools import cache

import torch

import temperance as tp
from temperance.lab import LEGENSTEIN, SCHONHUTH, Chart, Experiment, Line, Slider, every
from temperance.lab.linear import draws


@cache
def rows(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """80 rows of 60 inputs, of which six count."""
    x = draws(seed, 80, 60)
    truth = torch.zeros(60, dtype=torch.float64)
    truth[:6] = 2.0
    return x, x @ truth + draws(seed + 50, 80)


def tail(w: torch.Tensor) -> float:
    """Kurtosis: 3 for a bell, more for a spike with heavy tails."""
    centered = w - w.mean()
    return float((centered**4).mean() / (centered**2).mean() ** 2)


class SpikeAndBell(Experiment):
    topic = "Norms"
    question = "How do the weights under L1 differ from those under L2?"
    claim = "Where few inputs count, L1 leaves most weights at exactly zero and the others large; L2 leaves none at zero and many small ones."
    source = f"{LEGENSTEIN}, L1 regularization: impact on weights; {SCHONHUTH}, L1 versus L2"
    expect = "Sixty weights, six of them needed. How many does each penalty keep away from zero?"
    rules = (every("share of exact zeros under L1", ">", 0.4), every("share of exact zeros under L2", "<", 0.01), every("kurtosis, L1 to L2", ">", 1.05))
    control = "L2 in the place of L1."
    next = "Raise λ until L1 keeps six weights. Which six are they?"
    limits = "Where most inputs count a little, the spike costs accuracy, and L2 is the better prior."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        x, y = rows(seed)
        sparse = tp.train.least_squares(x, y, l2=0.3, block=60) if control else tp.train.least_squares(x, y, l1=0.3)
        dense = tp.train.least_squares(x, y, l2=0.3, block=60)
        zeros = {"L1": float((sparse == 0).double().mean()), "L2": float((dense == 0).double().mean())}
        return {**{f"share of exact zeros under {name}": share for name, share in zeros.items()}, "kurtosis, L1 to L2": tail(sparse) / tail(dense)}

    def draw(self) -> Slider:
        lams = [0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0]
        x, y = rows(0)
        edges = torch.linspace(-1.1, 2.5, 37, dtype=torch.float64)
        middles = (edges[1:] + edges[:-1]) / 2
        charts = []
        for lam, sparse, dense in zip(
            lams, tp.train.least_squares(x, y, l1=torch.tensor(lams)), tp.train.least_squares(x, y, l2=torch.tensor(lams), block=60), strict=True
        ):
            lines = [Line(name, middles, torch.histogram(w, edges).hist, "bars") for name, w in (("L1", sparse), ("L2", dense))]
            note = f"λ = {lam:g}: L1 leaves {int((sparse == 0).sum())} of 60 weights at exactly zero, L2 {int((dense == 0).sum())}."
            charts.append(Chart("weight", "weights in a bin", lines, note=note))
        return Slider("λ", "lam", lams, charts, start=4)
