"""How a search spends its trials and its time: one class a strategy, found by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from temperance.core.errors import ConfigError, expected

if TYPE_CHECKING:
    from temperance.search.engine import Engine

DEFAULT_STRATEGY = "keep"


class Strategy(Protocol):
    """A way to spend a search.

    The engine offers ``propose`` (configurations of the sampler), ``start`` (a race of them), ``advance`` (a race by one epoch), ``close`` (end a
    race and tell the sampler), ``seconds`` and ``left`` (estimates and time left), and ``limit`` and ``trials``. A strategy calls these until the
    trials or the time are spent; whatever it leaves running is ended and kept.
    """

    def run(self, engine: Engine) -> None:
        """Spend the trials or the time."""
        ...


def _keep() -> Strategy:
    from temperance.search.rungs import keep

    return keep()


def _rungs() -> Strategy:
    from temperance.search.rungs import Rungs

    return Rungs((1 / 16, 1 / 4), careful=True)


def _pbt() -> Strategy:
    from temperance.search.evolve import Evolve

    return Evolve()


def _lengths() -> Strategy:
    from temperance.search.lengths import Lengths

    return Lengths()


def _forks() -> Strategy:
    from temperance.search.forks import Forks

    return Forks()


STRATEGIES: dict[str, Callable[[], Strategy]] = {"keep": _keep, "rungs": _rungs, "lengths": _lengths, "forks": _forks, "pbt": _pbt}


def strategy_for(name: str) -> Strategy:
    """The strategy of this name.

    Raises:
        ConfigError: unknown; the names are told.

    Example:
        >>> type(strategy_for("rungs")).__name__
        'Rungs'
    """
    if name not in STRATEGIES:
        raise ConfigError(expected("strategy", "search", f"to be one of {', '.join(STRATEGIES)}", name))
    return STRATEGIES[name]()
