"""The interfaces of image sources: ``ImageSource`` (any order), ``NumberedSource`` and ``Images`` (by number)."""

from __future__ import annotations

import copy
import hashlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import numpy as np

from ganeval.errors import InputError
from ganeval.images.decode import Pixels, UnreadableImage, decode
from ganeval.parsing.arguments import option

if TYPE_CHECKING:
    from torch import Tensor

    from ganeval.images.pixels import ValueRange
    from ganeval.images.resize import PillowResize

Prepare = Callable[[np.ndarray], "Tensor"]
_SHARD_UNIT = 128
_NAMED = 5  # bad images that a message names


@dataclass(frozen=True, slots=True)
class ImageBatch:
    """Some images in the order of their source.

    Attributes:
        images: uint8 (N, 3, H, W) where all have one size, else (3, H, W) each, see ``ganeval.images.mixed``; float32
            where ``prepare`` was given. Images that were made on an accelerator stay there.
        names: one for each image.
        digests: uint64 (N,), see ``ganeval.images.decode.digest``; of the 8-bit pixels, before ``prepare``. None for
            images on an accelerator.
        resized: float32 (N, 3, S, S) of the same images, as far as networks want them so.
    """

    images: Tensor | Sequence[Tensor]
    names: list[str]
    digests: np.ndarray | None
    resized: Mapping[PillowResize, Tensor] = field(default_factory=dict, kw_only=True)


@dataclass(slots=True, kw_only=True)
class Findings:
    """What was found while images were decoded.

    Attributes:
        notes: what was done to images that are not plain 8-bit RGB, and to how many.
        formats: of encoded images, and how many.
        pixels: a summary of the images that were decoded, see ``ganeval.images.summary``.
    """

    notes: Counter[str] = field(default_factory=Counter)
    formats: Counter[str] = field(default_factory=Counter)
    pixels: Counter[str] = field(default_factory=Counter)

    def add(self, other: Findings) -> None:
        self.notes.update(other.notes)
        self.formats.update(other.formats)
        self.pixels.update(other.pixels)


@dataclass(slots=True, kw_only=True)
class SourceReport(Findings):
    """Findings while images were drawn; the counts start anew with every call of ``batches``.

    Attributes:
        used: images drawn.
        skipped: (name, reason) of those left out, with ``on_error="skip"``.
        skipped_places: their places among the images of a numbered source.
        ignored: files that were left out, by suffix, or as ``hidden``.
    """

    used: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)
    skipped_places: list[int] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)

    def restart(self) -> None:
        self.used = 0
        for found in (self.skipped, self.skipped_places, self.notes, self.formats, self.pixels):
            found.clear()


@dataclass(frozen=True, slots=True)
class _Chain:
    """Steps on 8-bit pixels, and then a ``Prepare``; without one, the pixels as uint8 (3, H, W)."""

    steps: Callable[[np.ndarray], np.ndarray]
    prepare: Prepare | None

    def __call__(self, image: np.ndarray) -> Tensor:
        import torch

        found = self.steps(image)
        if self.prepare is not None:
            return self.prepare(found)
        return torch.from_numpy(np.ascontiguousarray(found.transpose(2, 0, 1)))


