"""The one door to images: ``open_images`` takes whatever holds them and returns an ``ImageSource``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ganeval.errors import InputError
from ganeval.images import specs
from ganeval.images.grammar import as_spec, prefix_hint
from ganeval.images.opening import OpenOptions, check_number
from ganeval.images.specs import Spec
from ganeval.parsing.arguments import converted

if TYPE_CHECKING:
    from torch import Tensor

    from ganeval.images.resize import PillowResize

Prepare = Callable[[np.ndarray], "Tensor"]
_SHARD_UNIT = 128


@dataclass(frozen=True, slots=True)
class ImageBatch:
    """Some images in the order of their source.

    Attributes:
        images: uint8 (N, 3, H, W) where all have one size, else (3, H, W) each, see ``ganeval.images.mixed``; float32
            where ``prepare`` was given. Images that were made on an accelerator stay there.
        names: one an image.
        digests: uint64 (N,), see ``ganeval.images.decode.digest``; of the 8-bit pixels, before ``prepare``. None for
            images on an accelerator.
        resized: float32 (N, 3, S, S) of the same images, as far as networks want them so.
    """

    images: Tensor | Sequence[Tensor]
    names: list[str]
    digests: np.ndarray | None
    resized: Mapping[PillowResize, Tensor] = field(default_factory=dict, kw_only=True)


@dataclass(slots=True)
class SourceReport:
    """What was met while images were drawn; the counts start anew with every call of ``batches``.

    Attributes:
        used: images drawn.
        skipped: (name, reason) of those left out, with ``on_error="skip"``.
        skipped_places: their places among the images of a numbered source.
        ignored: files that were left out, by suffix, or as ``hidden``.
        notes: what was done to images that are not plain 8-bit RGB, and to how many.
        formats: of encoded images, and how many.
        pixels: a summary of the images that were decoded, see ``ganeval.images.summary``.
    """

    used: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)
    skipped_places: list[int] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    formats: Counter[str] = field(default_factory=Counter)
    pixels: Counter[str] = field(default_factory=Counter)

    def restart(self) -> None:
        self.used = 0
        self.skipped.clear()
        self.skipped_places.clear()
        self.notes.clear()
        self.formats.clear()
        self.pixels.clear()


class ImageSource(ABC):
    """Images in a fixed order.

    Attributes:
        spec: as the user named it.
        report: filled while batches are drawn.
    """

    spec: str
    report: SourceReport

    @property
    @abstractmethod
    def length(self) -> int | None:
        """Number of images; None where it is not known before the end."""

    @abstractmethod
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
        """How its files are decoded, where that is not the protocol's own policy."""
        return None

    @property
    def reopens(self) -> bool:
        """Whether worker processes may decode it unasked: every process opens its files for itself."""
        return True

    def labels(self) -> list[str] | None:
        """One class name an image, in order, where the source has class folders or labels.

        Of all images; or, where only the items tell it, of those that were drawn last and could be used.
        """
        return None

    def classes(self) -> list[str] | None:
        """Names of the classes in the order of their numbers; None where only the labels tell."""
        return None

    def input_digests(self) -> np.ndarray | None:
        """What each image was made of, uint64, in order: of a generator latent and label, of a translation the image.

        Two models that were given the same have the same digests, which is what allows their images to be paired. None
        where it is not known; of a translation, of the images that were drawn last.
        """
        return None

    def names(self) -> list[str] | None:
        """One file name an image, in order, where the images are files."""
        return None


