"""Pairs of images: who is whose partner, one pass over both sets, and the mean of each metric with its error."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from torch import Tensor

from ganeval.arithmetic import widest_float
from ganeval.digests import SetDigest
from ganeval.engine.paired_config import PairedConfig
from ganeval.environment import environment
from ganeval.errors import ConfigError, InputError, NotEnoughSamplesError, listed, number_of
from ganeval.features.devices import choose_device
from ganeval.features.perceptual import PerceptualDistance, load_distance
from ganeval.features.registry import get_distance
from ganeval.features.weights import status
from ganeval.generators.load import open_source
from ganeval.images.grouping import UNKNOWN, Grouping, incomplete
from ganeval.images.names import shared_folders
from ganeval.images.types import ImageBatch, NumberedSource
from ganeval.metrics import pairs as metric
from ganeval.metrics.registry import METRICS, named_metrics
from ganeval.parsing.arguments import option
from ganeval.protocol import Protocol
from ganeval.results import Evaluation, MetricResult

_PIXELS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "ssim": metric.ssim,
    "psnr": metric.psnr,
    "l1": metric.l1,
    "l2": metric.l2,
    "ms-ssim": metric.ms_ssim,
}
_LEAST = {"ssim": metric.LEAST_SIDE, "ms-ssim": metric.LEAST_SIDE_OF_SCALES}


@dataclass(frozen=True, slots=True)
class Pairing:
    """Both sets in one order, image by image, and notes on how the partners were found."""

    real: NumberedSource
    fake: NumberedSource
    notes: tuple[str, ...]


@dataclass(slots=True)
class PairValues:
    """What one pass has found.

    Attributes:
        values: by metric, one per pair.
        names: of the fakes.
        real, fake: digests of the images.
        left_out: metrics that are not computed, and why.
    """

    values: dict[str, list[np.ndarray]]
    names: list[str]
    real: list[np.ndarray]
    fake: list[np.ndarray]
    left_out: dict[str, str]


def run_paired(real: object, fake: object, config: PairedConfig) -> Evaluation:
    """Open and pair both sets, one pass over the pairs, every metric.

    Raises:
        InputError: images without a partner, pairs of unequal sizes, or images that cannot be used.
        WeightsError: the weights of LPIPS are missing or damaged.
        ConfigError: an option that has no effect here.
    """
    started = time.perf_counter()
    device = choose_device(config.device)
    wanted, notes = _wanted(config)
    pairing = paired_sources(_opened("REAL", real, config, device), _opened("FAKE", fake, config, device), config)
    for source in (pairing.real, pairing.fake):
        source.check()
    distance = _distance(config, device) if "lpips" in wanted else None
    grouping = None if config.group_by is None else Grouping(config.group_by)
    found = _measured(pairing, wanted, distance, config, device)
    notes += [*pairing.notes, *(f"{name} is not computed: {why}" for name, why in found.left_out.items())]
    real_digests, fake_digests = np.concatenate(found.real), np.concatenate(found.fake)
    arrays = {
        "fake_input_digests": real_digests,
        "real_image_digests": real_digests,
        "fake_image_digests": fake_digests,
    }
    if grouping is not None:
        arrays["fake_groups"] = _groups(grouping, found.names, str(config.group_by))
        notes.append("pairs that belong together count as one in the error bars")
    results = _results(found, config, distance, device, arrays)
    if not results:
        raise NotEnoughSamplesError("all pairs are identical: their PSNR is infinite. Ask for other metrics.")
    sets = {"real": (pairing.real, real_digests), "fake": (pairing.fake, fake_digests)}
    described = {
        name: {**source.describe(), "n": len(digests), "digest": _digest(digests)}
        for name, (source, digests) in sets.items()
    }
    return Evaluation(
        results=results,
        real=described["real"],
        fake=described["fake"],
        environment=environment(device, str(widest_float(device)).removeprefix("torch.")),
        warnings=tuple(dict.fromkeys(warning for one in results.values() for warning in one.warnings)),
        notes=tuple(notes),
        elapsed_seconds=time.perf_counter() - started,
        per_image=arrays,
    )


def _wanted(config: PairedConfig) -> tuple[list[str], list[str]]:
    """The metrics to compute, and notes on those that are left out."""
    names = [one.name for one in METRICS.values() if one.pairs]
    if config.metrics is not None:
        chosen = named_metrics(config.metrics)
        if others := [one.name for one in chosen if not one.pairs]:
            raise ConfigError(f"{others[0]} is not a metric of pairs. Available: {', '.join(names)}.")
        return list(dict.fromkeys(one.name for one in chosen)), []
    spec = get_distance(config.distance).weights
    if spec is None or config.distance_weights is not None or status(spec).present:
        return names, []
    names.remove("lpips")
    advice = f"{spec.command}; {option('distance', 'compact')} needs none"
    return names, [f"lpips is not computed: the weights of {config.distance} are not on this machine ({advice})"]


def _opened(name: str, spec: object, config: PairedConfig, device: torch.device) -> NumberedSource:
    source = open_source(spec, options=config.opening(device=str(device)))
    if not isinstance(source, NumberedSource):
        raise InputError(f"{name} {source.spec} is a stream; pairs need images of a known number. Save them first.")
    return source


def _distance(config: PairedConfig, device: torch.device) -> PerceptualDistance:
    weights = None if config.distance_weights is None else Path(config.distance_weights)
    return load_distance(config.distance, device=device, weights=weights)


# --- partners --------------------------------------------------------------------------------------------------------


def paired_sources(real: NumberedSource, fake: NumberedSource, config: PairedConfig) -> Pairing:
    """Both sets in the order of the fakes, without the images that have no partner.

    Raises:
        InputError: images without a partner (unless they are skipped), two images with one name, or no pair at all.
    """
    names = real.names(), fake.names()
    by = config.pair_by or ("order" if None in names else "stem")
    if by != "order" and None in names:
        which = real.spec if names[0] is None else fake.spec
        raise InputError(f"the images of {which} have no file names. Pair them with {option('pair_by', 'order')}.")
    notes = () if config.pair_by or by == "stem" else ("pairs are made by order: not all images have file names",)
    if by == "order":
        keys = [[f"#{i}" for i in range(source.length)] for source in (real, fake)]
    else:
        keys = [_keys(source.spec, own or (), by) for source, own in zip((real, fake), names, strict=True)]
    places = [{key: i for i, key in enumerate(one)} for one in keys]
    both = [key for key in keys[1] if key in places[0]]
    alone = [[key for key in keys[i] if key not in places[1 - i]] for i in (0, 1)]
    if not both or (any(alone) and config.on_unpaired == "stop"):
        raise InputError(_unpaired(alone, (real.spec, fake.spec), by, pairs=len(both)))
    if any(alone):
        counts = f"{len(alone[0])} of REAL and {len(alone[1])} of FAKE"
        notes = (*notes, f"images without a partner were left out: {counts}")
    parts = [
        source if [place[key] for key in both] == list(range(source.length)) else source.part([place[k] for k in both])
        for source, place in zip((real, fake), places, strict=True)
    ]
    return Pairing(parts[0], parts[1], notes)


def _keys(spec: str, names: Sequence[str], by: str) -> list[str]:
    """What the partners have in common: the path below the folders that all images of a set share."""
    folders = shared_folders(names)
    paths = [PurePosixPath(*PurePosixPath(name).parts[folders:]) for name in names]
    keys = [str(path if by == "name" else path.with_suffix("")) for path in paths]
    if len(set(keys)) < len(keys):
        twice = next(key for i, key in enumerate(keys) if key in keys[:i])
        advice = option("pair_by", "name") if by == "stem" else option("pair_by", "order")
        raise InputError(f"{spec} has two images {twice!r}, so their partners are not clear. Use {advice}.")
    return keys


def _unpaired(alone: Sequence[Sequence[str]], specs: tuple[str, str], by: str, *, pairs: int) -> str:
    found = [
        f"{number_of(len(keys), 'image')} of {spec} without a partner ({listed(keys)})"
        for keys, spec in zip(alone, specs, strict=True)
        if keys
    ]
    advice = f"Rename them, or leave them out with {option('on_unpaired', 'skip')}." if pairs else "Rename them."
    return f"found {number_of(pairs, 'pair')} by {by}, and {'; '.join(found)}. {advice}"


# --- the pass --------------------------------------------------------------------------------------------------------


def _measured(
    pairing: Pairing,
    wanted: Sequence[str],
    distance: PerceptualDistance | None,
    config: PairedConfig,
    device: torch.device,
) -> PairValues:
    """The one pass over the pairs."""
    found = PairValues({name: [] for name in wanted}, [], [], [], {})
    bar = None
    if config.progress is not None:
        bar = config.progress(f"pairs: {pairing.fake.spec}", pairing.fake.length)
    try:
        for real, fake in _batches(pairing, config):
            _add(found, real, fake, distance, config, device)
            if bar is not None:
                bar.update(len(fake.names))
    finally:
        if bar is not None:
            bar.close()
    return found


def _batches(pairing: Pairing, config: PairedConfig) -> Iterator[tuple[ImageBatch, ImageBatch]]:
    drawn = (source.batches(config.batch_size, workers=config.workers) for source in (pairing.real, pairing.fake))
    yield from zip(*drawn, strict=True)


def _add(
    found: PairValues,
    real: ImageBatch,
    fake: ImageBatch,
    distance: PerceptualDistance | None,
    config: PairedConfig,
    device: torch.device,
) -> None:
    """The values of one batch of pairs, those of one size together."""
    if len(real.names) != len(fake.names) or real.digests is None or fake.digests is None:
        raise InputError(
            "the images of a pair were not drawn together. Save generated images first, and pair the files."
        )
    by_size: dict[tuple[int, ...], list[int]] = {}
    for i, (one, other) in enumerate(zip(real.images, fake.images, strict=True)):
        if one.shape != other.shape:
            sizes = " and ".join(f"{image.shape[-1]} x {image.shape[-2]}" for image in (one, other))
            raise InputError(
                f"the pair {real.names[i]} and {fake.names[i]} has unequal sizes: {sizes} pixels. Bring both sets to "
                "one size first."
            )
        by_size.setdefault(tuple(one.shape), []).append(i)
    _leave_out_small(found, by_size, config, fake.names)
    rows = {name: np.zeros(len(fake.names)) for name in found.values}
    for places in by_size.values():
        one, other = (torch.stack([batch.images[i] for i in places]).to(device) for batch in (real, fake))
        for name, values in _values(list(found.values), one, other, distance, config.channels).items():
            rows[name][places] = values
    for name, values in rows.items():
        found.values[name].append(values)
    found.names += fake.names
    found.real.append(real.digests)
    found.fake.append(fake.digests)


def _leave_out_small(
    found: PairValues, sizes: Mapping[tuple[int, ...], Sequence[int]], config: PairedConfig, names: Sequence[str]
) -> None:
    """Drop metrics for which an image is too small, or stop where they were asked for by name."""
    shape = min(sizes, key=lambda shape: min(shape[-2:]))
    side = min(shape[-2:])
    for name, least in _LEAST.items():
        if name not in found.values or side >= least:
            continue
        why = f"{names[sizes[shape][0]]} has {shape[-1]} x {shape[-2]} pixels, expected sides of at least {least}"
        if config.metrics is not None:
            raise InputError(f"{name} cannot be computed: {why}. Ask for other metrics.")
        found.left_out[name] = why
        del found.values[name]


def _values(
    names: Sequence[str], real: Tensor, fake: Tensor, distance: PerceptualDistance | None, channels: str
) -> dict[str, np.ndarray]:
    """The values of pairs of one size.

    Args:
        real, fake: uint8 (N, 3, H, W).
    """
    with torch.inference_mode():
        pixels = [images.to(widest_float(images.device)) / 255 for images in (real, fake)]
        if channels == "y":
            pixels = [metric.luma(images) for images in pixels]
        found = {name: _PIXELS[name](*pixels) for name in names if name in _PIXELS}
        if distance is not None:
            floats = [images.to(distance.dtype) / 127.5 - 1 for images in (real, fake)]
            found["lpips"] = distance(floats[0], floats[1])
        return {name: values.double().cpu().numpy() for name, values in found.items()}


# --- results ---------------------------------------------------------------------------------------------------------


def _results(
    found: PairValues,
    config: PairedConfig,
    distance: PerceptualDistance | None,
    device: torch.device,
    arrays: Mapping[str, np.ndarray],
) -> dict[str, MetricResult]:
    results = {}
    for name, values in found.values.items():
        acronym = METRICS[name].acronym
        protocol = _protocol(name, config.channels, device)
        label = acronym if config.channels == "rgb" else f"{acronym}[y]"
        warnings: tuple[str, ...] = ()
        if name == "lpips":
            assert distance is not None
            protocol, warnings = distance.protocol("paired"), distance.warnings
            mark = "" if distance.verified else f"-{(distance.weights or 'unknown')[:8]}"
            label = f"LPIPS[{distance.name.removeprefix('lpips-')}{mark}]"
        one = metric.result(
            name,
            np.concatenate(values),
            protocol=protocol,
            label=label,
            reference=_digest(arrays["real_image_digests"]),
            inputs=arrays["fake_input_digests"],
            level=config.level,
            groups=arrays.get("fake_groups"),
            warnings=warnings,
        )
        if one is not None:
            results[name] = one
        else:
            found.left_out[name] = "all pairs are identical"
    return results


def _protocol(name: str, channels: str, device: torch.device) -> Protocol:
    """Channels, window, data range and arithmetic of a metric of pixels."""
    window = f", Gaussian window {metric.WINDOW}, sigma {metric.SIGMA:g}" if name in _LEAST else ""
    return Protocol(
        name="paired",
        extractor="pixels",
        layer=f"{channels}{window}",
        resize="none",
        size=0,
        scale="x/255",
        precision=str(widest_float(device)).removeprefix("torch."),
        verified=True,
    )


def _groups(grouping: Grouping, names: Sequence[str], by: str) -> np.ndarray:
    ids = grouping(names)
    lacking = [name for name, known in zip(names, ids, strict=True) if known == UNKNOWN]
    if len(lacking) == len(names):
        grouping.reject({"FAKE": names[0]})
    if lacking:
        raise InputError(incomplete(by, "FAKE", len(lacking), len(names), lacking[:3]))
    return ids


def _digest(digests: np.ndarray) -> str:
    whole = SetDigest()
    whole.update(digests)
    return whole.hexdigest()
