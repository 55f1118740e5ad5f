"""Work on images that releases the interpreter's lock, such as Pillow's, on all cores that this process may use."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from ganeval.parsing.variables import count

T = TypeVar("T")
U = TypeVar("U")


def usable_cores() -> int:
    """The number of cores that this process may use; the ranks of a machine share its cores."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, usable // count("LOCAL_WORLD_SIZE", default=1, least=1))


def map_in_threads(function: Callable[[T], U], items: Sequence[T]) -> list[U]:
    """Apply the function to each item in threads; results in order."""
    if len(items) < 2 or (threads := usable_cores()) < 2:
        return [function(item) for item in items]
    return list(_threads(os.getpid(), threads).map(function, items))


def submit_each(function: Callable[[T], U], items: Iterable[T]) -> list[Future[U]]:
    """Submit the function on each item to the threads; futures in order."""
    pool = _threads(os.getpid(), usable_cores())
    return [pool.submit(function, item) for item in items]


@functools.cache
def _threads(process: int, threads: int) -> ThreadPoolExecutor:  # a forked process has no threads but one
    return ThreadPoolExecutor(threads, thread_name_prefix="ganeval-images")
