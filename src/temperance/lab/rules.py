"""The rule of a verdict: what a number must be, in every seed or on average."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from temperance.report import words


@dataclass(frozen=True)
class Interval:
    """A mean over seeds with its 95 % interval (Student's t); without spread, or of one seed, the ends are the mean.

    Example:
        >>> Interval.of([1.0, 2.0, 3.0])
        Interval(mean=2.0, low=-0.484..., high=4.484...)
    """

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Interval:
        known = np.asarray(values, dtype=np.float64)
        mean = float(known.mean())
        if len(known) < 2 or not np.isfinite(known).all():
            return cls(mean, mean, mean)
        half = float(stats.t.ppf(0.975, len(known) - 1) * known.std(ddof=1) / math.sqrt(len(known)))
        return cls(mean, mean - half, mean + half)


@dataclass(frozen=True)
class Rule:
    """One condition on one number; a verdict holds where all its rules do.

    Args:
        number: the name of the number.
        sign: ``"<"`` or ``">"``.
        bound: the value that it is compared with.
        on_average: compare the 95 % interval of the mean over seeds instead of the value of every seed.

    Example:
        >>> every("gap", "<", 0.1).holds([0.01, 0.05]), every("gap", "<", 0.1).holds([0.01, 0.5])
        (True, False)
        >>> on_average("gain", ">", 0).holds([1.0, 2.0, 3.0])  # from -0.48 to 4.48
        False
        >>> every("gap", "<", 0.1).text
        'gap: below 0.1 in every seed'
    """

    number: str
    sign: str
    bound: float
    on_average: bool = False

    def __post_init__(self) -> None:
        if self.sign not in ("<", ">"):
            raise ValueError(f"Expected `sign` of Rule to be '<' or '>', got {self.sign!r}.")

    @property
    def text(self) -> str:
        """The rule in words."""
        condition = f"{self.number}: {'below' if self.sign == '<' else 'above'} {words.number(self.bound)}"
        return f"{condition} on average, with its whole 95 % interval" if self.on_average else f"{condition} in every seed"

    def holds(self, values: Sequence[float]) -> bool:
        """Whether the values, one per seed, keep the rule; a value that is not a number keeps none."""
        if not len(values) or not all(math.isfinite(v) for v in values):
            return False
        if self.on_average:
            interval = Interval.of(values)
            return interval.high < self.bound if self.sign == "<" else interval.low > self.bound
        return all(v < self.bound if self.sign == "<" else v > self.bound for v in values)


def every(number: str, sign: str, bound: float) -> Rule:
    """A rule that every seed has to keep: for what is exact."""
    return Rule(number, sign, bound)


def on_average(number: str, sign: str, bound: float) -> Rule:
    """A rule for the mean over seeds, with its whole 95 % interval: for what is true of most runs."""
    return Rule(number, sign, bound, on_average=True)
