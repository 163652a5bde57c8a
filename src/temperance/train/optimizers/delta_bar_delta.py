"""Delta-bar-delta: every parameter has a learning rate of its own, which follows the sign of its gradient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from temperance.train.optimizers.base import Optimizer


@dataclass(frozen=True, eq=False)
class DeltaBarDelta(Optimizer):
    """Rates grow by kappa where the gradient keeps the sign of its average, shrink by the share phi where it turns; w <- w - rate g.

    The average is ḡ <- theta ḡ + (1 - theta) g, and the rate that a step uses has been adapted to its gradient already (Jacobs, 1988). Every rate starts
    at lr; a schedule multiplies all of them. For full batches: the noise of small ones turns signs at random and shrinks every rate.

    Example:
        >>> DeltaBarDelta(lr=0.1).hypers()
        {'lr': 0.1, 'kappa': 0.001, 'phi': 0.1, 'theta': 0.7}
    """

    lr: Any = 1e-2
    kappa: float = 1e-3
    phi: float = 0.1
    theta: float = 0.7
    slots: ClassVar[tuple[str, ...]] = ("gain", "mean")
    legal: ClassVar[Mapping[str, str]] = {"kappa": "[0, inf)", "phi": "[0, 1)", "theta": "[0, 1)"}
    reference: ClassVar[str] = "Jacobs, 1988"

    def start(self, theta: Tensor, shapes: Mapping[str, torch.Size]) -> dict[str, Tensor]:
        return {"gain": torch.ones_like(theta), "mean": torch.zeros_like(theta)}

    def update(self, theta: Tensor, grad: Tensor, slots: Mapping[str, Tensor], h: Mapping[str, Tensor], lr: Tensor, t: Any, decayed: int) -> None:
        gain, mean = slots["gain"], slots["mean"]  # gain is the parameter's rate over lr, so that lr may be scheduled and changed
        agreement = mean * grad
        up, down = gain + h["kappa"] / h["lr"], gain * (1.0 - h["phi"])
        gain.copy_(torch.where(agreement > 0, up, torch.where(agreement < 0, down, gain)))
        mean.mul_(h["theta"]).add_(grad * (1.0 - h["theta"]))
        theta.sub_(grad.mul_(lr).mul_(gain))
