"""What L1 sets to zero when the Hessian is not diagonal."""

import torch

import temperance as tp
from temperance.lab import SCHONHUTH, Chart, Experiment, Line, Slider, every
from temperance.lab.linear import basis, draws, rows_of

D = torch.tensor([4.0, 2.0, 1.0, 0.3, 0.2, 0.1], dtype=torch.float64)


def counts(seed: int, lam: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights under L1 as coordinates, and along the eigen-directions of a Hessian that is not diagonal."""
    turn = basis(seed, 6)
    x = rows_of(D, turn)
    w = tp.train.least_squares(x, x @ (2 * draws(seed + 9, 6)), l1=lam)
    return w, turn.T @ w


class SlipL1Directions(Experiment):
    topic = "Slips"
    question = "Does L1 remove directions or weights?"
    printed = "L1 regularization eliminates the directions of the Hessian along which the loss changes little."
    claim = "It sets weights to zero, that is coordinates. Along the eigen-directions of a Hessian that is not diagonal nothing is zero."
    source = f"{SCHONHUTH}, L1 regularization, and take-home message"
    expect = "Inputs are correlated, so the eigen-directions are mixtures of weights. Which of the two has exact zeros under L1?"
    rules = (every("exact zeros", ">", 0.5),)
    control = "Eigen-directions in the place of weights."
    next = "Turn the inputs by the eigenvectors first: weights and directions are then the same, and the printed statement is true."
    limits = "It is true for a diagonal Hessian, as for uncorrelated inputs."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        weights, directions = counts(seed, 0.5)
        return {"exact zeros": float(((directions if control else weights) == 0).sum())}

    def draw(self) -> Slider:
        lams = [0.0, 0.05, 0.1, 0.2, 0.5, 1.0]
        charts = []
        for lam in lams:
            weights, directions = counts(0, lam)
            lines = [Line("weights", range(6), weights, "bars"), Line("eigen-directions", range(6), directions, "bars")]
            note = f"λ = {lam:g}: {int((weights == 0).sum())} weights are zero, {int((directions == 0).sum())} directions."
            charts.append(Chart("weight, or direction", "value", lines, names=[str(k + 1) for k in range(6)], note=note))
        return Slider("λ", "lam", lams, charts, start=4)
