"""More rows against another algorithm: a network and a support vector machine on the same rows."""

from functools import cache
from typing import Any

import torch
from sklearn.svm import SVC, SVR

import temperance as tp
from temperance.lab import SCHONHUTH, Chart, Experiment, Line, every
from temperance.lab.rows import accuracy, loss, network, split

SIZES = (50, 100, 200, 400, 800)


def score(net: Any, data: tp.data.Dataset) -> float:
    """Accuracy, or for values the share of their variance that is explained."""
    if data.task != "regression":
        return accuracy(net, data)
    target: Any = data.y
    return 1 - loss(net, data) / float(target.var())


def machine(train: tp.data.Dataset, test: tp.data.Dataset) -> float:
    """The score of a support vector machine."""
    (x, y), (held, truth) = ((torch.as_tensor(part.x).flatten(1).numpy(), torch.as_tensor(part.y).numpy()) for part in (train, test))
    if train.task == "regression":
        return float(SVR(C=10.0).fit(x, y[:, 0]).score(held, truth[:, 0]))
    labels = y.argmax(1)
    if (labels == labels[0]).all():  # a few rows of one class: there is nothing to separate
        return float((truth.argmax(1) == labels[0]).mean())
    return float(SVC(C=10.0).fit(x, labels).score(held, truth.argmax(1)))


@cache
def found(seed: int, data: Any, copies: bool) -> tuple[tuple[int, ...], list[float], list[float]]:
    """Scores of the network and of the SVM by number of rows; with ``copies`` further rows repeat the first ones."""
    train, _, test = split(seed, SIZES[-1], data)
    sizes = tuple(max(len(train) * size // SIZES[-1], 2) for size in SIZES)
    rows = [torch.arange(size) % (sizes[0] if copies else size) for size in sizes]
    members = [tp.Member(tp.Cocktail(), tp.optim.Adam(3e-3), seed, rows=chosen) for chosen in rows]
    done = tp.fit(network(train, 64, seed), members, train, validation=None, early_stopping=None, steps=300, batch_size=50, check_every=300)
    return sizes, [score(done.member(i), test) for i in range(len(sizes))], [machine(train.take(chosen), test) for chosen in rows]


class LearningCurve(Experiment):
    topic = "Data"
    question = "More data or a better method?"
    claim = "Sixteen times the rows gain more than the choice between a network and a support vector machine on the same rows."
    source = f"{SCHONHUTH}, artificial expansion of training data: more training data, network versus SVM on same training data"
    expect = "Which of two methods is better on 50 rows, and which on 800? And how far apart are the two numbers of rows?"
    rules = (every("gain of rows beyond that of the method", ">", 0.0), every("gain of the network from more rows", ">", 0.03))
    control = "The further rows are copies of the first 50."
    seeds = 3
    takes_data = True
    slow = True
    next = "`tp.learning_curve` draws this for any network, with any rivals from scikit-learn."
    limits = "Where noise is all that is left to learn, more rows gain nothing; the curve has to be drawn to see it."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        _, network_scores, machine_scores = found(seed, self.data, control)
        gain = network_scores[-1] - network_scores[0]
        apart = max(abs(a - b) for a, b in zip(network_scores, machine_scores, strict=True))
        return {"gain of the network from more rows": gain, "gain of rows beyond that of the method": gain - apart, "largest gap between the methods": apart}

    def draw(self) -> Chart:
        sizes, network_scores, machine_scores = found(0, self.data, False)
        lines = [
            Line("network", sizes, network_scores),
            Line("SVM", sizes, machine_scores),
            Line("network, 50 rows copied", sizes, found(0, self.data, True)[1]),
        ]
        note = f"From {sizes[0]} to {sizes[-1]} rows the network gains {network_scores[-1] - network_scores[0]:.3f}."
        return Chart("training rows (log scale)", "score on test rows", lines, log_x=True, note=note)
