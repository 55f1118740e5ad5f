"""Blocks of files on their way into the cache, or out of it: their keys, and what is known of each."""

from __future__ import annotations

import copy
import hashlib
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from ganeval.features.cache import FeatureCache, LayerCache
from ganeval.features.cache_entry import Entry
from ganeval.images.indexed import IndexedSource
from ganeval.images.loading import Chunk
from ganeval.images.types import Findings

AHEAD = 4  # blocks that are hashed, and looked up, before they are needed
_WAITING = 4  # blocks that wait to be written


@dataclass(slots=True, eq=False)
class Block(Findings):
    """What is known so far of a block that is being computed."""

    number: int
    decoded: bool = False  # all of it
    whole: bool = True  # not one image was left out
    digests: list[np.ndarray] = field(default_factory=list)
    marks: list[bytes] = field(default_factory=list)
    rows: dict[LayerCache, list[np.ndarray]] = field(default_factory=dict)

    def add_chunk(self, chunk: Chunk) -> None:
        if chunk.digests is not None:
            self.digests.append(chunk.digests)
        self.marks += chunk.marks
        self.whole = self.whole and not chunk.bad
        self.add(chunk)

    def complete(self, layer_caches: Sequence[LayerCache]) -> bool:
        n = sum(map(len, self.digests))
        return self.decoded and all(sum(map(len, self.rows.get(layer_cache, ()))) == n for layer_cache in layer_caches)


@dataclass(frozen=True, slots=True)
class Session:
    """What the sources of one pass have in common."""

    cache: FeatureCache
    layer_caches: Sequence[LayerCache]
    hashing: ThreadPoolExecutor  # of files
    writing: ThreadPoolExecutor  # of entries
    begun: list[Blocks] = field(default_factory=list)
    leaving: threading.Event = field(default_factory=threading.Event)  # no hash is needed but of what is being written


class Blocks:
    """The blocks of a source: their keys, what the cache has of them, and those that are on their way into it.

    Attributes:
        size: files in a block.
        marked: nothing can be found, and files are hashed where they are decoded.
    """

    def __init__(self, source: IndexedSource, size: int, session: Session) -> None:
        self._files, self._spec, self.size = source.indices, source.spec, size
        # neither the session, which has this, nor the source: an archive would be open until the garbage is collected
        self._cache, self._layer_caches, self._leaving = session.cache, session.layer_caches, session.leaving
        self._hasher, self._writer = session.hashing, session.writing
        self._findable = all(layer_cache.folder.is_dir() for layer_cache in session.layer_caches)
        self.marked = source.images.encoded and not self._findable
        self._needed = set[int]()  # blocks that are being written
        # of an archive that is read forward only, another reader than the one that decodes behind it
        self._images = source.images if source.images.encoded else copy.deepcopy(source.images)
        self._found: list[Future[_Found]] = []
        self._begun: deque[Block] = deque()
        self._writing: deque[Future[None]] = deque()
        session.begun.append(self)

    def __len__(self) -> int:
        return -(-len(self._files) // self.size)

    def rows(self, number: int) -> slice:
        return slice(number * self.size, min((number + 1) * self.size, len(self._files)))

    def is_known(self, number: int) -> bool:
        """Whether there seems to be an entry in every layer cache."""
        if not self.marked:
            self._hash_up_to(number + AHEAD)
        if not self._findable:  # then no hash need be waited for
            return False
        key, files = self._found[number].result().key, self._count(number)
        return key is not None and all(layer_cache.has(key, files) for layer_cache in self._layer_caches)

    def recall(self, number: int) -> list[Entry] | None:
        """The entries of all layers, unless one is missing or damaged."""
        if not self.is_known(number):
            return None
        key, files = self._found[number].result().key, self._count(number)
        assert key is not None
        found = (self._cache.get(layer_cache, key, files) for layer_cache in self._layer_caches)
        known = [entry for entry in found if entry is not None]
        return known if len(known) == len(self._layer_caches) else None

    def next_known(self, number: int) -> int:
        """The next block, of those that follow, that is known; their number, if that is not seen from here."""
        ahead = range(number + 1, min(number + 1 + AHEAD, len(self)))
        return next((one for one in ahead if self.is_known(one)), len(self))

    def begin(self, number: int) -> Block:
        if not self.marked:
            self._hash_up_to(number)
        self._begun.append(Block(number))
        return self._begun[-1]

    def write(self) -> None:
        """Send off the blocks of which everything has come, but for those with an image that was left out."""
        while self._begun and self._begun[0].complete(self._layer_caches):
            block = self._begun.popleft()
            if block.whole:
                self._needed.add(block.number)
                self._writing.append(self._writer.submit(self._put, block))
            while len(self._writing) > _WAITING:
                self._writing.popleft().result()

    def finish(self) -> None:
        """What was sent off is written."""
        while self._writing:
            self._writing.popleft().result()

    def _put(self, block: Block) -> None:
        files = self._count(block.number)
        try:
            key = self._key_of_what_was_decoded(block)
            for layer_cache in self._layer_caches:
                if key is not None and not layer_cache.has(key, files):
                    rows, digests = np.concatenate(block.rows[layer_cache]), np.concatenate(block.digests)
                    entry = Entry(rows, digests, self._spec)
                    entry.add(block)
                    self._cache.put(layer_cache, key, files, entry)
        except Exception as error:  # a cache costs time, and never a run
            self._cache.failed(error)

    def _key_of_what_was_decoded(self, block: Block) -> str | None:
        """None where that is not certain: single files can be written anew between the hash and the decoder."""
        if self.marked:
            return _key(block.marks)
        found = self._found[block.number].result()
        if not self._images.encoded:
            return found.key
        if None in found.stamps:
            return found.key if self._hash(block.number).key == found.key else None
        return found.key if self._stamps(block.number) == found.stamps else None

    def _count(self, number: int) -> int:
        return len(self._indices(number))

    def _hash_up_to(self, number: int) -> None:
        for one in range(len(self._found), min(number + 1, len(self))):
            self._found.append(self._hasher.submit(self._hash, one))

    def _hash(self, number: int) -> _Found:
        stamps, marks = self._stamps(number), list[bytes]()
        for index in self._indices(number):
            if self._leaving.is_set() and number not in self._needed:
                return _Found(None, stamps)
            mark = self._images.fingerprint(index)
            if mark is None:
                return _Found(None, stamps)
            marks.append(mark)
        return _Found(_key(marks), stamps)

    def _stamps(self, number: int) -> list[tuple[int, ...] | None]:
        return [self._images.stamp(index) for index in self._indices(number)]

    def _indices(self, number: int) -> list[int]:
        return self._files[self.rows(number)].tolist()  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class _Found:
    """What was found of the files of a block before they were decoded.

    Attributes:
        key: None where one cannot be read, or nobody needs it any more.
        stamps: see ``Images.stamp``; taken before the files were read.
    """

    key: str | None
    stamps: list[tuple[int, ...] | None]


def _key(marks: Sequence[bytes]) -> str:
    """Of the bytes of a block's files, in order."""
    return hashlib.blake2b(b"".join(marks), digest_size=16).hexdigest()
