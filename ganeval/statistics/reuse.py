"""One pass over files of which the cache may know some: those are neither decoded nor sent through a network.

The files of a source are cut into blocks of at most 256, at multiples of the batch size, so that every image that is
computed meets the network in the batch in which it would meet it without a cache. A block with a file that could not
be used is not kept, for what was in the way may pass (too many open files, a network drive). (After a file that was
skipped, a block that follows recalled ones begins a batch of its own; then the features of an image may differ by float
noise.)
"""

from __future__ import annotations

import copy
import hashlib
import threading
from collections import Counter, deque
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ganeval.features.cache import FeatureCache, Shelf
from ganeval.features.cache_entry import Entry
from ganeval.features.extractor import FeatureExtractor
from ganeval.images.indexed import IndexedSource, check_batches
from ganeval.images.loading import Chunk, Regrouper
from ganeval.images.source import ImageBatch, ImageSource, NumberedSource, Prepare
from ganeval.statistics.collect import Network

_BLOCK = 256  # files, at most, unless a batch is larger
_AHEAD = 4  # blocks that are hashed, and looked up, before they are needed
_WAITING = 4  # blocks that wait to be written


@dataclass(frozen=True, slots=True)
class Recalled(ImageBatch):
    """Images whose features are known, without their pixels."""

    rows: Mapping[Shelf, np.ndarray]


@dataclass(frozen=True, slots=True)
class ToKeep(ImageBatch):
    """Images whose features are to be kept: (block, how many of them, in order) each."""

    parts: tuple[tuple[_Block, int], ...]


@dataclass(slots=True, eq=False)
class _Block:
    """What is known so far of a block that is being computed."""

    number: int
    decoded: bool = False  # all of it
    whole: bool = True  # not one image was left out
    digests: list[np.ndarray] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)
    formats: Counter[str] = field(default_factory=Counter)
    pixels: Counter[str] = field(default_factory=Counter)
    rows: dict[Shelf, list[Tensor]] = field(default_factory=dict)

    def add(self, chunk: Chunk) -> None:
        if chunk.digests is not None:
            self.digests.append(chunk.digests)
        self.whole = self.whole and not chunk.bad
        self.notes.update(chunk.notes)
        self.formats.update(chunk.formats)
        self.pixels.update(chunk.pixels)

    def complete(self, shelves: Sequence[Shelf]) -> bool:
        n = sum(map(len, self.digests))
        return self.decoded and all(sum(map(len, self.rows.get(shelf, ()))) == n for shelf in shelves)


@contextmanager
def reusing(
    source: ImageSource, networks: Sequence[tuple[FeatureExtractor, Collection[str]]], cache: FeatureCache | None,
    batch_size: int,
) -> Iterator[tuple[ImageSource, list[Network]]]:  # fmt: skip
    """The source and the networks of a pass, with the cache between them where it can be of use.

    That is where the images lie in files, and every network is told apart by the hash of its weights. What is complete
    when the block ends, or fails, is in the cache.

    Args:
        networks: each with the taps that are needed.
    """
    if (
        cache is None or not networks or not all(extractor.from_file for extractor, _ in networks)
        or not isinstance(source, IndexedSource) or not source.images.on_disk or not source.length
    ):  # fmt: skip
        yield source, [extractor for extractor, _ in networks]
        return
    shelves = [{tap: cache.shelf(extractor, tap, batch_size) for tap in taps} for extractor, taps in networks]
    every = [shelf for one in shelves for shelf in one.values()]
    calls: list[Network] = [_Remembering(one[0], tabs) for one, tabs in zip(networks, shelves, strict=True)]
    with cache.held(), ThreadPoolExecutor(1, thread_name_prefix="ganeval-cache") as pool:
        session = _Session(cache, every, pool)
        try:
            yield ReusedSource(source, session), calls
        finally:
            try:
                for blocks in session.begun:
                    blocks.write()
            finally:
                session.leaving.set()
            for blocks in session.begun:
                blocks.finish()


@dataclass(frozen=True, slots=True)
class _Session:
    """What the sources of one pass have in common. Files are hashed, and entries written, in one thread of ``pool``."""

    cache: FeatureCache
    shelves: Sequence[Shelf]
    pool: ThreadPoolExecutor
    begun: list[_Blocks] = field(default_factory=list)
    leaving: threading.Event = field(default_factory=threading.Event)  # no hash is needed but of what is being written


