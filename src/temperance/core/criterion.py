"""Losses on soft targets, as means over labelled rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from temperance.core.batch import Batch
from temperance.core.errors import ConfigError


def _mean(losses: Tensor, weight: Tensor, labeled: Tensor) -> Tensor:
    """Weighted mean over the labelled rows; zero where there are none."""
    marked = labeled.to(losses.dtype)
    safe = torch.where(labeled, losses, torch.zeros_like(losses))
    return (weight.to(losses.dtype) * safe).sum() / marked.sum().clamp_min(1.0)


@dataclass(frozen=True)
class Criterion:
    """A loss of one output against soft targets.

    ``per_row`` gives one loss a row; calling the criterion on ``(out, batch)`` gives the weighted mean over the labelled rows.
    ``divergence`` compares two outputs of the network, for methods that need no labels.
    """

    task: ClassVar[str] = ""
    by_member: ClassVar[bool] = False  # whether EachMember asks for the loss of one network after another

    def per_row(self, out: Tensor, y: Tensor) -> Tensor:
        raise ConfigError(f"{type(self).__name__} has no loss by row.")

    def divergence(self, reference: Tensor, out: Tensor) -> Tensor:
        """Mean over rows of the divergence from ``reference`` (not differentiated by callers) to ``out``."""
        raise ConfigError(
            f"{type(self).__name__} cannot compare two outputs. Give attach one of the losses of temperance, or nn.CrossEntropyLoss or nn.MSELoss."
        )

    def predict(self, out: Tensor) -> Tensor:
        """Probabilities or values from the network's output."""
        return out

    @property
    def tasks(self) -> Any:
        return self.task

    @property
    def name(self) -> str:
        """What messages call it."""
        return type(self).__name__

    def __call__(self, out: Any, batch: Batch) -> Tensor:
        return _mean(self.per_row(out, batch.y), batch.weight, batch.labeled)

    def marked(self, out: Any, batch: Batch) -> Tensor:
        """The loss of the rows that the batch marks as labeled, weighted; a criterion that is called as it was given overrides it."""
        return self(out, batch)


def _log_softmax_across(z: Tensor) -> Tensor:
    """Log softmax over the last dimension, transposed: (..., rows, classes) -> (..., classes, rows).

    Over a short last dimension torch's kernel is some fifteen times slower than over the one before it.
    """
    return F.log_softmax(z.mT.contiguous(), -2)


@dataclass(frozen=True)
class SoftmaxCrossEntropy(Criterion):
    """-sum_k y_k log softmax(z)_k for targets y (rows, classes), one-hot or soft.

    Example:
        >>> SoftmaxCrossEntropy().per_row(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]))
        tensor([0.6931])
    """

    task: ClassVar[str] = "classification"

    def per_row(self, out: Tensor, y: Tensor) -> Tensor:
        if out.dim() != 2 or out.shape != y.shape:
            raise ConfigError(
                f"Expected scores (rows, classes) and one-hot or soft targets of that shape, got {tuple(out.shape)} and {tuple(y.shape)}. "
                "For other shapes give a function, such as lambda out, y: F.cross_entropy(out, y)."
            )
        return -(y.mT * _log_softmax_across(out)).sum(-2)

    def divergence(self, reference: Tensor, out: Tensor) -> Tensor:
        log_p, log_q = _log_softmax_across(reference), _log_softmax_across(out)
        return (log_p.exp() * (log_p - log_q)).sum(-2).mean()

    def predict(self, out: Tensor) -> Tensor:
        return F.softmax(out, -1)


