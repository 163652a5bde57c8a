"""Whether the lecture's co-adapted weights are a bad minimum."""

import torch

from temperance.lab import WHITEHILL_14, Chart, Experiment, Line, every
from temperance.lab.linear import draws


def loss(a: float, seed: int, truth: tuple[float, ...]) -> torch.Tensor:
    """Mean squared error of the lecture's network with ±a in the place of ±1."""
    x = draws(seed, 200, 4)
    w = torch.tensor([[2.0, -3.0, a, -a], [2.0, -3.0, -a, a]], dtype=torch.float64)
    return ((x @ w.T).mean(1) - x @ torch.tensor(truth, dtype=torch.float64)).square().mean()


class SlipLockedColumns(Experiment):
    topic = "Slips"
    question = "Are co-adapted weights stuck in a bad local minimum?"
    printed = "The last two columns of W may be locked in a local minimum that is often suboptimal."
    claim = (
        "They lie in a flat direction: the loss is the same for every ±a, a = 0 included, and "
        "the gradient of the average moves both rows at once if x₃ or x₄ would help."
    )
    source = f"{WHITEHILL_14}, co-adaptation"
    expect = "Let the ±1 of the last two columns go to 0. Does the loss rise on the way, as it would from a minimum?"
    rules = (every("change of the loss from a = 1 to a = 0", "<", 1e-12), every("gradient of the average on x₃, if x₃ helps", ">", 0.1))
    control = "A network whose head sees one unit alone: there ±a matters, and a = 1 is worse than a = 0."
    seeds = 3
    next = "Dropout leans this flat direction: the loss under masks is least at a = 0."
    limits = "The averaging head makes the cancellation exact. Heads with weights of their own have other flat directions."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        truth, x = (2.0, -3.0, 0.0, 0.0), draws(seed, 200, 4)
        w = torch.tensor([[2.0, -3.0, 1.0, -1.0], [2.0, -3.0, -1.0, 1.0]], dtype=torch.float64, requires_grad=True)
        wanted = x @ torch.tensor([2.0, -3.0, 1.0, 0.0], dtype=torch.float64)
        (slope,) = torch.autograd.grad(((x @ w.T).mean(1) - wanted).square().mean(), w)
        change = float((loss(1.0, seed, truth) - loss(0.0, seed, truth)).abs())
        alone = float((x @ w.detach()[0] - x @ torch.tensor(truth, dtype=torch.float64)).square().mean())
        return {
            "change of the loss from a = 1 to a = 0": alone if control else change,
            "gradient of the average on x₃, if x₃ helps": float(slope[:, 2].sum().abs()),
        }

    def draw(self) -> Chart:
        grid = torch.linspace(-1.5, 1.5, 31).tolist()
        x = draws(0, 200, 4)
        single = [float((a * (x[:, 2] - x[:, 3])).square().mean()) for a in grid]
        lines = [Line("average of both units", grid, [float(loss(a, 0, (2.0, -3.0, 0.0, 0.0))) for a in grid]), Line("unit 1 alone", grid, single)]
        return Chart("a", "mean squared error", lines, low=0, note="The average does not feel a: a valley floor. A single unit does.")
