"""Images that come as they come: a DataLoader, an iterable dataset, a generator, a list of batches."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from ganeval.errors import InputError
from ganeval.images.array import open_array
from ganeval.images.dataset import DatasetImages, first_of
from ganeval.images.decode import UnreadableImage
from ganeval.images.indexed import Images, check_batches, check_on_error, unusable
from ganeval.images.loading import Regrouper, load_chunk, take_chunk
from ganeval.images.pixels import ValueRange
from ganeval.images.source import ImageBatch, ImageSource, Prepare, SourceReport


class StreamSource(ImageSource):
    """Images, or batches of them, from an iterable; read by the thread that asks for them, once for every call of
    ``batches`` (a generator object: only once at all).

    Args:
        spec: as the user knows it.
        items: images, batches (N, 3, H, W), tuples that begin with one of these (labels follow), lists of images.
        value_range: of floats.
        limit: take the first so many images.
    """

    def __init__(self, spec: str, items: Any, value_range: ValueRange | None, limit: int | None = None) -> None:
        self.spec = spec
        self.report = SourceReport()
        self._items = items
        self._range = value_range
        self._limit = limit
        self._spent = False

    @property
    def length(self) -> int | None:
        return self._limit if self._limit is not None else _known_length(self._items)

    def subset(self, n: int, seed: int) -> StreamSource:
        if n < 1 or (self.length is not None and n > self.length):
            raise InputError(f"{self.spec}: {n} images were asked for; there are {self.length}.")
        return StreamSource(self.spec, self._items, self._range, n)

    def describe(self) -> dict[str, object]:
        return {
            "spec": self.spec,
            "kind": "stream",
            "n": self.length,
            "subset": None if self._limit is None else {"first": self._limit},
            "value_range": None if self._range is None else list(self._range),
        }

    def check(self, on_error: str = "stop") -> None:
        """The first image of a list of batches; nothing else can be looked at before it comes."""
        check_on_error(on_error)
        if self.length == 0:
            raise InputError(f"{self.spec} holds no images.")
        if isinstance(self._items, (list, tuple)) and on_error == "stop":
            try:
                self._images(self._items[0]).load(0)
            except UnreadableImage as error:
                raise unusable(self.spec, [("#0", str(error))], self.length) from error

    def batches(
        self, batch_size: int, *, workers: int = 0, prepare: Prepare | None = None, on_error: str = "stop"
    ) -> Iterator[ImageBatch]:
        check_batches(batch_size, workers, on_error)
        return self._batches(batch_size, prepare, on_error)

    def _batches(self, batch_size: int, prepare: Prepare | None, on_error: str) -> Iterator[ImageBatch]:
        self.report.restart()
        regrouper = Regrouper(batch_size, self.report)
        met = 0  # images, usable or not
        for item in self._iterator():
            images = self._images(item)
            rows = range(len(images) if self._limit is None else min(len(images), self._limit - met))
            load = take_chunk if images.on_accelerator else load_chunk
            chunk = load(images, rows, prepare=prepare)
            bad = [(f"#{met + row}", reason) for row, reason in chunk.bad]
            if bad and on_error == "stop":
                raise unusable(self.spec, bad[:1], self.length)
            self.report.skipped.extend(bad)
            self.report.notes.update(chunk.notes)
            self.report.formats.update(chunk.formats)
            yield from regrouper.add(chunk.images(), [f"#{met + row}" for row in chunk.indices], chunk.digests)
            met += len(rows)
            if met == self._limit:
                break
        yield from regrouper.rest()
        if self._limit is not None and met < self._limit:
            raise InputError(f"{self.spec}: {self._limit} images were asked for; it ended after {met}.")

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
        value = first_of(item)
        if isinstance(value, (np.ndarray, Tensor)) and value.ndim == 4:
            return open_array(value, self._range)
        return DatasetImages(value if isinstance(value, list) else [value], self._range)


def _known_length(items: Any) -> int | None:
    """What a DataLoader is going to yield, where it makes the batches itself."""
    if not isinstance(items, DataLoader) or isinstance(items.dataset, IterableDataset):
        return None
    if items.batch_size is None or items.drop_last or not isinstance(items.sampler, Sized):
        return None
    return len(items.sampler)
