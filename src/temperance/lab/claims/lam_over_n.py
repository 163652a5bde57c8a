"""A strength that is divided by the number of rows."""

import numpy as np
import torch
from sklearn.linear_model import Ridge

import temperance as tp
from temperance.lab import SCHONHUTH, Chart, Experiment, Line, every
from temperance.lab.linear import draws

LAM = 8.0


def rows(seed: int, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of three inputs with noise."""
    x = draws(seed, n, 3)
    return x, x @ torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64) + draws(seed + 50, n)


class LamOverN(Experiment):
    topic = "Norms"
    question = "What is λ/n, and when does it matter?"
    claim = "A penalty of λ/(2n) ‖w‖² on the mean loss is λ/2 ‖w‖² on the summed one: L2(lam=λ/n) here is scikit-learn's Ridge(alpha=λ), for every n."
    source = f"{SCHONHUTH}, L2-regularized cross entropy (26)"
    expect = "You find the best λ on 100 rows and then train on 1,000. Keep λ/n with the same λ, or keep `lam`?"
    rules = (every("largest gap to Ridge(alpha=λ), 50 and 200 rows", "<", 1e-8),)
    control = "`lam` = λ, not divided by the rows."
    next = "Repeat every row twice: a fixed `lam` gives the same weights, a fixed λ in λ/n weights that are shrunk half as much."
    limits = "Only a convention; but a strength that is taken from a paper, or from a smaller data set, means something else under the other one."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        gaps = []
        for n in (50, 200):
            x, y = rows(seed, n)
            ours = tp.train.least_squares(x, y, l2=LAM if control else LAM / n, block=3).numpy()
            gaps.append(float(np.abs(ours - Ridge(alpha=LAM, fit_intercept=False).fit(x.numpy(), y.numpy()).coef_).max()))
        return {"largest gap to Ridge(alpha=λ), 50 and 200 rows": max(gaps)}

    def draw(self) -> Chart:
        sizes = [10, 20, 50, 100, 200, 500, 1000]
        shares: dict[str, list[float]] = {"λ/n with λ = 8": [], "`lam` = 0.16": []}
        for n in sizes:
            x, y = rows(0, n)
            whole = float(tp.train.least_squares(x, y, block=3).norm())
            for name, lam in zip(shares, (LAM / n, 0.16), strict=True):
                shares[name].append(float(tp.train.least_squares(x, y, l2=lam, block=3).norm()) / whole)
        lines = [Line(name, sizes, values) for name, values in shares.items()]
        note = "Both are alike at 50 rows. With more rows λ/n fades, as a prior does; a fixed `lam` shrinks as before."
        return Chart("rows (log scale)", "‖w‖ as a share of that without penalty", lines, log_x=True, note=note)
