"""Values that change with the progress of training, for strengths and learning rates alike."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
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
    shares: ClassVar[tuple[str, ...]] = ("end", "warmup", "flat", "fraction")

    def __init_subclass__(cls) -> None:
        SCHEDULES[cls.__name__] = cls

    def __post_init__(self) -> None:
        for name in self.shares:
            if hasattr(self, name):
                self._check(name, "in [0, 1]", lambda given: 0.0 <= given <= 1.0, "It is a share of the peak value or of the training run.")

    def _check(self, name: str, allowed: str, legal: Callable[[float], bool], mend: str = "", whole: bool = False) -> None:
        """Refuse what is no number (no whole one) or not legal."""
        given = getattr(self, name)
        if isinstance(given, bool) or not isinstance(given, int if whole else (int, float)) or not legal(given):
            raise ConfigError(expected(name, type(self).__name__, allowed, given, mend))

    def factor(self, progress: Tensor) -> Tensor:
        """The multiplier of ``value`` at this progress, a tensor like ``progress``."""
        return torch.ones_like(progress)

    def at(self, progress: Tensor) -> Tensor:
        """The scheduled value; infinity, at which caps are off, stays."""
        factor = self.factor(progress).to(self.value.dtype)
        endless = torch.isinf(self.value)
        return torch.where(endless, self.value, torch.where(endless, torch.zeros_like(self.value), self.value) * factor)

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
class UntilEnd(Schedule):
    """The value, and zero for the last share ``off`` of the run: mixing and strong augmentation that end before training does (Ge et al., 2021).

    Example:
        >>> UntilEnd(torch.tensor(0.2), off=0.1).at(torch.tensor([0.0, 0.89, 0.9, 1.0]))
        tensor([0.2000, 0.2000, 0.0000, 0.0000])
    """

    off: float = 0.1
    shares: ClassVar[tuple[str, ...]] = ("off",)

    def factor(self, progress: Tensor) -> Tensor:
        return (progress < 1.0 - self.off - 1e-6).to(progress.dtype)  # the progress of a step is rounded


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
class Exponential(Schedule):
    """From the value to ``end`` times the value by the same factor each step.

    Example:
        >>> Exponential(torch.tensor(1.0), end=0.01).at(torch.tensor(0.5))
        tensor(0.1000)
    """

    end: float = 0.01

    def __post_init__(self) -> None:
        self._check("end", "in (0, 1]", lambda given: 0.0 < given <= 1.0, "It is a share of the peak value, which is never quite zero.")

    def factor(self, progress: Tensor) -> Tensor:
        return torch.exp(math.log(self.end) * progress.clamp(0.0, 1.0))  # not torch.pow, whose last bit depends on the place in the vector


@dataclass(frozen=True, eq=False)
class StepDecay(Schedule):
    """Constant over ``drops`` + 1 parts of the run of equal length, each ``decay`` times the one before (as in He et al., 2016).

    Example:
        >>> StepDecay(torch.tensor(1.0), decay=0.5, drops=3).at(torch.tensor([0.0, 0.25, 0.5, 1.0]))
        tensor([1.0000, 0.5000, 0.2500, 0.1250])
    """

    decay: float = 0.1
    drops: int = 2

    def __post_init__(self) -> None:
        self._check("decay", "in (0, 1]", lambda given: 0.0 < given <= 1.0, "It is the share of the value that a drop leaves.")
        self._check("drops", "to be a whole number in [1, inf)", lambda given: given >= 1, whole=True)

    def factor(self, progress: Tensor) -> Tensor:
        done = torch.floor(progress.clamp(0.0, 1.0) * (self.drops + 1) + 1e-6).clamp_max(self.drops)  # the progress of a step is rounded
        return torch.exp(math.log(self.decay) * done)


@dataclass(frozen=True, eq=False)
class InverseTime(Schedule):
    """The value over 1 + ``rate`` p: rates whose sum diverges and whose squares' sum does not (Robbins & Monro, 1951).

    Example:
        >>> InverseTime(torch.tensor(1.0), rate=9.0).at(torch.tensor([0.0, 1.0]))
        tensor([1.0000, 0.1000])
    """

    rate: float = 9.0

    def __post_init__(self) -> None:
        self._check("rate", "in [0, inf)", lambda given: 0.0 <= given < math.inf, "At the end of the run the value is divided by 1 + rate.")

    def factor(self, progress: Tensor) -> Tensor:
        return 1.0 / (1.0 + self.rate * progress.clamp(0.0, 1.0))


@dataclass(frozen=True, eq=False)
class Restarts(Schedule):
    """Cosine with warm restarts: ``cycles`` cycles, each ``growth`` times as long as the one before (SGDR, Loshchilov & Hutter, 2017).

    Example:
        >>> Restarts(torch.tensor(1.0), cycles=2, growth=1.0).at(torch.tensor([0.0, 0.25, 0.5]))
        tensor([1.0000, 0.5000, 1.0000])
    """

    cycles: int = 3
    growth: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check("cycles", "to be a whole number in [1, inf)", lambda given: given >= 1, whole=True)
        self._check("growth", "in (0, inf)", lambda given: 0.0 < given < math.inf, "Use 1 for cycles of equal length.")

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
