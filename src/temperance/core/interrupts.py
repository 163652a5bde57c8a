"""Moments in which an interrupt waits."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager


class _Moment(threading.local):
    depth, waiting = 0, False


_moment = _Moment()


def postponed() -> bool:
    """Asked by a handler of signals: whether the interrupt has to wait; then it is raised at the end of :func:`uninterrupted`."""
    _moment.waiting = _moment.depth > 0
    return _moment.waiting


@contextmanager
def uninterrupted() -> Generator[None]:
    """A block, such as writing a file, at whose end an interrupt is raised that came during it.

    Only a handler that asks :func:`postponed` waits, as that of the command line does: a library leaves the handlers of its process alone.

    Raises:
        KeyboardInterrupt: one came, and the block raised nothing else.

    Example:
        >>> postponed()
        False
        >>> try:
        ...     with uninterrupted():
        ...         print(postponed())
        ... except KeyboardInterrupt:
        ...     print("now")
        True
        now
    """
    _moment.depth += 1
    try:
        yield
    finally:
        _moment.depth -= 1
        waited, _moment.waiting = _moment.waiting and not _moment.depth, _moment.waiting and bool(_moment.depth)
    if waited:
        raise KeyboardInterrupt
