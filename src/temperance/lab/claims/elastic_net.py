"""L1 and L2 together, each matrix with strengths of its own."""

from functools import cache

import numpy as np
import torch
from sklearn.linear_model import ElasticNet

import temperance as tp
from temperance.lab import WHITEHILL_22, Chart, Experiment, Line, Slider, every
from temperance.lab.linear import descend, draws


@cache
def rows(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Forty rows of six inputs, of which three count."""
    x = draws(seed, 40, 6)
    return x, x @ torch.tensor([2.0, -1.0, 0.5, 0.0, 0.0, 0.0], dtype=torch.float64) + 0.3 * draws(seed + 50, 40)


@cache
def trained(seed: int, alpha: float, beta: float) -> np.ndarray:
    """Weights of the network."""
    x, y = rows(seed)
    return descend(x, y, [tp.Cocktail(tp.ElasticNet(alpha, beta))], 150, tp.optim.SGD(0.25))[0].numpy()


class ElasticNetSolution(Experiment):
    topic = "Norms"
    question = "What do L1 and L2 do together?"
    claim = "A network without hidden layers under α/2 ‖w‖² + β ‖w‖₁ ends at the elastic net: zeros as under L1, and the rest shrunk as under L2."
    source = f"{WHITEHILL_22}, L1 + L2 regularization"
    expect = "β decides which weights are zero. Does more α, at the same β, make more of them zero?"
    rules = (every("largest gap to scikit-learn's elastic net", "<", 1e-5), every("weights that are zero in only one of them", "<", 0.5))
    control = "α and β exchanged in the conversion."
    seeds = 3
    next = "Keep β at 0.2 and let α grow: the weights shrink, and the zeros stay where they are until α is large."
    limits = "scikit-learn writes the same penalty as alpha · (l1_ratio ‖w‖₁ + (1 − l1_ratio)/2 ‖w‖²), so α = alpha (1 − l1_ratio), β = alpha · l1_ratio."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        alpha, beta = 0.5, 0.2
        ours = trained(seed, alpha, beta)
        first, second = (beta, alpha) if control else (alpha, beta)
        x, y = rows(seed)
        peer = ElasticNet(alpha=first + second, l1_ratio=second / (first + second), fit_intercept=False, tol=1e-12, max_iter=100_000)
        theirs = peer.fit(x.numpy(), y.numpy()).coef_
        return {
            "largest gap to scikit-learn's elastic net": float(np.abs(ours - theirs).max()),
            "weights that are zero in only one of them": float(((ours == 0) != (theirs == 0)).sum()),
        }

    def draw(self) -> Slider:
        x, y = rows(0)
        betas = [0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1.2]
        alphas = [0.0, 0.5, 2.0]
        paths = torch.stack([tp.train.least_squares(x, y, l1=torch.tensor(betas), l2=alpha) for alpha in alphas])
        names = [f"w{k + 1}" for k in range(6)]
        charts = []
        for k, beta in enumerate(betas):
            lines = [Line(f"α = {alpha:g}", range(6), paths[i, k], "bars") for i, alpha in enumerate(alphas)]
            note = f"β = {beta:g}: {int((paths[0, k] == 0).sum())}, {int((paths[1, k] == 0).sum())} and {int((paths[2, k] == 0).sum())} weights are zero."
            charts.append(Chart("weight", "value", lines, names=names, note=note))
        return Slider("β", "beta", betas, charts, start=4)
