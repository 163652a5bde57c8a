"""The errors of temperance: each names the argument, the allowed values, what was given, and the way out."""

from __future__ import annotations


class TemperanceError(Exception):
    """Base of every error raised on purpose; the command line prints it as one message with exit code 2.

    Example:
        >>> import temperance as tp
        >>> try:
        ...     tp.L1(-0.1)
        ... except tp.TemperanceError as error:
        ...     print(error)
        Expected `lam` of L1 in [0, inf), got -0.1. Use 0 to switch it off; useful values lie between 1e-07 and 0.01.
    """


class ConfigError(TemperanceError, ValueError):
    """A setting, strength, cocktail, budget or network that cannot be used.

    Example:
        >>> import temperance as tp
        >>> tp.Dropout(1.5)
        Traceback (most recent call last):
        temperance.core.errors.ConfigError: Expected `rate` of Dropout in [0, 1), got 1.5. Use 0 to switch it off; useful values lie between 0.02 and 0.6.
    """


class DataError(TemperanceError, ValueError):
    """Data that cannot be used.

    Example:
        >>> import temperance as tp
        >>> tp.data.read_table("nowhere.csv")
        Traceback (most recent call last):
        temperance.core.errors.DataError: ...
    """


def expected(name: str, owner: str, allowed: str, got: object, mend: str = "") -> str:
    """The one message form: ``Expected `lam` of L1 in [0, inf), got -0.1.`` plus the way out.

    Example:
        >>> expected("lam", "L1", "in [0, inf)", -0.1, "Use 0 to switch it off.")
        'Expected `lam` of L1 in [0, inf), got -0.1. Use 0 to switch it off.'
    """
    message = f"Expected `{name}` of {owner} {allowed}, got {got!r}."
    return f"{message} {mend}" if mend else message
