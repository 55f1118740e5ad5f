"""Real images, fake images, metrics: one decode and one forward pass of each set, then every number.

This is the engine of the command line and of ``ganeval.fid``; both have its defaults.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ganeval.environment import environment
from ganeval.errors import ConfigError, IncomparableError, InputError, NotEnoughSamplesError
from ganeval.features.extractor import FeatureExtractor, choose_device, load_extractor, published_weights
from ganeval.generators.load import open_source
from ganeval.images.source import ImageSource
from ganeval.metrics import fid as frechet
from ganeval.metrics.registry import get_metric
from ganeval.protocol import COMPACT, Protocol, get_protocol
from ganeval.results import Evaluation, MetricResult
from ganeval.statistics.collect import ProgressFactory, collect
from ganeval.statistics.moments import Gaussian
from ganeval.statistics.reference import Statistics, is_statistics, load_reference
from ganeval.statistics.rows import DEFAULT_MEMORY, FeatureRows

NOT_FID = "FD[compact-v1] is not comparable with published FID: a small network, texture and coarse shape only"


def fid(real: object, fake: object, **options: Any) -> MetricResult:
    """Frechet Inception distance, with its error bar; on another network than Inception it says so in its label.

    ``ganeval.fid("real/", "fake/")`` is ``evaluate(real, fake, metrics=("fid",), ...)["fid"]``: see ``evaluate`` for
    the options and errors.
    """
    return evaluate(real, fake, metrics=("fid",), **options)["fid"]


def evaluate(
    real: object,
    fake: object,
    *,
    metrics: Sequence[str] = ("fid",),
    protocol: str | Protocol = "ttur",
    device: str = "auto",
    weights: str | Path | None = None,
    reference: str | None = None,
    trace: str = "auto",
    level: float = 0.95,
    floor: bool = False,
    num_real: int | None = None,
    num_fake: int | None = None,
    num_samples: int | None = None,
    latent_dim: int | None = None,
    num_classes: int | None = None,
    value_range: tuple[float, float] | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    workers: int | None = None,
    on_error: str = "stop",
    assume_protocol: bool = False,
    feature_memory: int = DEFAULT_MEMORY,
    data_root: str | Path | None = None,
    download: bool = False,
    progress: ProgressFactory | None = None,
) -> Evaluation:
    """Measure how far the fakes are from the reals.

    Args:
        real: the reference: anything that ``open_source`` takes, a statistics file, ``stats:NAME``, or a Statistics.
        fake: the generated images, likewise.
        metrics: names from ``ganeval.metrics.registry``.
        protocol: a name such as ``ttur``, ``clean``, ``compact`` or ``pytorch-fid:768``, or a Protocol.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        weights: a file to load instead of the protocol's published weights.
        reference: ``sample``: both sides are samples (default where REAL is images). ``population``: REAL is the
            target itself and has no sampling error (default where REAL is a statistics file).
        trace: ``auto``, ``sqrtm``, ``svd`` or ``eigvals``: how the trace of the matrix square root is computed.
        level: of the confidence interval.
        floor: also the distance between two halves of REAL.
        num_real: a seeded subset of REAL of this size.
        num_fake: the same of FAKE.
        num_samples: how many images to draw from a generator or a renderer.
        latent_dim: latent size of a generator that does not tell its own.
        num_classes: of a generator that takes a label (N,) beside the latents.
        value_range: ends of the range of float images, for instance (-1, 1).
        seed: of subsets, of rendered and of generated images.
        batch_size: images in one forward pass; by default one that suits network and device.
        workers: decoding processes; by default none on the CPU, where decoding is cheap, else one a core but one.
        on_error: ``stop`` at an unreadable file, or ``skip`` and count it.
        assume_protocol: take statistics of unknown origin as made under this protocol with its published weights.
        feature_memory: bytes of features kept in memory; the rest goes to a temporary file.
        data_root: folder of torchvision data sets.
        download: allow torchvision to download them.
        progress: called with what is done and the number of images, returns a progress display.

    Returns:
        Evaluation: results by name, and where they came from.

    Raises:
        InputError: images or statistics that cannot be used.
        NotEnoughSamplesError: fewer than two images on a side.
        WeightsError: the network's weights are missing or damaged.
        IncomparableError: statistics of another protocol.
        ConfigError: an unknown name, or options that contradict each other.
    """
    started = time.perf_counter()
    for name in metrics:
        get_metric(name)
    protocol = get_protocol(protocol) if isinstance(protocol, str) else protocol
    _require_choice("trace", trace, ("auto", "sqrtm", "svd", "eigvals"))
    _require_choice("reference", reference, (None, "sample", "population"))
    _require_choice("on_error", on_error, ("stop", "skip"))
    if not 0 < level < 1:
        raise ConfigError(f"the level of an interval lies between 0 and 1; got {level}. The usual one is 0.95.")
    torch_device = choose_device(device)
    reading = _Reading(
        num_samples=num_samples, latent_dim=latent_dim, num_classes=num_classes, value_range=value_range, seed=seed,
        data_root=data_root, download=download, on_error=on_error, device=torch_device,
    )  # fmt: skip
    sides = {
        "real": _open("real", real, reading, num_real),
        "fake": _open("fake", fake, reading, num_fake),
    }
    extractor: FeatureExtractor | None = None
    if any(isinstance(side, ImageSource) for side in sides.values()):
        path = Path(weights) if weights is not None else None
        extractor = load_extractor(protocol, device=torch_device, weights=path)
        protocol = extractor.protocol
    warnings = list(extractor.warnings) if extractor else []
    for name, side in sides.items():
        if isinstance(side, Statistics):
            if side.note:
                warnings.append(f"{side.spec}: {side.note}")
            protocol = _require_protocol(name, side, protocol, assume=assume_protocol)
            if side.protocol is None:
                warnings.append(f"{side.spec} does not say how it was made; taken as {protocol.name}, as you said")
    mode = reference or ("population" if isinstance(sides["real"], Statistics) else "sample")
    if floor and isinstance(sides["real"], Statistics) and sides["real"].rows is None:
        raise ConfigError(
            "--floor needs real images, or a statistics file with rows: it measures between their halves."
        )
    with ExitStack() as stack:
        measured = {}
        for name, side in sides.items():
            needs_rows = name == "fake" or mode == "sample" or floor
            if isinstance(side, Statistics):
                measured[name] = _from_statistics(side, stack, feature_memory, needs_rows)
            else:
                assert extractor is not None
                measured[name] = _from_images(
                    name, side, extractor, stack,
                    batch_size=batch_size, workers=_workers(workers, torch_device), on_error=on_error,
                    feature_memory=feature_memory, needs_rows=needs_rows, progress=progress,
                )  # fmt: skip
        real_side, fake_side = measured["real"], measured["fake"]
        for one in measured.values():
            warnings.extend(one.warnings)
        details: dict[str, object] = {}
        if floor:
            assert real_side.rows is not None
            details["floor"] = frechet.floor(real_side.rows, seed=seed, trace=trace)
        result = frechet.fid(
            real_side.gaussian,
            fake_side.gaussian,
            protocol=protocol,
            n_real=real_side.n,
            n_fake=fake_side.n,
            real_rows=real_side.rows,
            fake_rows=fake_side.rows,
            reference=mode,
            trace=trace,
            level=level,
            reference_digest=real_side.digest,
            shared_images=int(np.intersect1d(real_side.image_digests, fake_side.image_digests).size),
            warnings=tuple(warnings),
            details=details,
        )
        per_image = {**result.per_image, **{f"{k}_image_digests": v.image_digests for k, v in measured.items()}}
        result = replace(result, per_image=per_image)
    notes = []
    if protocol.extractor == COMPACT:
        notes.append(NOT_FID)
    if mode == "population":
        notes.append("the reference is taken as the target itself: the interval covers only the sampling of the fakes")
    return Evaluation(
        results={"fid": result},
        real=real_side.provenance,
        fake=fake_side.provenance,
        environment=environment(torch_device, protocol.precision),
        warnings=tuple(dict.fromkeys(result.warnings)),
        notes=tuple(notes),
        elapsed_seconds=time.perf_counter() - started,
    )


def build_statistics(
    images: object,
    *,
    protocol: str | Protocol = "ttur",
    device: str = "auto",
    weights: str | Path | None = None,
    num: int | None = None,
    num_samples: int | None = None,
    latent_dim: int | None = None,
    num_classes: int | None = None,
    value_range: tuple[float, float] | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    workers: int | None = None,
    on_error: str = "stop",
    rows: bool = False,
    note: str | None = None,
    feature_memory: int = DEFAULT_MEMORY,
    data_root: str | Path | None = None,
    download: bool = False,
    progress: ProgressFactory | None = None,
) -> Statistics:
    """Reference statistics of a set of images, with their protocol: what ``save_statistics`` writes.

    Args:
        rows: keep the features too, so that the file can stand as a sample (``--reference sample``).
        note: something to remember about these images; shown wherever the statistics are used.
        (the others): as in ``evaluate``.
    """
    protocol = get_protocol(protocol) if isinstance(protocol, str) else protocol
    torch_device = choose_device(device)
    reading = _Reading(
        num_samples=num_samples, latent_dim=latent_dim, num_classes=num_classes, value_range=value_range, seed=seed,
        data_root=data_root, download=download, on_error=on_error, device=torch_device,
    )  # fmt: skip
    source = _open("images", images, reading, num)
    if isinstance(source, Statistics):
        raise InputError(f"{source.spec} is a statistics file already; give images.")
    extractor = load_extractor(protocol, device=torch_device, weights=Path(weights) if weights is not None else None)
    with ExitStack() as stack:
        measured = _from_images(
            "images", source, extractor, stack, batch_size=batch_size, workers=_workers(workers, torch_device),
            on_error=on_error, feature_memory=feature_memory, needs_rows=rows, progress=progress,
        )  # fmt: skip
        meta = {
            "protocol": extractor.protocol.to_dict(),
            "source": dict(measured.provenance),
            "environment": environment(torch_device, extractor.protocol.precision),
            "warnings": [*extractor.warnings, *measured.warnings],
            "note": note,
        }
        return Statistics(
            mean=measured.gaussian.mean,
            covariance=measured.gaussian.covariance,
            n=measured.n,
            ddof=measured.gaussian.ddof,
            meta=meta,
            rows=measured.rows.to_array() if measured.rows is not None else None,
            digests=measured.image_digests if len(measured.image_digests) else None,
        )


# --- the two sides -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Reading:
    """How images are opened; the same for both sides."""

    num_samples: int | None
    latent_dim: int | None
    num_classes: int | None
    value_range: tuple[float, float] | None
    seed: int
    data_root: str | Path | None
    download: bool
    on_error: str
    device: torch.device


@dataclass(frozen=True, slots=True)
class _Measured:
    """One side, ready for the metrics."""

    gaussian: Gaussian
    rows: FeatureRows | None
    n: int | None
    digest: str | None
    image_digests: np.ndarray
    provenance: Mapping[str, object]
    warnings: tuple[str, ...]


def _open(side: str, spec: object, reading: _Reading, num: int | None) -> ImageSource | Statistics:
    """Open, and look for everything that would end the run, before any network is loaded."""
    if is_statistics(spec):
        if num is not None:
            raise ConfigError(f"--num-{side} takes a subset of images; {spec} holds statistics.")
        return load_reference(spec)
    source = open_source(
        spec, num=num, seed=reading.seed, value_range=reading.value_range,
        num_samples=reading.num_samples, latent_dim=reading.latent_dim, num_classes=reading.num_classes,
        data_root=reading.data_root, download=reading.download, device=reading.device,
    )  # fmt: skip
    if source.length is not None:
        _require_enough(side, source.length, source.spec)
    source.check(reading.on_error)
    return source


def _require_enough(side: str, n: int, spec: str) -> None:
    if n < 2:
        kind = "" if side == "images" else f"{side} "
        plural = "image" if n == 1 else "images"
        raise NotEnoughSamplesError(
            f"a Frechet distance needs at least 2 {kind}images; found {n} {plural} in {spec}. "
            "Point at the folder that holds the images."
        )


def _from_images(
    side: str,
    source: ImageSource,
    extractor: FeatureExtractor,
    stack: ExitStack,
    *,
    batch_size: int | None,
    workers: int,
    on_error: str,
    feature_memory: int,
    needs_rows: bool,
    progress: ProgressFactory | None,
) -> _Measured:
    layer = extractor.protocol.layer
    rows = None
    if needs_rows:
        rows = FeatureRows(extractor.dimensions[layer], memory_limit=feature_memory, expected=source.length)
        stack.enter_context(rows)
    bar = progress(f"{side}: {source.spec}", source.length) if progress else None
    try:
        collected = collect(
            source, extractor, layer=layer, rows=rows, batch_size=batch_size, workers=workers, on_error=on_error,
            progress=bar,
        )  # fmt: skip
    finally:
        if bar is not None:
            bar.close()
    report = source.report
    _require_enough(side, collected.moments.n, source.spec)
    warnings = [f"{side}: {count} images: {what}" for what, count in sorted(report.notes.items())]
    if report.skipped:
        names = ", ".join(name for name, _ in report.skipped[:3])
        more = ", ..." if len(report.skipped) > 3 else ""
        warnings.append(f"{side}: {len(report.skipped)} unreadable files skipped ({names}{more})")
    if report.ignored:
        kinds = ", ".join(f"{n} {suffix or 'without suffix'}" for suffix, n in sorted(report.ignored.items()))
        warnings.append(f"{side}: files that are no images were left out: {kinds}")
    gaussian = collected.moments.finish(ddof=extractor.protocol.ddof)
    digest = collected.digest.hexdigest() if collected.digest.count else None
    provenance = {
        **source.describe(),
        "n": gaussian.n,
        "digest": digest,
        "skipped": [list(pair) for pair in report.skipped],
        "notes": dict(report.notes),
        "ignored": dict(report.ignored),
    }
    digests = np.concatenate(collected.image_digests) if collected.image_digests else np.empty(0, np.uint64)
    return _Measured(gaussian, rows, gaussian.n, digest, digests, provenance, tuple(warnings))


def _from_statistics(stats: Statistics, stack: ExitStack, feature_memory: int, needs_rows: bool) -> _Measured:
    rows = None
    if needs_rows and stats.rows is not None:
        rows = stack.enter_context(
            FeatureRows(stats.rows.shape[1], memory_limit=feature_memory, expected=len(stats.rows))
        )
        rows.append(stats.rows)
    digests = stats.digests if stats.digests is not None else np.empty(0, np.uint64)
    provenance = {"spec": stats.spec, "kind": "statistics", "n": stats.n, "digest": stats.digest, "meta": stats.meta}
    return _Measured(stats.gaussian(), rows, stats.n, stats.digest, digests, provenance, stats.warnings)


def _require_protocol(side: str, stats: Statistics, protocol: Protocol, *, assume: bool) -> Protocol:
    """The protocol of the run, once this statistics file has its say; an error where they cannot meet."""
    if stats.protocol is None and stats.mean.size != int(protocol.layer):
        raise IncomparableError(
            f"{stats.spec} holds statistics of {stats.mean.size} features; the protocol {protocol.name} has "
            f"{protocol.layer}. Name the protocol, or the layer (--protocol NAME:LAYER), that they were made with."
        )
    if stats.protocol is not None:
        if protocol.weights is None and replace(stats.protocol, weights=None).key() == protocol.key():
            weights = stats.protocol.weights or ""  # no network was loaded, the file says which it was
            return protocol.with_weights(weights, verified=weights == published_weights(protocol.extractor))
        protocol.require_same(stats.protocol, f"the {side} statistics in {stats.spec}")
        return protocol
    if not assume:
        raise IncomparableError(
            f"{stats.spec} does not say under which protocol its statistics were made, so nothing can be compared with "
            f"them. If you know that it is {protocol.name}, add --assume-protocol; otherwise build statistics from the "
            f"images: ganeval stats build IMAGES -o FILE.npz --protocol {protocol.name}"
        )
    if protocol.weights is None:
        return protocol.with_weights(published_weights(protocol.extractor), verified=True)
    return protocol


def _workers(workers: int | None, device: torch.device) -> int:
    """None means: no process on the CPU, where the network is the slow part; else one a core but one, at most 8."""
    if workers is not None:
        if workers < 0:
            raise ConfigError(f"--workers is a number of processes, 0 or more; got {workers}.")
        return workers
    # where processes are spawned, a script without a main guard would be run again in each: they must be asked for
    if device.type == "cpu" or sys.platform != "linux":
        return 0
    return max(1, min(8, (os.cpu_count() or 2) - 1))


def _require_choice(name: str, value: object, choices: Sequence[object]) -> None:
    if value not in choices:
        names = ", ".join(str(c) for c in choices if c is not None)
        raise ConfigError(f"{name} is one of {names}; got {value!r}.")
