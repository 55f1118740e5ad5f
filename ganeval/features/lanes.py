"""Images through a network on the CPU in several threads side by side, each computing on a core of its own.

Threads that share one operation meet at its end, a hundred times a batch, and wait there for the slowest; threads with
images of their own meet once a batch.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from ganeval.features.tuning import Tuner, Way, chosen, tuner

Images = Tensor | Sequence[Tensor]
Features = dict[str, Tensor]

_SETTING = threading.Lock()  # the number of threads is no setting that several threads may make at once


class Lanes:
    """Computes a function of images in the way that was found best.

    Under a way of one lane PyTorch's threads share each operation, as they do without this class. Features depend on
    the way by float32 noise.

    Args:
        network: its name, for what is remembered of it.
        batch: images in a full batch.
        tuned: False: ``batch`` images are in the network at a time, and nothing is measured.
    """

    def __init__(self, network: str, batch: int, *, tuned: bool) -> None:
        self._network, self._batch, self._tuned = network, batch, tuned
        self._tuner: tuple[int, Tuner] | None = None
        self._pool: tuple[tuple[int, int, int], ThreadPoolExecutor] | None = None

    def __call__(self, function: Callable[[Images], Features], images: Images) -> Features:
        """Features of all the images, in order.

        Args:
            function: images to features by tap, without gradients; several threads call it at once.
        """
        threads = torch.get_num_threads()
        with self._tuner_for(threads).timed(len(images)) as way:
            parts = [images[start:end] for start, end in shares(len(images), way)]
            if way.lanes == 1 or len(parts) == 1:
                return _joined([function(part) for part in parts])
            alone = functools.partial(_without_gradients, function)
            return _joined(list(self._threads(way.lanes, threads).map(alone, parts)))

    def _tuner_for(self, threads: int) -> Tuner:
        if self._tuner is None or self._tuner[0] != threads:
            known = tuner(self._network, self._batch, threads) if self._tuned else None
            self._tuner = threads, known or Tuner([chosen(threads, self._batch)], self._batch)
        return self._tuner[1]

    def _threads(self, lanes: int, threads: int) -> ThreadPoolExecutor:
        made_for = os.getpid(), lanes, threads  # a forked process has no threads but one
        if self._pool is None or self._pool[0] != made_for:
            try:
                self._pool = made_for, _pool(lanes, threads // lanes)
            finally:
                torch.set_num_threads(threads)  # what every thread that begins to compute later takes up
        return self._pool[1]


def shares(n: int, way: Way) -> list[tuple[int, int]]:
    """Where the parts of n images begin and end: as alike as can be, ``way.images`` at most, as many for every lane.

    >>> shares(10, Way(lanes=2, images=4))
    [(0, 2), (2, 5), (5, 7), (7, 10)]
    """
    count = -(-n // way.images)
    count = min(n, -(-count // way.lanes) * way.lanes)
    return [(i * n // count, (i + 1) * n // count) for i in range(count)]


def _joined(parts: list[Features]) -> Features:
    return parts[0] if len(parts) == 1 else {tap: torch.cat([part[tap] for part in parts]) for tap in parts[0]}


def _without_gradients(function: Callable[[Images], Features], images: Images) -> Features:
    with torch.inference_mode(), torch.autocast("cpu", enabled=False):  # both are settings of one thread
        return function(images)


def _pool(lanes: int, cores: int) -> ThreadPoolExecutor:
    """Threads that all exist already; an operation in one of them takes so many cores."""
    pool, together = ThreadPoolExecutor(lanes, thread_name_prefix="ganeval-lane"), threading.Barrier(lanes)

    def begin(_: int) -> None:
        with _SETTING:
            torch.get_num_threads()  # at its first use a thread takes up what the program has set: now, not later
            torch.set_num_threads(cores)
        together.wait()  # so that no thread begins twice

    try:
        list(pool.map(begin, range(lanes)))
    except BaseException:  # an interrupt: none may wait for ever, nor set its number of threads later
        together.abort()
        pool.shutdown(wait=True, cancel_futures=True)
        raise
    return pool
