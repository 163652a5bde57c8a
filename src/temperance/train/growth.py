"""What grows while a network trains: the norm of its weights, and how far its outputs are from a straight line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from temperance.core.batch import leaves_of, map_leaves
from temperance.train.group import Group
from temperance.train.rows import drawn

PAIRS = 64  # of rows: always as many, so that products have one shape whatever the number of rows


def can_be_joined(x: Any) -> bool:
    """Whether there is something between two rows of these inputs: codes alone have no middle."""
    return any(leaf.is_floating_point() and leaf[:1].numel() for leaf in leaves_of(x))


def pairs(n: int) -> Tensor:
    """Positions ``(PAIRS, 2)`` of two different ones of ``n`` rows, which depend on ``n`` alone; they repeat where ``n`` is small.

    Example:
        >>> sorted({tuple(pair) for pair in pairs(2).tolist()}), tuple(pairs(1000).shape)
        ([(0, 1), (1, 0)], (64, 2))
    """
    order, i = drawn(n, n), torch.arange(PAIRS)
    apart = 1 + (i // n) % max(n - 1, 1)
    return torch.stack([order[i % n], order[(i + apart) % n]], 1)


def along(x: Any, ends: Tensor) -> Any:
    """Inputs ``(..., 3 PAIRS, ...)`` at both ends of the line between two rows and in its middle; codes are those of the first row all along.

    Args:
        x: inputs of all rows.
        ends: positions of the two rows, ``(PAIRS, 2)`` or ``(members, PAIRS, 2)``.
    """

    def points(leaf: Tensor) -> Tensor:
        first, second = leaf[ends[..., 0]], leaf[ends[..., 1]]
        if not leaf.is_floating_point():
            return torch.cat([first, first, first], ends.dim() - 2)
        return torch.cat([first, 0.5 * (first + second), second], ends.dim() - 2)

    return map_leaves(points, x)


def non_linearity(out: Tensor | Mapping[str, Tensor]) -> Tensor:
    """The share of the outputs' variation along lines between two rows that no straight line explains: 0 for an affine function, at most 1.

    Of three points at equal distances the least-squares line leaves ``|f(a) - 2 f(m) + f(b)|^2 / 6`` of the sum of squares about their mean, and
    explains ``|f(b) - f(a)|^2 / 2`` of it. Both are summed over pairs and outputs.

    Args:
        out: the outputs at the points of :func:`along`, ``(3 PAIRS, ...)``; with several heads a dict of them.

    Example:
        >>> x = torch.tensor([[0.0], [1.0], [2.0]])
        >>> non_linearity(3 * x + 1).item(), round(non_linearity(x**2).item(), 4)
        (0.0, 0.0769)
    """
    flat = torch.cat([leaf.reshape(leaf.shape[0], -1).double() for leaf in leaves_of(out)], 1)
    first, middle, second = flat.chunk(3)
    bent = (first - 2 * middle + second).square().sum() / 6
    whole = bent + (second - first).square().sum() / 2
    return torch.where(whole == 0, 0.0, bent / whole)


def norm(weights: Iterable[Tensor]) -> Tensor:
    """The Euclidean norm of all these weights together."""
    return torch.stack([w.double().square().sum() for w in weights]).sum().sqrt()


def growth(group: Group, params: Any, buffers: Any, x: Any, lines: Tensor | None) -> dict[str, Tensor]:
    """Every member's norm of the weights that train, and non-linearity along the lines, as far as there are such.

    Networks that remember rows have no lines: one more pass would compare with all of these once more.
    """
    out: dict[str, Tensor] = {}
    with torch.no_grad():
        if group.weights:
            weights = [name for name in group.arena.shapes if name in group.weights]
            out["weight_norm"] = group.over(lambda p: norm(p[name] for name in weights))(params)
        if lines is not None:
            points = along(x, lines)
            if lines.dim() == 2:
                points = map_leaves(lambda leaf: leaf.expand(group.width, *leaf.shape), points)
            out["non_linearity"] = group.over(lambda p, b, rows: non_linearity(group.program.forward(p, b, rows, "eval")[0]))(params, buffers, points)
    return out
