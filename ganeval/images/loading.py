"""Decode chunks of images in a thread, in order, before they are used, and make batches of the chunks."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ganeval.images.decode import UnreadableImage, digest
from ganeval.images.mixed import MixedImages, Packing, join_images
from ganeval.images.summary import add_counts, summarise
from ganeval.images.threads import map_in_threads
from ganeval.images.types import Findings, ImageBatch, Prepare, SourceReport

if TYPE_CHECKING:
    from ganeval.images.room import Turn
    from ganeval.images.types import Images

_AHEAD = 2  # chunks that are decoded before they are asked for


@dataclass(slots=True)
class Chunk(Findings):
    """Decoded images as they travel between processes: one tensor, even where sizes differ.

    Attributes:
        indices: of the images that could be used.
        data: (N, 3, H, W), or flat where sizes differ.
        shapes: (3, H, W) of each image where sizes differ.
        digests: uint64 (N,); None for images on an accelerator.
        bad: (index, reason) of those that could not.
        labels: of the images that could be used, where their items have one.
        marks: what ``Images.fingerprint`` says of those that could be used, from the bytes that were decoded; empty
            unless it was asked for.
    """

    indices: list[int]
    data: Tensor
    shapes: list[tuple[int, ...]] | None = None
    digests: np.ndarray | None = None
    bad: list[tuple[int, str]] = field(default_factory=list)
    labels: list[str | None] = field(default_factory=list)
    marks: list[bytes] = field(default_factory=list)

    def images(self) -> Tensor | MixedImages:
        return self.data if self.shapes is None else MixedImages(self.data, self.shapes)


def load_chunk(
    images: Images,
    indices: Sequence[int],
    stop: threading.Event | None = None,
    *,
    prepare: Prepare | None,
    marked: bool = False,
    turn: Turn | None = None,
    shared: bool = False,
) -> Chunk:
    """Decode some images; a fault of one of them is in the chunk and not raised.

    Args:
        stop: ends it before the next image.
        marked: fill ``Chunk.marks``.
        turn: asked before each image, which waits until there is room for it.
        shared: put the pixels in memory that other processes can map.
    """
    chunk = Chunk([], torch.empty(0, dtype=torch.uint8, device="cpu"))
    packing, digests = Packing(len(indices), shared=shared), []
    for index in indices:
        if (stop is not None and stop.is_set()) or (turn is not None and not turn.begins()):
            break
        size = 0
        try:
            pixels = images.load(index)
            mark = images.mark(index, pixels) if marked else b""
        except UnreadableImage as error:
            chunk.bad.append((index, str(error)))
        else:
            chunk.indices.append(index)
            chunk.labels.append(pixels.label)
            chunk.notes.update(pixels.notes)
            if pixels.format is not None:
                chunk.formats[pixels.format] += 1
            if marked:
                chunk.marks.append(mark)
            digests.append(digest(pixels.array))
            add_counts(chunk.pixels, summarise(pixels.array))
            image = pixels.array.transpose(2, 0, 1) if prepare is None else prepare(pixels.array).numpy()
            packing.add(image)
            size = image.nbytes
        if turn is not None:
            turn.ends(size)
    chunk.data, chunk.shapes = packing.packed()
    chunk.digests = np.array(digests, dtype=np.uint64)
    return chunk


def take_chunk(images: Images, indices: Sequence[int], *, prepare: Prepare | None) -> Chunk:
    """Take images on an accelerator; they stay there, without digests, unless ``prepare`` brings them to the host."""
    good, bad, notes = list(indices), list[tuple[int, str]](), Counter[str]()
    try:
        data, notes = images.take(good)
    except UnreadableImage:
        taken = []
        for index in indices:  # which one is it
            try:
                one, its_notes = images.take([index])
            except UnreadableImage as error:
                bad.append((index, str(error)))
            else:
                taken.append(one)
                notes.update(its_notes)
        spoilt = {index for index, _ in bad}
        good = [index for index in indices if index not in spoilt]
        data = torch.cat(taken) if taken else torch.empty(0, dtype=torch.uint8, device="cpu")
    shapes = None
    if prepare is not None and good:
        packing = Packing(len(good))
        for one in map_in_threads(prepare, list(data.permute(0, 2, 3, 1).cpu().numpy())):
            packing.add(one.numpy())
        data, shapes = packing.packed()
    return Chunk(good, data, shapes, None, bad, notes=notes)


class Regrouper:
    """Turn chunks of any length into batches of ``batch_size`` images; only the last batch may be smaller."""

    def __init__(self, batch_size: int, report: SourceReport) -> None:
        self._batch_size = batch_size
        self._report = report
        self._pieces: list[Tensor | Sequence[Tensor]] = []
        self._names: list[str] = []
        self._digests: list[np.ndarray | None] = []

    def add(
        self, images: Tensor | Sequence[Tensor], names: list[str], digests: np.ndarray | None
    ) -> Iterator[ImageBatch]:
        if not names:
            return
        if not self._names and len(names) == self._batch_size:  # nothing to regroup: no copy
            self._report.used += len(names)
            yield ImageBatch(images, names, digests)
            return
        self._pieces.append(images)
        self._names.extend(names)
        self._digests.extend([None] * len(names) if digests is None else np.split(digests, len(names)))
        while len(self._names) >= self._batch_size:
            yield self._pop(self._batch_size)

    def rest(self) -> Iterator[ImageBatch]:
        if self._names:
            yield self._pop(len(self._names))

    def _pop(self, n: int) -> ImageBatch:
        names, self._names = self._names[:n], self._names[n:]
        digests, self._digests = self._digests[:n], self._digests[n:]
        self._report.used += n
        known = [d for d in digests if d is not None]
        return ImageBatch(join_images(self._taken(n)), names, np.concatenate(known) if len(known) == n else None)

    def _taken(self, n: int) -> list[Tensor | Sequence[Tensor]]:
        """The first n images, in pieces as they came."""
        taken: list[Tensor | Sequence[Tensor]] = []
        while n:
            piece = self._pieces[0]
            taken.append(piece[:n] if n < len(piece) else piece)
            self._pieces[:1] = [piece[n:]] if n < len(piece) else []
            n -= len(taken[-1])
        return taken


def in_a_thread(load: Callable[..., Chunk], parts: Sequence[Sequence[int]]) -> Generator[Chunk, None, None]:
    """Decode in one thread, ``_AHEAD`` chunks ahead; when the generator is closed, the thread ends."""
    pending: deque[Future[Chunk]] = deque()
    stop = threading.Event()
    pool = ThreadPoolExecutor(1, thread_name_prefix="ganeval-decode")
    try:
        for part in parts:
            pending.append(pool.submit(load, part, stop))
            if len(pending) > _AHEAD:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)
