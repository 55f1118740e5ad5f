"""How many images go through a network at a time on this CPU: measured on a run's own first batches, and remembered.

No image is computed for the sake of measuring: the first batches are computed in different ways, and timed.
"""

from __future__ import annotations

import functools
import hashlib
import json
import platform
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import platformdirs
import torch

from ganeval.errors import InputError
from ganeval.files import written_whole
from ganeval.parsing.documents import read_json

MOST_LANES = 16
_TURNS = 2  # that each way is timed, unless it is far behind after the first
_FAR = 1.25  # times the fastest
_BETTER = 0.97  # of the time of the way that comes first: less is noise


@dataclass(frozen=True, slots=True)
class Way:
    """``lanes`` threads with images of their own, each with at most ``images`` in the network at a time."""

    lanes: int
    images: int


def ways(threads: int, batch: int) -> tuple[Way, ...]:
    """All that are worth a try; the first is good where nothing has been measured.

    >>> [(way.lanes, way.images) for way in ways(2, 16)]
    [(2, 4), (2, 2), (2, 8), (1, 8), (1, 16)]
    """
    lanes = min(threads, MOST_LANES, batch)
    each = [Way(lanes, images) for images in (4, 2, 8, 16, 1) if images * lanes <= batch and (images > 1 or lanes > 4)]
    each = each or [Way(lanes, 1)]
    return (*each, *(Way(1, images) for images in (8, 16) if lanes > 1 and images <= batch))


def chosen(threads: int, batch: int) -> Way:
    """The way under which ``batch`` images are in the network at a time."""
    lanes = min(threads, MOST_LANES, batch)
    return Way(lanes, -(-batch // lanes))


class Tuner:
    """Says which way each batch is computed; the fastest, once all were timed.

    Args:
        ways: to choose from; one alone is not timed.
        batch: images in a full batch; others are not timed.
        file: where the choice is remembered; a missing, damaged or foreign one is made anew, one that cannot be written
            is done without.

    Attributes:
        way: the best so far.
    """

    def __init__(self, ways: Sequence[Way], batch: int, file: Path | None = None) -> None:
        self._ways, self._batch, self._file = tuple(ways), batch, file
        self._seconds: dict[Way, float] = {}
        remembered = _read(file, self._ways) if file is not None else None
        self.way = remembered or self._ways[0]
        self._trials = list(self._ways) * _TURNS if remembered is None and len(self._ways) > 1 else []
        self._warm = False

    @contextmanager
    def timed(self, n: int) -> Iterator[Way]:
        """The way for a batch of n images, which is computed inside."""
        if not self._trials or n != self._batch or not self._warm:
            yield self.way
            self._warm = True
            return
        way, started = self._trials[0], time.perf_counter()
        yield way
        self._seconds[way] = min(self._seconds.get(way, float("inf")), time.perf_counter() - started)
        slow = _FAR * min(self._seconds.values())
        self._trials = [other for other in self._trials[1:] if self._seconds.get(other, 0.0) <= slow]
        if not self._trials:
            self._choose()

    def _choose(self) -> None:
        fastest = min(self._ways, key=lambda way: self._seconds[way])
        if self._seconds[fastest] < _BETTER * self._seconds[self._ways[0]]:
            self.way = fastest
        if self._file is not None:
            with suppress(InputError, OSError):  # a folder that cannot be written to: measured again next time
                self._file.parent.mkdir(parents=True, exist_ok=True)
                with written_whole(self._file) as temporary:
                    temporary.write_text(json.dumps(asdict(self.way)), encoding="utf-8")


def tuner(network: str, batch: int, threads: int) -> Tuner:
    """That of a network on this machine with so many threads, which remembers; made when there is something to run."""
    key = {"cpu": cpu(), "threads": threads, "torch": torch.__version__, "network": network, "batch": batch}
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    folder = platformdirs.user_cache_path("ganeval", appauthor=False) / "tuning"
    return Tuner(ways(threads, batch), batch, folder / f"{name}.json")


@functools.cache
def cpu() -> str:
    """The processor's name as its maker has it."""
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return platform.processor() or platform.machine()


def _read(file: Path, ways: Sequence[Way]) -> Way | None:
    try:
        way = read_json(file, Way, what="choice of a tuner", advice="It is made anew.")
    except InputError:
        return None
    return way if way in ways else None
