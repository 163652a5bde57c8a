"""Penalties as priors: what strength a book's sum over rows becomes for a mean loss, and which distribution a penalty states."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from temperance.core.errors import ConfigError, expected


def per_row(lam: float, n: int) -> float:
    """The strength for a mean loss over n rows that equals ``lam`` beside the sum of the losses, or lam/n in a formula: lam / n.

    Here every loss is a mean over rows. Books that add lam/2 ‖w‖² to the *sum* of the losses, or lam/(2n) ‖w‖² to their mean, mean ``L2(per_row(lam, n))``,
    n being the rows that the network trains on; for L1 alike. Nothing converts strengths by itself.

    Args:
        lam: the strength as written there.
        n: rows trained on.

    Raises:
        ConfigError: no strength, or no number of rows.

    Example:
        >>> per_row(5.0, 50_000)
        0.0001
    """
    number = isinstance(lam, (int, float)) and not isinstance(lam, bool)  # pyright: ignore[reportUnnecessaryIsInstance] -- the message for callers without types
    if not number or not 0.0 <= lam < math.inf:
        raise ConfigError(expected("lam", "per_row", "to be a number in [0, inf)", lam))
    return lam / _rows(n, "n", "per_row")


def _rows(n: int, name: str, owner: str) -> int:
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:  # pyright: ignore[reportUnnecessaryIsInstance] -- the message for callers without types
        raise ConfigError(expected(name, owner, "to be a whole number of rows, 1 or more", n, "Give the number of rows that the network trains on."))
    return n


@dataclass(frozen=True)
class Prior:
    """The distribution of each weight that a penalty of one strength states: the minimum of the penalized loss is its posterior mode.

    Attributes:
        strength: the field of the regularizer.
    """

    strength: str
    family: ClassVar[str] = ""
    width: ClassVar[str] = ""


class Gaussian(Prior):
    """Of lam/2 ‖w‖² beside a mean loss over n rows: variance 1 / (n lam)."""

    family: ClassVar[str] = "Gaussian"
    width: ClassVar[str] = "variance"


class Laplace(Prior):
    """Of lam ‖w‖₁ beside a mean loss over n rows: scale 1 / (n lam)."""

    family: ClassVar[str] = "Laplace"
    width: ClassVar[str] = "scale"


def reading(factors: Sequence[Prior], strengths: Mapping[str, float], rows: int | None = None, noise: float | None = None) -> str:
    """A regularizer read as a prior, in words; with numbers where the rows are known.

    A loss that is the mean of -log p over rows, times n, is the negative logarithm of the likelihood, and n times the penalty that of the prior. The mean
    squared error of targets with noise of standard deviation s is 2 s² times such a mean (half of it: s² times), hence the factor.

    Args:
        factors: the priors whose product it is.
        strengths: their strengths by field.
        rows: rows trained on.
        noise: standard deviation s of the targets' noise, where the loss is the mean squared error.

    Raises:
        ConfigError: no number of rows, no standard deviation, or noise without rows.

    Example:
        >>> reading([Gaussian("lam")], {"lam": 0.01}, rows=1000)
        'a Gaussian prior of variance 0.1 on each weight, for a mean loss over 1000 rows (mean squared error with noise s: 2 s² times that)'
        >>> reading([Gaussian("lam")], {"lam": 0.01}, rows=1000, noise=0.5)
        'a Gaussian prior of variance 0.05 on each weight, for the mean squared error over 1000 rows with noise 0.5'
    """
    check_rows(rows, noise)
    unit = 1.0 if noise is None else 2.0 * noise * noise
    named: list[str] = []
    for one in factors:
        lam = strengths[one.strength]
        if rows is None:
            named.append(f"a {one.family} prior of {one.width} 1 / (n {one.strength})")
        elif lam > 0:
            named.append(f"a {one.family} prior of {one.width} {unit / (rows * lam):.4g}")
    if not named:
        return "no prior: it is off"
    what = " times ".join(named) + " on each weight"
    if rows is not None and noise is not None:
        return f"{what}, for the mean squared error over {rows} rows with noise {noise:g}"
    return f"{what}, for a mean loss over {'n' if rows is None else rows} rows (mean squared error with noise s: 2 s² times that)"


def check_rows(rows: int | None, noise: float | None) -> None:
    """Rows, a standard deviation, or none of them.

    Raises:
        ConfigError: no number of rows, no standard deviation, or noise without rows.
    """
    if rows is not None:
        _rows(rows, "rows", "describe")
    if noise is not None and not (isinstance(noise, (int, float)) and not isinstance(noise, bool) and 0.0 < noise < math.inf):  # pyright: ignore[reportUnnecessaryIsInstance] -- the message for callers without types
        raise ConfigError(expected("noise", "describe", "to be a number in (0, inf)", noise, "It is the standard deviation of the targets' noise."))
    if noise is not None and rows is None:
        raise ConfigError(expected("rows", "describe", "to be given where `noise` is", rows, "Give the number of rows that the network trains on."))
