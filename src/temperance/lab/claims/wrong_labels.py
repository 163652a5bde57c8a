"""Over-fitting: to clean labels it need not hurt, to wrong ones it does."""

from functools import cache
from typing import Any

import torch

import temperance as tp
from temperance.lab import PATHAK, SCHONHUTH, Chart, Experiment, Line, Slider, every
from temperance.lab.rows import accuracy, network, split

SHARES = (0.0, 0.12, 0.3)
EPOCHS = (1, 2, 4, 8, 16, 32, 64)


@cache
def found(seed: int, share: float, data: Any = None) -> tuple[list[float], list[float]]:
    """Accuracy on training labels and on test rows after each number of epochs, with a share of the training labels wrong."""
    train, _, test = split(seed, 600, data)
    y: Any = train.y
    classes, steps = y.shape[1], max(len(train) // 50, 1) * EPOCHS[-1]
    generator = torch.Generator().manual_seed(seed)
    wrong = torch.rand(len(y), generator=generator) < share
    others = (y.argmax(1) + torch.randint(1, classes, (len(y),), generator=generator)) % classes
    labels = torch.where(wrong[:, None], torch.eye(classes)[others], y)
    rows = tp.data.Dataset(train.x, labels, "classification")
    members = [tp.Member(tp.Cocktail(), tp.optim.Adam(1e-2), seed, length=epochs / EPOCHS[-1]) for epochs in EPOCHS]
    done = tp.fit(network(train, 128, seed), members, rows, validation=None, early_stopping=None, steps=steps, batch_size=50, check_every=steps)
    nets = [done.member(i) for i in range(len(EPOCHS))]
    return [accuracy(net, rows) for net in nets], [accuracy(net, test) for net in nets]


class WrongLabels(Experiment):
    topic = "Stopping"
    question = "Does training too long hurt?"
    claim = "On 600 digits of which 12 % have a wrong label it does: the network learns them by heart, and errs on new rows. On clean labels it need not hurt."
    source = f"{PATHAK}, what is regularization: training versus test set error; {SCHONHUTH}, no regularization leads to over-fitting"
    expect = "A network is trained until it has every training label right. When is that bad for new rows?"
    rules = (every("accuracy on new rows, best minus last", ">", 0.01), every("accuracy on training labels at the end", ">", 0.98))
    control = "Clean labels: accuracy on new rows stays at its best."
    seeds = 3
    slow = True
    takes_data = classes_only = True
    next = "Label smoothing, dropout, early stopping: which of them keeps the accuracy?"
    limits = "Accuracy. The log-loss on new rows may rise on clean labels as well, because the network becomes too sure of its errors."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        own, new = found(seed, 0.0 if control else 0.12, self.data)
        return {"accuracy on new rows, best minus last": max(new) - new[-1], "accuracy on training labels at the end": own[-1]}

    def draw(self) -> Slider:
        charts = []
        for share in SHARES:
            own, new = found(0, share, self.data)
            lines = [Line("training labels", EPOCHS, own), Line("new rows", EPOCHS, new)]
            best = EPOCHS[new.index(max(new))]
            note = f"{share:.0%} wrong labels: new rows are best after {best} epochs, {max(new):.1%}, and at the end {new[-1]:.1%}."
            charts.append(Chart("epochs (log scale)", "accuracy", lines, log_x=True, note=note))
        return Slider("share of wrong labels", "wrong", SHARES, charts, start=1)
