"""Optimizers whose every hyper-parameter is a number a member: one sweep over a flat (members, parameters) arena.

torch.optim takes one learning rate for all, hence these. They work in place on blocks of members that fit the cache.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from temperance.core.errors import ConfigError, expected
from temperance.core.schedule import Schedule
from temperance.core.strength import Interval

OPTIMIZERS: dict[str, type[Optimizer]] = {}
BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, eq=False)
class Optimizer:
    """Base of the optimizers. Fields are numbers (``lr`` may be a schedule); ``nesterov`` and the like are static.

    Attributes:
        lr: learning rate, a float or a :class:`~temperance.core.schedule.Schedule`.
    """

    lr: Any = 1e-3
    slots: ClassVar[tuple[str, ...]] = ()
    legal: ClassVar[Mapping[str, str]] = {}
    reference: ClassVar[str] = ""

    def __init_subclass__(cls) -> None:
        OPTIMIZERS[cls.__name__] = cls

    def __post_init__(self) -> None:
        for name, interval in {"lr": "(0, inf)", **self.legal}.items():
            value = getattr(self, name)
            number = value.value if isinstance(value, Schedule) else value
            if isinstance(number, bool) or not isinstance(number, (int, float)) or number not in Interval(interval):
                raise ConfigError(expected(name, type(self).__name__, f"in {interval}", number))

    def hypers(self) -> dict[str, float]:
        """The numbers that become tensors over the population; of a schedule, its peak."""
        out = {"lr": float(self.lr.value if isinstance(self.lr, Schedule) else self.lr)}
        return out | {name: float(getattr(self, name)) for name in self.legal}

    def static(self) -> tuple[Any, ...]:
        """What members must share to train as one program."""
        schedule = self.lr.static() if isinstance(self.lr, Schedule) else ("Constant",)
        rest = tuple((f.name, getattr(self, f.name)) for f in dataclasses.fields(self) if f.name != "lr" and f.name not in self.legal)
        return (type(self).__name__, schedule, rest)

    def factor(self, progress: Tensor) -> Tensor:
        """The schedule's multiplier of the learning rate."""
        return self.lr.factor(progress) if isinstance(self.lr, Schedule) else torch.ones_like(progress)

    def replace(self, **changes: Any) -> Any:
        """A validated copy; a number given for ``lr`` becomes the peak of the schedule, if there is one."""
        if isinstance(self.lr, Schedule) and "lr" in changes and not isinstance(changes["lr"], Schedule):
            changes["lr"] = self.lr.with_value(changes["lr"])
        return dataclasses.replace(self, **changes)

    def sweep(self, theta: Tensor, grad: Tensor, slots: Mapping[str, Tensor], hypers: Mapping[str, Tensor], lr: Tensor, t: Any, decayed: int) -> None:
        """One step for every member, in place.

        Args:
            theta: parameters ``(members, n)``, weights first.
            grad: gradients ``(members, n)``; used as scratch space.
            slots: moments, each ``(members, n)``.
            hypers: numbers ``(members,)``.
            lr: learning rates of this step ``(members,)``.
            t: steps done before this one, an int or a tensor ``()``.
            decayed: how many leading columns are weights, for decoupled decay.
        """
        rows, n = theta.shape
        block = max(1, BLOCK_BYTES // max(1, n * theta.element_size()))
        for a in range(0, rows, block):
            part = slice(a, a + block)
            columns = {name: value[part].unsqueeze(1) for name, value in hypers.items()}
            self.update(theta[part], grad[part], {name: slot[part] for name, slot in slots.items()}, columns, lr[part].unsqueeze(1), t, decayed)

    def update(self, theta: Tensor, grad: Tensor, slots: Mapping[str, Tensor], h: Mapping[str, Tensor], lr: Tensor, t: Any, decayed: int) -> None:
        """The formula, on one block; ``h`` and ``lr`` are columns."""
        raise TypeError(f"{type(self).__name__} has no update.")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        out: dict[str, Any] = {"optimizer": type(self).__name__}
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            out[f.name] = {"schedule": type(value).__name__, **dataclasses.asdict(value)} if isinstance(value, Schedule) else value
        return out


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


@dataclass(frozen=True, eq=False)
class Adam(Optimizer):
    """theta <- theta - lr m̂ / (√v̂ + eps) with bias-corrected moments (Kingma & Ba, 2015).

    Example:
        >>> sorted(Adam(lr=0.001).hypers())
        ['beta1', 'beta2', 'eps', 'lr']
    """

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
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
        scale = torch.sqrt(v, out=grad).mul_(two.rsqrt().to(v.dtype)).add_(h["eps"])
        theta.sub_(torch.div(m, scale, out=scale).mul_((lr.double() / one).to(theta.dtype)))


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


def optimizer_from_dict(data: Mapping[str, Any]) -> Optimizer:
    """The inverse of :meth:`Optimizer.to_dict`."""
    from temperance.core.schedule import SCHEDULES

    fields = {k: v for k, v in data.items() if k != "optimizer"}
    if data.get("optimizer") not in OPTIMIZERS:
        raise ConfigError(expected("optimizer", "a saved run", f"to be one of {', '.join(OPTIMIZERS)}", data.get("optimizer")))
    if isinstance(fields.get("lr"), dict):
        lr = dict(fields["lr"])
        fields["lr"] = SCHEDULES[lr.pop("schedule")](**lr)
    return OPTIMIZERS[data["optimizer"]](**fields)
