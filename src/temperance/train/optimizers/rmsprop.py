"""RMSProp, with momentum of Polyak's or Nesterov's kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from temperance.train.optimizers.base import Optimizer


@dataclass(frozen=True, eq=False)
class RMSProp(Optimizer):
    """r <- rho r + (1 - rho) g²; v <- momentum v - lr g / √(eps + r); theta <- theta + v (Hinton, 2012).

    ``inside=False`` divides by √r + eps, as torch.optim does. Without eps a unit that is dead from the start would give 0 / 0 (algorithm 8.6 of
    Goodfellow et al., 2016, has none). Inside, gradients shorter than √eps = 1e-3 are hardly enlarged; outside, those shorter than eps.
    ``nesterov`` takes the gradient at theta + momentum v, and it is this look-ahead point that is returned as the parameter. Like in SGD, the
    learning rate is inside the velocity.

    Example:
        >>> RMSProp(lr=0.001, momentum=0.9).hypers()
        {'lr': 0.001, 'rho': 0.9, 'momentum': 0.9, 'eps': 1e-06}
    """

    rho: float = 0.9
    momentum: float = 0.0
    eps: float = 1e-6
    inside: bool = True
    nesterov: bool = False
    slots: ClassVar[tuple[str, ...]] = ("r", "v")
    legal: ClassVar[Mapping[str, str]] = {"rho": "[0, 1)", "momentum": "[0, 1)", "eps": "(0, inf)"}
    reference: ClassVar[str] = "Hinton, 2012"

    def update(self, theta: Tensor, grad: Tensor, slots: Mapping[str, Tensor], h: Mapping[str, Tensor], lr: Tensor, t: Any, decayed: int) -> None:
        r, v = slots["r"], slots["v"]
        r.mul_(h["rho"]).add_((grad * grad).mul_(1.0 - h["rho"]))
        scale = torch.sqrt(r + h["eps"]) if self.inside else torch.sqrt(r).add_(h["eps"])
        grad.mul_(lr).div_(scale)
        v.mul_(h["momentum"]).sub_(grad)
        if self.nesterov:
            theta.add_(v * h["momentum"]).sub_(grad)
        else:
            theta.add_(v)

    def scale(self, slots: Mapping[str, Tensor], h: Mapping[str, Tensor], t: Any) -> Tensor | None:
        return torch.sqrt(slots["r"] + h["eps"]) if self.inside else torch.sqrt(slots["r"]) + h["eps"]
