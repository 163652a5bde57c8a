"""One minibatch, as the sites see it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Batch(NamedTuple):
    """Rows of one minibatch for one network.

    Attributes:
        x: a tensor ``(rows, ...)`` or a dict of such tensors. Floating leaves are numbers, or images where they are ``(rows, channels,
            height, width)``; integer leaves are category codes.
        y: soft float targets ``(rows, outputs)``, or a dict of them, one per head.
        weight: row weights ``(rows,)``, mean one over the training rows; in your own loop over the labeled rows of the minibatch, and where there are
            several heads then a dict of them.
        labeled: bool ``(rows,)`` or a dict of them; false where the target is missing.
        row_id: int64 ``(rows,)``, the rows' positions in the training data.

    Example:
        >>> import temperance as tp
        >>> rows = torch.arange(2)
        >>> batch = Batch(torch.ones(2, 3), torch.eye(2), torch.ones(2), rows >= 0, rows)
        >>> tp.LabelSmoothing(0.1).bind().batch(batch, tp.Context()).y
        tensor([[0.9500, 0.0500],
                [0.0500, 0.9500]])
    """

    x: Any
    y: Any
    weight: Tensor
    labeled: Any
    row_id: Tensor


def leaves_of(tree: Any) -> list[Tensor]:
    """The tensors of a tree in a fixed order."""
    return list(tree.values()) if isinstance(tree, dict) else [tree]


def map_leaves(function: Callable[..., Tensor], tree: Any, *others: Any) -> Any:
    """Apply a function to matching tensors of trees of the same shape."""
    if isinstance(tree, dict):
        return {key: function(value, *(other[key] for other in others)) for key, value in tree.items()}
    return function(tree, *others)


def map_float(function: Callable[..., Tensor], x: Any, *others: Any) -> Any:
    """Apply a function to the floating leaves; category codes pass through."""
    return map_leaves(lambda leaf, *rest: function(leaf, *rest) if leaf.is_floating_point() else leaf, x, *others)


def rows_of(x: Any) -> int:
    """Rows of a tree of inputs."""
    return int(leaves_of(x)[0].shape[0])


def is_image(leaf: Tensor) -> bool:
    """Floating leaves ``(rows, channels, height, width)`` are images."""
    return leaf.is_floating_point() and leaf.dim() == 4


def shortest_side(x: Any) -> int:
    """Pixels of the shortest side of the images among the inputs, 0 where there are none.

    Example:
        >>> shortest_side(torch.zeros(2, 3, 8, 12)), shortest_side({"num": torch.zeros(2, 3)})
        (8, 0)
    """
    return min((min(leaf.shape[-2:]) for leaf in leaves_of(x) if is_image(leaf)), default=0)


def per_row(value: Tensor, leaf: Tensor) -> Tensor:
    """A ``(rows,)`` tensor shaped to broadcast against a leaf ``(rows, ...)``."""
    return value.reshape(value.shape[0], *([1] * (leaf.dim() - 1)))


def full_batch(x: Any, y: Any, weight: Tensor | None = None, labeled: Any = None, row_id: Tensor | None = None) -> Batch:
    """A Batch with ones for missing weights and true for missing label marks."""
    n, device = rows_of(x), leaves_of(x)[0].device
    if weight is None:
        weight = torch.ones(n, device=device)
    if labeled is None:
        labeled = map_leaves(lambda leaf: torch.ones(n, dtype=torch.bool, device=device), y)
    if row_id is None:
        row_id = torch.arange(n, device=device)
    return Batch(x, y, weight, labeled, row_id)
