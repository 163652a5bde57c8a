"""Groups that train side by side, one on each core."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from typing import TypeVar

import torch

T = TypeVar("T")


def side_by_side(items: Sequence[T], work: Callable[[T], None], halted: threading.Event) -> None:
    """Do the work for every item, as many at a time as torch has threads, each on one of them.

    One core for one group: what a group computes is then the same whoever trains beside it and however many cores there are.

    Args:
        items: in the order in which they start.
        work: ends soon after ``halted`` is set, which is when an item failed or the user interrupts.
        halted: cleared at the start and at the end.

    Raises:
        BaseException: the first failure, once the others have ended.
    """
    if not items:
        return
    cores = torch.get_num_threads()
    halted.clear()
    try:
        with ThreadPoolExecutor(min(cores, len(items)), initializer=partial(torch.set_num_threads, 1)) as pool:
            jobs = [pool.submit(work, item) for item in items]
            try:
                for job in jobs:
                    job.result()
            except BaseException:
                halted.set()
                for job in jobs:
                    job.cancel()
                wait(jobs)
                raise
    finally:
        halted.clear()
        torch.set_num_threads(cores)
