"""What ridge becomes as λ falls to zero."""

import torch

import temperance as tp
from temperance.lab import SCHONHUTH, Chart, Experiment, Line, every
from temperance.lab.linear import draws


def gap(seed: int, start: bool, lam: float) -> float:
    """Distance of ridge on two equal columns to the shortest solution, or to the w* that the targets were made of."""
    column = draws(seed, 20, 1)
    x = torch.cat([column, column], 1)
    made = draws(seed + 1, 2)
    shortest = made.mean().expand(2)
    w = tp.train.least_squares(x, x @ made, l2=lam, block=2)
    return float((w - (made if start else shortest)).norm())


class SlipLimitOfZero(Experiment):
    topic = "Slips"
    question = "Does a vanishing λ give w* back?"
    printed = "For λ → 0 the minimizer under L2 becomes w*."
    claim = "Only where the Hessian can be inverted. Otherwise it becomes the shortest of all minimizers, whichever w* one started from."
    source = f"{SCHONHUTH}, L2 regularization: explanations (38)"
    expect = "Two equal columns: w₁ + w₂ = 3 is all that the data say. Where does ridge go as λ falls, if w* was (3, 0)?"
    rules = (every("distance at λ = 10⁻⁷", "<", 1e-4),)
    control = "The distance to w*, as printed."
    next = "Train without L2, from (3, 0): descent does not move at all. L2 of any strength does."
    limits = "Least squares, where the shortest solution is X⁺y."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        return {"distance at λ = 10⁻⁷": gap(seed, control, 1e-7)}

    def draw(self) -> Chart:
        lams = [10.0**k for k in range(-7, 1)]
        lines = [Line(name, lams, [gap(0, start, lam) for lam in lams]) for name, start in (("to the shortest solution", False), ("to w*, as printed", True))]
        return Chart("λ (log scale)", "distance (log scale)", lines, log_x=True, log_y=True, note="Least squares on two equal columns.")
