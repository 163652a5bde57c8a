"""How a search drops trials: one table of strategies, found by name."""

from __future__ import annotations

from temperance.core.errors import ConfigError, expected
from temperance.search.rungs import Rungs

DEFAULT_STRATEGY = "keep"
STRATEGIES = {
    "keep": Rungs((1 / 20,), careful=False),
    "rungs": Rungs((1 / 16, 1 / 4), careful=True),
}
REMOVED = ("lengths", "forks", "pbt")


def strategy_for(name: object) -> Rungs:
    """The strategy of this name.

    Raises:
        ConfigError: unknown, or removed.

    Example:
        >>> strategy_for("rungs").rungs(60.0, 100.0)
        [4, 15]
    """
    if isinstance(name, str) and name in STRATEGIES:
        return STRATEGIES[name]
    mend = "It was removed: it did no better on test rows. Use 'keep', the default." if name in REMOVED else ""
    raise ConfigError(expected("strategy", "search", f"to be one of {', '.join(STRATEGIES)}", name, mend))
