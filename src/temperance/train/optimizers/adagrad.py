"""AdaGrad: every parameter's rate falls with the gradients it has seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from temperance.train.optimizers.base import Optimizer


@dataclass(frozen=True, eq=False)
class AdaGrad(Optimizer):
    """r <- r + g²; theta <- theta - lr g / (eps + √r) (Duchi, Hazan & Singer, 2011).

    Rates only fall: good for sparse features and convex losses, while a deep network may stop learning early.

    Example:
        >>> AdaGrad(lr=0.1).hypers()
        {'lr': 0.1, 'eps': 1e-07}
    """

    lr: Any = 1e-2
    eps: float = 1e-7
    slots: ClassVar[tuple[str, ...]] = ("r",)
    legal: ClassVar[Mapping[str, str]] = {"eps": "(0, inf)"}
    reference: ClassVar[str] = "Duchi, Hazan & Singer, 2011"

    def update(self, theta: Tensor, grad: Tensor, slots: Mapping[str, Tensor], h: Mapping[str, Tensor], lr: Tensor, t: Any, decayed: int) -> None:
        r = slots["r"]
        r.add_(grad * grad)
        theta.sub_(grad.mul_(lr).div_(torch.sqrt(r).add_(h["eps"])))

    def scale(self, slots: Mapping[str, Tensor], h: Mapping[str, Tensor], t: Any) -> Tensor | None:
        return torch.sqrt(slots["r"]) + h["eps"]
