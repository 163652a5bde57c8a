"""Labels that were learned by heart."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from temperance.data.dataset import Dataset
from temperance.diagnose.finding import Finding, Skip, graded, weight_of
from temperance.diagnose.gap import right
from temperance.diagnose.subject import Subject

NEIGHBORS, CONFIDENT = 10, 0.7
LEAST, SHARE, CONTRAST, SURE = 5, (0.01, 0.03), 0.3, 3.0
LISTED = 100


def labels(subject: Subject) -> list[Finding]:
    """Finds labels that look wrong, because the rows around agree on another class, and that the network has learned by heart all the same.

    Formula: a row is contradicted where at least 7 of its 10 nearest training rows (itself left out; Euclidean distance of standardized inputs) have
    one other class. Let f be the share of the contradicted rows whose label the network gives back. On rows that it was trained on a network that
    memorizes has a large f, on validation rows a small one; the difference times the share of contradicted training rows is the part of the
    training set that is memorized noise. Bad from 3 %, with a difference of at least 0.3 and three standard errors.

    What: the neighbors see no weights, so that a network which has memorized everything cannot vouch for itself; and a network that knows better than
    its neighbors has the same f on validation rows, so it is not accused.

    When: the accuracy of the training rows is near one and that of validation rows is not. In many dimensions neighbors say little; then few rows are
    contradicted and nothing is found. Give validation rows: without them the verdict is at most to look.

    Reference: Wilson (1972), Asymptotic properties of nearest neighbor rules using edited data; Zhang et al. (2017), Understanding deep learning
    requires rethinking generalization; Arpit et al. (2017), A closer look at memorization in deep networks.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> x = torch.linspace(-1, 1, 100)[:, None]
        >>> y = (x[:, 0] > 0).long()
        >>> y[5::10] = 1 - y[5::10]
        >>> found = tp.diagnose(torch.nn.Linear(1, 2), (x, y), checks="labels")["labels"].value
        >>> found["contradicted"]
        10
    """
    if subject.task != "classification":
        raise Skip("labels can be looked through for classes only")
    train = subject.train
    assert isinstance(train.y, Tensor)
    if len(train) <= 2 * NEIGHBORS:
        raise Skip(f"more than {2 * NEIGHBORS} training rows are needed to ask neighbors")
    space = Space(train)
    fitted = right(subject, train)
    doubted = space.contradicted(train, own=True)
    count, n = int(doubted.sum()), len(train)
    share = float(fitted[doubted].double().mean()) if count else 0.0
    listed = subject.positions[doubted & fitted][:LISTED].tolist()
    accuracy = float(fitted.double().mean())
    value: dict[str, Any] = {"contradicted": count, "fitted_share": share, "accuracy": accuracy, "rows": listed}
    text = f"The neighbors of {count} of {n:,} training rows agree on another class than the label, and the network gives back the label of {share:.0%} of them"
    remedy = "Check the labels of the listed rows; LabelSmoothing, MixUp, EarlyStopping, Dropout and stronger L2 keep a network from learning noise by heart."
    if subject.validation is None:
        suspicious = count >= LEAST and share * count / n >= SHARE[1] and share > 0.8
        text += "; whether it knows better than they or has memorized noise only validation rows can tell."
        if suspicious:
            return [Finding("labels", "memorized_labels", value, text, "look", remedy)]
        return [Finding("labels", "labels", value, text)]
    held = subject.validation
    doubted_held = space.contradicted(held, own=False)
    other = int(doubted_held.sum())
    share_held = float(right(subject, held)[doubted_held].double().mean()) if other else 0.0
    contrast = share - share_held
    # one more row of either kind keeps the standard error of a share of 0 or 1 above zero
    error = math.sqrt(sum(_variance(p, k) for p, k in ((share, count), (share_held, other))))
    memorized = max(0.0, contrast) * count / n
    value |= {"contradicted_validation": other, "fitted_share_validation": share_held, "memorized": memorized}
    if other:
        text += f", but of {share_held:.0%} of {other} such validation rows: about {memorized:.1%} of the training rows are noise learned by heart."
    else:
        text += "; no validation row is of this kind to compare with."
    told = count >= LEAST and other >= LEAST and contrast > CONTRAST and contrast > SURE * error
    verdict = graded(memorized, *SHARE) if told else "fine"
    if verdict == "fine":
        return [Finding("labels", "labels", value, text)]
    return [Finding("labels", "memorized_labels", value, text, verdict, remedy, weight_of(memorized, SHARE[1]))]


def _variance(p: float, n: int) -> float:
    """The variance of an estimated share, with one success and one failure added (Agresti & Coull, 1998)."""
    near = (p * n + 1) / (n + 2)
    return near * (1 - near) / (n + 2)


class Space:
    """The training rows as points: standardized numbers, categories one-hot.

    Args:
        train: the rows.
    """

    def __init__(self, train: Dataset) -> None:
        assert isinstance(train.y, Tensor)
        self.leaves = train.x if isinstance(train.x, dict) else {"x": train.x}
        self.moments = {
            name: (flat.mean(0), flat.std(0, unbiased=False)) for name, leaf in self.leaves.items() if leaf.is_floating_point() for flat in [_flat(leaf)]
        }
        self.codes = {name: int(leaf.max()) + 1 for name, leaf in self.leaves.items() if not leaf.is_floating_point() and leaf.numel()}
        self.points, self.labels = self.place(train), train.y.cpu().argmax(1)
        self.classes = train.y.shape[1]

    def place(self, rows: Dataset) -> Tensor:
        """Rows as points ``(n, dimensions)``."""
        parts: list[Tensor] = []
        for name, leaf in (rows.x if isinstance(rows.x, dict) else {"x": rows.x}).items():
            if name in self.moments:
                mean, sd = self.moments[name]
                parts.append(torch.where(sd > 0, (_flat(leaf) - mean) / torch.where(sd > 0, sd, 1.0), 0.0))
            elif name in self.codes and self.codes[name] <= 256:
                known = leaf.cpu().reshape(len(leaf), -1).clamp_max(self.codes[name] - 1)
                parts.append(F.one_hot(known, self.codes[name]).float().flatten(1) / math.sqrt(2))  # two categories are at distance one
        if not parts:
            raise Skip("the inputs hold neither numbers nor few categories, so rows have no neighbors")
        return torch.cat(parts, 1)

    def contradicted(self, rows: Dataset, own: bool) -> Tensor:
        """Rows whose nearest training rows agree on another class than the label; ``own`` where the rows are the training rows."""
        assert isinstance(rows.y, Tensor)
        points, told = self.place(rows), rows.y.cpu().argmax(1)
        out: list[Tensor] = []
        for a in range(0, len(points), 256):
            distance = torch.cdist(points[a : a + 256], self.points)
            if own:
                distance.diagonal(a).fill_(math.inf) if a else distance.diagonal().fill_(math.inf)
            near = distance.topk(NEIGHBORS, largest=False).indices
            votes = F.one_hot(self.labels[near], self.classes).sum(1)
            most = votes.max(1)
            out.append((most.values >= CONFIDENT * NEIGHBORS) & (most.indices != told[a : a + 256]))
        return torch.cat(out)


def _flat(leaf: Tensor) -> Tensor:
    return leaf.float().cpu().reshape(len(leaf), -1)
