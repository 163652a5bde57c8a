"""How long a thread of torch spins for the others before it sleeps.

Where other programs run on the same cores, a spinning thread takes the core from the thread that it waits for. OpenMP reads the limit when torch is loaded,
so the command sets it for itself before that; a library call leaves the environment alone. No network depends on it.
"""

from __future__ import annotations

import os
import time
from collections.abc import MutableMapping
from pathlib import Path

SPINS, LIMIT = "GOMP_SPINCOUNT", "OMP_WAIT_POLICY"
ALONE, CROWDED = 10_000, 1_000  # rounds: some 200 microseconds, in which the next operation mostly comes, and 20
LOOKS, APART = 9, 0.003  # times that running programs are counted, and seconds between two
_COUNTS = Path("/proc/loadavg")


def limit_spinning(environment: MutableMapping[str, str], counts: Path = _COUNTS) -> None:
    """Set the limit, unless the user has said how threads wait.

    Args:
        environment: of the process.
        counts: the file in which Linux tells how many programs run at this moment. Where there is none, this does nothing.

    Example:
        >>> said = {"OMP_WAIT_POLICY": "active"}
        >>> limit_spinning(said)
        >>> said
        {'OMP_WAIT_POLICY': 'active'}
    """
    if SPINS in environment or LIMIT in environment:
        return
    running = _running_beside(counts)
    if running is not None:
        free = (os.cpu_count() or 1) - running
        environment[SPINS] = str(ALONE if free >= _threads(environment) else CROWDED)


def _threads(environment: MutableMapping[str, str]) -> int:
    """Threads that torch will start."""
    said = environment.get("OMP_NUM_THREADS", "")
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    return int(said) if said.isdecimal() else len(usable)


def _running_beside(counts: Path) -> int | None:
    """How many other programs mostly run: more than half of the looks find at least so many."""
    seen: list[int] = []
    try:
        for _ in range(LOOKS):
            seen.append(int(counts.read_text().split()[3].partition("/")[0]) - 1)  # this program runs, too
            time.sleep(APART)
    except (OSError, ValueError, IndexError):
        return None
    return max(0, sorted(seen)[len(seen) // 2])
