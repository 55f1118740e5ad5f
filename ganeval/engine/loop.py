"""The one loop in which images are decoded, features computed, and whatever the metrics need is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol as Interface

import numpy as np
import torch
from torch import Tensor

from ganeval.digests import SetDigest
from ganeval.engine.device_sink import DeviceSink, Receiver
from ganeval.engine.prefetch import ahead
from ganeval.engine.resized_ahead import resized_ahead
from ganeval.features.extractor import FeatureExtractor
from ganeval.images.resize import PillowResize
from ganeval.images.types import ImageBatch, Prepare
from ganeval.statistics.moments import Moments, as_rows
from ganeval.statistics.rows import FeatureRows

_TOGETHER = 256  # rows


class Progress(Interface):
    """Told how many images are done; see ``ganeval.cli.progress`` for one that shows it."""

    def update(self, n: int) -> None: ...

    def close(self) -> None: ...


ProgressFactory = Callable[[str, int | None], Progress]


class Network(Interface):
    """A ``FeatureExtractor``, or what stands for it; see there. Rows that are on the host already are arrays."""

    device: torch.device
    prepare: PillowResize | None

    def __call__(self, batch: ImageBatch, /) -> Mapping[str, Tensor] | Mapping[str, np.ndarray]: ...


Receivers = Callable[[Network, str, ImageBatch], Receiver | None]  # who else takes the rows of a batch at a tap


class Kept:
    """What is kept of one tap of the network: its moments, its rows, or both.

    Moments take 256 rows at a time, however the rows come: the same to the bit for every batch size, and cheaper (of
    8 rows, the d x d sums cost memory traffic alone). Rows that wait for others are counted whenever moments are asked
    for.

    Args:
        moments: None if they are not needed.
        rows: likewise.
        waiting: (b, d) float32, rows that belong to the moments and are not in them yet.
    """

    def __init__(self, moments: Moments | None, rows: FeatureRows | None, waiting: np.ndarray | None = None) -> None:
        self.settled, self.rows = moments, rows  # moments without those that wait
        self._waiting = [] if waiting is None or not len(waiting) else [waiting]
        self._names: list[str] = [""] * sum(map(len, self._waiting))

    @property
    def moments(self) -> Moments | None:
        """Of all rows so far; asking changes nothing."""
        if self.settled is None or not self._names:
            return self.settled
        whole = Moments.from_arrays(self.settled.to_arrays())
        whole.update(self.waiting, names=self._names)
        return whole

    @property
    def waiting(self) -> np.ndarray:
        return np.concatenate(self._waiting) if self._waiting else np.empty((0, 0), np.float32)

    def add(self, block: np.ndarray, names: Sequence[str]) -> None:
        """Args: block: (b, d) float32. Raises InputError, which names the image, where it has NaN or infinity."""
        if self.settled is not None:
            first = self.settled.n + len(self._names)
            block = as_rows(block, self.settled.dimension, first=first, names=names)
            start = 0
            while start < len(block):
                stop = min(len(block), start + _TOGETHER - len(self._names))
                self._waiting.append(block[start:stop].copy())
                self._names += names[start:stop]
                start = stop
                if len(self._names) == _TOGETHER:
                    self._settle()
        if self.rows is not None:
            self.rows.append(block)

    def merge(self, other: Kept) -> None:
        """Add what another one has seen; it is left as it is."""
        if self.settled is not None and (theirs := other.moments) is not None:
            self._settle()
            self.settled.merge(theirs)
        if self.rows is not None and other.rows is not None:
            for block in other.rows.blocks():
                self.rows.append(block)

    def _settle(self) -> None:
        if self.settled is not None and self._names:
            self.settled.update(self.waiting, names=self._names)
            self._waiting, self._names = [], []


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
    is resized for each, see ``collect``.
    """
    resizes = {extractor.prepare for extractor in extractors}
    return batch_size or min((e.batch_size for e in extractors), default=64), (
        resizes.pop() if len(resizes) == 1 else None
    )


def collect(
    batches: Iterable[ImageBatch],
    networks: Sequence[tuple[Network, Mapping[str, Kept]]],
    collected: Collected,
    *,
    receivers: Receivers | None = None,
    progress: Progress | None = None,
) -> None:
    """One pass: every image was decoded once and goes once through each network; update the moments, append the rows.

    Memory does not grow with the number of images but for 8 bytes each. On CUDA nothing waits: images cross, and are
    resized by Pillow for every network that wants that, while the batch before them is computed; moments are summed
    there, and rows come back a few batches later.

    Args:
        networks: each with what is kept of its taps; without any, images are only counted.
        collected: what the images come to is added to it.
        receivers: given the same rows, once they are on the host.
    """
    device = next((network.device for network, _ in networks), torch.device("cpu"))
    sinks: dict[int, DeviceSink] = {}
    if _waits_for_nobody(device):
        resizes = {network.prepare for network, _ in networks if network.prepare is not None}
        unprepared = any(network.prepare is None for network, _ in networks)
        batches = ahead(resized_ahead(batches, resizes), device, prepared_only=not unprepared)
        sinks = {
            id(kept): DeviceSink(kept.settled, kept.rows, device) for _, taps in networks for kept in taps.values()
        }
    for batch in batches:
        for network, taps in networks:
            features = network(batch)
            for tap, kept in taps.items():
                receiver = None if receivers is None else receivers(network, tap, batch)
                if sinks:
                    sinks[id(kept)].add(features[tap], batch.names, receiver)
                    continue
                rows = features[tap]
                rows = rows if isinstance(rows, np.ndarray) else rows.float().cpu().numpy()
                kept.add(rows, batch.names)
                if receiver is not None:
                    receiver(rows)
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
