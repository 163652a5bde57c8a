"""The subject of a diagnosis from what a user gives."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer as TorchOptimizer

from temperance.core.ambient import trainable
from temperance.core.cocktail import Cocktail
from temperance.core.criterion import Opaque, SigmoidCrossEntropy, SoftmaxCrossEntropy, as_criterion, criterion_for
from temperance.core.errors import ConfigError, DataError, expected
from temperance.core.random import Rng, key_of, stream_of
from temperance.data import as_dataset
from temperance.data.dataset import Dataset
from temperance.diagnose.subject import Subject, some
from temperance.nets import Average
from temperance.train.optimizers import Optimizer

VALUES = (nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss)


def subject_of(
    model: nn.Module, data: Any, *, validation: Any = None, criterion: Any = None, lr: Any = None, rows: int = 1024, seed: int = 0, cocktail: Any = None
) -> tuple[Subject, list[str]]:
    """A subject and notes on how the arguments were taken; see :func:`temperance.diagnose`."""
    if not isinstance(model, nn.Module):
        raise ConfigError(expected("model", "diagnose", "to be a torch.nn.Module", type(model).__name__))
    if isinstance(rows, bool) or not isinstance(rows, int) or rows < 1:
        raise ConfigError(expected("rows", "diagnose", "in [1, inf)", rows))
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise ConfigError(expected("seed", "diagnose", "to be a whole number", seed))
    if cocktail is not None and not isinstance(cocktail, Cocktail):
        raise ConfigError(expected("cocktail", "diagnose", "to be a Cocktail or None", type(cocktail).__name__, "For example tp.Cocktail(tp.Dropout(0.2))."))
    network = trainable(getattr(model, "_orig_mod", model))  # what torch.compile wraps: its graphs cannot be differentiated twice
    if isinstance(network, Average):  # one network after another, so that hooks see plain tensors
        network = copy.copy(network)
        network.stacked = False
    rate, stepped, notes = *learning_rate(lr), list[str]()
    loss = None if criterion is None else SoftmaxCrossEntropy() if plain_log_loss(criterion) else as_criterion(criterion)
    train, positions = known_rows(to_rows(data, "data", None, "regression" if isinstance(criterion, VALUES) else getattr(loss, "task", None)), "data")
    held, place = (None, positions) if validation is None else known_rows(to_rows(validation, "validation", train), "validation")
    params = {name: p.detach() for name, p in network.named_parameters() if p.requires_grad}
    fixed = {name: p.detach() for name, p in network.named_parameters() if not p.requires_grad}
    if not params and not fixed:
        raise ConfigError(expected("model", "diagnose", "to have parameters", "a network without any"))
    if not params:
        params, fixed = fixed, {}
        notes.append("every parameter is frozen; all were examined as if they were trained")
    elif fixed:
        notes.append(f"{len(fixed)} of {len(params) + len(fixed)} parameters are frozen and were left out of gradients and curvature: {some(list(fixed))}")
    fixed.update({name: b.detach().clone() for name, b in network.named_buffers()})
    n = len(train)
    train, positions = capped(train, positions, rows, seed, "train")
    if held is not None:
        held, _ = capped(held, place, rows, seed, "validation")
    if len(train) < n:
        notes.append(f"{len(train):,} of {n:,} rows were drawn; rows= takes more")
    subject = Subject(network, loss or criterion_for(train.task), train, positions, held, rate, stepped, params, fixed, seed, cocktail)
    return subject, notes


def matched(subject: Subject) -> Subject:
    """The subject with targets of the shape of the network's output: one score for two classes is read as the log-odds of the second.

    Raises:
        ConfigError: the output does not fit the targets.
    """
    batch, _ = next(subject.chunks(subject.train.take([0])))
    try:
        with torch.no_grad():
            out = subject.output(batch.x)
    except (RuntimeError, ValueError, TypeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        got = f"rows of shape {list(subject.train.x.shape[1:])}" if isinstance(subject.train.x, Tensor) else "such rows"
        raise ConfigError(expected("data", "diagnose", "to have rows that the network takes", f"{got} and {type(error).__name__}: {reason}")) from error
    y = subject.train.y
    if isinstance(out, dict) != isinstance(y, dict):
        raise ConfigError(expected("data", "diagnose", "to have one target a head of the network", f"outputs {type(out).__name__}, targets {type(y).__name__}"))
    if isinstance(out, dict) or not isinstance(y, Tensor):
        return subject
    if subject.train.task == "classification" and y.shape[1] == 2 and out.shape[1:] == (1,):
        criterion = subject.criterion if isinstance(subject.criterion, Opaque) else SigmoidCrossEntropy()

        def single(rows: Dataset) -> Dataset:
            assert isinstance(rows.y, Tensor)
            return replace(rows, y=rows.y[:, 1:], task="multilabel")

        held = None if subject.validation is None else single(subject.validation)
        return replace(subject, criterion=criterion, train=single(subject.train), validation=held)
    if out.dim() == 2 and out.shape[1] != y.shape[1]:
        raise ConfigError(expected("data", "diagnose", f"to have targets for {out.shape[1]} outputs of the network", f"{y.shape[1]} columns of targets"))
    return subject


def plain_log_loss(criterion: Any) -> bool:
    """Whether it is ``nn.NLLLoss()``: on log-probabilities the softmax cross-entropy is the same number."""
    return isinstance(criterion, nn.NLLLoss) and criterion.weight is None and criterion.reduction == "mean" and criterion.ignore_index == -100


def learning_rate(lr: Any) -> tuple[float | None, str]:
    """The rate in a number or an optimizer (the largest of its groups, the peak of a schedule), and what takes the steps."""
    if lr is None:
        return None, ""
    if isinstance(lr, TorchOptimizer):
        return max(float(group["lr"]) for group in lr.param_groups), type(lr).__name__
    if isinstance(lr, Optimizer):
        return lr.hypers()["lr"], type(lr).__name__
    if isinstance(lr, bool) or not isinstance(lr, (int, float)) or not 0 < lr < math.inf:
        raise ConfigError(expected("lr", "diagnose", "in (0, inf), or an optimizer", lr))
    return float(lr), ""


def to_rows(data: Any, name: str, like: Dataset | None, task: Any = None) -> Dataset:
    """A data set from one, or from a pair (X, y): of the task of other rows or of the loss, where there are such."""
    if isinstance(data, Dataset):
        return data
    if isinstance(data, (tuple, list)) and len(data) == 2:
        known, classes = (like.task, like.classes) if like is not None else (task or None, ())
        return as_dataset(data[0], data[1], task=known, classes=classes or None)
    mend = "tp.data.as_dataset(X, y) and tp.data.table_dataset(frame, target) make one."
    raise ConfigError(expected(name, "diagnose", "to be a Dataset or a pair (X, y)", type(data).__name__, mend))


def known_rows(data: Dataset, name: str) -> tuple[Dataset, Tensor]:
    """The rows whose every target is known, with weights of mean one, and their positions."""
    positions, marks = torch.arange(len(data)), data.labeled
    if marks is not None:
        known = torch.stack([mark.cpu() for mark in marks.values()]).all(0) if isinstance(marks, dict) else marks.cpu()
        positions = known.nonzero().squeeze(1)
        data = replace(data.take(positions), labeled=None)
    if len(data) < 2:
        raise DataError(f"Expected at least two rows with a target in `{name}` of diagnose, got {len(data)}. Add rows.")
    if data.weight is not None:
        if not bool(data.weight.sum() > 0):
            raise DataError(f"Expected some weight above 0 in `{name}` of diagnose, got 0 in every row. Leave the weights out.")
        data = replace(data, weight=data.weight / data.weight.mean())
    return data, positions


def capped(data: Dataset, positions: Tensor, rows: int, seed: int, name: str) -> tuple[Dataset, Tensor]:
    """At most so many rows, drawn by key, and their positions."""
    n = len(data)
    if n <= rows:
        return data, positions
    drawn = Rng(key_of(seed), stream_of("diagnose", "rows", name)).permutation(n)[:rows].sort().values
    part = data.take(drawn)
    part = part if part.weight is None else replace(part, weight=part.weight / part.weight.mean().clamp_min(1e-12))
    return part, positions[drawn]
