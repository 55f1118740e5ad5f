"""The one loop of a run: decode an image, send it through every network, accumulate what the metrics need."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch

from ganeval.engine.accumulator import FeatureKey, LayerAccumulator, Requirement, SetAccumulator, SetFeatures
from ganeval.engine.config import InputOptions
from ganeval.engine.device_sink import DeviceSink
from ganeval.engine.inputs import require_enough
from ganeval.engine.prefetch import prefetched, resized
from ganeval.engine.recall import Network, Receivers, ReusedSource, reusing
from ganeval.engine.runtime import Runtime
from ganeval.engine.sharding import RankShare, gathered
from ganeval.features.interface import Extractor
from ganeval.images.grouping import Grouping
from ganeval.images.types import ImageBatch, ImageSource, Prepare
from ganeval.images.workers import worker_faults
from ganeval.protocol import Protocol

_logger = logging.getLogger("ganeval")


def measure_images(
    name: str,
    source: ImageSource,
    extractors: Mapping[Protocol, Extractor],
    requirements: Mapping[FeatureKey, Requirement],
    options: InputOptions,
    runtime: Runtime,
    *,
    minimum: int = 2,
    grouping: Grouping | None = None,
) -> SetFeatures:
    """The one pass over an image set.

    Args:
        name: of the image set, for messages.
        extractors: by protocol; those that ``requirements`` does not name do not run.
        requirements: by network and layer; the extractor has a tap for each.
        minimum: fewest images that anything can be computed from.
        grouping: which images belong together.
    """
    call = f"{name} images"
    own = SetAccumulator(
        extractors, requirements, memory=options.feature_memory, expected=source.length, grouping=grouping
    )
    runtime.stack.callback(own.close)
    accumulate(own, name, source, options, runtime, call=call)
    whole = gathered(own, runtime.group, call)
    if whole is not own:
        own.close()
        runtime.stack.callback(whole.close)
    require_enough(name, whole.n, source.describe(), minimum, spec=_with_skipped(source.spec, whole))
    if runtime.cache is not None and runtime.group.rank == 0:
        _logger.debug("%s: %d of %d images recalled from the cache", name, whole.log.recalled, whole.n)
    features = whole.finish(name)
    for one in (own, whole):
        one.drop_moments()
    return features


def _with_skipped(spec: str, accumulator: SetAccumulator) -> str:
    """A source's name for a message, with what was left out of it, and why the first one was."""
    skipped = accumulator.log.skipped
    if not skipped:
        return spec
    _, _, name, reason = skipped[0]
    return f"{spec}, without {len(skipped)} that cannot be used ({name}: {reason})"


def accumulate(
    accumulator: SetAccumulator,
    name: str,
    source: ImageSource,
    options: InputOptions,
    runtime: Runtime,
    *,
    call: str,
    shared: bool = True,
) -> None:
    """One pass over a source, with a progress display.

    Args:
        shared: all ranks opened the same source, and each takes its batches of it; otherwise this rank takes all.
    """
    accumulator.require_complete()
    group = runtime.group if shared else None
    taps: dict[Protocol, dict[str, LayerAccumulator]] = {}
    for (protocol, layer), kept in accumulator.layers.items():
        taps.setdefault(protocol, {})[accumulator.extractors[protocol].tap(layer)] = kept
    networks = [(accumulator.extractors[protocol], list(layers)) for protocol, layers in taps.items()]
    size, prepare = batching([extractor for extractor, _ in networks], options.batch_size)
    workers = runtime.workers(source, options)
    drawing: dict[str, Any] = {"workers": workers, "prepare": prepare, "on_error": options.on_error}
    reuse = reusing(source, networks, runtime.cache, size)
    shown = options.progress_of(f"{name}: {source.spec}", source.length)
    with shown as progress, worker_faults(), reuse as (source, calls, receivers):
        before, accumulator.failed = accumulator.n, True
        accumulator.separate = accumulator.separate or group is None
        share = None if group is None or group.size == 1 else RankShare(source, group, size)
        batches = source.batches(size, **drawing) if share is None else share.batches(call, **drawing)
        layers = list(zip(calls, taps.values(), strict=True))
        run(batches, layers, accumulator, receivers=receivers, progress=progress)
    _log(accumulator, source, share, accumulator.n - before, first=group is None or group.rank == 0)
    accumulator.failed = False


