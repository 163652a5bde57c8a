"""One declaration a strength: validation, message, search range, docs row and the value that means *off*."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from temperance.core.errors import ConfigError, expected
from temperance.core.schedule import Schedule

Strength = Any  # a float, a Schedule, or (bound, inside a step) a scalar tensor


@dataclass(frozen=True)
class Interval:
    """A legal interval in the usual notation, such as ``[0, 1)``."""

    text: str

    def bounds(self) -> tuple[float, float]:
        low, high = self.text[1:-1].split(",")
        return float(low), float(high)

    def __contains__(self, value: float) -> bool:
        low, high = self.bounds()
        above = value >= low if self.text[0] == "[" else value > low
        below = value <= high if self.text[-1] == "]" else value < high
        return above and below


@dataclass(frozen=True)
class StrengthSpec:
    """What one ``strength(...)`` line says."""

    default: float
    off: float
    low: float
    high: float
    log: bool
    valid: Interval
    meaning: str
    side: int = 0
    on_request: bool = False

    def at(self, side: int) -> StrengthSpec:
        """The declaration for images whose shorter side has so many pixels; the same where it does not depend on it, and for 0, no images.

        Example:
            >>> pad = strength(4.0, off=0.0, low=1.0, high=4.0, side=32).metadata["strength"]
            >>> [(spec.default, spec.low, spec.high) for spec in (pad.at(8), pad.at(28), pad.at(64))]
            [(1.0, 1.0, 1.0), (3.5, 1.0, 3.5), (8.0, 1.0, 8.0)]
        """
        if not self.side or not side:
            return self
        share = side / self.side
        return replace(self, default=max(self.low, self.default * share), high=max(self.low, self.high * share))

    def fits(self, side: int) -> bool:
        """Whether images of this side are large enough: the lower end is at most twice what the upper end would be, for a crop a quarter of the side."""
        return not self.side or not side or self.low <= 2.0 * self.high * side / self.side


@dataclass(frozen=True)
class OptionSpec:
    """A static field: it shapes the program, so the planner groups members by it."""

    default: Any
    choices: tuple[Any, ...] | None
    valid: Interval | None
    meaning: str


def strength(
    default: float,
    *,
    off: float,
    low: float,
    high: float,
    log: bool = False,
    valid: str = "[0, inf)",
    meaning: str = "",
    side: int = 0,
    on_request: bool = False,
) -> Any:
    """Declare a strength: a number that becomes a tensor over the population.

    Args:
        default: the value when none is given.
        off: the value at which the regularizer does nothing, bit for bit.
        low: lower end of the search range.
        high: upper end of the search range.
        log: whether the search moves on a logarithmic scale.
        valid: the legal interval, such as ``"[0, 1)"``; the off value is always legal.
        meaning: a few words for tables and reports.
        side: of a strength in pixels, the side of the images that ``default`` and ``high`` are meant for; a search scales both with the side.
        on_request: whether a search tries it only where it is asked for, because it can change what a row means.

    Example:
        >>> strength(0.5, off=0.0, low=0.05, high=0.8, valid="[0, 1)").metadata["strength"].high
        0.8
    """
    spec = StrengthSpec(float(default), float(off), float(low), float(high), log, Interval(valid), meaning, side, on_request)
    return dataclasses.field(default=default, metadata={"strength": spec})


def option(default: Any, *, choices: tuple[Any, ...] | None = None, valid: str | None = None, meaning: str = "") -> Any:
    """Declare a static field: one of ``choices``, or a whole number in the interval ``valid``.

    Args:
        default: the value where none is given.
        choices: the values that are allowed.
        valid: the interval of a whole number, such as ``"[1, inf)"``.
        meaning: what it is, for the tables.

    Example:
        >>> import temperance as tp
        >>> class Noise:
        ...     steps: int = tp.option(7, valid="[1, inf)", meaning="steps of the attack")
        >>> Noise.steps.default
        7
    """
    spec = OptionSpec(default, choices, None if valid is None else Interval(valid), meaning)
    return dataclasses.field(default=default, metadata={"option": spec})


def strengths_of(cls: type) -> dict[str, StrengthSpec]:
    """The strengths of a dataclass, by field name, in order."""
    return {f.name: f.metadata["strength"] for f in dataclasses.fields(cls) if "strength" in f.metadata}


def options_of(cls: type) -> dict[str, OptionSpec]:
    """The static fields of a dataclass, by field name, in order."""
    return {f.name: f.metadata["option"] for f in dataclasses.fields(cls) if "option" in f.metadata}


def check_strength(name: str, owner: str, value: Any, spec: StrengthSpec) -> Any:
    """The value as a float or a schedule; a ConfigError names the field, the interval, the value and the way out."""
    if isinstance(value, Schedule):
        for end in value.ends():
            check_strength(name, owner, end, spec)
        return value
    if isinstance(value, Tensor) and value.dim() == 0:
        value = value.item()
    allowed = f"in {spec.valid.text}" if spec.off in spec.valid else f"in {spec.valid.text} or {spec.off:g}"
    mend = f"Use {spec.off:g} to switch it off; useful values lie between {spec.low:g} and {spec.high:g}{_sized(spec)}."
    if isinstance(value, bool) or (not isinstance(value, (int, float)) and not hasattr(value, "__float__")) or isinstance(value, Tensor):
        raise ConfigError(expected(name, owner, f"to be a number {allowed}", value, "For one value per member use Cocktail.grid."))
    number = float(value)
    if math.isnan(number) or (number not in spec.valid and number != spec.off):
        raise ConfigError(expected(name, owner, allowed, number, mend))
    return number


def _sized(spec: StrengthSpec) -> str:
    return f" for images of {spec.side} x {spec.side} pixels" if spec.side else ""


def check_option(name: str, owner: str, value: Any, spec: OptionSpec) -> Any:
    """The value, or a ConfigError that names the choices."""
    if spec.choices is not None and value not in spec.choices:
        choices = ", ".join(map(repr, spec.choices))
        raise ConfigError(expected(name, owner, f"to be one of {choices}", value))
    if spec.valid is not None and (isinstance(value, bool) or not isinstance(value, int) or value not in spec.valid):
        raise ConfigError(expected(name, owner, f"to be a whole number in {spec.valid.text}", value))
    return value
