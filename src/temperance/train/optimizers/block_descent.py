"""Descent in one block of parameters a step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from temperance.core.errors import ConfigError, expected
from temperance.train.optimizers.base import Optimizer

BY = ("unit", "coordinate", "tensor")


@dataclass(frozen=True, eq=False)
class BlockDescent(Optimizer):
    """theta_b <- theta_b - lr g_b for block b = t mod blocks; the other parameters stay (block-coordinate descent: Bertsekas & Tsitsiklis, 1989).

    The network's units (a unit is a row of a weight matrix with its bias), its single coordinates or its tensors are dealt out in order into so
    many blocks of nearly equal number. With ``by="coordinate"`` and as many blocks as parameters this is coordinate descent. One step costs the
    gradient of everything, so it is for losses whose parameters pull at each other, not for speed; least squares is solved exactly, block by block,
    by :func:`temperance.train.least_squares`. Penalties in the loss act on the block alone, decay and proximal steps after the step on all.

    Example:
        >>> BlockDescent(lr=0.1, blocks=3).static()
        ('BlockDescent', ('Constant',), (('blocks', 3), ('by', 'unit')))
    """

    lr: Any = 1e-2
    blocks: int = 2
    by: str = "unit"
    slots: ClassVar[tuple[str, ...]] = ("block",)
    reference: ClassVar[str] = "Bertsekas & Tsitsiklis, 1989"

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.blocks, bool) or not isinstance(self.blocks, int) or self.blocks < 1:
            raise ConfigError(expected("blocks", "BlockDescent", "to be a whole number in [1, inf)", self.blocks))
        if self.by not in BY:
            raise ConfigError(expected("by", "BlockDescent", f"to be one of {', '.join(map(repr, BY))}", self.by))

    def start(self, theta: Tensor, shapes: Mapping[str, torch.Size]) -> dict[str, Tensor]:
        parts: list[Tensor] = []
        first: dict[tuple[str, int], int] = {}
        count = 0
        for name, shape in shapes.items():
            rows = {"unit": shape[0] if shape else 1, "coordinate": shape.numel(), "tensor": 1}[self.by]
            layer = (name.rpartition(".")[0] if self.by == "unit" else name, rows)  # a unit's bias stands under the name of its weights
            if layer not in first:
                first[layer], count = count, count + rows
            parts.append((first[layer] + torch.arange(rows)).repeat_interleave(shape.numel() // max(1, rows)))
        if self.blocks > count:
            kinds = {"unit": "units", "coordinate": "parameters", "tensor": "tensors"}[self.by]
            raise ConfigError(expected("blocks", "BlockDescent", f"in [1, {count}]", self.blocks, f"The network has {count} {kinds}."))
        return {"block": (torch.cat(parts) * self.blocks // count).to(theta).expand_as(theta).clone()}

    def update(self, theta: Tensor, grad: Tensor, slots: Mapping[str, Tensor], h: Mapping[str, Tensor], lr: Tensor, t: Any, decayed: int) -> None:
        active = slots["block"] == t % self.blocks
        theta.sub_(torch.where(active, grad.mul_(lr), torch.zeros_like(grad)))
