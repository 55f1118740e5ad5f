"""One pass over files of which the cache may know some: those are neither decoded nor sent through a network.

The files of a source are cut into blocks of at most 256, at multiples of the batch size, so that every image that is
computed meets the network in the batch in which it would meet it without a cache. A block with a file that could not
be used is not kept, for what was in the way may pass (too many open files, a network drive). (After a file that was
skipped, a block that follows recalled ones begins a batch of its own; then the features of an image may differ by float
noise.)

Each file is hashed once: where there may be something to find, before it is decoded, and its time and size are compared
afterwards; where there is nothing yet, from the bytes that are decoded. Rows that are kept are those that come back to
the host for the metrics, and rows that are recalled stay there, so that the cache never waits for an accelerator.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Protocol as Interface

import numpy as np
import torch
from torch import Tensor

from ganeval.engine.device_sink import Receiver
from ganeval.engine.packets import MOST_BYTES, packet_bytes
from ganeval.engine.recall_blocks import AHEAD, Block, Blocks, Session
from ganeval.features.cache import FeatureCache, LayerCache
from ganeval.features.cache_entry import Entry
from ganeval.features.interface import Extractor
from ganeval.images.indexed import IndexedSource
from ganeval.images.loading import Regrouper
from ganeval.images.resize import PillowResize
from ganeval.images.types import ImageBatch, ImageSource, Prepare
from ganeval.protocol import WAVELETS

_BLOCK = 256  # files, at most, unless a batch is larger


class Network(Interface):
    """A ``FeatureExtractor``, or what stands for it; see there. Rows that are on the host already are arrays."""

    device: torch.device
    prepare: PillowResize | None

    def __call__(self, batch: ImageBatch, /) -> Mapping[str, Tensor] | Mapping[str, np.ndarray]: ...


Receivers = Callable[[Network, str, ImageBatch], Receiver | None]  # who else takes the rows of a batch at a tap


@dataclass(frozen=True, slots=True)
class Recalled(ImageBatch):
    """Images whose features are known, without their pixels."""

    rows: Mapping[LayerCache, np.ndarray]


@dataclass(frozen=True, slots=True)
class ToKeep(ImageBatch):
    """Images whose features are to be kept: (block, how many of them, in order) each."""

    parts: tuple[tuple[Block, int], ...]


@contextmanager
def reusing(
    source: ImageSource,
    networks: Sequence[tuple[Extractor, Collection[str]]],
    cache: FeatureCache | None,
    batch_size: int,
) -> Iterator[tuple[ImageSource, list[Network], Receivers | None]]:
    """The source and the networks of a pass, with the cache between them where it can be of use.

    The third thing is who is given the rows of ``collect``.

    The cache is used where the images are files, and the hash of its weights identifies every network. What is complete
    when the block ends, or fails, is in the cache.

    Args:
        networks: each with the taps that are needed.
    """
    if (
        cache is None
        or not networks
        or not all(extractor.from_file for extractor, _ in networks)
        or not all(extractor.protocol.name != WAVELETS or _has_small_packets(source) for extractor, _ in networks)
        or not isinstance(source, IndexedSource)
        or not source.images.on_disk
        or not source.length
    ):
        yield source, [extractor for extractor, _ in networks], None
        return
    layer_caches = [
        {tap: cache.layer_cache(extractor, tap, batch_size) for tap in taps} for extractor, taps in networks
    ]
    every = [layer_cache for one in layer_caches for layer_cache in one.values()]
    calls: list[Network] = [_Remembering(one[0], tabs) for one, tabs in zip(networks, layer_caches, strict=True)]
    threads = AHEAD if source.images.by_threads else 1
    with (
        cache.held(),
        ThreadPoolExecutor(threads, thread_name_prefix="ganeval-hash") as hashing,
        ThreadPoolExecutor(1, thread_name_prefix="ganeval-cache") as writing,
    ):
        session = Session(cache, every, hashing, writing)
        try:
            yield ReusedSource(source, session), calls, _receiver
        finally:
            try:
                for blocks in session.begun:
                    blocks.write()
            finally:
                session.leaving.set()
            for blocks in session.begun:
                blocks.finish()


def _has_small_packets(source: ImageSource) -> bool:
    """Whether the cache may keep the wavelet packets: large ones would drive everything else out of it."""
    needed = packet_bytes(source)
    return needed is not None and needed <= MOST_BYTES


class _Remembering:
    """A network that is not called for what is known."""

    def __init__(self, extractor: Extractor, layer_caches: Mapping[str, LayerCache]) -> None:
        self.device, self.prepare = extractor.device, extractor.prepare
        self.layer_caches = layer_caches
        self._extractor = extractor

    def __call__(self, batch: ImageBatch) -> Mapping[str, Tensor] | Mapping[str, np.ndarray]:
        if isinstance(batch, Recalled):
            return {tap: batch.rows[layer_cache] for tap, layer_cache in self.layer_caches.items()}
        return self._extractor(batch)


def _receiver(network: Network, tap: str, batch: ImageBatch) -> Receiver | None:
    """What keeps the rows of a batch for the blocks that its images are of."""
    if isinstance(network, _Remembering) and isinstance(batch, ToKeep):
        return partial(_keep, network.layer_caches[tap], batch.parts)
    return None


def _keep(layer_cache: LayerCache, parts: Sequence[tuple[Block, int]], rows: np.ndarray) -> None:
    start = 0
    for block, n in parts:
        block.rows.setdefault(layer_cache, []).append(rows[start : start + n].copy())
        start += n


class ReusedSource(IndexedSource):
    """An ``IndexedSource`` that recalls what it can, and keeps the rest.

    Attributes:
        recalled: images of the last pass that were not decoded.
    """

    def __init__(self, source: IndexedSource, session: Session) -> None:
        super().__init__(source.spec, source.images)
        self.indices, self.selection, self.report = source.indices, source.selection, source.report
        self._session, self.recalled = session, 0

    def _batches(self, batch_size: int, workers: int, prepare: Prepare | None, on_error: str) -> Iterator[ImageBatch]:
        """As those of any source, but for what is recalled: one ``Recalled`` a block, of up to 256 images."""
        self.report.restart()
        self.recalled = 0
        blocks = Blocks(self, max(1, _BLOCK // batch_size) * batch_size, self._session)
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

    def _recalled(self, blocks: Blocks, number: int, entries: Sequence[Entry], on_error: str) -> Recalled:
        one = entries[0]  # what is not of a network is the same in all
        names = self.record(one, self.indices[blocks.rows(number)].tolist(), [], on_error)
        rows = {layer_cache: entry.rows for layer_cache, entry in zip(self._session.layer_caches, entries, strict=True)}
        return Recalled(torch.empty(0, 3, 0, 0, dtype=torch.uint8, device="cpu"), names, one.digests, rows)

    def _computed(
        self,
        blocks: Blocks,
        first: int,
        end: int,
        batch_size: int,
        workers: int,
        prepare: Prepare | None,
        on_error: str,
    ) -> Generator[ImageBatch, None, int]:
        """The blocks from ``first``, up to ``end`` or to one that is known after all; returns where it came to."""
        start, stop = blocks.rows(first).start, blocks.rows(end - 1).stop
        decoding = self.part(range(start, stop)).chunks(
            batch_size, workers, prepare, unit=blocks.size, marked=blocks.marked
        )
        regrouper = Regrouper(batch_size, self.report)
        waiting: deque[tuple[Block, int]] = deque()  # whose images the regrouper holds
        try:
            for number in range(first, end):
                if number > first and blocks.is_known(number):
                    end = number
                    break
                block = blocks.begin(number)
                files = blocks.rows(number)
                left = files.stop - files.start
                while left:
                    chunk = next(decoding)
                    left -= len(chunk.indices) + len(chunk.bad)
                    names = self.record(chunk, chunk.indices, chunk.bad, on_error)
                    block.add_chunk(chunk)
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


def _to_keep(batch: ImageBatch, waiting: deque[tuple[Block, int]]) -> ToKeep:
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
