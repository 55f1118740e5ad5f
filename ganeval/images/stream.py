"""Images from an iterable: a DataLoader, an iterable dataset, a Python generator, a list of batches."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence, Sized
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from ganeval.errors import GanEvalError, InputError
from ganeval.images.array import open_array
from ganeval.images.dataset import DatasetImages
from ganeval.images.items import image_of, label_of
from ganeval.images.labels import class_names, names_of
from ganeval.images.loading import Regrouper, load_chunk, take_chunk
from ganeval.images.pixels import ValueRange
from ganeval.images.types import ImageBatch, Images, ImageSource, Prepare, SourceReport, check_on_error, unusable

_DROPPED = "left out by drop_last=True of the DataLoader. Make it with drop_last=False to measure all images"


class StreamSource(ImageSource):
    """Images, or batches of them, from an iterable; read by the thread that asks for them, once for every call of
    ``batches`` (a generator object: only once at all).

    Args:
        spec: as the user knows it.
        items: images, batches (N, 3, H, W), lists of images, or tuples and mappings that hold one of these; see
            ``ganeval.images.items.image_of``.
        value_range: of floats.
        column: the key or column that holds the image.
        label_column: the one that holds the class.
    """

    _limit: int | None = None  # take the first so many images

    def __init__(
        self,
        spec: str,
        items: Any,
        value_range: ValueRange | None,
        column: str | None,
        label_column: str | None = None,
    ) -> None:
        self.spec, self.report = spec, SourceReport()
        self._items, self._range, self._column = items, value_range, column
        self._label_column = label_column
        self._labels: list[str | None] = []  # of the images drawn last
        self._seen = 0  # images drawn, usable or not; an item in which none can be found counts as one
        self._spent = False

    @property
    def length(self) -> int | None:
        return self._limit if self._limit is not None else _known_length(self._items)

    def subset(self, n: int, seed: int) -> StreamSource:
        if n < 1 or (self.length is not None and n > self.length):
            raise InputError(f"{self.spec}: {n} images were requested, but it has only {self.length}.")
        some = copy.copy(self)
        some.report = SourceReport()
        some._limit = n
        return some

    def labels(self) -> list[str] | None:
        known = [label for label in self._labels if label is not None]
        return known if known and len(known) == len(self._labels) else None

    def describe(self) -> dict[str, object]:
        return {
            "spec": self.spec,
            "kind": "stream",
            "n": self.length,
            "subset": None if self._limit is None else {"first": self._limit},
            **({} if self._column is None else {"image_column": self._column}),
            "value_range": None if self._range is None else list(self._range),
        }

    def check(self, on_error: str = "stop") -> None:
        """Check the first image of a list of batches; other iterables cannot be checked beforehand."""
        check_on_error(on_error)
        if self.length == 0:
            raise InputError(f"{self.spec} holds no images.")
        if isinstance(self._items, (list, tuple)) and on_error == "stop":
            try:
                self._images(self._items[0]).load(0)
            except InputError as error:
                raise unusable(self.spec, [("#0", str(error).rstrip("."))], self.length) from error

    def _batches(self, batch_size: int, workers: int, prepare: Prepare | None, on_error: str) -> Iterator[ImageBatch]:
        self.report.restart()
        self._labels = []
        regrouper = Regrouper(batch_size, self.report)
        names = names_of(getattr(self._items, "dataset", self._items), self._label_column)
        self._seen = 0
        for item in self._drawn():
            seen = self._seen
            try:
                images = self._images(item)
            except InputError as error:
                self._leave_out([(f"#{seen}", str(error).rstrip("."))], on_error)
                self._seen += 1
            else:
                rows = range(len(images) if self._limit is None else min(len(images), self._limit - seen))
                load = take_chunk if images.on_accelerator else load_chunk
                chunk = load(images, rows, prepare=prepare)
                self._leave_out([(f"#{seen + row}", reason) for row, reason in chunk.bad], on_error)
                self.report.add(chunk)
                self._labels += _labels_of(item, self._label_column, len(images), chunk.indices, names)
                yield from regrouper.add(chunk.images(), [f"#{seen + row}" for row in chunk.indices], chunk.digests)
                self._seen += len(rows)
            if self._seen == self._limit:
                break
        yield from regrouper.rest()
        if self._limit is None and (dropped := _dropped(self._items, self._seen)):
            self.report.notes[_DROPPED] = dropped
        if self._limit is not None and self._seen < self._limit:
            raise InputError(f"{self.spec}: {self._limit} images were requested, but it ended after {self._seen}.")

    def _drawn(self) -> Iterator[Any]:
        """The items; what the user's own code raises is reported with the source and the number of images before it."""
        try:
            yield from self._iterator()
        except GanEvalError:
            raise
        except Exception as error:  # after which an iterator has ended: nothing can be left out
            raise InputError(
                f"{self.spec} raises {type(error).__name__} at #{self._seen}: {error}. Repair what it reads, or let it "
                "leave that out itself."
            ) from error

    def _iterator(self) -> Iterator[Any]:
        iterator: Iterator[Any] = iter(self._items)
        if iterator is self._items:
            if self._spent:
                raise InputError(
                    f"{self.spec} can be read only once, and was. Pass a list, a Dataset or a DataLoader instead."
                )
            self._spent = True
        return iterator

    def _images(self, item: Any) -> Images:
        value = image_of(item, self._column)
        if isinstance(value, (np.ndarray, Tensor)) and value.ndim == 4:
            return open_array(value, self._range)
        batch = isinstance(value, (list, tuple))
        return DatasetImages(value if batch else [value], self._range)


def _labels_of(item: Any, column: str | None, n: int, used: list[int], names: Sequence[str] | None) -> list[str | None]:
    """The classes of the used images of an item, one for each image; None where it has none."""
    labels = label_of(item, column)
    several = isinstance(labels, (list, tuple)) or (isinstance(labels, (np.ndarray, Tensor)) and labels.ndim > 0)
    known = class_names(labels if several else [labels], names)
    return [known[row] if known is not None and len(known) == n else None for row in used]


def _dropped(items: Any, seen: int) -> int:
    """How many images a DataLoader leaves out because they do not fill its last batch."""
    batches: Any = getattr(items, "batch_sampler", None)
    if (
        batches is None
        or not getattr(batches, "drop_last", False)
        or not isinstance(sampler := getattr(batches, "sampler", None), Sized)
    ):
        return 0
    left = len(sampler) - seen
    return left if 0 < left < batches.batch_size else 0


def _known_length(items: Any) -> int | None:
    """The number of images of a DataLoader that makes its batches itself; None for other objects."""
    if not isinstance(items, DataLoader) or isinstance(items.dataset, IterableDataset):
        return None
    if items.batch_size is None or items.drop_last or not isinstance(items.sampler, Sized):
        return None
    return len(items.sampler)
