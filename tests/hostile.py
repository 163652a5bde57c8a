"""What becomes of strange input, found in a process of its own: a crash or a hang there is counted, not met."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import numpy as np

from temperance.cli.guard import BUG, explain

SECONDS = 60  # of a process: only what never ends takes so long


def outcome(work: Callable[[], Any]) -> tuple[str, str]:
    """Run it: ``"fine"`` and what it returned as text, or ``"refused"``, ``"bug"``, ``"crash"`` or ``"hang"`` with the message."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        signal.alarm(SECONDS)
        code, text = 3, ""
        try:
            code, text = 0, str(work())
        except Exception as error:
            text, code = explain(error)
            code = 1 if code == BUG else code
        finally:
            os.write(write, text.encode(errors="replace")[:60_000])
            os._exit(code)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        text = pipe.read().decode()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return {0: "fine", 2: "refused", 1: "bug", -signal.SIGALRM: "hang"}.get(code, f"crash {code}"), text


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Some bytes of a file changed, cut, doubled or blanked."""
    out = bytearray(content)
    a, b = sorted(rng.integers(0, len(out) + 1, 2).tolist())
    kind = rng.integers(6)
    if kind <= 1:
        for place in rng.integers(0, max(1, len(out)), int(rng.choice([1, 3, 30]))):
            out[place : place + 1] = bytes([int(rng.integers(256))])
    elif kind == 2:
        del out[a:]
    elif kind == 3:
        out[a:b] = bytes(b - a)
    elif kind == 4:
        out[a:a] = out[a:b]
    else:
        del out[a : min(b, a + 20)]
    return bytes(out)
