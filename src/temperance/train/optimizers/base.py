"""What optimizers have in common: numbers per member, slots, and one sweep over a flat (members, parameters) arena."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
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
        by_matrix: whether hidden weight matrices are updated as matrices, not number by number.
    """

    lr: Any = 1e-3
    slots: ClassVar[tuple[str, ...]] = ()
    legal: ClassVar[Mapping[str, str]] = {}
    reference: ClassVar[str] = ""
    by_matrix: ClassVar[bool] = False

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

    def start(self, theta: Tensor, shapes: Mapping[str, torch.Size]) -> dict[str, Tensor]:
        """The slots before the first step.

        Args:
            theta: parameters ``(members, n)``.
            shapes: of the parameters of one member by name, in the order of the columns.
        """
        return {name: torch.zeros_like(theta) for name in self.slots}

    def factor(self, progress: Tensor) -> Tensor:
        """The schedule's multiplier of the learning rate."""
        return self.lr.factor(progress) if isinstance(self.lr, Schedule) else torch.ones_like(progress)

    def replace(self, **changes: Any) -> Any:
        """A validated copy; a number given for ``lr`` becomes the peak of the schedule, if there is one."""
        if isinstance(self.lr, Schedule) and "lr" in changes and not isinstance(changes["lr"], Schedule):
            changes["lr"] = self.lr.with_value(changes["lr"])
        return dataclasses.replace(self, **changes)

    def sweep(
        self,
        theta: Tensor,
        grad: Tensor,
        slots: Mapping[str, Tensor],
        hypers: Mapping[str, Tensor],
        lr: Tensor,
        t: Any,
        decayed: int,
        matrices: Mapping[int, torch.Size] | None = None,
    ) -> None:
        """One step for every member, in place.

        Args:
            theta: parameters ``(members, n)``, weights first.
            grad: gradients ``(members, n)``; used as scratch space.
            slots: moments, each ``(members, n)``.
            hypers: numbers ``(members,)``.
            lr: learning rates of this step ``(members,)``.
            t: steps done before this one, an int or a tensor ``()``.
            decayed: how many leading columns are weights, for decoupled decay.
            matrices: shapes of what is updated as a matrix, by first column.
        """
        rows, n = theta.shape
        if matrices:
            edges = sorted({0, n, decayed, *matrices, *(a + shape.numel() for a, shape in matrices.items())})
            for a, b in pairwise(edges):
                parts, weights = (theta[:, a:b], grad[:, a:b], {name: slot[:, a:b] for name, slot in slots.items()}), b - a if a < decayed else 0
                if a not in matrices:
                    self.sweep(*parts, hypers, lr, t, weights)
                    continue
                weight, slope = (part.unflatten(1, matrices[a]) for part in parts[:2])
                moments = {name: slot.unflatten(1, matrices[a]) for name, slot in parts[2].items()}
                columns = {name: value.reshape(-1, 1, 1) for name, value in hypers.items()}
                self.update(weight, slope, moments, columns, lr.reshape(-1, 1, 1), t, weights)
            return
        block = max(1, BLOCK_BYTES // max(1, n * theta.element_size()))
        for a in range(0, rows, block):
            part = slice(a, a + block)
            columns = {name: value[part].unsqueeze(1) for name, value in hypers.items()}
            self.update(theta[part], grad[part], {name: slot[part] for name, slot in slots.items()}, columns, lr[part].unsqueeze(1), t, decayed)

    def update(self, theta: Tensor, grad: Tensor, slots: Mapping[str, Tensor], h: Mapping[str, Tensor], lr: Tensor, t: Any, decayed: int) -> None:
        """The formula, on one block; ``h`` and ``lr`` are columns. A matrix that is updated as one comes as ``(members, rows, columns)``."""
        raise TypeError(f"{type(self).__name__} has no update.")

    def scale(self, slots: Mapping[str, Tensor], h: Mapping[str, Tensor], t: Any) -> Tensor | None:
        """What the last update divided its step by in each coordinate, from the slots after it; ``None`` where it divides by nothing.

        Args:
            slots: moments, each ``(members, n)``.
            h: numbers, as columns.
            t: steps done before that update.
        """
        return None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        out: dict[str, Any] = {"optimizer": type(self).__name__}
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            out[f.name] = {"schedule": type(value).__name__, **dataclasses.asdict(value)} if isinstance(value, Schedule) else value
        return out


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
