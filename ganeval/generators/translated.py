"""Images that a model makes of other images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from ganeval.errors import ConfigError, InputError
from ganeval.images.generated import finish_images
from ganeval.images.latents import seed_of
from ganeval.images.loading import Regrouper
from ganeval.images.pixels import ValueRange
from ganeval.images.types import ImageBatch, NumberedSource, Prepare, SourceReport
from ganeval.images.user_models import PendingImages, UserModel

CheckSize = Callable[[int, int], None]


class TranslatedSource(NumberedSource):
    """The images of another source, each translated by a model; names, order and labels are the other source's.

    The model always runs on ``batch`` images, image i in place i modulo ``batch``, the rest filled up, so the bits of
    a translation do not depend on the batch size, on subsets or on worker processes. Its state is restored, see
    ``ganeval.images.user_models``; noise that it draws by itself is of (seed, i) alone.

    Args:
        spec: as the user knows it.
        source: the images, all of one size.
        model: float (N, 3, H, W) in ``value_range`` to images (N, 3 or 1, h, w) in the same range.
        value_range: black and white of its inputs, and of its outputs if they are floats.
        batch: see above.
        seed: of noise.
        device: where it runs; None for where it is.
        exact: on an accelerator only arithmetic that repeats bit by bit.
        check_size: raises ConfigError for (H, W) that the model cannot take.
        facts: more for the provenance.
        keep_mode: leave modules in the mode that they are in.
    """

    def __init__(
        self,
        spec: str,
        source: NumberedSource,
        model: Callable[[Tensor], Any],
        value_range: ValueRange,
        *,
        batch: int = 16,
        seed: int = 0,
        device: torch.device | None = None,
        exact: bool = False,
        check_size: CheckSize | None = None,
        facts: Mapping[str, object] | None = None,
        keep_mode: bool = False,
    ) -> None:
        self.spec = spec
        self._whole = source
        self.indices = np.arange(source.length)
        self._source, self.report = source, source.report
        self._model = UserModel(spec, model, value_range, device, exact=exact, keep_mode=keep_mode)
        self._range, self._batch, self._seed, self._check_size = value_range, batch, seed, check_size
        self._facts = dict(facts or {})
        self._drawn: list[np.ndarray | None] = []

    def part(self, rows: Sequence[int] | np.ndarray, selection: dict[str, object] | None = None) -> Self:
        some = super().part(rows, selection)
        some._drawn, some._source = [], self._whole.part(some.indices)
        some.report = some._source.report
        return some

    def labels(self) -> list[str] | None:
        return self._source.labels()

    def prompts(self) -> list[str] | None:
        return self._source.prompts()

    def input_digests(self) -> np.ndarray | None:
        known = [digests for digests in self._drawn if digests is not None]
        return np.concatenate(known) if known and len(known) == len(self._drawn) else None

    @property
    def reopens(self) -> bool:
        return self._source.reopens

    @property
    def decode_policy(self) -> str | None:
        return self._source.decode_policy

    def describe(self) -> dict[str, object]:
        described = {k: v for k, v in self._whole.describe().items() if k != "n"}
        return {
            "spec": self.spec,
            "kind": "translation",
            "n": self.length,
            "subset": self.selection,
            "source": described,
            "value_range": list(self._range),
            **self._model.describe(),
            **self._facts,
        }

    def check(self, on_error: str = "stop") -> None:
        """Look at the other source, and translate one image, before the long part."""
        self._source.check(on_error)
        next(self.part([0]).batches(1, on_error=on_error), None)

    def _batches(self, batch_size: int, workers: int, prepare: Prepare | None, on_error: str) -> Iterator[ImageBatch]:
        regrouper = Regrouper(batch_size, SourceReport())  # the other source counts
        done, size = 0, None
        own = SourceReport()
        self._drawn = []
        with self._model.on_device():
            for batch in self._source.batches(self._batch, workers=workers, on_error=on_error):
                images, size = self._of_one_size(batch, size)
                self._drawn.append(batch.digests)
                rows = self.indices[done : done + len(images)]
                done += len(images)
                # a place that is not after the previous one begins the next run of the model
                starts = [0, *(np.flatnonzero(np.diff(rows % self._batch) <= 0) + 1).tolist(), len(rows)]
                for start, end in pairwise(starts):
                    made, check = self._make(images[start:end], rows[start:end].tolist(), batch.names[start:end])
                    self.report.notes.update(check())
                    prepared, digests = finish_images(made, prepare, own)
                    yield from regrouper.add(prepared, batch.names[start:end], digests)
            self.report.pixels.clear()  # of the images before the translation
            self.report.pixels.update(own.pixels)
            yield from regrouper.rest()

    def _of_one_size(self, batch: ImageBatch, size: tuple[int, int] | None) -> tuple[Tensor, tuple[int, int]]:
        for image, name in zip(batch.images, batch.names, strict=True):
            height, width = image.shape[1:]
            if size is None:
                size = height, width
                try:
                    if self._check_size is not None:
                        self._check_size(*size)
                except ConfigError as error:
                    raise InputError(f"{self.spec}, images of {width} x {height} pixels: {error}") from error
            if (height, width) != size:
                raise InputError(
                    f"{self.spec}: a translation takes images of one size; {name} has {width} x {height} pixels, "
                    f"those before it {size[1]} x {size[0]}. Resize them first."
                )
        assert isinstance(batch.images, Tensor)
        assert size is not None
        return batch.images, size

    def _make(self, images: Tensor, rows: list[int], names: list[str]) -> tuple[Tensor, Callable[[], Counter[str]]]:
        """Translations of the images in these places of the whole source, and what checks them."""
        return self._model.make(len(rows), lambda part: self._begin(images[part], rows[part], names[part]))

    def _begin(self, images: Tensor, rows: list[int], names: list[str]) -> PendingImages:
        low, high = self._range
        places = torch.tensor(rows, device=images.device) % self._batch
        floats = images.new_zeros(self._batch, *images.shape[1:]).index_copy(0, places, images).float()
        floats = floats.mul_((high - low) / 255).add_(low)
        names = [f"the translation of {name}" for name in names]
        seed = seed_of(self._seed, rows[0])
        return self._model.begin(floats, seed=seed, what="images", names=names, keep=places.cpu())