@dataclass(frozen=True)
class SigmoidCrossEntropy(Criterion):
    """Binary cross-entropy on logits, summed over outputs.

    Example:
        >>> SigmoidCrossEntropy().per_row(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]))
        tensor([1.3863])
    """

    task: ClassVar[str] = "multilabel"

    def per_row(self, out: Tensor, y: Tensor) -> Tensor:
        return (-F.logsigmoid(-out) - y * out).sum(-1)  # not F.softplus, whose last bit depends on the place in the vector

    def divergence(self, reference: Tensor, out: Tensor) -> Tensor:
        p = F.logsigmoid(reference).exp()
        return (p * (F.logsigmoid(reference) - F.logsigmoid(out)) + (1 - p) * (F.logsigmoid(-reference) - F.logsigmoid(-out))).sum(-1).mean()

    def predict(self, out: Tensor) -> Tensor:
        return F.logsigmoid(out).exp()  # not torch.sigmoid, likewise


@dataclass(frozen=True)
class SquaredError(Criterion):
    """Mean over outputs of (z - y)²; with ``half`` half their sum, ½ ‖z - y‖², as textbooks write it.

    With k outputs the second is k/2 times the first, and so are its gradients: penalties weigh accordingly less beside it.

    Example:
        >>> z, y = torch.tensor([[3.0, 0.0, 1.0]]), torch.tensor([[1.0, 1.0, 0.0]])
        >>> SquaredError().per_row(z, y), SquaredError(half=True).per_row(z, y)
        (tensor([2.]), tensor([3.]))
    """

    task: ClassVar[str] = "regression"
    half: bool = False

    def per_row(self, out: Tensor, y: Tensor) -> Tensor:
        if out.shape != y.shape:
            raise ConfigError(f"Expected targets of the shape of the outputs, {tuple(out.shape)}, got {tuple(y.shape)}. Reshape one of them.")
        squares = (out - y).square().reshape(len(out), -1)
        return 0.5 * squares.sum(-1) if self.half else squares.mean(-1)

    def divergence(self, reference: Tensor, out: Tensor) -> Tensor:
        return self.per_row(out, reference).mean()


@dataclass(frozen=True)
class Heads(Criterion):
    """The weighted sum of one criterion a head, for networks that return a dict; rows without a head's target do not count for it.

    Example:
        >>> heads = Heads((("kind", SoftmaxCrossEntropy(), 1.0), ("price", SquaredError(), 0.5)))
        >>> heads.tasks
        {'kind': 'classification', 'price': 'regression'}
    """

    heads: tuple[tuple[str, Criterion, float], ...]

    @property
    def tasks(self) -> Any:
        return {name: criterion.task for name, criterion, _ in self.heads}

    def __call__(self, out: Any, batch: Batch) -> Tensor:
        weight: Any = batch.weight
        by_head: Any = weight if isinstance(weight, dict) else {name: weight for name, _, _ in self.heads}
        terms = [scale * _mean(c.per_row(out[name], batch.y[name]), by_head[name], batch.labeled[name]) for name, c, scale in self.heads]
        return torch.stack(terms).sum()

    def divergence(self, reference: Any, out: Any) -> Tensor:
        return torch.stack([scale * c.divergence(reference[name], out[name]) for name, c, scale in self.heads]).sum()

    def predict(self, out: Any) -> Any:
        return {name: criterion.predict(out[name]) for name, criterion, _ in self.heads}


@dataclass(frozen=True, eq=False)
class Opaque(Criterion):
    """Anyone's own ``criterion(out, y) -> scalar``; it must accept soft targets where the cocktail makes them."""

    function: Callable[[Any, Any], Tensor]

    @property
    def name(self) -> str:
        return getattr(self.function, "__name__", type(self.function).__name__)

    def __call__(self, out: Any, batch: Batch) -> Tensor:
        return self.function(out, batch.y)

    def divergence(self, reference: Any, out: Any) -> Tensor:
        raise ConfigError(
            "A loss of your own cannot compare two outputs. Give one that can, such as nn.CrossEntropyLoss(), nn.BCEWithLogitsLoss() or nn.MSELoss()."
        )


