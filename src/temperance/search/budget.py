"""Budgets in seconds or trials."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field

from temperance.core.errors import ConfigError

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def parse_budget(text: str | float | None) -> float | None:
    """Seconds of ``"90s"``, ``"5m"`` or ``"1h"``; a plain number is seconds.

    Raises:
        ConfigError: anything else.

    Example:
        >>> parse_budget("5m"), parse_budget("1.5h"), parse_budget(90)
        (300.0, 5400.0, 90.0)
    """
    if text is None:
        return None
    mend = "Write it like 90s, 5m or 1h."
    if isinstance(text, (int, float)) and not isinstance(text, bool):
        seconds = float(text)
    else:
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smh])\s*", str(text))
        if not found:
            raise ConfigError(f"Expected `budget` to be a time such as 90s, 5m or 1h, got {text!r}. {mend}")
        seconds = float(found[1]) * _SECONDS[found[2]]
    if not 0 < seconds < float("inf"):
        raise ConfigError(f"Expected `budget` to be above 0 seconds, got {text!r}. {mend}")
    return seconds


@dataclass
class Clock:
    """Time since the start, against a budget; without one it never ends anything.

    Attributes:
        seconds: the budget, or ``None``.
        start: a ``time.monotonic()``.
    """

    seconds: float | None
    start: float = field(default_factory=time.monotonic)

    @property
    def spent(self) -> float:
        return time.monotonic() - self.start

    def left(self, reserve: float = 0.0) -> float:
        """Seconds left before the reserve; infinite without a budget."""
        return float("inf") if self.seconds is None else self.seconds - reserve - self.spent

    def deadline(self, reserve: float = 0.0) -> float | None:
        """The ``time.monotonic()`` at which the budget less the reserve is spent."""
        return None if self.seconds is None else self.start + self.seconds - reserve
