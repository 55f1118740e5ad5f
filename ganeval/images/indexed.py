"""Sources whose images can be read by number, in any process: folders, archives, arrays, datasets, rendered images."""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np

from ganeval.images.decode import UnreadableImage, find_fault
from ganeval.images.loading import Chunk, Regrouper, in_a_thread, load_chunk, take_chunk
from ganeval.images.names import printable, shared_folders
from ganeval.images.types import (
    Findings,
    ImageBatch,
    Images,
    NumberedSource,
    Prepare,
    SourceReport,
    check_on_error,
    unusable,
)
from ganeval.images.workers import in_processes

T = TypeVar("T")
_FEW = 16  # images that are decoded sooner than a process has started


class PerProcess(Generic[T]):
    """A resource that each process opens on first use; an inherited file position would be shared between processes."""

    def __init__(self, open_it: Callable[[], T]) -> None:
        self._open = open_it
        self._held: tuple[int, T] | None = None

    def get(self) -> T:
        held = self._held
        if held is None or held[0] != os.getpid():
            held = self._held = (os.getpid(), self._open())
        return held[1]

    def __reduce__(self) -> tuple[object, ...]:
        return (PerProcess, (self._open,))


class EncodedFiles(Images):
    """Image files by name, in a folder or in archives; a name is its path below the place, with forward slashes.

    Args:
        names: of the images, in order.
        ignored: see ``Images``.

    Attributes:
        listed_labels: the class of each image, where another file names it.
    """

    encoded = True
    by_threads = True

    def __init__(self, names: list[str], ignored: Counter[str]) -> None:
        self.ignored = ignored
        self._names = names
        self.listed_labels: list[str] | None = None
        self.sizes: set[tuple[int, int]] = set()

    def __len__(self) -> int:
        return len(self._names)

    def name(self, index: int) -> str:
        return printable(self._names[index])

    def fault(self, index: int) -> str | None:
        try:
            return find_fault(io.BytesIO(self.read(index)), self.sizes)
        except UnreadableImage as error:
            return str(error)

    def labels(self) -> list[str] | None:
        return self.listed_labels or class_labels([self.name(index) for index in range(len(self))])

    def classes(self) -> list[str] | None:
        """The names of the class folders in the order in which torchvision numbers them."""
        labels = self.labels()
        return None if labels is None else sorted(set(labels))


