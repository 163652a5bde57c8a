"""Output that nobody takes any more."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any


class GoingOn:
    """A stream to which nobody may listen: what cannot be written is dropped, as into a closed pipe, a terminal that is gone or a full disk.

    Args:
        stream: a text stream; everything else is done by it.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write, or drop."""
        try:
            return self._stream.write(text)
        except OSError:
            self._give_up()
            return len(text)

    def flush(self) -> None:
        """Flush, or drop what is waiting."""
        try:
            self._stream.flush()
        except OSError:
            self._give_up()

    def _give_up(self) -> None:
        """From now on nothing is written, also not when Python flushes its streams at the end."""
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


@contextmanager
def going_on(*names: str) -> Generator[None]:
    """Let these streams, ``"stdout"`` or ``"stderr"``, drop what they cannot write, for the time of the block."""
    before = {name: getattr(sys, name) for name in names}
    for name, stream in before.items():
        setattr(sys, name, GoingOn(stream))
    try:
        yield
    finally:
        for name, stream in before.items():
            setattr(sys, name, stream)