def _log(accumulator: SetAccumulator, source: ImageSource, share: RankShare | None, added: int, *, first: bool) -> None:
    """What was met in this pass.

    Args:
        share: what this rank has of the source; None: all of it.
        added: images that went through the networks.
        first: whether this rank tells of what every rank has met alike.
    """
    log, segment = accumulator.log, accumulator.log.segments
    part = cast("ImageSource | None", source) if share is None else share.part
    report = source.report if share is None else share.report
    if isinstance(part, ReusedSource):
        log.recalled += part.recalled
    blocks = [(0, added)] if share is None else share.blocks
    log.blocks += [(segment, block, n) for block, n in blocks]
    labels = _labels_of_used(part.labels(), part.report.skipped_places, added) if part is not None else None
    known = log.labels is not None and labels is not None and len(labels) == added
    log.labels = [*(log.labels or ()), *(labels or ())] if known else None
    inputs = part.input_digests() if part is not None and accumulator.inputs is not None else None
    accumulator.add_inputs(inputs if inputs is not None and len(inputs) == added else None)
    log.add_counts(report, "notes", "formats", "pixels")
    if first:
        log.add_counts(source.report, "ignored")
    places = range(len(report.skipped)) if share is None or part is None else share.rows[report.skipped_places]
    log.skipped += [(segment, int(at), *pair) for at, pair in zip(places, report.skipped, strict=True)]
    log.segments += 1
    log.add_sources([source.describe()])


def _labels_of_used(labels: list[str] | None, skipped: Sequence[int], used: int) -> list[str] | None:
    """The labels of the images that were used, from those of all of them.

    Args:
        skipped: places of the images that were left out.
        used: number of the others.
    """
    if labels is None or len(labels) != used + len(skipped):
        return labels
    left_out = set(skipped)
    return [label for place, label in enumerate(labels) if place not in left_out]


def batching(extractors: Sequence[Extractor], batch_size: int | None) -> tuple[int, Prepare | None]:
    """Images in a batch, and what is done to each where it is decoded.

    Where all networks want the same resize of Pillow's, that is done there; where they want different ones, each batch
    is resized for each, see ``run``.
    """
    resizes = {extractor.prepare for extractor in extractors}
    size = batch_size or min((extractor.batch_size for extractor in extractors), default=64)
    return size, resizes.pop() if len(resizes) == 1 else None


def run(
    batches: Iterable[ImageBatch],
    networks: Sequence[tuple[Network, Mapping[str, LayerAccumulator]]],
    accumulator: SetAccumulator | None = None,
    *,
    receivers: Receivers | None = None,
    progress: Callable[[int], object] = lambda n: None,
) -> None:
    """Every image was decoded once and goes once through each network; update the moments, append the rows.

    Memory does not grow with the number of images but for 8 bytes each. On CUDA nothing waits: images cross, and are
    resized by Pillow for every network that wants that, while the batch before them is computed; moments are summed
    there, and rows come back a few batches later.

    Args:
        networks: each with what is kept of its taps; without any, images are only counted.
        accumulator: counts the images and their digests.
        receivers: given the same rows, once they are on the host.
    """
    device = next((network.device for network, _ in networks), torch.device("cpu"))
    sinks: dict[int, DeviceSink] = {}
    if _is_asynchronous(device):
        resizes = {network.prepare for network, _ in networks if network.prepare is not None}
        unprepared = any(network.prepare is None for network, _ in networks)
        batches = prefetched(resized(batches, resizes), device, prepared_only=not unprepared)
        sinks = {
            id(layer): DeviceSink(layer.settled, layer.rows, device) for _, taps in networks for layer in taps.values()
        }
    for batch in batches:
        for network, taps in networks:
            features = network(batch)
            for tap, layer in taps.items():
                receiver = None if receivers is None else receivers(network, tap, batch)
                if sinks:
                    sinks[id(layer)].add(features[tap], batch.names, receiver)
                    continue
                rows = features[tap]
                rows = rows if isinstance(rows, np.ndarray) else rows.float().cpu().numpy()
                layer.update(rows, batch.names)
                if receiver is not None:
                    receiver(rows)
        if accumulator is not None:
            groups = None if accumulator.grouping is None else accumulator.grouping(batch.names)
            accumulator.update(len(batch.names), batch.digests, groups)
        progress(len(batch.names))
    for sink in sinks.values():
        sink.finish()


def _is_asynchronous(device: torch.device) -> bool:
    """Whether work on this device is queued, so that a host that does not wait is ahead of it."""
    return device.type == "cuda"
