"""Sources whose images can be read by number, in any process: folders, archives, arrays, datasets, rendered images."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from torch import Tensor

from ganeval.errors import InputError
from ganeval.images.decode import Pixels, UnreadableImage, decode
from ganeval.images.loading import Chunk, Regrouper, in_a_thread, load_chunk, take_chunk
from ganeval.images.names import shared_folders
from ganeval.images.pixels import ValueRange
from ganeval.images.source import ImageBatch, NumberedSource, Prepare, SourceReport
from ganeval.images.workers import in_processes
from ganeval.parsing.arguments import option

T = TypeVar("T")
_NAMED = 5  # bad images that a message names
_FEW = 16  # images that are decoded sooner than a process has started


class Images(ABC):
    """What ``IndexedSource`` needs to know of one kind of source. Picklable; opens its files again in each process.

    Attributes:
        kind: one word for the provenance.
        ignored: files that were left out, by suffix, or as ``hidden``.
        encoded: the images are files, which ``read`` returns.
        on_accelerator: the images live there: ``take`` them together instead of loading them one by one.
        decoder: of the files of encoded images.
        deep_range: the declared range of their values, where they have more than 8 bits.
        takes_range: whether a declared range of values can mean these images.
        in_memory: the images are in the memory of this process: to start another one takes longer than to read them.
        reopens: each process opens the files again. A user's own data set may not: its processes would share the
            position in a file that was open before, and read each other's images.
        by_threads: several threads may read and look for faults at once.
    """

    kind: str
    ignored: Counter[str]
    encoded: bool = False
    on_accelerator: bool = False
    decoder: Callable[[bytes], Pixels] = staticmethod(decode)
    deep_range: ValueRange | None = None
    in_memory: bool = False
    reopens: bool = True
    by_threads: bool = False

    @abstractmethod
    def __len__(self) -> int: ...

    def load(self, index: int) -> Pixels:
        """Image ``index``; where ``encoded``, its decoded file. Raises UnreadableImage where it cannot be used."""
        return self.decoder(self.read(index))

    def name(self, index: int) -> str:
        return f"#{index}"

    def fault(self, index: int) -> str | None:
        """Why image ``index`` cannot be used, as far as a cheap look tells."""
        return None

    def read(self, index: int) -> bytes:
        """Where ``encoded``: the file. Raises UnreadableImage where it cannot be read."""
        raise UnreadableImage(f"{self.kind} images are no files")

    @property
    def on_disk(self) -> bool:
        """Whether the images lie in files, so that ``fingerprint`` tells them apart."""
        return self.encoded

    def fingerprint(self, index: int) -> bytes | None:
        """Where ``on_disk``: 16 bytes that stand for what image ``index`` is decoded from; None if it is unreadable."""
        try:
            data = self.read(index)
        except UnreadableImage:
            return None
        return _fingerprint(data)

    def mark(self, index: int, pixels: Pixels) -> bytes:
        """Where ``encoded``: the fingerprint of what these pixels were decoded from, without a second look at the file.

        Raises:
            UnreadableImage: it has to be read again, and cannot be.
        """
        mark = self.fingerprint(index) if pixels.encoded is None else _fingerprint(pixels.encoded)
        if mark is None:
            raise UnreadableImage("it cannot be read again")
        return mark

    def stamp(self, index: int) -> tuple[int, ...] | None:
        """What changes when the file of image ``index`` is written anew: time, size and number; None: not known."""
        return None

    def take(self, indices: Sequence[int]) -> tuple[Tensor, Counter[str]]:
        """Where ``on_accelerator``: these images as uint8 (N, 3, H, W), and notes."""
        raise UnreadableImage(f"{self.kind} images are taken one by one")

    @property
    def takes_range(self) -> bool:
        return not self.encoded or self.deep_range is not None

    def labels(self) -> list[str] | None:
        return None

    def classes(self) -> list[str] | None:
        """Names of the classes in the order of their numbers, where more is known than the labels tell."""
        return None

    def facts(self) -> dict[str, object]:
        return {}


class PerProcess(Generic[T]):
    """Something opened on first use, once in each process: an inherited file position is shared between processes."""

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


class IndexedSource(NumberedSource):
    """Some of the images of an ``Images``, in order."""

    def __init__(
        self, spec: str, images: Images, indices: np.ndarray | None = None, chosen: dict[str, object] | None = None
    ) -> None:
        self.spec = spec
        self.images = images
        self.indices = np.arange(len(images)) if indices is None else indices
        self.report = SourceReport(ignored=Counter(images.ignored))
        self._chosen = chosen
        self._drawn_labels: list[str | None] = []  # of the images drawn last, where their items tell it

    @property
    def length(self) -> int:
        return len(self.indices)

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
            bad = self._first_fault()
        if bad:
            raise unusable(self.spec, bad, self.length)

    def _first_fault(self) -> list[tuple[str, str]]:
        """What has no file to look at is tried once: a wrong dtype or range is wrong from the first image on."""
        first = int(self.indices[0])
        try:
            self.images.load(first)
        except UnreadableImage as error:
            return [(self.images.name(first), str(error))]
        return []

    def part(self, rows: Sequence[int] | np.ndarray, chosen: dict[str, object] | None = None) -> IndexedSource:
        return IndexedSource(self.spec, self.images, self.indices[np.asarray(rows, dtype=np.intp)], chosen)

    def classes(self) -> list[str] | None:
        return self.images.classes()

    def labels(self) -> list[str] | None:
        labels = self.images.labels()
        if labels is not None:
            return [labels[i] for i in self.indices.tolist()]
        drawn = [label for label in self._drawn_labels if label is not None]
        return drawn if drawn and len(drawn) == len(self._drawn_labels) else None

    def names(self) -> list[str] | None:
        return [self.images.name(i) for i in self.indices.tolist()] if self.images.encoded else None

    def describe(self) -> dict[str, object]:
        return {
            "spec": self.spec,
            "kind": self.images.kind,
            "n": self.length,
            "subset": self._chosen,
            **({} if self.images.deep_range is None else {"value_range": list(self.images.deep_range)}),
            **self.images.facts(),
        }

    def batches(
        self, batch_size: int, *, workers: int = 0, prepare: Prepare | None = None, on_error: str = "stop"
    ) -> Iterator[ImageBatch]:
        check_batches(batch_size, workers, on_error)
        return self._batches(batch_size, workers, prepare, on_error)

    def _batches(self, batch_size: int, workers: int, prepare: Prepare | None, on_error: str) -> Iterator[ImageBatch]:
        self.report.restart()
        self._drawn_labels = []
        regrouper = Regrouper(batch_size, self.report)
        chunks = self.chunks(batch_size, workers, prepare)
        try:
            for chunk in chunks:
                names = self.met(chunk.indices, chunk.bad, chunk.notes, chunk.formats, on_error)
                self._drawn_labels += chunk.labels
                self.report.pixels.update(chunk.pixels)
                yield from regrouper.add(chunk.images(), names, chunk.digests)
            yield from regrouper.rest()
        finally:
            chunks.close()  # ends the thread, or the processes

    def met(
        self,
        indices: Sequence[int],
        bad: Sequence[tuple[int, str]],
        notes: Mapping[str, int],
        formats: Mapping[str, int],
        on_error: str,
    ) -> list[str]:
        """Put into the report what was met while these images were decoded; the names of those that can be used.

        Args:
            indices: of those that can, among all the images of ``images``.
            bad: (index, reason) of those that cannot.
            notes, formats, on_error: as in ``SourceReport`` and ``batches``.
        """
        named = [(self.images.name(index), reason) for index, reason in bad]
        if named and on_error == "stop":
            raise unusable(self.spec, named[:1], self.length)
        self.report.skipped.extend(named)
        self.report.skipped_places.extend(np.searchsorted(self.indices, [index for index, _ in bad]).tolist())
        self.report.notes.update(notes)
        self.report.formats.update(formats)
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
        """The images decoded, in order, ahead of their use.

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
    """What changes when a file is written anew; None where there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _fingerprint(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


def class_labels(names: list[str]) -> list[str] | None:
    """The class of each image: the first folder of its path, after the folders that all images share.

    None where some image lies in no folder of its own, or where all lie in one.

    >>> class_labels(["set/cat/1.png", "set/dog/1.png"])
    ['cat', 'dog']
    """
    folders = [name.split("/")[:-1] for name in names]
    shared = shared_folders(names)
    if not names or any(len(parts) <= shared for parts in folders):
        return None
    return [parts[shared] for parts in folders]


def unusable(spec: str, bad: list[tuple[str, str]], n: int | None) -> InputError:
    """The error for images, (name, reason) each, that cannot be used; it names the first few."""
    named = "; ".join(f"{name}: {reason}" for name, reason in bad[:_NAMED])
    more = f"; and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
    count = "an image that" if len(bad) == 1 else f"{len(bad)} of {n} images that"
    return InputError(
        f"{spec} has {count} cannot be used: {named}{more}. "
        f"Repair or remove them, or leave them out with {option('on_error', 'skip')}."
    )


def check_on_error(on_error: str) -> None:
    if on_error not in ("stop", "skip"):
        raise InputError(f"on_error is 'stop' or 'skip'; got {on_error!r}.")


def check_batches(batch_size: int, workers: int, on_error: str) -> None:
    check_on_error(on_error)
    if batch_size < 1 or workers < 0:
        raise InputError(f"A batch needs at least 1 image and 0 workers; got {batch_size} and {workers}.")


def sorted_classes(labels: list[str] | None) -> list[str] | None:
    """Names of class folders in the order in which torchvision numbers them."""
    return None if labels is None else sorted(set(labels))
