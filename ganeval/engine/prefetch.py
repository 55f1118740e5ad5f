"""Batches on their way to an accelerator: the next one is resized and copied while this one is used."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import replace

import torch
from torch import Tensor

from ganeval.images.mixed import MixedImages
from ganeval.images.resize import PillowResize
from ganeval.images.threads import submit_each
from ganeval.images.transfer import to_device
from ganeval.images.types import ImageBatch


def prefetched(
    batches: Iterable[ImageBatch], device: torch.device, *, prepared_only: bool = False
) -> Iterator[ImageBatch]:
    """The same batches in the same order, their images on the device.

    Each is handed over as soon as its bytes are on their way: from page-locked memory, on a stream of its own, so that
    neither the host nor the kernels before wait for the bus. What lies on the device already stays as it is.

    Args:
        prepared_only: leave 8-bit images on the host: no network takes them.
    """
    stream = None  # on the CPU there is nothing to copy
    if device.type == "cuda":
        stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    for batch in batches:
        yield _arrived(*_sent(batch, device, stream, prepared_only))


def _sent(
    batch: ImageBatch, device: torch.device, stream: torch.cuda.Stream | None, prepared_only: bool
) -> tuple[ImageBatch, torch.cuda.Event | None]:
    one = batch.images if isinstance(batch.images, Tensor) else batch.images[0]
    stays = one.device == device or (prepared_only and not one.is_floating_point())
    if stream is None or (stays and not batch.resized):
        return batch, None
    with torch.cuda.stream(stream):
        images = batch.images
        if not stays:
            images = to_device(images, device) if isinstance(images, Tensor) else MixedImages.of(images).to(device)
        resized = {resize: to_device(those, device) for resize, those in batch.resized.items()}
        return replace(batch, images=images, resized=resized), stream.record_event()


def _arrived(batch: ImageBatch, event: torch.cuda.Event | None) -> ImageBatch:
    """The stream that uses it waits, not the host."""
    if event is not None:
        data = batch.images if isinstance(batch.images, Tensor) else MixedImages.of(batch.images).data
        arrived = [one for one in (data, *batch.resized.values()) if one.device.type == "cuda"]
        current = torch.cuda.current_stream(arrived[0].device)
        current.wait_event(event)
        for one in arrived:
            one.record_stream(current)  # its memory is not given to the next copy before this stream is done
    return batch


# --- Pillow's resizes ---------------------------------------------------------------------------------------------

_Coming = dict[PillowResize, list[Future[Tensor]]]


def resized(batches: Iterable[ImageBatch], resizes: Collection[PillowResize]) -> Iterator[ImageBatch]:
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
    return {resize: submit_each(resize, arrays) for resize in resizes}


def _finished(batch: ImageBatch, coming: _Coming) -> ImageBatch:
    if not coming:
        return batch
    done = {resize: torch.stack([one.result() for one in each]) for resize, each in coming.items()}
    return replace(batch, resized=done)