class NumberedSource(ImageSource):
    """Images whose number is known, of which any can be had without the others."""

    @property
    @abstractmethod
    def length(self) -> int: ...

    @abstractmethod
    def part(self, rows: Sequence[int] | np.ndarray, chosen: dict[str, object] | None = None) -> NumberedSource:
        """The images in these places, in increasing order; each is the same as in the whole.

        Args:
            rows: places among the images of this source.
            chosen: how they were chosen, for the provenance.
        """

    def subset(self, n: int, seed: int) -> ImageSource:
        if not 1 <= n <= self.length:
            raise InputError(f"{self.spec}: {n} images were asked for; there are {self.length}.")
        rows = np.sort(np.random.default_rng(seed).choice(self.length, n, replace=False, shuffle=False))
        return self.part(rows, {"n": n, "of": self.length, "seed": seed})

    def shard(self, number: int, of: int) -> NumberedSource:
        """The ``number``-th, from 1, of ``of`` runs of neighbouring images: together they are all, none of them twice.

        The borders lie between the batches that one process would draw (at multiples of 128, the largest batch size
        that is chosen unasked), so that every image has the same features as in the whole; a set of fewer than 128
        images a shard is cut evenly.

        Raises:
            InputError: there is no such shard.
        """
        if not 1 <= number <= of:
            raise InputError(f"a shard is I/N with I from 1 to N, for instance 1/4; got {number}/{of}.")
        unit = _SHARD_UNIT if self.length >= _SHARD_UNIT * of else 1
        units = -(-self.length // unit)
        first, stop = (min(units * k // of * unit, self.length) for k in (number - 1, number))
        whole = {k: v for k, v in self.describe().items() if k in ("spec", "kind", "n", "seed", "subset")}
        chosen = {"shard": number, "of": of, "first": first, "n": stop - first, "whole": whole}
        return self.part(range(first, stop), chosen)


@converted
def open_images(spec: Any, *, num: int | None = None, options: OpenOptions | None = None, **given: Any) -> ImageSource:
    """Open whatever holds images.

    Args:
        spec: text or a path, see ``ganeval.images.specs``: a folder, FILE.zip, FILE.tar (also .tar.gz, and
            ``shards-{000..099}.tar``), FILE.npz with ``arr_0``, FILE.npy, ``dataset:NAME:SPLIT`` of torchvision,
            ``dataset:shapes[-plain|-striped][:SIZE][@SEED]``; or what ``parse_spec`` made of one; from Python also
            a tensor or array (NCHW or NHWC), a Dataset, a DataLoader, any iterable of images or batches, or a callable
            that turns latents into images.
        num: take this many, drawn by ``seed`` without replacement (of a stream: the first ones).
        options: how; or the fields of ``OpenOptions`` as keyword arguments.

    Raises:
        InputError: nothing there, nothing that holds images, or floats without ``value_range``.
    """
    options = options or OpenOptions(**given)
    check_number("num", num)
    named = None if isinstance(spec, ImageSource) else as_spec(spec)
    if isinstance(spec, ImageSource):
        source = spec
    elif named is not None:
        source = _open_named(named, options.at_most(num))
    else:
        source = _open_object(spec, options.at_most(num))
    if num is None or num == source.length:
        return source
    return source.subset(num, options.seed)


def has_items(spec: object) -> bool:
    """Whether a spec names a data set or a stream, whose items may hold more than an image."""
    named = as_spec(spec)
    if named is not None:
        return isinstance(named, specs.TorchvisionDataset)
    return spec is not None and not hasattr(spec, "dtype")


def _open_named(spec: Spec, options: OpenOptions) -> ImageSource:
    from ganeval.images import archive, array, dataset, folder, generated
    from ganeval.images.decode import SUFFIXES
    from ganeval.images.deep import declare
    from ganeval.images.indexed import Images, IndexedSource

    name = spec.text
    images: Images
    match spec:
        case specs.Folder(path=path):
            images = folder.open_folder(path, any_suffix=options.any_suffix)
        case specs.Archive(path=path, form=form):
            door = archive.open_zip if form == "zip" else archive.open_tar
            images = door(path, options.max_image_bytes, any_suffix=options.any_suffix)
        case specs.Shards(pattern=pattern):
            images = archive.open_shards(pattern, options.max_image_bytes, any_suffix=options.any_suffix)
        case specs.ArrayFile(path=path, form="npy"):
            images = array.open_npy(path, options.value_range)
        case specs.ArrayFile(path=path, part=part) if part != "statistics":
            images = array.open_npz(path, options.value_range)
        case specs.Rendered():
            images = generated.open_shapes(spec, options.num_samples, options.seed)
        case specs.TorchvisionDataset():
            images = dataset.open_torchvision(spec, options.data_root, options.download, options.image_column)
        case specs.Missing(path=path):
            raise InputError(
                f"There is no file or folder {name!r}. Check the path; it is looked up from {_here()}."
                f"{prefix_hint(name)}"
            )
        case specs.OtherFile(path=path):
            image = path.suffix.lower() in SUFFIXES
            hint = "Point at the folder that holds it." if image else "Put the images in a folder or archive."
            raise InputError(f"{name} is neither a folder nor one of .zip, .tar, .tar.gz, .npz, .npy. {hint}")
        case specs.Invalid(problem=problem):
            raise InputError(problem)
        case _:
            statistics = isinstance(spec, specs.NamedStatistics | specs.ArrayFile)
            kind = "reference statistics" if statistics else "a generator"
            raise InputError(f"{name} names {kind}; needed are images: a folder, an archive, an array or a dataset.")
    declare(images, options.value_range)
    return IndexedSource(name, images)


def _open_object(spec: Any, options: OpenOptions) -> ImageSource:
    import torch
    from torch.utils.data import DataLoader, IterableDataset

    from ganeval.images import array, dataset, generated, stream
    from ganeval.images.indexed import IndexedSource

    name, column = _name_of(spec), options.image_column
    if isinstance(spec, (np.ndarray, torch.Tensor)):
        return IndexedSource(name, array.open_array(spec, options.value_range))
    if isinstance(spec, (DataLoader, IterableDataset)):
        return stream.StreamSource(name, spec, options.value_range, column=column)
    if isinstance(spec, torch.nn.Module) or (callable(spec) and not hasattr(spec, "__getitem__")):
        return generated.GeneratedSource(name, spec, options)
    if isinstance(spec, Mapping):
        keys = ", ".join(repr(key) for key in list(spec)[:5])
        raise InputError(f"Cannot read images from a {name}; pass one of its values ({keys}), or a list of its images.")
    if hasattr(spec, "__getitem__") and hasattr(spec, "__len__") and dataset.holds_single_images(spec, column):
        return IndexedSource(name, dataset.DatasetImages(spec, options.value_range, column=column))
    if isinstance(spec, Iterable):
        return stream.StreamSource(name, spec, options.value_range, column=column)
    raise InputError(
        f"Cannot read images from a {name}; needed is a path, a tensor, an array, a Dataset, a DataLoader, "
        "an iterable of images, or a callable z -> images."
    )


def _name_of(spec: Any) -> str:
    name = getattr(spec, "__name__", type(spec).__name__)
    shape = getattr(spec, "shape", None)
    return f"{name} {'x'.join(map(str, shape))}" if isinstance(shape, tuple) else str(name)


def _here() -> str:
    return str(Path.cwd())
