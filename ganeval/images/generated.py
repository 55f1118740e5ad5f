"""Images that are made on demand: rendered shapes, and the images of a generator."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganeval.errors import InputError
from ganeval.images import shapes
from ganeval.images.class_labels import read_labels
from ganeval.images.decode import Pixels, digest
from ganeval.images.latents import Latents
from ganeval.images.loading import Regrouper
from ganeval.images.module_search import find_attribute
from ganeval.images.options import OpenOptions
from ganeval.images.pixels import ClampedRange, check_range
from ganeval.images.prompts import read_prompts
from ganeval.images.specs import Rendered
from ganeval.images.summary import add_counts, summarise
from ganeval.images.threads import map_in_threads
from ganeval.images.types import ImageBatch, Images, NumberedSource, Prepare, SourceReport, check_on_error
from ganeval.images.user_models import PendingImages, UserModel


class ShapesImages(Images):
    """Rendered images 0 to n - 1 of ``ganeval.images.shapes``."""

    kind = "shapes"
    takes_range = False

    def __init__(self, n: int, seed: int, size: int, variant: str) -> None:
        self.ignored: Counter[str] = Counter()
        self._n, self._seed, self._size, self._variant = n, seed, size, variant
        self.sizes = {(size, size)}

    def __len__(self) -> int:
        return self._n

    def load(self, index: int) -> Pixels:
        return Pixels(shapes.render(index, seed=self._seed, size=self._size, variant=self._variant))

    def labels(self) -> list[str]:
        return [shapes.CLASSES[shapes.label(index, seed=self._seed)] for index in range(self._n)]

    def classes(self) -> list[str]:
        return list(shapes.CLASSES)

    def facts(self) -> dict[str, object]:
        return {"variant": self._variant, "size": self._size, "seed": self._seed}


def open_shapes(spec: Rendered, num_samples: int | None, seed: int) -> ShapesImages:
    """Rendered images, with the run's seed where the spec has none.

    Raises:
        InputError: no number of images, or a size that cannot be rendered.
    """
    if num_samples is None:
        raise InputError(f"{spec} has any number of images: say how many with --num-samples.")
    images = ShapesImages(num_samples, seed if spec.seed is None else spec.seed, spec.size, spec.variant)
    images.load(0)  # a size out of range is said here
    return images


class GeneratedSource(NumberedSource):
    """The images that a generator makes of latents; latent, label and noise of image i depend only on ``(seed, i)``.

    Batch size, subsets and the global random state change nothing, see ``ganeval.images.latents``. A generator that
    is seen to draw random numbers by itself makes its images one by one, each with all random states
    seeded by (seed, i). It runs in evaluation mode, without gradients; its mode, its device and all random states are
    afterwards as they were.

    Args:
        spec: as the user knows it.
        generator: z (N, ...), or z and labels (N,) int64, or z and a list of N prompts, or prompts alone, to images
            (N, 3 or 1, H, W): uint8, or floats in ``value_range``.
        options: ``num_samples`` is needed, unless labels or prompts tell it; ``value_range`` and ``latent_dim`` default
            to the generator's attributes of these names (``z_dim`` too); with ``num_classes`` it is given labels as a
            second argument. With ``prompts`` it is given z only where its latents are declared.
        fixed_batch: always run it on so many latents, image i in place i modulo this, the rest filled up: the bits of
            an image then depend on nothing else. None: on as many as there are in a batch; images of different batch
            sizes are then equal within float32.
        facts: more for the provenance.
    """

    def __init__(
        self, spec: str, generator: Any, options: OpenOptions, fixed_batch: int | None = None, **facts: object
    ) -> None:
        options = _counted(options)
        if options.num_samples is None:
            raise InputError(f"{spec} makes any number of images: say how many with --num-samples (num_samples=...).")
        self.spec = spec
        self.report = SourceReport()
        value_range = options.value_range or check_range(find_attribute(generator, "value_range"))
        if options.clamp and value_range is not None:
            value_range = ClampedRange(value_range)
        self.model = UserModel(
            spec, generator, value_range, options.place, exact=fixed_batch is not None, keep_mode=options.keep_mode
        )
        self.latents = Latents(spec, generator, options)
        self._fixed = fixed_batch
        self._facts = facts
        self.indices = np.arange(options.num_samples)

    def labels(self) -> list[str] | None:
        if self.latents.num_classes is None:
            return None
        return [str(self.latents.label(index)) for index in self.indices.tolist()]

    def prompts(self) -> list[str] | None:
        if (prompts := self.latents.prompts) is None:
            return None
        return [prompts.text(index) for index in self.indices.tolist()]

    def input_digests(self) -> np.ndarray:
        with self.model.on_device():  # a generator may draw its latents itself
            return np.array([self.latents.digest(index) for index in self.indices.tolist()], dtype=np.uint64)

    def describe(self) -> dict[str, object]:
        value_range = self.model.value_range
        return {
            "spec": self.spec,
            "kind": "generator",
            "n": self.length,
            "subset": self.selection,
            **self.latents.describe(),
            "value_range": None if value_range is None else list(value_range),
            **self.model.describe(),
            **self._facts,
        }

    def check(self, on_error: str = "stop") -> None:
        """Make two images, so that a generator that does not fit is found before the long part."""
        check_on_error(on_error)
        with self.model.on_device():
            images, notes = self._make(self.indices[:2].tolist())
            notes()
        self.image_size = images.shape[2], images.shape[3]

    def _batches(self, batch_size: int, workers: int, prepare: Prepare | None, on_error: str) -> Iterator[ImageBatch]:
        self.report.restart()
        regrouper = Regrouper(batch_size, self.report)
        with self.model.on_device():
            for indices, images in self._checked(batch_size):
                prepared, digests = finish_images(images, prepare, self.report)
                yield from regrouper.add(prepared, [f"#{index}" for index in indices], digests)
            yield from regrouper.rest()

    def _checked(self, batch_size: int) -> Iterator[tuple[list[int], Tensor]]:
        """Numbers and images of all parts, whose range was checked.

        On an accelerator the next part is drawn, sent and under way before the one before it is checked, so that the
        device has work while the host waits.
        """
        waiting: deque[tuple[list[int], Tensor, Callable[[], Counter[str]]]] = deque()
        for part in (*self._parts(batch_size), None):
            allowed = 0
            if part is not None:
                waiting.append((part, *self._make(part)))
                allowed = self._under_way(waiting[-1][1])
            while len(waiting) > allowed:
                indices, images, check = waiting.popleft()
                self.report.notes.update(check())
                yield indices, images

    def _under_way(self, images: Tensor) -> int:
        """Number of parts that may wait for their check."""
        return 0 if images.device.type == "cpu" else 1

    def _parts(self, batch_size: int) -> Iterator[list[int]]:
        """Indices of the images that are made together."""
        if (fixed := self._fixed) is not None:
            yield from (list(block) for _, block in groupby(self.indices.tolist(), lambda index: index // fixed))
            return
        for start in range(0, self.length, batch_size):
            yield self.indices[start : start + batch_size].tolist()

    def _make(self, indices: list[int]) -> tuple[Tensor, Callable[[], Counter[str]]]:
        """Images of these numbers: uint8 (N, 3, H, W) on the generator's device, and what checks them."""
        return self.model.make(len(indices), lambda part: self._begin(indices[part]))

    def _begin(self, indices: list[int]) -> PendingImages:
        given = self.latents
        inputs = [torch.cat([given.latent(index) for index in indices])] if given.drawn else []
        if given.num_classes is not None:
            inputs.append(torch.tensor([given.label(index) for index in indices], device="cpu"))
        texts = [] if given.prompts is None else [[given.prompts.text(index) for index in indices]]
        seed = given.seed(indices[0])
        names = [f"image {index} (--seed {given.run_seed})" for index in indices]
        if self._fixed is None:
            what = "latents" if given.drawn else "prompts"
            return self.model.begin(*inputs, *texts, seed=seed, what=what, names=names)
        numbers = [index % self._fixed for index in indices]
        places = torch.tensor(numbers, device="cpu")
        filled = [x.new_zeros(self._fixed, *x.shape[1:]).index_copy(0, places, x) for x in inputs]
        first, end = numbers[0], numbers[0] + len(numbers)
        keep = slice(first, end) if numbers == list(range(first, end)) else places
        return self.model.begin(*filled, seed=seed, what="latents", names=names, keep=keep)


def _counted(options: OpenOptions) -> OpenOptions:
    """The options with the number of images, where their labels or prompts tell it; the files of both are then read."""
    if options.labels is not None and options.num_samples is None:  # one for each image
        labels = read_labels(options.labels).tolist()
        return replace(options, num_samples=len(labels), labels=labels)
    if options.prompts is not None:
        texts = read_prompts(options.prompts, options.caption_column).texts
        return replace(options, num_samples=options.num_samples or len(texts), prompts=texts)
    return options


def finish_images(images: Tensor, prepare: Prepare | None, report: SourceReport) -> tuple[Tensor, np.ndarray | None]:
    """Prepare the images of a batch; on the host, also compute digests and add a summary to the report."""
    digests = None
    if images.device.type == "cpu":
        arrays = images.permute(0, 2, 3, 1).numpy()
        digests = np.array([digest(array) for array in arrays], dtype=np.uint64)
        for array in arrays:
            add_counts(report.pixels, summarise(array))
    if prepare is not None:
        images = torch.stack(map_in_threads(prepare, list(images.permute(0, 2, 3, 1).cpu().numpy())))
    return images, digests
