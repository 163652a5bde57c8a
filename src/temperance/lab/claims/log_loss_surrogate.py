"""Log-loss in the place of 0–1 loss: it has a gradient, and goes on where 0–1 loss is satisfied."""

from functools import cache

import torch

from temperance.lab import PATHAK, Chart, Experiment, Line, every
from temperance.lab.linear import draws

STEPS, TASKS = 400, 8


@cache
def found(seed: int) -> tuple[list[float], list[float], list[float], float]:
    """Training error, log-loss and test error by step of a linear classifier of separable rows, and the slope of the 0–1 loss at the start."""
    truth = draws(seed, 30)
    x, held = draws(seed + 100, 60, 30), draws(seed + 200, 4000, 30)
    y, target = (x @ truth > 0).double(), held @ truth > 0
    w = torch.zeros(30, dtype=torch.float64)
    errors, losses, test = [], [], []
    for _ in range(STEPS):
        losses.append(float(torch.nn.functional.binary_cross_entropy_with_logits(x @ w, y)))
        w = w - 0.5 * x.T @ (torch.sigmoid(x @ w) - y) / len(x)
        errors.append(float(((x @ w > 0) != (y > 0)).double().mean()))
        test.append(float(((held @ w > 0) != target).double().mean()))
    start = draws(seed + 300, 30)
    wrong = [float(((x @ (start + 1e-9 * step) > 0) != (y > 0)).double().sum()) for step in torch.eye(30, dtype=torch.float64)]
    base = float(((x @ start > 0) != (y > 0)).double().sum())
    return errors, losses, test, max(abs(value - base) for value in wrong)


def satisfied(errors: list[float]) -> int:
    """The first step after which every training row is right for good."""
    return max((k for k, error in enumerate(errors) if error > 0), default=-1) + 1


class LogLossSurrogate(Experiment):
    topic = "Optimization"
    question = "Why minimize log-loss if errors are what counts?"
    claim = "0–1 loss has no slope to follow. Log-loss has one, and still moves the weights when every training row is right: errors on new rows go on falling."
    source = f"{PATHAK}, how learning differs from pure optimization: surrogate loss functions"
    expect = "After some steps every training row is right. Is there anything left to learn from the same rows?"
    rules = (
        every("change of the 0–1 loss by a small step", "<", 1e-12),
        every("training error at the end", "<", 1e-12),
        every("test error saved after training error reached 0", ">", 0.0),
    )
    control = "Training ends when every training row is right."
    seeds = 3
    next = "`separable_classes`: the weights grow for ever, and their direction becomes that of the largest margin."
    limits = "Separable rows without wrong labels. With wrong labels the same steps learn these by heart: `wrong_labels`."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        runs = [found(TASKS * seed + k) for k in range(TASKS)]
        firsts = [min(satisfied(errors), STEPS - 1) for errors, *_ in runs]
        saved = [0.0 if control else test[first] - test[-1] for (_, _, test, _), first in zip(runs, firsts, strict=True)]
        return {
            "change of the 0–1 loss by a small step": max(slope for *_, slope in runs),
            "training error at the end": max(errors[-1] for errors, *_ in runs),
            "test error saved after training error reached 0": sum(saved) / TASKS,
            "step after which training error is 0": sum(firsts) / TASKS + 1,
        }

    def draw(self) -> Chart:
        errors, losses, test, _ = found(0)
        steps = range(1, STEPS + 1)
        lines = [Line("log-loss, training rows", steps, losses), Line("error, training rows", steps, errors), Line("error, new rows", steps, test)]
        first = satisfied(errors)
        note = f"Training error is 0 after step {first + 1}; the error on new rows is {test[first]:.3f} then and {test[-1]:.3f} at the end."
        return Chart("step (log scale)", "loss or error", lines, log_x=True, low=0, note=note)
