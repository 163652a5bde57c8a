"""Adam and its kin: AdamW and NAdam."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from temperance.train.optimizers.base import Optimizer


@dataclass(frozen=True, eq=False)
class Adam(Optimizer):
    """theta <- theta - lr m̂ / (√v̂ + eps) with bias-corrected moments (Kingma & Ba, 2015).

    ``inside=True`` divides by √(v̂ + eps) instead. There eps = 1e-8 acts like 1e-4 does outside: gradients shorter than that are hardly enlarged.

    Example:
        >>> sorted(Adam(lr=0.001).hypers())
        ['beta1', 'beta2', 'eps', 'lr']
    """

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    inside: bool = field(default=False, kw_only=True)
    slots: ClassVar[tuple[str, ...]] = ("m", "v")
    legal: ClassVar[Mapping[str, str]] = {"beta1": "[0, 1)", "beta2": "[0, 1)", "eps": "(0, inf)"}
    reference: ClassVar[str] = "Kingma & Ba, 2015"

    def update(self, theta: Tensor, grad: Tensor, slots: Mapping[str, Tensor], h: Mapping[str, Tensor], lr: Tensor, t: Any, decayed: int) -> None:
        m, v = slots["m"], slots["v"]
        beta1, beta2 = h["beta1"], h["beta2"]
        one = 1.0 - torch.exp((t + 1) * beta1.double().log())  # not torch.pow, whose last bit depends on the place in the vector
        two = 1.0 - torch.exp((t + 1) * beta2.double().log())
        m.mul_(beta1).add_(grad * (1.0 - beta1))
        v.mul_(beta2).add_(grad.mul_(grad).mul_(1.0 - beta2))
        if self.inside:
            scale = torch.mul(v, two.reciprocal().to(v.dtype), out=grad).add_(h["eps"]).sqrt_()
        else:
            scale = torch.sqrt(v, out=grad).mul_(two.rsqrt().to(v.dtype)).add_(h["eps"])
        theta.sub_(torch.div(m, scale, out=scale).mul_((lr.double() / one).to(theta.dtype)))

    def scale(self, slots: Mapping[str, Tensor], h: Mapping[str, Tensor], t: Any) -> Tensor | None:
        two = 1.0 - torch.exp((t + 1) * h["beta2"].double().log())
        if self.inside:
            return (slots["v"] * two.reciprocal().to(slots["v"].dtype) + h["eps"]).sqrt()
        return torch.sqrt(slots["v"]) * two.rsqrt().to(slots["v"].dtype) + h["eps"]


@dataclass(frozen=True, eq=False)
class AdamW(Adam):
    """Adam after decoupled decay of the weights: w <- (1 - lr decay) w (Loshchilov & Hutter, 2019).

    Only weights decay: no biases, norms or embedding tables.

    Example:
        >>> AdamW(lr=0.001, weight_decay=0.01).hypers()["weight_decay"]
        0.01
    """

    weight_decay: float = 0.0
    legal: ClassVar[Mapping[str, str]] = {**Adam.legal, "weight_decay": "[0, inf)"}
    reference: ClassVar[str] = "Loshchilov & Hutter, 2019"

    def update(self, theta: Tensor, grad: Tensor, slots: Mapping[str, Tensor], h: Mapping[str, Tensor], lr: Tensor, t: Any, decayed: int) -> None:
        if decayed:
            theta[:, :decayed].mul_(1.0 - lr * h["weight_decay"])
        super().update(theta, grad, slots, h, lr, t, decayed)


@dataclass(frozen=True, eq=False)
class NAdam(Optimizer):
    """Adam with Nesterov's momentum: theta <- theta - lr (mu' m / (1 - Π mu mu') + (1 - mu) g / (1 - Π mu)) / (√v̂ + eps) (Dozat, 2016).

    The momentum of step t (from one) warms up, mu = beta1 (1 - 0.96^(t momentum_decay) / 2); mu' is that of the next step, Π mu the product up to now.
    The returned parameter is the look-ahead point, as in SGD.

    Example:
        >>> NAdam().hypers()
        {'lr': 0.002, 'beta1': 0.9, 'beta2': 0.999, 'eps': 1e-08, 'momentum_decay': 0.004}
    """

    lr: Any = 2e-3
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    momentum_decay: float = 4e-3
    slots: ClassVar[tuple[str, ...]] = ("m", "v", "share")
    legal: ClassVar[Mapping[str, str]] = {**Adam.legal, "momentum_decay": "[0, inf)"}
    reference: ClassVar[str] = "Dozat, 2016"

    def update(self, theta: Tensor, grad: Tensor, slots: Mapping[str, Tensor], h: Mapping[str, Tensor], lr: Tensor, t: Any, decayed: int) -> None:
        m, v, share = slots["m"], slots["v"], slots["share"]  # share is 1 - Π mu, by the same recursion as an average of ones
        beta1, beta2, dtype = h["beta1"], h["beta2"], theta.dtype
        fall = h["momentum_decay"].double() * math.log(0.96)
        now = beta1.double() * (1.0 - 0.5 * torch.exp((t + 1) * fall))
        then = beta1.double() * (1.0 - 0.5 * torch.exp((t + 2) * fall))
        two = 1.0 - torch.exp((t + 1) * beta2.double().log())
        share.mul_(now.to(dtype)).add_((1.0 - now).to(dtype))
        m.mul_(beta1).add_(grad * (1.0 - beta1))
        v.mul_(beta2).add_((grad * grad).mul_(1.0 - beta2))
        scale = torch.sqrt(v).mul_(two.rsqrt().to(dtype)).add_(h["eps"])
        ahead = (share * then.to(dtype)).add_((1.0 - then).to(dtype))
        step = grad.mul_((1.0 - now).to(dtype)).div_(share).add_((m * then.to(dtype)).div_(ahead))
        theta.sub_(step.mul_(lr).div_(scale))

    def scale(self, slots: Mapping[str, Tensor], h: Mapping[str, Tensor], t: Any) -> Tensor | None:
        two = 1.0 - torch.exp((t + 1) * h["beta2"].double().log())
        return torch.sqrt(slots["v"]) * two.rsqrt().to(slots["v"].dtype) + h["eps"]
