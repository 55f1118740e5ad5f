"""The memory for images that worker processes decode in advance, in bytes, because images have any size."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.context import BaseContext

LIMIT = 440 * 2**20  # bytes over all workers: below 512 MB together with the part that is waited for
_PART_BYTES = 8 * 2**20
_MOST = 16  # images in a part
_POLL = 0.002  # seconds


class Room:
    """Bytes of images that are decoded and not used yet, over all workers.

    The size of an image is not known before it is decoded, so room is reserved for one as large as the largest so far.
    The part that is waited for may always be decoded: no worker waits for ever. Workers count under a lock; the
    process that uses the images takes none, because a worker may be killed while it holds the lock.

    Args:
        context: of the processes that share it.
        limit: bytes; None: ``LIMIT``.
    """

    def __init__(self, context: BaseContext, limit: int | None = None) -> None:
        self._limit, self._parent = LIMIT if limit is None else limit, os.getpid()
        self._lock = context.Lock()
        self._reserved, self._largest = context.RawValue("q", 0), context.RawValue("q", 0)  # workers write these
        self._used, self._wanted = context.RawValue("q", 0), context.RawValue("q", -1)  # the parent writes these
        self._closed = context.RawValue("b", 0)

    @property
    def largest(self) -> int:
        """Bytes of the largest image so far."""
        return int(self._largest.value)

    @property
    def ahead(self) -> int:
        """Bytes that are decoded or reserved, and not used."""
        return int(self._reserved.value - self._used.value)

    def want(self, number: int) -> None:
        """The parent waits for this part."""
        self._wanted.value = number

    def use(self, size: int) -> None:
        """The parent has used so many bytes."""
        self._used.value += size

    def close(self) -> None:
        """Nothing more is wanted: no worker waits any longer."""
        self._closed.value = 1

    def reserve(self, number: int) -> int | None:
        """Wait until the next image of a part may be decoded.

        Returns:
            Bytes that are reserved for it; None where it is no longer wanted.
        """
        while not self._closed.value and self._parent in (os.getppid(), os.getpid()):
            with self._lock:
                size = self.largest
                if number <= self._wanted.value or self.ahead + size <= self._limit:
                    self._reserved.value += size
                    return size
            time.sleep(_POLL)
        return None

    def settle(self, reserved: int, size: int) -> None:
        """The image for which ``reserved`` bytes were reserved has ``size`` bytes; 0 if it cannot be used."""
        with self._lock:
            self._reserved.value += size - reserved
            self._largest.value = max(self.largest, size)


@dataclass(slots=True)
class Turn:
    """A part of the images and the room that it takes."""

    room: Room
    number: int
    _reserved: int = 0

    def begins(self) -> bool:
        """Whether the next image is wanted, once there is room for it."""
        reserved = self.room.reserve(self.number)
        self._reserved = reserved or 0
        return reserved is not None

    def ends(self, size: int) -> None:
        """The image takes so many bytes."""
        self.room.settle(self._reserved, size)


def parts_of(indices: Sequence[int], unit: int, size: Callable[[int], int]) -> Iterator[tuple[int, Sequence[int]]]:
    """Cut numbers of images into numbered parts, each when it is asked for.

    Args:
        unit: no part crosses a multiple of it.
        size: the largest number of images in the next part, where so many are left.
    """
    start = number = 0
    while start < len(indices):
        stop = min(start + size(len(indices) - start), start - start % unit + unit)
        yield number, indices[start:stop]
        start, number = stop, number + 1


def part_size(largest: int, left: int, workers: int) -> int:
    """How many images a worker decodes at a time: few enough that all workers have some, to the end.

    One while no image is known; then at most 16 and, of large images, as many as keep all parts under way within the
    limit.

    Args:
        largest: bytes of the largest image so far.
        left: images that are in no part yet.
    """
    if not largest:
        return 1
    fitting = min(_PART_BYTES, LIMIT // (2 * workers + 1)) // largest
    return max(1, min(_MOST, fitting, left // (2 * workers)))
