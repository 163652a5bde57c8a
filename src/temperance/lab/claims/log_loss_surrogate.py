"""Log-loss in the place of 0–1 loss: it has a gradient, and goes on where 0–1 loss is satisfied."""

from functools import cache

import torch

from temperance.lab import PATHAK, Chart, Experiment, Line, every, on_average
from temperance.lab.linear import draws

STEPS, TASKS = 400, 24


@cache
def found(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, float]:
    """Training error, log-loss and test error (steps, tasks) of linear classifiers of separable rows, and the slope of the 0–1 loss at the start."""
    truth, start = draws(seed, TASKS, 30, 1), draws(seed + 30000, TASKS, 30, 1)
    x, held = draws(seed + 10000, TASKS, 60, 30), draws(seed + 20000, TASKS, 2000, 30)
    y, target = x @ truth > 0, held @ truth > 0
    w = torch.zeros_like(truth)
    errors, losses, test = [], [], []
    for _ in range(STEPS):
        scores = x @ w
        losses.append(torch.nn.functional.softplus(torch.where(y, -scores, scores)).mean((1, 2)))
        w = w - 0.5 * x.mT @ (torch.sigmoid(scores) - y.double()) / x.shape[1]
        errors.append(((x @ w > 0) != y).double().mean((1, 2)))
        test.append(((held @ w > 0) != target).double().mean((1, 2)))
    moved = (x @ (start + 1e-9 * torch.eye(30, dtype=torch.float64)) > 0) != y
    slope = (moved.double().sum(1) - ((x @ start > 0) != y).double().sum(1)).abs().max()
    return torch.stack(errors), torch.stack(losses), torch.stack(test), float(slope)


def satisfied(errors: torch.Tensor) -> torch.Tensor:
    """The first step of each task after which every training row is right for good; the last one if there is none."""
    steps = torch.arange(STEPS)[:, None]
    return (torch.where(errors > 0, steps, -1).max(0).values + 1).clamp(max=STEPS - 1)


class LogLossSurrogate(Experiment):
    topic = "Optimization"
    question = "Why minimize log-loss if errors are what counts?"
    claim = "0–1 loss has no slope to follow. Log-loss has one, and still moves the weights when every training row is right: errors on new rows go on falling."
    source = f"{PATHAK}, how learning differs from pure optimization: surrogate loss functions"
    expect = "After some steps every training row is right. Is there anything left to learn from the same rows?"
    rules = (
        every("change of the 0–1 loss by a small step", "<", 1e-12),
        every("training error at the end", "<", 1e-12),
        on_average("test error saved after training error reached 0", ">", 0.0),
    )
    control = "Training ends when every training row is right."
    next = "`separable_classes`: the weights grow for ever, and their direction becomes that of the largest margin."
    limits = "Separable rows without wrong labels. With wrong labels the same steps learn these by heart: `wrong_labels`."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        errors, _, test, slope = found(seed)
        first = satisfied(errors)
        at_first = test.gather(0, first[None])[0]
        return {
            "change of the 0–1 loss by a small step": slope,
            "training error at the end": float(errors[-1].max()),
            "test error saved after training error reached 0": 0.0 if control else float((at_first - test[-1]).mean()),
            "step after which training error is 0": float(first.double().mean()) + 1,
        }

    def draw(self) -> Chart:
        errors, losses, test = (each[:, 0] for each in found(0)[:3])
        steps = range(1, STEPS + 1)
        lines = [Line("log-loss, training rows", steps, losses), Line("error, training rows", steps, errors), Line("error, new rows", steps, test)]
        first = int(satisfied(errors[:, None]))
        note = f"Training error is 0 after step {first + 1}; the error on new rows is {test[first]:.3f} then and {test[-1]:.3f} at the end."
        return Chart("step (log scale)", "loss or error", lines, log_x=True, low=0, note=note)
