"""The loss that is given to ``attach``, called as it is; and soft targets for a step that needs them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from temperance.core.batch import Batch, map_leaves
from temperance.core.criterion import Criterion, Opaque, as_criterion
from temperance.core.errors import ConfigError, DataError
from temperance.core.regularizer import Regularizer
from temperance.core.torch_losses import TorchLoss, refuse_apart, torch_module


class ClassError(DataError, IndexError):
    """Targets that are no classes of the network; an ``IndexError`` as torch's own."""


@dataclass(frozen=True, eq=False)
class GivenTorch(TorchLoss):
    """A loss of torch that is called with the network's own output and the targets as given.

    Attributes:
        soft: whether this step made soft targets of integer classes.
        rows: whether rows have weights or marks; then the loss is the weighted mean over the labeled rows.
    """

    soft: bool = False
    rows: bool = False

    def __call__(self, out: Any, batch: Batch) -> Tensor:
        if self.rows or (self.soft and self.by_class(batch.y)):
            return self._weighted(out, batch)
        refuse_apart(self)
        try:
            return self.given(out, batch.y)
        except IndexError as error:
            raise ClassError(f"{self.name} refuses the targets: {error} Classes count from 0; for rows without one set ignore_index.") from error

    def marked(self, out: Any, batch: Batch) -> Tensor:
        return replace(self, soft=True)._weighted(out, batch)

    def _weighted(self, out: Any, batch: Batch) -> Tensor:
        refuse_apart(self)
        return self.reduced(out, batch, any_scale=True)

    def by_class(self, y: Any) -> bool:
        return self.soft and super().by_class(y)

    def predict(self, out: Tensor) -> Tensor:
        return super().predict(out.movedim(1, -1) if self.kind.soft == "classes" and out.dim() > 2 else out)


@dataclass(frozen=True, eq=False)
class GivenFunction(Opaque):
    """A function of the user's own, called with the network's own output and the targets as given.

    Attributes:
        softened: the regularizers for which this step made soft targets of integer classes.
    """

    by_member: ClassVar[bool] = True

    softened: str = ""

    def __call__(self, out: Any, batch: Batch) -> Tensor:
        try:
            value: Any = self.function(out, batch.y)
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            if not self.softened or isinstance(error, (ConfigError, torch.OutOfMemoryError)):
                raise
            reason = str(error).splitlines()[0].rstrip(". ") if str(error) else type(error).__name__
            raise ConfigError(
                f"{self.softened} made probabilities of the classes, and the loss {self.name} does not take them: {reason}. "
                f"Give a loss that does, such as nn.CrossEntropyLoss(), or leave {self.softened} out."
            ) from error
        if not isinstance(value, Tensor) or value.numel() != 1:
            got = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise ConfigError(f"Expected the loss {self.name} to give one number as a tensor, got {got}. Return its mean, such as `.mean()`.")
        return value


def given_criterion(given: Any) -> Criterion:
    """The criterion that ``attach`` trains with: one of the library's as it is, anything else as :class:`GivenTorch` or :class:`GivenFunction`."""
    if isinstance(given, Criterion):
        return given
    module = torch_module(given)
    if module is not None:
        return GivenTorch(given, module)
    as_criterion(given)  # refuses what cannot be called
    return GivenFunction(given)


def names_of(regularizers: Sequence[Regularizer]) -> str:
    """Their names in a sentence."""
    return " and ".join(type(r).__name__ for r in regularizers)


def refuse_hard(criterion: Criterion, needing: Sequence[Regularizer]) -> None:
    """Regularizers that change targets need a loss with a form for soft ones.

    Raises:
        ConfigError: the loss has none.
    """
    if not needing or not isinstance(criterion, GivenTorch):
        return
    who = names_of(needing)
    if not criterion.kind.soft:
        raise ConfigError(
            f"{who} changes targets, and {criterion.name} has no form for soft ones. "
            f"Use nn.CrossEntropyLoss(), nn.BCEWithLogitsLoss() or nn.MSELoss(), or leave {who} out."
        )
    if getattr(criterion.module, "log_target", False):
        raise ConfigError(f"{who} changes targets, and {criterion.name} is given their logarithms. Use log_target=False, or leave {who} out.")


def for_own_call(criterion: GivenTorch, y: Tensor) -> Tensor:
    """Soft targets for which torch's own form, which divides by the number of positions, is the mean over the mass that :class:`TorchLoss` takes.

    Raises:
        ConfigError: no such targets exist.
    """
    module = criterion.module
    mend = "Use reg.loss(x, y), which calls it for you."
    if not isinstance(module, nn.CrossEntropyLoss) or module.ignore_index >= 0:
        what = f" with ignore_index={module.ignore_index}" if module.ignore_index >= 0 else ""
        raise ConfigError(f"{criterion.name}{what} takes classes alone, and the cocktail makes probabilities of them. {mend}")
    if module.reduction != "mean":
        return y
    weight = 1.0 if module.weight is None else module.weight.to(y.dtype).reshape(-1, *[1] * (y.dim() - 2))
    mass = (y * weight).sum(1)
    if module.label_smoothing and (module.weight is not None or bool((mass < 1.0 - 1e-3).any())):
        raise ConfigError(f"{criterion.name} with label_smoothing divides soft targets by other numbers than classes. {mend}")
    whole = mass.sum()
    return y if module.label_smoothing else y * (mass.numel() / torch.where(whole > 0, whole, torch.ones_like(whole)))


def with_rows(criterion: Criterion, batch: Batch) -> tuple[Criterion, Batch]:
    """What makes the loss of a minibatch the weighted mean over its labeled rows, whatever the mean of the weights.

    Example:
        >>> from temperance.core.batch import full_batch
        >>> from temperance.core.criterion import SquaredError
        >>> batch = full_batch(torch.zeros(2, 1), torch.zeros(2, 1), weight=torch.tensor([30.0, 10.0]))
        >>> criterion, batch = with_rows(SquaredError(), batch)
        >>> criterion(torch.tensor([[1.0], [3.0]]), batch)  # (30 · 1 + 10 · 9) / 40
        tensor(3.)
    """
    if isinstance(criterion, GivenTorch):
        return replace(criterion, rows=True), batch

    def scaled(known: Tensor) -> Tensor:
        weight = torch.where(known, batch.weight, torch.zeros_like(batch.weight))
        whole = weight.sum()
        return torch.where(whole > 0, batch.weight * known.sum() / torch.where(whole > 0, whole, torch.ones_like(whole)), torch.zeros_like(batch.weight))

    weight: Any = map_leaves(scaled, batch.labeled)
    return criterion, batch._replace(weight=weight)
