"""Stand-ins of the engine's tests: a network of one matrix, and ranks that are threads."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, TypeVar

import numpy as np
import torch

from ganeval.distributed import Group
from ganeval.engine.runtime import Runtime
from ganeval.images.types import ImageBatch

T = TypeVar("T")
CPU = torch.device("cpu")


class FakeExtractor:
    """Features of an image: its pixels times a fixed matrix, by one tap for every layer."""

    device, prepare, from_file = CPU, None, False

    def __init__(self, width: int, *, size: int = 4, batch_size: int = 8, seed: int = 0) -> None:
        self.dimensions = {"tap": width}
        self.batch_size = batch_size
        self.matrix = np.random.default_rng(seed).standard_normal((3 * size * size, width)).astype(np.float32)
        self.fails_at: int | None = None
        self.seen: list[int] = []

    def tap(self, layer: str) -> str:
        return "tap"

    def features(self, pixels: np.ndarray) -> np.ndarray:
        """``(n, height, width, 3) -> (n, width)``, one image at a time: no sum depends on the batch."""
        channels_first = pixels.transpose(0, 3, 1, 2).reshape(len(pixels), -1).astype(np.float32)
        return np.stack([row @ self.matrix for row in channels_first])

    def __call__(self, batch: ImageBatch) -> dict[str, torch.Tensor]:
        self.seen.append(len(batch.names))
        if self.fails_at is not None and len(self.seen) > self.fails_at:
            raise RuntimeError("the network failed")
        pixels = np.stack([np.asarray(image) for image in batch.images]).transpose(0, 2, 3, 1)
        return {"tap": torch.from_numpy(self.features(pixels))}


def runtime(group: Group | None = None) -> Runtime:
    return Runtime(group or Group(), CPU, None, ExitStack())


class _Board:
    def __init__(self, size: int) -> None:
        self.values: list[Any] = [None] * size
        self.barrier = threading.Barrier(size)

    def exchange(self, rank: int, value: Any) -> list[Any]:
        self.values[rank] = value
        self.barrier.wait(30)
        every = list(self.values)
        self.barrier.wait(30)
        return every


class ThreadGroup(Group):
    """A group whose ranks are threads of this process; every rank must make the same calls."""

    def __init__(self, rank: int, size: int, board: _Board) -> None:
        super().__init__(rank, size)
        object.__setattr__(self, "board", board)

    def _all(self, call: str, value: Any) -> list[Any]:
        calls, values = zip(*self.board.exchange(self.rank, (call, value)), strict=True)  # type: ignore[attr-defined]
        assert set(calls) == {call}
        return list(values)

    def agree(self, call: str) -> None:
        self._all(call, None)

    def sums(self, arrays: Any, call: str) -> list[np.ndarray]:
        return [np.sum(parts, axis=0) for parts in zip(*self._all(call, list(arrays)), strict=True)]

    def gather(self, array: np.ndarray, call: str) -> list[np.ndarray]:
        return [part.copy() for part in self._all(call, array)]

    def gather_json(self, value: Any, call: str) -> list[Any]:
        return [json.loads(part) for part in self._all(call, json.dumps(value))]


def over_ranks(size: int, work: Callable[[Group], T]) -> list[T]:
    """What every rank returns, by rank."""
    board = _Board(size)

    def one(rank: int) -> T:
        try:
            return work(ThreadGroup(rank, size, board))
        except BaseException:
            board.barrier.abort()
            raise

    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(one, range(size)))


def cuts(n: int, sizes: list[int]) -> Iterator[slice]:
    """Slices of ``range(n)``, of these sizes again and again."""
    start = 0
    while start < n:
        for size in sizes:
            if start < n:
                yield slice(start, min(n, start + size))
            start += size
