"""Soft targets of integer ones, for the steps in which a regularizer changes targets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor

from temperance.core.criterion import Criterion, Heads, Opaque, SigmoidCrossEntropy, SoftmaxCrossEntropy, SquaredError
from temperance.core.errors import ConfigError
from temperance.core.given_loss import ClassError, GivenTorch, names_of
from temperance.core.regularizer import Regularizer


@dataclass
class SoftTargets:
    """Makes soft targets of integer ones, for one network and its loss.

    Args:
        criterion: the loss.
        outputs: ``outputs(x)``, the network's output, asked only if the number of classes is not known.
        num_classes: number of classes, or None.
        dtype: of the targets made.
    """

    criterion: Criterion
    outputs: Callable[[Any], Any]
    num_classes: int | None
    dtype: Callable[[], torch.dtype]
    found: dict[tuple[str | None, int], tuple[int, int] | None] = field(default_factory=dict)

    def __call__(self, x: Any, y: Any, needing: list[Regularizer]) -> tuple[Any, Callable[[Any], Any], bool]:
        """Soft targets with classes at the last dimension, as regularizers take them; what lays them out as the loss takes them; whether they were integers."""
        if isinstance(y, Mapping):
            pairs = {name: self._one(x, leaf, name, needing) for name, leaf in cast(Mapping[str, Any], y).items()}
            made = any(new for _, _, new in pairs.values())
            return {name: soft for name, (soft, _, _) in pairs.items()}, lambda tree: {name: pairs[name][1](tree[name]) for name in pairs}, made
        return self._one(x, y, None, needing)

    def tasks(self, y: Any) -> Any:
        """For a function of the user's own: integer targets of several classes are a classification, and floats beside them are values."""
        if not isinstance(y, Mapping):
            return "classification"
        return {name: "regression" if leaf.is_floating_point() else "classification" for name, leaf in cast(Mapping[str, Tensor], y).items()}

    def _one(self, x: Any, y: Any, head: str | None, needing: list[Regularizer]) -> tuple[Tensor, Callable[[Tensor], Tensor], bool]:
        if not isinstance(y, Tensor):
            who = names_of(needing)
            raise ConfigError(
                f"{who} changes targets, which have to be a tensor or a dict of tensors, got {type(y).__name__}. Give them so, or leave {who} out."
            )
        criterion = next(c for name, c, _ in self.criterion.heads if name == head) if isinstance(self.criterion, Heads) else self.criterion
        classes = isinstance(criterion, GivenTorch) and criterion.kind.soft == "classes"
        if y.is_floating_point():
            moved = classes and y.dim() > 2
            return self._checked(y.movedim(1, -1) if moved else y, needing), _classes_to(1) if moved else _same, False
        values = isinstance(criterion, (SquaredError, SigmoidCrossEntropy)) or (isinstance(criterion, GivenTorch) and not classes)
        found = None if values or (isinstance(criterion, SoftmaxCrossEntropy) and y.dim() != 1) else self._layout(x, y, head)
        if found is None:
            return self._checked(y.to(self.dtype()), needing), _same, False
        ignored: int | None = criterion.module.ignore_index if isinstance(criterion, GivenTorch) else None
        return _one_hot(y, found[0], ignored, self.dtype()), _classes_to(found[1]), True

    def _checked(self, y: Tensor, needing: list[Regularizer]) -> Tensor:
        """Of a function of the user's own nothing tells whether numbers are probabilities of classes, but that there are several."""
        by_class = [r for r in needing if "regression" not in r.tasks]
        if by_class and isinstance(self.criterion, Opaque) and (y.dim() < 2 or y.shape[-1] == 1):
            who = names_of(by_class)
            raise ConfigError(
                f"{who} needs probabilities of classes, (rows, classes), got targets of shape {tuple(y.shape)} for a loss of your own. "
                f"Give nn.BCEWithLogitsLoss() or nn.CrossEntropyLoss(), or leave {who} out."
            )
        return y

    def _layout(self, x: Any, y: Tensor, head: str | None) -> tuple[int, int] | None:
        """Number of classes and the dimension at which the network has them; None for targets that are no classes."""
        if self.num_classes is not None:
            return self.num_classes, 1
        key = (head, y.dim())
        if key not in self.found:
            shapes = _of_head(_shapes(self.outputs(x)), head)
            fitting = [found for found in (_layout(shape, tuple(y.shape)) for shape in shapes) if found is not None]
            if not fitting:
                raise ConfigError(
                    f"The number of classes cannot be told from the network's output for targets of shape {tuple(y.shape)}. Give it to attach as num_classes."
                )
            self.found[key] = None if fitting[0][0] == 1 else fitting[0]
        return self.found[key]


def _layout(shape: tuple[int, ...], y: tuple[int, ...]) -> tuple[int, int] | None:
    """Number and dimension of the classes in scores of this shape; one class where scores and targets have one shape; None where they do not fit."""
    if shape == y:
        return 1, 1
    if len(shape) == len(y) + 1:
        for dim in (1, len(shape) - 1):
            if dim < len(shape) and shape[:dim] + shape[dim + 1 :] == y:
                return shape[dim], dim
    return None


def _one_hot(y: Tensor, count: int, ignored: int | None, dtype: torch.dtype) -> Tensor:
    """Classes as probabilities at a new last dimension; all zero where the target is to be ignored."""
    known = torch.ones_like(y, dtype=torch.bool) if ignored is None else y != ignored
    place = torch.where(known, y, torch.zeros_like(y)).long().unsqueeze(-1)
    if y.device.type == "cpu" and y.numel() and (int(place.min()) < 0 or int(place.max()) >= count):  # elsewhere scatter itself asserts, without a wait
        wrong = sorted({int(v) for v in place.unique() if not 0 <= v < count})
        raise ClassError(
            f"Target {wrong[0]} is out of bounds: the network gives scores for {count} classes, 0 to {count - 1}. "
            "For rows without a target use nn.CrossEntropyLoss(ignore_index=...)."
        )
    return torch.zeros(*y.shape, count, dtype=dtype, device=y.device).scatter(-1, place, known.unsqueeze(-1).to(dtype))


def _same(y: Tensor) -> Tensor:
    return y


def _classes_to(dim: int) -> Callable[[Tensor], Tensor]:
    return lambda y: y.movedim(-1, dim)


def _shapes(out: Any) -> Any:
    """The shapes of the tensors of an output: of a tensor, a sequence, a mapping or an object with ``logits``."""
    if isinstance(out, Tensor):
        return tuple(out.shape)
    logits = getattr(out, "logits", None)
    if isinstance(out, Mapping):
        return {name: _shapes(leaf) for name, leaf in cast(Mapping[str, Any], out).items()}
    if isinstance(logits, Tensor):
        return {"logits": tuple(logits.shape)}
    if isinstance(out, (tuple, list)):
        return [_shapes(leaf) for leaf in cast(list[Any], out)]
    return [_shapes(leaf) for leaf in vars(out).values()] if hasattr(out, "__dict__") else []


def _of_head(shapes: Any, head: str | None) -> list[tuple[int, ...]]:
    """Shapes in the order in which they may be the scores: that of the head or of ``logits``, then the others."""
    if isinstance(shapes, tuple):
        return [cast(tuple[int, ...], shapes)]
    if isinstance(shapes, dict):
        named = cast(dict[str, Any], shapes)
        if head in named:
            return _of_head(named[head], None)
        first = [named["logits"]] if "logits" in named else []
        return [shape for part in (*first, *named.values()) for shape in _of_head(part, None)]
    return [shape for part in cast(list[Any], shapes) for shape in _of_head(part, None)]
