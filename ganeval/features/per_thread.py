"""Per-thread inference on the CPU: each thread computes images of its own, on cores of its own.

Threads that share one operation meet at its end, a hundred times a batch, and wait there for the slowest. Threads with
images of their own meet once a batch.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

Images = Tensor | Sequence[Tensor]
Features = dict[str, Tensor]

MOST_THREADS = 16
_SETTING = threading.Lock()  # several threads may not set the number of threads at once


@dataclass(frozen=True, slots=True)
class CpuConfig:
    """``threads`` threads with images of their own, each with at most ``batch_size`` in the network at a time."""

    threads: int
    batch_size: int

    @classmethod
    def of(cls, threads: int, batch: int) -> CpuConfig:
        """The configuration under which ``batch`` images are in the network at a time.

        >>> CpuConfig.of(threads=2, batch=16)
        CpuConfig(threads=2, batch_size=8)
        """
        used = min(threads, MOST_THREADS, batch)
        return cls(used, -(-batch // used))

    def slices(self, n: int) -> list[slice]:
        """The parts of n images: as equal as possible, ``batch_size`` at most, as many for every thread.

        >>> [(part.start, part.stop) for part in CpuConfig(threads=2, batch_size=4).slices(10)]
        [(0, 2), (2, 5), (5, 7), (7, 10)]
        """
        count = -(-n // self.batch_size)
        count = min(n, -(-count // self.threads) * self.threads)
        return [slice(i * n // count, (i + 1) * n // count) for i in range(count)]


class PerThreadInference:
    """Computes a function of images in as many threads as PyTorch uses, with ``batch`` images at a time in all of them.

    Features depend on the number of threads by float32 noise.
    """

    def __init__(self, batch: int) -> None:
        self._batch = batch
        self._pool: tuple[tuple[int, int, int], ThreadPoolExecutor] | None = None

    def __call__(self, function: Callable[[Images], Features], images: Images) -> Features:
        """Features of all the images, in order.

        Args:
            function: images to features by tap, without gradients; several threads call it at once.
        """
        threads = torch.get_num_threads()
        config = CpuConfig.of(threads, self._batch)
        parts = [images[part] for part in config.slices(len(images))]
        if config.threads == 1 or len(parts) == 1:
            return _concatenated([function(part) for part in parts])
        alone = functools.partial(_without_gradients, function)
        return _concatenated(list(self._threads(config.threads, threads).map(alone, parts)))

    def _threads(self, used: int, threads: int) -> ThreadPoolExecutor:
        key = os.getpid(), used, threads  # a forked process has no threads but one
        if self._pool is None or self._pool[0] != key:
            try:
                self._pool = key, _pool(used, threads // used)
            finally:
                torch.set_num_threads(threads)  # for every thread that begins to compute later
        return self._pool[1]


def _concatenated(parts: list[Features]) -> Features:
    return parts[0] if len(parts) == 1 else {tap: torch.cat([part[tap] for part in parts]) for tap in parts[0]}


def _without_gradients(function: Callable[[Images], Features], images: Images) -> Features:
    with torch.inference_mode(), torch.autocast("cpu", enabled=False):  # both are settings of one thread
        return function(images)


def _pool(threads: int, cores: int) -> ThreadPoolExecutor:
    """Threads that all exist already; an operation in one of them uses ``cores`` cores."""
    pool, together = ThreadPoolExecutor(threads, thread_name_prefix="ganeval-cpu"), threading.Barrier(threads)

    def begin(_: int) -> None:
        with _SETTING:
            torch.get_num_threads()  # at its first use a thread takes over the program's setting: now, not later
            torch.set_num_threads(cores)
        together.wait()  # so that no thread begins twice

    try:
        list(pool.map(begin, range(threads)))
    except BaseException:  # an interrupt: no thread may wait for ever, nor set its number of threads later
        together.abort()
        pool.shutdown(wait=True, cancel_futures=True)
        raise
    return pool
