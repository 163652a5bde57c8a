"""Values that change with the progress of training, for strengths and learning rates alike."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from temperance.core.errors import ConfigError, expected

SCHEDULES: dict[str, type[Schedule]] = {}


@dataclass(frozen=True, eq=False)
class Schedule:
    """A peak ``value`` times a factor of the progress p in [0, 1] (steps done over steps planned).

    The value is a strength of its own: it is searched and held as a tensor over the population; the other fields are static. Schedules are
    registered classes, not lambdas, so that a cocktail can be written to JSON and read back.
    """

    value: Any
    needs_progress: ClassVar[bool] = True

    def __init_subclass__(cls) -> None:
        SCHEDULES[cls.__name__] = cls

    def __post_init__(self) -> None:
        for name, low in (("end", 0.0), ("warmup", 0.0), ("flat", 0.0), ("fraction", 0.0)):
            given = getattr(self, name, None)
            if given is not None and not low <= given <= 1.0:
                raise ConfigError(expected(name, type(self).__name__, "in [0, 1]", given, "It is a share of the peak value or of the training run."))

    def factor(self, progress: Tensor) -> Tensor:
        """The multiplier of ``value`` at this progress, a tensor like ``progress``."""
        return torch.ones_like(progress)

    def at(self, progress: Tensor) -> Tensor:
        """The scheduled value."""
        return self.value * self.factor(progress).to(self.value.dtype)

    def ends(self) -> tuple[float, ...]:
        """Numbers that a strength's interval must hold."""
        return (float(self.value),)

    def static(self) -> tuple[Any, ...]:
        """Everything but the value: members that share it share a program."""
        return (type(self).__name__, *(getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "value"))

    def with_value(self, value: Any) -> Any:
        return dataclasses.replace(self, value=value)


def _cosine(x: Tensor) -> Tensor:
    return 0.5 * (1.0 + torch.cos(math.pi * x.clamp(0.0, 1.0)))


@dataclass(frozen=True, eq=False)
class Constant(Schedule):
    """The same value at every step; equal to the plain number.

    Example:
        >>> Constant(torch.tensor(0.1)).at(torch.tensor(0.7))
        tensor(0.1000)
    """

    needs_progress: ClassVar[bool] = False

    def at(self, progress: Tensor) -> Tensor:
        return self.value


@dataclass(frozen=True, eq=False)
class Cosine(Schedule):
    """Linear warm-up over the share ``warmup``, then a half cosine down to ``end`` times the value (Loshchilov & Hutter, 2017).

    Example:
        >>> Cosine(torch.tensor(1.0)).at(torch.tensor(0.5))
        tensor(0.5000)
    """

    warmup: float = 0.0
    end: float = 0.0

    def factor(self, progress: Tensor) -> Tensor:
        down = self.end + (1.0 - self.end) * _cosine((progress - self.warmup) / max(1.0 - self.warmup, 1e-12))
        return _warm(progress, self.warmup, down)


@dataclass(frozen=True, eq=False)
class FlatCosine(Schedule):
    """Constant for the share ``flat`` of the run, then a half cosine down to ``end`` times the value, after an optional linear warm-up.

    Example:
        >>> FlatCosine(torch.tensor(1.0), flat=0.5).at(torch.tensor([0.5, 1.0]))
        tensor([1., 0.])
    """

    flat: float = 0.5
    warmup: float = 0.0
    end: float = 0.0

    def factor(self, progress: Tensor) -> Tensor:
        down = self.end + (1.0 - self.end) * _cosine((progress - self.flat) / max(1.0 - self.flat, 1e-12))
        return _warm(progress, self.warmup, down)


@dataclass(frozen=True, eq=False)
class WarmUp(Schedule):
    """From zero to the value in a straight line over the share ``fraction`` of the run, then constant (Goyal et al., 2017).

    Example:
        >>> WarmUp(torch.tensor(1.0), fraction=0.5).at(torch.tensor([0.25, 0.75]))
        tensor([0.5000, 1.0000])
    """

    fraction: float = 0.05

    def factor(self, progress: Tensor) -> Tensor:
        return _warm(progress, self.fraction, torch.ones_like(progress))


@dataclass(frozen=True, eq=False)
class Linear(Schedule):
    """From the value to ``end`` times the value in a straight line.

    Example:
        >>> Linear(torch.tensor(2.0), end=0.5).at(torch.tensor(0.5))
        tensor(1.5000)
    """

    end: float = 0.0

    def factor(self, progress: Tensor) -> Tensor:
        return 1.0 + (self.end - 1.0) * progress.clamp(0.0, 1.0)


@dataclass(frozen=True, eq=False)
class Restarts(Schedule):
    """Cosine with warm restarts: ``cycles`` cycles, each ``growth`` times as long as the one before (SGDR, Loshchilov & Hutter, 2017).

    Example:
        >>> Restarts(torch.tensor(1.0), cycles=2, growth=1.0).at(torch.tensor([0.0, 0.25, 0.5]))
        tensor([1.0000, 0.5000, 1.0000])
    """

    cycles: int = 3
    growth: float = 2.0

    def factor(self, progress: Tensor) -> Tensor:
        lengths = [self.growth**i for i in range(self.cycles)]
        starts = [sum(lengths[:i]) / sum(lengths) for i in range(self.cycles)]
        out = torch.zeros_like(progress)
        for start, length in zip(starts, lengths, strict=True):
            inside = (progress - start) / (length / sum(lengths))
            out = torch.where(progress >= start, _cosine(inside), out)
        return out


def _warm(progress: Tensor, share: float, after: Tensor) -> Tensor:
    return torch.where(progress < share, progress / max(share, 1e-12), after)
