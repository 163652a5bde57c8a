"""Import what a command needs without the garbage collector, which finds nothing there.

Three hundred thousand objects of modules stay until the process ends. Collecting garbage among them took .6 of the 2.7 seconds of importing, and .3
seconds at each of the later full collections, of which a fit of 20 seconds has two or three.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    """Collect no garbage inside, and leave out of later collections what is there at the end; once in a process, which should be one's own.

    Example:
        >>> import gc
        >>> gc.unfreeze()
        >>> with loading():
        ...     inside = gc.isenabled()
        >>> inside, gc.isenabled(), gc.get_freeze_count() > 0
        (False, True, True)
        >>> gc.unfreeze()
    """
    if gc.get_freeze_count() or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
