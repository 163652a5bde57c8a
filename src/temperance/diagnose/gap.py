"""The generalization gap, measured clean."""

from __future__ import annotations

import math

from torch import Tensor

from temperance.data.dataset import Dataset
from temperance.diagnose.finding import Finding, graded, weight_of
from temperance.diagnose.subject import Subject

SCORE = {"classification": "Accuracy", "multilabel": "Accuracy", "regression": "R²"}
LOOK, BAD, SURE = 0.03, 0.1, 3.0


def gap(subject: Subject) -> list[Finding]:
    """Compares training and validation rows on clean data: evaluation mode, no noise, no mixing, no penalty.

    Formula: accuracy (for values R², whose total is that of the training rows) of the training rows less that of the validation rows, in standard errors of
    the difference too. Bad from 0.1 and three standard errors; look from 0.03 and three.

    When: always; it is what regularizers are for. With penalties or dropout switched on the training loss of a running fit says something else.

    Reference: Goodfellow, Bengio & Courville (2016), Deep learning, section 5.2.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> x, y = torch.randn(40, 3), torch.arange(40) % 2
        >>> found = tp.diagnose(torch.nn.Linear(3, 2), (x, y), validation=(x, y), checks="gap")
        >>> found["gap"].value["gap"]
        0.0
    """
    held, task = subject.held_out, subject.task
    assert isinstance(subject.train.y, Tensor)
    known = subject.train.y.cpu().double()
    center = known.mean(0)
    spread = (known - center).square().mean().clamp_min(1e-12)
    ours, theirs = (row_scores(subject, rows, center, float(spread)) for rows in (subject.train, held))
    train, validation = float(ours.mean()), float(theirs.mean())
    difference = train - validation
    error = math.sqrt(float(ours.var(unbiased=False)) / len(ours) + float(theirs.var(unbiased=False)) / len(theirs))
    sure = difference / error if error > 0 else math.inf if difference > 0 else 0.0
    losses = subject.loss(), subject.loss(rows=held)
    value = {"gap": difference, "train": train, "validation": validation, "standard_errors": sure, "train_loss": losses[0], "validation_loss": losses[1]}
    text = (
        f"{SCORE[task]} is {train:.3f} on {len(ours):,} training rows and {validation:.3f} on {len(theirs):,} validation rows, loss {losses[0]:.4g} and "
        f"{losses[1]:.4g}: a gap of {difference:+.3f} ({sure:.1f} standard errors)."
    )
    verdict = graded(difference, LOOK, BAD) if sure > SURE else "fine"
    if verdict == "fine":
        return [Finding("gap", "gap", value, text)]
    remedy = "Regularize more: EarlyStopping, WeightDecay or L2, Dropout, MixUp, LabelSmoothing, EMA, SWA, bagging; tp.search finds the doses. Or add rows."
    return [Finding("gap", "overfitting", value, text, verdict, remedy, weight_of(difference, BAD))]


def row_scores(subject: Subject, rows: Dataset, center: Tensor, spread: float) -> Tensor:
    """What a row adds to the score: right or wrong, the share of labels that are right, or one less its squared error over the variance."""
    out = subject.predictions(rows)
    assert isinstance(rows.y, Tensor)
    y = rows.y.double().cpu().reshape(len(rows), -1)
    out = out.reshape(len(out), -1)
    if subject.task == "classification":
        return (out.argmax(1) == y.argmax(1)).double()
    if subject.task == "multilabel":
        return ((out > 0.5) == (y > 0.5)).double().mean(1)
    return 1 - (out - y).square().mean(1) / spread


def right(subject: Subject, rows: Dataset) -> Tensor:
    """Whether the network gives a row the class of its label."""
    assert isinstance(rows.y, Tensor)
    return subject.predictions(rows).argmax(1) == rows.y.cpu().argmax(1)
