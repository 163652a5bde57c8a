"""Where a gradient step on 30 x² stops converging."""

import math

from temperance.lab import PATHAK, Chart, Experiment, Line, every


def after(rate: float, start: float, steps: int = 200) -> float:
    """|x| after plain gradient steps on 30 x², as a share of that at the start."""
    x = start
    for _ in range(steps):
        x -= rate * 60 * x
    return abs(x / start)


class SlipBorderline(Experiment):
    topic = "Slips"
    question = "Which learning rate is the border on f = 30x²?"
    printed = "ε = .034 is the borderline case."
    claim = "2/H = 1/30 = .0333… is: at .033 a step multiplies x by −.98, which converges slowly, at .034 by −1.04, which diverges from every start but 0."
    source = f"{PATHAK}, ill-conditioning"
    expect = "H = 60. For which ε is |1 − 60ε| exactly 1?"
    rules = (every("change of log |x| in 200 steps at the border", "<", 1e-6),)
    control = "The border as printed, .034."
    seeds = 1
    next = "Half the border, 1/60, reaches the minimum in one step."
    limits = "A quadratic of one dimension, and exact arithmetic: at the border itself x jumps between two points for ever."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        return {"change of log |x| in 200 steps at the border": abs(math.log(after(0.034 if control else 1 / 30, 3.0)))}

    def draw(self) -> Chart:
        rates = [0.033, 1 / 30, 0.034, 0.035]
        counts = range(0, 41, 2)
        lines = [Line(f"ε = {rate:.4g}", counts, [after(rate, 3.0, n) for n in counts]) for rate in rates]
        return Chart("step", "|x| as a share of the start (log scale)", lines, log_y=True, note="Straight lines: every step multiplies |x| by |1 − 60ε|.")
