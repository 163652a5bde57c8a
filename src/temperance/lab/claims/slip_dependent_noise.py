"""Noise on the inputs is L2 only if it knows nothing of the data."""

from temperance.lab import WHITEHILL_14, Chart, Experiment, Line, Slider, every
from temperance.lab.linear import draws

SIGMA = 0.5


def gap(seed: int, dependence: float) -> float:
    """How far the expected loss is from loss + σ² w², as a share of σ² w², for noise of mean 0 and variance σ² that is correlated with the residual.

    One input, and all expectations exact: the noise is ±σ, with a probability that leans on the sign of the residual.
    """
    x, w = draws(seed, 400), 1.5
    residual = draws(seed + 1, 400)
    residual = residual - residual.median()  # as many above as below zero, so that the noise has mean 0
    y = x * w - residual
    lean = 0.5 * (1 + dependence * residual.sign())
    noisy = (lean * ((x + SIGMA) * w - y).square() + (1 - lean) * ((x - SIGMA) * w - y).square()).mean()
    penalty = SIGMA**2 * w**2
    return float((noisy - (x * w - y).square().mean() - penalty).abs() / penalty)


class SlipDependentNoise(Experiment):
    topic = "Slips"
    question = "Of what must the noise be independent?"
    printed = "Noise that is independent of x adds an L2 penalty to the squared error."
    claim = "It must be independent of x and y together: the cross term is E[(xw − y) n], and y is in it."
    source = f"{WHITEHILL_14}, L2 regularization ≅ Gaussian noise augmentation"
    expect = "The noise has mean 0 and is independent of x, but tends to push in the direction of the error. Is the expected loss still L2?"
    rules = (every("gap to loss + σ² w², as a share of the penalty", "<", 1e-9),)
    control = "Noise that is independent of x, as printed, but leans on the sign of the residual."
    next = "A sensor whose error grows with the target breaks the assumption; so does rounding."
    limits = "Uncorrelated given x is enough; independence is more than is needed."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        return {"gap to loss + σ² w², as a share of the penalty": gap(seed, 0.5 if control else 0.0)}

    def draw(self) -> Slider:
        leans = [0.0, 0.1, 0.25, 0.5, 0.75, 1.0]
        charts = []
        for lean in leans:
            lines = [Line("gap", range(5), [gap(seed, lean) for seed in range(5)], "bars")]
            note = f"Noise follows the residual's sign with a correlation of {lean:g}: {'L2, exactly' if not lean else 'not L2'}."
            charts.append(Chart("seed", "gap as a share of σ² w²", lines, names=[str(k) for k in range(5)], note=note, low=0))
        return Slider("dependence", "dependence", leans, charts, start=3)