class ImageSource(ABC):
    """Images in a fixed order.

    Attributes:
        spec: as the user named it.
        report: filled while batches are drawn.
        steps: of every image, before ``prepare``: uint8 (H, W, 3) to the same of another size; None: none.
        image_size: height and width before ``steps``, where ``check`` has found that all images have one size.
    """

    spec: str
    report: SourceReport
    steps: Callable[[np.ndarray], np.ndarray] | None = None
    image_size: tuple[int, int] | None = None

    @property
    @abstractmethod
    def length(self) -> int | None:
        """Number of images; None where it is not known before the end."""

    def batches(
        self, batch_size: int, *, workers: int = 0, prepare: Prepare | None = None, on_error: str = "stop"
    ) -> Iterator[ImageBatch]:
        """Draw all images: a batch is always the next ``batch_size`` usable ones, the last one may be smaller.

        Decoding overlaps with what the caller does between two batches, and at most a few batches are held. Closing
        the iterator, or an exception in the loop, ends its threads and processes.

        Args:
            batch_size: images in a batch.
            workers: decode processes; 0 decodes in one background thread.
            prepare: applied to every image where it is decoded: uint8 (H, W, 3) to float32 (3, S, S).
            on_error: ``stop`` at an image that cannot be used, or ``skip`` and count it; what a generator makes
                always stops.

        Raises:
            InputError: an image cannot be used; the message names it.
        """
        check_on_error(on_error)
        if batch_size < 1 or workers < 0:
            raise InputError(f"A batch needs at least 1 image and 0 workers; got {batch_size} and {workers}.")
        if self.steps is not None:
            prepare = _Chain(self.steps, prepare)
        return self._batches(batch_size, workers, prepare, on_error)

    def _batches(self, batch_size: int, workers: int, prepare: Prepare | None, on_error: str) -> Iterator[ImageBatch]:
        """What ``batches`` returns, unless a source replaces that: its arguments were checked."""
        raise NotImplementedError

    @abstractmethod
    def subset(self, n: int, seed: int) -> ImageSource:
        """``n`` of the images, drawn without replacement by ``seed`` alone, in their original order.

        Of a stream, whose length is not known, the first ``n``.

        Raises:
            InputError: there are fewer than ``n``.
        """

    @abstractmethod
    def describe(self) -> dict[str, object]:
        """Where the images come from, in values that JSON can hold."""

    @abstractmethod
    def check(self, on_error: str = "stop") -> None:
        """A cheap look at every image before the long part: headers and ends of files, values of floats.

        Args:
            on_error: with ``skip``, only a source without a single usable image is an error.

        Raises:
            InputError: images that cannot be used; the message names the first few.
        """

    @property
    def takes_range(self) -> bool:
        """Whether a declared range of values can mean these images: those of 8 bits have one already."""
        return True

    @property
    def decode_policy(self) -> str | None:
        """The decode policy of the files, where it differs from the protocol's."""
        return None

    @property
    def reopens(self) -> bool:
        """Whether worker processes may decode it by default: every process opens its files for itself."""
        return True

    def labels(self) -> list[str] | None:
        """One class name for each image, in order, where the source has class folders or labels.

        Of all images; or, where only the items have labels, of those that were drawn last and could be used.
        """
        return None

    def classes(self) -> list[str] | None:
        """Names of the classes in the order of their numbers; None where only the labels are known."""
        return None

    def groups(self) -> dict[str, str] | None:
        """The group of each image, by its name, where images are known to belong together: slices, patches."""
        return None

    def input_digests(self) -> np.ndarray | None:
        """Digests of the inputs of each image, uint64, in order: latent, label and prompt, or the translated image.

        Two models that were given the same have the same digests, which is what allows their images to be paired. None
        where it is not known; of a translation, of the images that were drawn last.
        """
        return None

    def names(self) -> list[str] | None:
        """One file name for each image, in order, where the images are files."""
        return None

    def captions(self) -> list[bytes | None] | None:
        """The content of the ``.txt`` file next to each image, in order, where the images are files."""
        return None

    def prompts(self) -> list[str] | None:
        """The text that each image was made of, in order, where a generator is given prompts."""
        return None

    def columns(self) -> list[str] | None:
        """Names of the columns of the rows that hold the images; None where the images are not in rows."""
        return None

    def cells(self, column: str) -> Iterator[object]:
        """The cells of one of these columns, see ``Images.cells``."""
        raise UnreadableImage(f"{self.spec} has no columns")

    def _leave_out(self, bad: list[tuple[str, str]], on_error: str) -> None:
        """Report (name, reason) of images that cannot be used, or raise at the first."""
        if bad and on_error == "stop":
            raise unusable(self.spec, bad[:1], self.length)
        self.report.skipped.extend(bad)


