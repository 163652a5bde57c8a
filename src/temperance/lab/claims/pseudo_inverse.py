"""More weights than rows: the limit of ridge is the pseudo-inverse."""

import torch

import temperance as tp
from temperance.lab import PATHAK, Chart, Experiment, Line, Slider, every
from temperance.lab.linear import basis, draws


def rows(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Three rows of six inputs: infinitely many weights fit them."""
    return basis(seed, 6)[:3] * torch.tensor([[1.5], [2.0], [2.5]], dtype=torch.float64), draws(seed + 50, 3)


class PseudoInverse(Experiment):
    topic = "Norms"
    question = "Which of infinitely many solutions does L2 choose?"
    claim = (
        "Where XᵀX cannot be inverted, every λ > 0 has one solution, and as λ falls to 0 it "
        "becomes the shortest exact one, X⁺y; its distance is in proportion to λ."
    )
    source = f"{PATHAK}, regularization and under-constrained problems"
    expect = "Three equations, six unknowns. As λ gets tiny, do the weights jump about, or settle?"
    rules = (every("distance to X⁺y at λ = 10⁻⁶", "<", 1e-5), every("distance, λ = 10⁻³ to λ = 10⁻⁴", ">", 9.0))
    control = "Another exact solution in the place of X⁺y: one with a part that no row sees."
    next = "Descend without a penalty from zero: it ends at the same X⁺y, for gradients stay in the span of the rows."
    limits = "Least squares. A separable logistic regression has no solution at all without a penalty."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        x, y = rows(seed)
        best = torch.linalg.pinv(x) @ y
        if control:
            unseen = torch.linalg.svd(x).Vh[3]
            best = best + 0.1 * unseen
        w = tp.train.least_squares(x, y, l2=torch.tensor([1e-3, 1e-4, 1e-6], dtype=torch.float64), block=6)
        gaps = (w - best).norm(dim=1)
        return {"distance to X⁺y at λ = 10⁻⁶": float(gaps[2]), "distance, λ = 10⁻³ to λ = 10⁻⁴": float(gaps[0] / gaps[1])}

    def draw(self) -> Slider:
        lams = [1e-4, 1e-3, 1e-2, 0.1, 0.3, 1.0, 3.0, 10.0]
        x, y = rows(0)
        best = torch.linalg.pinv(x) @ y
        names = [f"w{k + 1}" for k in range(6)]
        charts = []
        for lam, w in zip(lams, tp.train.least_squares(x, y, l2=torch.tensor(lams), block=6), strict=True):
            lines = [Line("ridge", range(6), w, "bars"), Line("X⁺y", range(6), best, "dots")]
            error = float((x @ w - y).square().mean())
            charts.append(Chart("weight", "value", lines, names=names, note=f"λ = {lam:g}: ‖w‖ = {float(w.norm()):.3f}, mean squared error {error:.2g}."))
        return Slider("λ", "lam", lams, charts, start=3)