@dataclass(frozen=True)
class EachMember(Criterion):
    """The mean of the losses of the k networks that a model holds in one set of weights, where it returns ``(rows, k, outputs)``.

    Such a model says so by a class attribute ``each_member = True`` of one of its modules; in evaluation it returns one output a row, which counts
    as usual.

    Example:
        >>> EachMember(SquaredError()).per_row(torch.tensor([[[1.0], [3.0]]]), torch.tensor([[0.0]]))
        tensor([5.])
    """

    inner: Criterion

    @property
    def task(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride] -- a class attribute elsewhere, here that of the loss inside
        return self.inner.task

    @property
    def tasks(self) -> Any:
        return self.inner.tasks

    def per_row(self, out: Tensor, y: Tensor) -> Tensor:
        if out.dim() == y.dim():
            return self.inner.per_row(out, y)
        return self.inner.per_row(out.flatten(0, 1), _repeated(y, out.shape[1])).unflatten(0, out.shape[:2]).mean(1)

    def divergence(self, reference: Tensor, out: Tensor) -> Tensor:
        return self.inner.divergence(*(z.flatten(0, 1) if z.dim() == 3 else z for z in (reference, out)))

    def predict(self, out: Tensor) -> Tensor:
        return self.inner.predict(out)

    def marked(self, out: Any, batch: Batch) -> Tensor:
        return self._mean_of(self.inner.marked, out, batch) if self.inner.by_member else self(out, batch)

    def _mean_of(self, loss: Callable[[Any, Batch], Tensor], out: Any, batch: Batch) -> Tensor:
        several = isinstance(out, Tensor) and out.dim() == 3
        return torch.stack([loss(one, batch) for one in out.unbind(1)]).mean() if several else loss(out, batch)

    def __call__(self, out: Any, batch: Batch) -> Tensor:
        if self.inner.by_member:
            return self._mean_of(self.inner, out, batch)
        if isinstance(self.inner, Opaque) and out.dim() > batch.y.dim():
            return self.inner.function(out.flatten(0, 1), _repeated(batch.y, out.shape[1]))
        if isinstance(self.inner, (Opaque, Heads)):
            return self.inner(out, batch)
        return super().__call__(out, batch)


def _repeated(y: Tensor, members: int) -> Tensor:
    """Every row's target once for each of the networks."""
    return y.unsqueeze(1).expand(-1, members, *y.shape[1:]).flatten(0, 1)


def criterion_of(model: nn.Module, criterion: Criterion) -> Criterion:
    """The criterion that a model trains with: of a model of several networks in one, the mean of theirs."""
    several = any(getattr(module, "each_member", False) for module in model.modules())
    return EachMember(criterion) if several and not isinstance(criterion, EachMember) else criterion


BY_TASK: dict[str, Criterion] = {"classification": SoftmaxCrossEntropy(), "multilabel": SigmoidCrossEntropy(), "regression": SquaredError()}


def criterion_for(task: str | dict[str, str]) -> Criterion:
    """The default loss of a task; one per head where the task is a dict."""
    if isinstance(task, dict):
        return Heads(tuple((name, BY_TASK[kind], 1.0) for name, kind in task.items()))
    if task not in BY_TASK:
        raise ConfigError(f"Expected `task` to be one of {', '.join(BY_TASK)}, got {task!r}.")
    return BY_TASK[task]


def as_criterion(given: Any) -> Criterion:
    """A Criterion from a Criterion, a loss of torch without options, or any callable ``(out, y) -> scalar``."""
    if isinstance(given, Criterion):
        return given
    if (
        type(given) is nn.CrossEntropyLoss  # a subclass may have a forward of its own
        and given.weight is None
        and given.reduction == "mean"
        and given.label_smoothing == 0.0
        and given.ignore_index == -100
    ):
        return SoftmaxCrossEntropy()
    if type(given) is nn.MSELoss and given.reduction == "mean":
        return SquaredError()
    if callable(given):
        return Opaque(cast(Callable[[Any, Any], Tensor], given))
    raise ConfigError(f"Expected `criterion` to be a loss such as nn.CrossEntropyLoss(), got {given!r}.")
