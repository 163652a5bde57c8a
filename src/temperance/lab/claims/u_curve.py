"""The curve of a strength: too little over-fits, too much under-fits."""

from functools import cache
from typing import Any

import torch

import temperance as tp
from temperance.lab import PATHAK, WHITEHILL_22, Chart, Experiment, Line, on_average
from temperance.lab.rows import network, split

LAMS = (1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 1.0)


@cache
def losses(seed: int, data: object) -> torch.Tensor:
    """Mean loss on training, validation and test rows (3, strengths), at the end of training on 60 rows."""
    train, held, test = split(seed, 60, data)
    members = [tp.Member(tp.Cocktail(tp.L2(lam)), tp.optim.Adam(0.01), seed) for lam in LAMS]
    done = tp.fit(network(train, 32, seed), members, train, validation=held, early_stopping=None, steps=150, batch_size=60, check_every=150)
    loss: Any = tp.losses.SquaredError() if train.task == "regression" else tp.losses.SoftmaxCrossEntropy()
    out = []
    with torch.no_grad():
        for i in range(len(LAMS)):
            net = done.member(i)
            out.append([float(loss.per_row(net(part.x), part.y).mean()) for part in (train, held, test)])
    return torch.tensor(out).T


class UCurve(Experiment):
    topic = "Norms"
    question = "How strong should L2 be?"
    claim = "The loss on unseen rows falls and rises again as λ grows. The λ with the least validation loss is better on test rows than both ends."
    source = f"{WHITEHILL_22}, L1 + L2 regularization; {PATHAK}, L2 parameter regularization"
    expect = "Training loss only rises with λ. What does the loss on unseen rows do?"
    rules = (on_average("test loss, smallest λ minus chosen", ">", 0.0), on_average("test loss, largest λ minus chosen", ">", 0.0))
    control = "λ chosen on the training rows."
    takes_data = True
    slow = True
    quick_seeds = 5
    next = "Dropout, noise and smoothing have such curves as well: `tp.validation_curve` draws that of any strength."
    limits = "With many rows the left end hardly rises: there is little to over-fit. The chosen λ's own validation loss is optimistic; the test loss is not."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        train, held, test = losses(seed, self.data)
        chosen = int((train if control else held).argmin())
        return {
            "test loss, smallest λ minus chosen": float(test[0] - test[chosen]),
            "test loss, largest λ minus chosen": float(test[-1] - test[chosen]),
            "chosen λ": LAMS[chosen],
        }

    def draw(self) -> Chart:
        lines = [Line(name, LAMS, row) for name, row in zip(("training rows", "validation rows", "test rows"), losses(0, self.data), strict=True)]
        return Chart("λ (log scale)", "loss", lines, log_x=True, low=0, note="60 training rows, one hidden layer of 32, 150 steps of Adam.")
