"""Groups that train side by side, one on each core."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import lru_cache
from typing import TypeVar

import torch

from temperance.core.ambient import Together, plain, working_dtype

T = TypeVar("T")
TURN = 2e-4  # seconds after which a thread lets another one on at Python's lock; at Python's own 5 ms one group's checks hold up the other's steps


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
    halted.clear()
    dtype = working_dtype()

    def alone(item: T) -> None:
        with plain(dtype):
            work(item)

    jobs: list[Future[None]] = []
    try:
        with _short_turns:
            pool = _pool(os.getpid(), min(torch.get_num_threads(), len(items), most))
            jobs += [pool.submit(alone, item) for item in items]
            done, _ = wait(jobs, return_when=FIRST_EXCEPTION)
            for job in done:
                job.result()
    except BaseException:
        halted.set()
        for job in jobs:
            job.cancel()
        wait(jobs)
        raise
    finally:
        halted.clear()


@contextmanager
def _shortened() -> Generator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(before, TURN))
    try:
        yield
    finally:
        sys.setswitchinterval(before)


_short_turns = Together(_shortened)


def _on_one_core() -> None:
    torch.get_num_threads()  # a thread's first look sets it to the number of the process
    torch.set_num_threads(1)


@lru_cache(maxsize=8)
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    """Threads that stay: an epoch of few rows takes less time than starting them. A forked process has none of its parent's.

    Each computes on one core. Torch sets that for the thread, but also for threads that start later, so it is set again once all have started.
    """
    cores = torch.get_num_threads()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="temperance", initializer=_on_one_core)
    started = threading.Barrier(threads)
    for job in [pool.submit(started.wait) for _ in range(threads)]:
        job.result()
    torch.set_num_threads(cores)
    return pool
