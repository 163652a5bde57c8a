"""Groups that train side by side, one on each core."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from functools import partial
from typing import TypeVar

import torch

T = TypeVar("T")


def side_by_side(items: Sequence[T], work: Callable[[T], None], halted: threading.Event, most: int) -> None:
    """Do the work for every item, as many at a time as torch has threads, each on one of them.

    One core for one group: what a group computes is then the same whoever trains beside it and however many cores there are.

    Args:
        items: in the order in which they start.
        work: ends soon after ``halted`` is set, which is when an item failed or the user interrupts.
        halted: cleared at the start and at the end.
        most: how many at a time at most.

    Raises:
        BaseException: the first failure, once the others have ended.
    """
    if not items:
        return
    cores = torch.get_num_threads()
    halted.clear()
    jobs: list[Future[None]] = []
    try:
        with ThreadPoolExecutor(min(cores, len(items), most), initializer=partial(torch.set_num_threads, 1)) as pool:
            try:
                jobs += [pool.submit(work, item) for item in items]
                done, _ = wait(jobs, return_when=FIRST_EXCEPTION)
                for job in done:
                    job.result()
            except BaseException:
                halted.set()
                pool.shutdown(cancel_futures=True)
                raise
    finally:
        halted.clear()
        torch.set_num_threads(cores)
