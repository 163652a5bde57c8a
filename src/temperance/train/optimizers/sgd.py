"""Gradient descent with momentum, and Nesterov's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from temperance.train.optimizers.base import Optimizer


@dataclass(frozen=True, eq=False)
class SGD(Optimizer):
    """Gradient descent with momentum: v <- momentum v - lr g; theta <- theta + v (Polyak, 1964).

    The learning rate is inside the velocity, so under a schedule this differs from torch.optim, where it multiplies at use; at a constant rate
    the two agree. ``nesterov`` steps by momentum v - lr g, the parameter that is returned being the look-ahead point theta + momentum v
    (Sutskever et al., 2013).

    Example:
        >>> SGD(lr=0.1, momentum=0.9).hypers()
        {'lr': 0.1, 'momentum': 0.9}
    """

    lr: Any = 1e-2
    momentum: float = 0.0
    nesterov: bool = False
    slots: ClassVar[tuple[str, ...]] = ("v",)
    legal: ClassVar[Mapping[str, str]] = {"momentum": "[0, 1)"}
    reference: ClassVar[str] = "Polyak, 1964; Sutskever et al., 2013"

    def update(self, theta: Tensor, grad: Tensor, slots: Mapping[str, Tensor], h: Mapping[str, Tensor], lr: Tensor, t: Any, decayed: int) -> None:
        v = slots["v"]
        grad.mul_(lr)
        v.mul_(h["momentum"]).sub_(grad)
        if self.nesterov:
            theta.add_(v * h["momentum"]).sub_(grad)
        else:
            theta.add_(v)
