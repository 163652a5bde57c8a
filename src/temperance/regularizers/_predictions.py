"""What the regularizers that compare predictions share: heads, and the distance of two predictions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from temperance.core.criterion import Criterion, Heads, Opaque
from temperance.core.errors import ConfigError


def heads_of(criterion: Criterion, owner: str) -> list[tuple[str | None, Criterion, float]]:
    """Name, loss and weight of every head; of a network with one output, the name is None.

    Raises:
        ConfigError: the loss is anyone's own, which does not say what a prediction is.
    """
    if isinstance(getattr(criterion, "inner", criterion), Opaque):
        raise ConfigError(f"{owner} needs a loss that temperance knows, such as nn.CrossEntropyLoss() or nn.MSELoss(); yours gives one number. Give one.")
    return list(criterion.heads) if isinstance(criterion, Heads) else [(None, criterion, 1.0)]


def classifying(criterion: Criterion, owner: str, tasks: tuple[str, ...]) -> list[tuple[str | None, Criterion, float]]:
    """The heads whose predictions are probabilities, of these tasks.

    Raises:
        ConfigError: there are none.
    """
    found = [head for head in heads_of(criterion, owner) if head[1].task in tasks]
    if not found:
        raise ConfigError(f"{owner} needs probabilities, and {criterion.name} gives scores. Use nn.CrossEntropyLoss(), or leave {owner} out.")
    return found


def at(tree: Any, name: str | None) -> Any:
    """The part of a tree that belongs to a head."""
    return tree if name is None else tree[name]


def disagreement(criterion: Criterion, a: Any, b: Any, owner: str) -> Tensor:
    """Mean over rows and outputs of the squared difference of two predictions (probabilities or values); heads are weighted as in the loss."""
    parts = [scale * (one.predict(at(a, name)) - one.predict(at(b, name))).square().mean() for name, one, scale in heads_of(criterion, owner)]
    return torch.stack(parts).sum()
