"""The error of a minibatch's gradient falls as one over the square root of its size."""

import torch

from temperance.lab import PATHAK, Chart, Experiment, Line, every
from temperance.lab.linear import draws

SIZES = (4, 16, 64, 256)


def errors(seed: int, distinct: bool) -> list[float]:
    """Root mean squared distance of 400 minibatch gradients of a linear regression to the gradient of all rows, by size."""
    x = draws(seed, 5000, 4)
    y = x.sum(1) + draws(seed + 50, 5000)
    gradients = x * (x @ torch.zeros(4, dtype=x.dtype) - y)[:, None]
    generator = torch.Generator().manual_seed(seed)
    out = []
    for size in SIZES:
        picks = torch.randint(5000, (400, size), generator=generator)
        picks = picks if distinct else picks[:, :1].expand(-1, size)
        out.append(float((gradients[picks].mean(1) - gradients.mean(0)).square().sum(1).mean().sqrt()))
    return out


def slope(values: list[float]) -> float:
    """Of the logarithm of the error on the logarithm of the size."""
    a, b = torch.tensor(SIZES, dtype=torch.float64).log(), torch.tensor(values, dtype=torch.float64).log()
    return float(((a - a.mean()) * (b - b.mean())).sum() / (a - a.mean()).square().sum())


class MinibatchError(Experiment):
    topic = "Optimization"
    question = "How much better is the gradient of a batch four times as large?"
    claim = "Twice as good: the error of a minibatch's gradient is in proportion to 1/√m."
    source = f"{PATHAK}, inexact gradients"
    expect = "Batch 64 costs four times what batch 16 costs. What do you get for it?"
    rules = (every("gap of the slope to −½", "<", 0.1),)
    control = "m copies of one row in the place of m rows."
    next = "Compare the error with the length of the whole gradient: near the minimum the noise is all there is."
    limits = "Rows drawn independently. Without replacement the error is smaller, and zero at m = n."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        found = errors(seed, distinct=not control)
        return {"gap of the slope to −½": abs(slope(found) + 0.5), "error at m = 16 to m = 64": found[1] / found[2]}

    def draw(self) -> Chart:
        found = errors(0, True)
        law = [found[0] * (SIZES[0] / size) ** 0.5 for size in SIZES]
        lines = [Line("1/√m", SIZES, law), Line("measured", SIZES, found, "dots"), Line("copies of one row", SIZES, errors(0, False))]
        return Chart("rows m in a batch (log scale)", "error of the gradient (log scale)", lines, log_x=True, log_y=True, note="400 batches a size.")
