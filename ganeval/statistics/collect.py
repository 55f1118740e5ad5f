"""The one loop in which images are decoded, features computed, and whatever the metrics need is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol as Interface

import numpy as np
import torch

from ganeval.features.extractor import FeatureExtractor
from ganeval.images.ahead import ahead
from ganeval.images.digest import SetDigest
from ganeval.images.source import ImageBatch, Prepare
from ganeval.statistics.moments import Moments
from ganeval.statistics.on_device import DeviceSink
from ganeval.statistics.rows import FeatureRows


class Progress(Interface):
    """Told how many images are done; see ``ganeval.cli.progress`` for one that shows it."""

    def update(self, n: int) -> None: ...

    def close(self) -> None: ...


ProgressFactory = Callable[[str, int | None], Progress]


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of one tap of the network: its moments, its rows, or both."""

    moments: Moments | None
    rows: FeatureRows | None


@dataclass(slots=True)
class Collected:
    """What one set of images came to.

    Attributes:
        n: images that went through the network.
        digest: of the images, where they could be read on the host.
        image_digests: one 64-bit digest an image, in order; empty where the images never left the accelerator.
    """

    n: int = 0
    digest: SetDigest = field(default_factory=SetDigest)
    image_digests: list[np.ndarray] = field(default_factory=list)


def how_to_batch(extractors: Sequence[FeatureExtractor], batch_size: int | None) -> tuple[int, Prepare | None]:
    """Images in a batch, and what is done to each where it is decoded.

    Where all networks want the same resize of Pillow's, that is done there; where they want different ones, each batch
    is resized for each.
    """
    one_resize = len({(e.protocol.resize, e.protocol.size) for e in extractors}) == 1
    return batch_size or min((e.batch_size for e in extractors), default=64), (
        extractors[0].prepare if one_resize else None
    )


def collect(
    batches: Iterable[ImageBatch],
    networks: Sequence[tuple[FeatureExtractor, Mapping[str, Kept]]],
    collected: Collected,
    *,
    progress: Progress | None = None,
) -> None:
    """One pass: every image was decoded once and goes once through each network; update the moments, append the rows.

    Memory does not grow with the number of images but for 8 bytes each. On CUDA nothing waits: images cross while the
    batch before them is computed, moments are summed there, and rows come back a few batches later.

    Args:
        networks: each with what is kept of its taps; without any, images are only counted.
        collected: what the images come to is added to it.
    """
    device = next((extractor.device for extractor, _ in networks), torch.device("cpu"))
    sinks: dict[int, DeviceSink] = {}
    if _waits_for_nobody(device):
        batches = ahead(batches, device, prepared_only=any(e.prepare is not None for e, _ in networks))
        sinks = {
            id(kept): DeviceSink(kept.moments, kept.rows, device) for _, taps in networks for kept in taps.values()
        }
    for batch in batches:
        for extractor, taps in networks:
            features = extractor(batch)
            for tap, kept in taps.items():
                if sinks:
                    sinks[id(kept)].add(features[tap], batch.names)
                    continue
                block = features[tap].float().cpu().numpy()
                if kept.moments is not None:
                    kept.moments.update(block, names=batch.names)
                if kept.rows is not None:
                    kept.rows.append(block)
        collected.n += len(batch.names)
        if batch.digests is not None:
            collected.digest.update(batch.digests)
            collected.image_digests.append(batch.digests)
        if progress is not None:
            progress.update(len(batch.names))
    for sink in sinks.values():
        sink.finish()


def _waits_for_nobody(device: torch.device) -> bool:
    """Whether work on this device is queued, so that a host that does not wait is ahead of it."""
    return device.type == "cuda"
