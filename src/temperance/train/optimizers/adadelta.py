"""Adadelta: steps in the units of the parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from temperance.train.optimizers.base import Optimizer


@dataclass(frozen=True, eq=False)
class Adadelta(Optimizer):
    """r <- rho r + (1 - rho) g²; d = √(s + eps) / √(r + eps) g; s <- rho s + (1 - rho) d²; theta <- theta - lr d (Zeiler, 2012).

    A step has the size of the recent steps, so lr is 1 unless a schedule lowers it. The first steps are about √eps long.

    Example:
        >>> Adadelta().hypers()
        {'lr': 1.0, 'rho': 0.9, 'eps': 1e-06}
    """

    lr: Any = 1.0
    rho: float = 0.9
    eps: float = 1e-6
    slots: ClassVar[tuple[str, ...]] = ("r", "s")
    legal: ClassVar[Mapping[str, str]] = {"rho": "[0, 1)", "eps": "(0, inf)"}
    reference: ClassVar[str] = "Zeiler, 2012"

    def update(self, theta: Tensor, grad: Tensor, slots: Mapping[str, Tensor], h: Mapping[str, Tensor], lr: Tensor, t: Any, decayed: int) -> None:
        r, s, rho, eps = slots["r"], slots["s"], h["rho"], h["eps"]
        r.mul_(rho).add_((grad * grad).mul_(1.0 - rho))
        grad.mul_(torch.sqrt(s + eps)).div_(torch.sqrt(r + eps))
        s.mul_(rho).add_((grad * grad).mul_(1.0 - rho))
        theta.sub_(grad.mul_(lr))