class _Remembering:
    """A network that is not called for what is known, and keeps what it finds."""

    def __init__(self, extractor: FeatureExtractor, shelves: Mapping[str, Shelf]) -> None:
        self.device, self.prepare = extractor.device, extractor.prepare
        self._extractor, self._shelves = extractor, shelves

    def __call__(self, batch: ImageBatch) -> Mapping[str, Tensor]:
        if isinstance(batch, Recalled):
            rows = {tap: torch.from_numpy(batch.rows[shelf]) for tap, shelf in self._shelves.items()}
            return {tap: one.to(self.device, non_blocking=True) for tap, one in rows.items()}
        features = self._extractor(batch)
        if isinstance(batch, ToKeep):
            for tap, shelf in self._shelves.items():
                start = 0
                for block, n in batch.parts:
                    # a copy: a captured graph writes into the same memory again
                    block.rows.setdefault(shelf, []).append(features[tap][start : start + n].float().clone())
                    start += n
        return features


class ReusedSource(NumberedSource):
    """An ``IndexedSource`` that recalls what it can, and keeps the rest.

    Attributes:
        recalled: images of the last pass that were not decoded.
    """

    def __init__(self, source: IndexedSource, session: _Session) -> None:
        self.spec, self.report = source.spec, source.report
        self.recalled = 0
        self._source, self._session = source, session

    @property
    def length(self) -> int:
        return self._source.length

    def part(self, rows: Sequence[int] | np.ndarray, chosen: dict[str, object] | None = None) -> ReusedSource:
        return ReusedSource(self._source.part(rows, chosen), self._session)

    @property
    def reopens(self) -> bool:
        return self._source.reopens

    def describe(self) -> dict[str, object]:
        return self._source.describe()

    def check(self, on_error: str = "stop") -> None:
        self._source.check(on_error)

    def labels(self) -> list[str] | None:
        return self._source.labels()

    def input_digests(self) -> np.ndarray | None:
        return self._source.input_digests()

    def names(self) -> list[str] | None:
        return self._source.names()

    def batches(
        self, batch_size: int, *, workers: int = 0, prepare: Prepare | None = None, on_error: str = "stop"
    ) -> Iterator[ImageBatch]:
        """As those of any source, but for what is recalled: one ``Recalled`` a block, of up to 256 images."""
        check_batches(batch_size, workers, on_error)
        return self._batches(batch_size, workers, prepare, on_error)

    def _batches(self, batch_size: int, workers: int, prepare: Prepare | None, on_error: str) -> Iterator[ImageBatch]:
        self.report.restart()
        self.recalled = 0
        blocks = _Blocks(self._source, max(1, _BLOCK // batch_size) * batch_size, self._session)
        number = 0
        while number < len(blocks):
            entries = blocks.recall(number)
            if entries is None:
                end = blocks.next_known(number)
                number = yield from self._computed(blocks, number, end, batch_size, workers, prepare, on_error)
                continue
            batch = self._recalled(blocks, number, entries, on_error)
            self.report.used += len(batch.names)
            self.recalled += len(batch.names)
            yield batch
            number += 1

    def _recalled(self, blocks: _Blocks, number: int, entries: Sequence[Entry], on_error: str) -> Recalled:
        one = entries[0]  # what is not of a network is the same in all
        indices = self._source.indices[blocks.rows(number)].tolist()
        names = self._source.met(indices, [], one.notes, one.formats, on_error)
        self.report.pixels.update(one.pixels)
        rows = {shelf: entry.rows for shelf, entry in zip(self._session.shelves, entries, strict=True)}
        return Recalled(torch.empty(0, 3, 0, 0, dtype=torch.uint8, device="cpu"), names, one.digests, rows)

    def _computed(
        self, blocks: _Blocks, first: int, end: int, batch_size: int, workers: int, prepare: Prepare | None,
        on_error: str,
    ) -> Generator[ImageBatch, None, int]:  # fmt: skip
        """The blocks from ``first``, up to ``end`` or to one that is known after all; returns where it came to."""
        start, stop = blocks.rows(first).start, blocks.rows(end - 1).stop
        decoding = self._source.part(range(start, stop)).chunks(batch_size, workers, prepare)
        regrouper = Regrouper(batch_size, self.report)
        waiting: deque[tuple[_Block, int]] = deque()  # whose images the regrouper holds
        try:
            for number in range(first, end):
                if number > first and blocks.is_known(number):
                    end = number
                    break
                block = blocks.begin(number)
                files = blocks.rows(number)
                for _ in range(files.start, files.stop, batch_size):
                    chunk = next(decoding)
                    names = self._source.met(chunk.indices, chunk.bad, chunk.notes, chunk.formats, on_error)
                    self.report.pixels.update(chunk.pixels)
                    block.add(chunk)
                    waiting.append((block, len(names)))
                    for batch in regrouper.add(chunk.images(), names, chunk.digests):
                        yield _to_keep(batch, waiting)
                block.decoded = True
                blocks.write()
            for batch in regrouper.rest():
                yield _to_keep(batch, waiting)
            blocks.write()
            return end
        finally:
            decoding.close()


def _to_keep(batch: ImageBatch, waiting: deque[tuple[_Block, int]]) -> ToKeep:
    parts = []
    left = len(batch.names)
    while left:
        block, n = waiting.popleft()
        take = min(left, n)
        if n > take:
            waiting.appendleft((block, n - take))
        if take:
            parts.append((block, take))
        left -= take
    return ToKeep(batch.images, batch.names, batch.digests, tuple(parts))


class _Blocks:
    """The blocks of a source: their keys, what the cache has of them, and those that are on their way into it."""

    def __init__(self, source: IndexedSource, size: int, session: _Session) -> None:
        self._source, self._size = source, size
        self._cache, self._shelves, self._pool = session.cache, session.shelves, session.pool
        self._leaving, self._needed = session.leaving, set[int]()  # blocks that are being written
        # of an archive that is read forward only, another reader than the one that decodes behind it
        self._images = source.images if source.images.encoded else copy.deepcopy(source.images)
        self._keys: list[Future[str | None]] = []
        self._begun: deque[_Block] = deque()
        self._writing: deque[Future[None]] = deque()
        session.begun.append(self)

    def __len__(self) -> int:
        return -(-self._source.length // self._size)

    def rows(self, number: int) -> slice:
        return slice(number * self._size, min((number + 1) * self._size, self._source.length))

    def is_known(self, number: int) -> bool:
        """Whether there seems to be an entry on every shelf."""
        self._hash_up_to(number + _AHEAD)
        if not all(shelf.folder.is_dir() for shelf in self._shelves):  # then no hash need be waited for
            return False
        key, files = self._key(number)
        return key is not None and all(shelf.has(key, files) for shelf in self._shelves)

    def recall(self, number: int) -> list[Entry] | None:
        """The entries of all shelves, unless one is missing or damaged."""
        if not self.is_known(number):
            return None
        key, files = self._key(number)
        assert key is not None
        found = []
        for shelf in self._shelves:
            entry = self._cache.get(shelf, key, files)
            if entry is None:
                return None
            found.append(entry)
        return found

    def next_known(self, number: int) -> int:
        """The next block, of those that follow, that is known; their number, if that is not seen from here."""
        ahead = range(number + 1, min(number + 1 + _AHEAD, len(self)))
        return next((one for one in ahead if self.is_known(one)), len(self))

    def begin(self, number: int) -> _Block:
        self._hash_up_to(number)
        self._begun.append(_Block(number))
        return self._begun[-1]

    def write(self) -> None:
        """Send off the blocks of which everything has come, but for those with an image that was left out."""
        while self._begun and self._begun[0].complete(self._shelves):
            block = self._begun.popleft()
            if not block.whole:
                continue
            self._needed.add(block.number)
            key, files = self._keys[block.number], self.rows(block.number)
            digests = np.concatenate(block.digests)
            unchanged = self._pool.submit(self._is_unchanged, block.number)
            for shelf in self._shelves:
                rows = torch.cat(block.rows[shelf]).cpu().numpy()
                entry = Entry(rows, digests, block.notes, block.formats, self._source.spec, block.pixels)
                self._writing.append(
                    self._pool.submit(self._put, shelf, key, unchanged, files.stop - files.start, entry)
                )
            while len(self._writing) > _WAITING * len(self._shelves):
                self._writing.popleft().result()

    def finish(self) -> None:
        """What was sent off is written."""
        while self._writing:
            self._writing.popleft().result()

    def _put(
        self, shelf: Shelf, key: Future[str | None], unchanged: Future[bool], files: int, entry: Entry
    ) -> None:  # fmt: skip
        try:
            name = key.result()  # found before, in this same thread, as is the other
            if name is not None and unchanged.result() and not shelf.has(name, files):
                self._cache.put(shelf, name, files, entry)
        except Exception as error:  # a cache costs time, and never a run
            self._cache.failed(error)

    def _is_unchanged(self, number: int) -> bool:
        """Whether what was hashed is what was decoded: single files can be written anew in between."""
        return not self._images.encoded or self._hash(number) == self._keys[number].result()

    def _key(self, number: int) -> tuple[str | None, int]:
        files = self.rows(number)
        return self._keys[number].result(), files.stop - files.start

    def _hash_up_to(self, number: int) -> None:
        for one in range(len(self._keys), min(number + 1, len(self))):
            self._keys.append(self._pool.submit(self._hash, one))

    def _hash(self, number: int) -> str | None:
        """Of the bytes of a block's files, in order; None where one cannot be read, or nobody needs it any more."""
        state = hashlib.blake2b(digest_size=16)
        for index in self._source.indices[self.rows(number)].tolist():
            if self._leaving.is_set() and number not in self._needed:
                return None
            mark = self._images.fingerprint(index)
            if mark is None:
                return None
            state.update(mark)
        return state.hexdigest()
