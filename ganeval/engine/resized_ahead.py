"""Pillow's resizes of one batch, for every network that wants one, while the batch before it is computed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import replace

import torch
from torch import Tensor

from ganeval.images.resize import PillowResize
from ganeval.images.threads import begun
from ganeval.images.types import ImageBatch

_Coming = dict[PillowResize, list[Future[Tensor]]]


def resized_ahead(batches: Iterable[ImageBatch], resizes: Collection[PillowResize]) -> Iterator[ImageBatch]:
    """The same batches, each with its images in every one of these sizes.

    Threads resize them, which costs no process and nothing that travels between processes: Pillow releases the
    interpreter's lock. The next batch is begun before one is handed over. Images that were resized where they were
    decoded stay as they are.
    """
    waiting: tuple[ImageBatch, _Coming] | None = None
    for batch in batches:
        coming = batch, _begun(batch, resizes)
        if waiting is not None:
            yield _finished(*waiting)
        waiting = coming
    if waiting is not None:
        yield _finished(*waiting)


def _begun(batch: ImageBatch, resizes: Collection[PillowResize]) -> _Coming:
    images = batch.images
    if not resizes or not len(images) or images[0].is_floating_point():
        return {}
    if isinstance(images, Tensor):
        arrays = list(images.permute(0, 2, 3, 1).cpu().numpy())  # one wait a batch, where they are on an accelerator
    else:
        arrays = [image.permute(1, 2, 0).cpu().numpy() for image in images]
    return {resize: begun(resize, arrays) for resize in resizes}


def _finished(batch: ImageBatch, coming: _Coming) -> ImageBatch:
    if not coming:
        return batch
    resized = {resize: torch.stack([one.result() for one in each]) for resize, each in coming.items()}
    return replace(batch, resized=resized)