class IndexedSource(NumberedSource):
    """Some of the images of an ``Images``, in order."""

    def __init__(self, spec: str, images: Images) -> None:
        self.spec, self.images, self.indices = spec, images, np.arange(len(images))
        self.report = SourceReport(ignored=Counter(images.ignored))
        self.given_labels: list[str] | None = None  # of all images of ``images``, by the user
        self._drawn_labels: list[str | None] = []  # of the images drawn last, where their items have one

    @property
    def reopens(self) -> bool:
        return self.images.reopens

    @property
    def takes_range(self) -> bool:
        return self.images.takes_range

    @property
    def decode_policy(self) -> str | None:
        declared = self.images.deep_range
        return None if declared is None else f"range:{declared[0]:.9g},{declared[1]:.9g}"

    def check(self, on_error: str = "stop") -> None:
        check_on_error(on_error)
        bad = []
        for index in self.indices.tolist():
            fault = self.images.fault(index)
            if fault is not None:
                bad.append((self.images.name(index), fault))
            elif on_error == "skip":
                return  # the others are dropped, and counted, when they are decoded
        if not bad and not self.images.encoded and on_error == "stop":
            first = int(self.indices[0])  # a wrong dtype or range is wrong from the first image on
            try:
                self.images.load(first)
            except UnreadableImage as error:
                bad = [(self.images.name(first), str(error))]
        if bad:
            raise unusable(self.spec, bad, self.length)
        sizes = set(self.images.sizes)
        self.image_size = sizes.pop() if len(sizes) == 1 else None

    def classes(self) -> list[str] | None:
        return None if self.given_labels else self.images.classes()

    def labels(self) -> list[str] | None:
        labels = self.given_labels or self.images.labels()
        if labels is not None:
            return [labels[i] for i in self.indices.tolist()]
        drawn = [label for label in self._drawn_labels if label is not None]
        return drawn if drawn and len(drawn) == len(self._drawn_labels) else None

    def groups(self) -> dict[str, str] | None:
        indices = self.indices.tolist()
        if not indices or self.images.group(indices[0]) is None:
            return None
        return {self.images.name(i): self.images.group(i) or self.images.name(i) for i in indices}

    def names(self) -> list[str] | None:
        return [self.images.name(i) for i in self.indices.tolist()] if self.images.encoded else None

    def captions(self) -> list[bytes | None] | None:
        return [self.images.caption(i) for i in self.indices.tolist()] if self.images.encoded else None

    def columns(self) -> list[str] | None:
        return self.images.columns()

    def cells(self, column: str) -> Iterator[object]:
        wanted = set(self.indices.tolist())
        return (cell for index, cell in enumerate(self.images.cells(column)) if index in wanted)

    def describe(self) -> dict[str, object]:
        return {
            "spec": self.spec,
            "kind": self.images.kind,
            "n": self.length,
            "subset": self.selection,
            **({} if self.images.deep_range is None else {"value_range": list(self.images.deep_range)}),
            **self.images.facts(),
        }

    def _batches(self, batch_size: int, workers: int, prepare: Prepare | None, on_error: str) -> Iterator[ImageBatch]:
        self.report.restart()
        self._drawn_labels = []
        regrouper = Regrouper(batch_size, self.report)
        chunks = self.chunks(batch_size, workers, prepare)
        try:
            for chunk in chunks:
                names = self.record(chunk, chunk.indices, chunk.bad, on_error)
                self._drawn_labels += chunk.labels
                yield from regrouper.add(chunk.images(), names, chunk.digests)
            yield from regrouper.rest()
        finally:
            chunks.close()  # ends the thread, or the processes

    def record(
        self, found: Findings, indices: Sequence[int], bad: Sequence[tuple[int, str]], on_error: str
    ) -> list[str]:
        """Add the findings on decoded images to the report; return the names of the usable ones.

        Args:
            indices: of those that can be used, among all the images of ``images``.
            bad: (index, reason) of those that cannot.
            on_error: as in ``batches``.
        """
        self._leave_out([(self.images.name(index), reason) for index, reason in bad], on_error)
        self.report.skipped_places.extend(np.searchsorted(self.indices, [index for index, _ in bad]).tolist())
        self.report.add(found)
        return [self.images.name(index) for index in indices]

    def chunks(
        self,
        batch_size: int,
        workers: int,
        prepare: Prepare | None,
        *,
        unit: int | None = None,
        marked: bool = False,
    ) -> Generator[Chunk, None, None]:
        """Decode the images in order, before they are used.

        Args:
            batch_size: images that one thread decodes at a time; worker processes take a few, as many as is good for
                them.
            unit: a multiple of ``batch_size``, whose multiples no chunk crosses.
            marked: fill ``Chunk.marks``.
        """
        parts = [self.indices[i : i + batch_size].tolist() for i in range(0, self.length, batch_size)]
        if self.images.on_accelerator:
            return (take_chunk(self.images, part, prepare=prepare) for part in parts)
        load = partial(load_chunk, self.images, prepare=prepare, marked=marked)
        if workers == 0 or self.images.in_memory or self.length <= min(batch_size, _FEW):
            return in_a_thread(load, parts)
        return in_processes(load, self.indices.tolist(), workers, unit=unit or self.length)


def stamp_of(path: Path) -> tuple[int, ...] | None:
    """A value that changes when a file is rewritten; None where the file does not exist."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def class_labels(names: list[str]) -> list[str] | None:
    """The class of each image: the first folder of its path, after the folders that all images share.

    None where an image is in no class folder, or where all images are in one folder.

    >>> class_labels(["set/cat/1.png", "set/dog/1.png"])
    ['cat', 'dog']
    """
    folders = [name.split("/")[:-1] for name in names]
    shared = shared_folders(names)
    if not names or any(len(parts) <= shared for parts in folders):
        return None
    return [parts[shared] for parts in folders]