class NumberedSource(ImageSource):
    """Images of known number, each of which can be read without the others.

    Attributes:
        indices: numbers of these images among all that there are.
        selection: how they were selected, for the provenance.
    """

    indices: np.ndarray
    selection: dict[str, object] | None = None

    @property
    def length(self) -> int:
        return len(self.indices)

    def part(self, rows: Sequence[int] | np.ndarray, selection: dict[str, object] | None = None) -> Self:
        """Select images by index, in increasing order; each is the same as in the whole set.

        Args:
            rows: indices of the images of this source.
            selection: how they were selected, for the provenance.
        """
        some = copy.copy(self)
        some.indices, some.selection = self.indices[np.asarray(rows, dtype=np.intp)], selection
        some.report = SourceReport(ignored=self.report.ignored.copy())
        return some

    def subset(self, n: int, seed: int) -> ImageSource:
        if not 1 <= n <= self.length:
            raise InputError(f"{self.spec}: {n} images were requested, but it has only {self.length}.")
        rows = np.sort(np.random.default_rng(seed).choice(self.length, n, replace=False, shuffle=False))
        return self.part(rows, {"n": n, "of": self.length, "seed": seed})

    def shard(self, number: int, of: int) -> NumberedSource:
        """Shard ``number``, from 1, of ``of`` shards of neighbouring images; each image is in exactly one shard.

        The borders lie between the batches that one process would draw (at multiples of 128, the largest batch size
        that is chosen by default), so that every image has the same features as in the whole; a set of fewer than 128
        images a shard is cut evenly.

        Raises:
            InputError: the shard does not exist.
        """
        if not 1 <= number <= of:
            raise InputError(f"a shard is I/N with I from 1 to N, for instance 1/4; got {number}/{of}.")
        unit = _SHARD_UNIT if self.length >= _SHARD_UNIT * of else 1
        units = -(-self.length // unit)
        first, stop = (min(units * k // of * unit, self.length) for k in (number - 1, number))
        told = ("spec", "kind", "n", "seed", "subset", "labels_sha256", "prompts_sha256")
        whole = {k: v for k, v in self.describe().items() if k in told}
        selection = {"shard": number, "of": of, "first": first, "n": stop - first, "whole": whole}
        return self.part(range(first, stop), selection)


class Images(ABC):
    """Interface of one kind of numbered images. Picklable; each process opens the files again.

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
        sizes: (height, width) of the images, as far as they are known or ``fault`` has looked at them.
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
    sizes: AbstractSet[tuple[int, int]] = frozenset()

    @abstractmethod
    def __len__(self) -> int: ...

    def load(self, index: int) -> Pixels:
        """Load image ``index``; where ``encoded``, decode its file. Raises UnreadableImage where it cannot be used."""
        return self.decoder(self.read(index))

    def name(self, index: int) -> str:
        return f"#{index}"

    def fault(self, index: int) -> str | None:
        """Why image ``index`` cannot be used, as far as a cheap check shows."""
        return None

    def read(self, index: int) -> bytes:
        """Where ``encoded``: read the file. Raises UnreadableImage where it cannot be read."""
        raise UnreadableImage(f"{self.kind} images are not files")

    @property
    def on_disk(self) -> bool:
        """Whether the images are in files, so that ``fingerprint`` distinguishes them."""
        return self.encoded

    def fingerprint(self, index: int) -> bytes | None:
        """Where ``on_disk``: 16 bytes that identify the data of image ``index``; None if it is unreadable."""
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
        """A value that changes when the file of image ``index`` is rewritten: time, size, inode; None: not known."""
        return None

    def take(self, indices: Sequence[int]) -> tuple[Tensor, Counter[str]]:
        """Where ``on_accelerator``: these images as uint8 (N, 3, H, W), and notes."""
        raise UnreadableImage(f"{self.kind} images are taken one by one")

    @property
    def takes_range(self) -> bool:
        return not self.encoded or self.deep_range is not None

    def caption(self, index: int) -> bytes | None:
        """The content of the ``.txt`` file next to image ``index``; None where there is none."""
        return None

    def columns(self) -> list[str] | None:
        """Names of the columns of the rows that hold the images; None where the images are not in rows."""
        return None

    def cells(self, column: str) -> Iterator[object]:
        """What one of these columns has for each image, in order. Raises UnreadableImage at a row without it."""
        raise UnreadableImage(f"{self.kind} images have no columns")

    def labels(self) -> list[str] | None:
        return None

    def classes(self) -> list[str] | None:
        """Names of the classes in the order of their numbers, where they are known beyond the labels."""
        return None

    def group(self, index: int) -> str | None:
        """What image ``index`` is a part of, such as the volume of a slice; None where it is by itself."""
        return None

    def facts(self) -> dict[str, object]:
        return {}


def _fingerprint(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


def unusable(spec: str, bad: list[tuple[str, str]], n: int | None) -> InputError:
    """The error for unusable images, (name, reason) each; it names the first few."""
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
