"""Real images, fake images, metrics: one decode and one forward pass of each set, then every number.

This is the engine of the command line and of ``ganeval.fid``; both have its defaults.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import fields
from difflib import get_close_matches
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from ganeval.environment import environment
from ganeval.errors import ConfigError, InputError, NotEnoughSamplesError
from ganeval.features.extractor import FeatureExtractor, choose_device, load_extractor
from ganeval.features.perceptual import PerceptualDistance, load_distance
from ganeval.images.generated import GeneratedSource
from ganeval.images.source import ImageSource
from ganeval.metrics.inputs import MetricInputs, Settings
from ganeval.metrics.path_length import Path as LatentPath
from ganeval.metrics.registry import METRICS, Metric, get_metric
from ganeval.protocol import COMPACT, Protocol, get_protocol
from ganeval.results import Evaluation, MetricResult
from ganeval.sides import (
    Measured,
    Need,
    Reading,
    measure_images,
    measure_statistics,
    open_side,
    require_choice,
    require_protocol,
    shard_of,
)
from ganeval.statistics.collect import ProgressFactory
from ganeval.statistics.reference import Statistics
from ganeval.statistics.rows import DEFAULT_MEMORY
from ganeval.walk import measure_generator

NOT_FID = "FD[compact-v1] is not comparable with published FID: a small network, texture and coarse shape only"
POPULATION = "the reference is taken as the target itself: the interval covers only the sampling of the fakes"


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
    metrics: Sequence[str] | None = ("fid",),
    test: object = None,
    protocol: str | Protocol = "ttur",
    device: str = "auto",
    weights: str | Path | None = None,
    reference: str | None = None,
    level: float = 0.95,
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
    **settings: Any,
) -> Evaluation:
    """Measure how far the fakes are from the reals: one pass over each set, whatever the number of metrics.

    Args:
        real: the reference: anything that ``open_source`` takes, a statistics file, ``stats:NAME``, or a Statistics;
            None if all metrics are of the fakes alone.
        fake: the generated images, likewise.
        metrics: names from ``ganeval.metrics.registry``; None: all that apply to these two sets.
        test: held-out real images, for the metrics of memorisation.
        protocol: a name such as ``ttur``, ``clean``, ``compact`` or ``pytorch-fid:768``, or a Protocol.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        weights: a file to load instead of the protocol's published weights.
        reference: ``sample``: both sides are samples (default where REAL is images). ``population``: REAL is the
            target itself and has no sampling error (default where REAL is a statistics file).
        level: of the confidence intervals.
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
        feature_memory: bytes of features kept in memory for one set; the rest goes to a temporary file.
        data_root: folder of torchvision data sets.
        download: allow torchvision to download them.
        progress: called with what is done and the number of images, returns a progress display.
        settings: choices of single estimators: the fields of ``ganeval.metrics.inputs.Settings``, such as ``trace``.

    Returns:
        Evaluation: results by name, and where they came from.

    Raises:
        InputError: images or statistics that cannot be used.
        NotEnoughSamplesError: fewer images than a metric needs.
        WeightsError: the network's weights are missing or damaged.
        IncomparableError: statistics of another protocol.
        ConfigError: an unknown name, or options that contradict each other.
    """
    started = time.perf_counter()
    chosen = [get_metric(name) for name in metrics] if metrics is not None else None
    choices = _settings(settings)
    protocol = get_protocol(protocol) if isinstance(protocol, str) else protocol
    require_choice("reference", reference, (None, "sample", "population"))
    if not 0 < level < 1:
        raise ConfigError(f"the level of an interval lies between 0 and 1; got {level}. The usual one is 0.95.")
    torch_device = choose_device(device)
    reading = Reading(
        device=torch_device, num_samples=num_samples, latent_dim=latent_dim, num_classes=num_classes,
        value_range=value_range, seed=seed, data_root=data_root, download=download, on_error=on_error,
        batch_size=batch_size, workers=workers, feature_memory=feature_memory, progress=progress,
    )  # fmt: skip
    specs = {"real": (real, num_real), "fake": (fake, num_fake), "test": (test, None)}
    minimum = max((m.minimum for m in chosen), default=2) if chosen is not None else 2
    sides = {
        name: open_side(name, spec, reading, num=num, minimum=minimum)
        for name, (spec, num) in specs.items()
        if spec is not None
    }
    mode = reference or ("population" if isinstance(sides.get("real"), Statistics) else "sample")
    real_side = sides.get("real")
    if choices.floor and isinstance(real_side, Statistics) and real_side.rows is None:
        raise ConfigError("--floor needs real images, or statistics with rows: it measures between their halves.")
    wanted, left_out = _applicable(chosen, sides, protocol, choices, mode)
    distance: PerceptualDistance | None = None
    if any(metric.generator for metric in wanted):
        distance = load_distance("compact" if protocol.extractor == COMPACT else "lpips-vgg", device=torch_device)
    needs = {name: _needs(name, wanted, choices, mode) for name in sides}
    extractor: FeatureExtractor | None = None
    if any(isinstance(side, ImageSource) for side in sides.values()):
        path = Path(weights) if weights is not None else None
        layers = tuple(dict.fromkeys(layer for need in needs.values() for layer in need))
        extractor = load_extractor(protocol, device=torch_device, weights=path, layers=layers)
        protocol = extractor.protocol
    warnings = list(extractor.warnings) if extractor else []
    for name, side in sides.items():
        if isinstance(side, Statistics):
            if side.note:
                warnings.append(f"{side.spec}: {side.note}")
            protocol = require_protocol(name, side, protocol, assume=assume_protocol)
            if side.protocol is None:
                warnings.append(f"{side.spec} does not say how it was made; taken as {protocol.name}, as you said")
    with ExitStack() as stack:
        measured: dict[str, Measured] = {}
        for name, side in sides.items():
            if isinstance(side, Statistics):
                rows = any(need.rows for need in needs[name].values())
                measured[name] = measure_statistics(side, reading, stack, rows=rows)
            else:
                assert extractor is not None
                measured[name] = measure_images(
                    name, side, extractor, needs[name], reading, stack, minimum=minimum
                )  # fmt: skip
        for one in measured.values():
            warnings.extend(one.warnings)
        results, too_few = compute(
            [m for m in wanted if not m.generator], measured, protocol=protocol, settings=choices, reference=mode,
            level=level, warnings=tuple(warnings), skip_too_few=chosen is None, device=torch_device,
        )  # fmt: skip
        if distance is not None:
            results["ppl"] = measure_generator(
                sides["fake"], LatentPath(), distance, batch_size=batch_size, level=level, progress=progress
            )
            results = {m.name: results[m.name] for m in wanted if m.name in results}
    notes = [*left_out, *too_few]
    if protocol.extractor == COMPACT:
        notes.append(NOT_FID)
    if mode == "population" and "real" in sides:
        notes.append(POPULATION)
    nothing: Mapping[str, object] = {"spec": None, "kind": "none", "n": None, "digest": None}
    return Evaluation(
        results=results,
        real=measured["real"].provenance if "real" in measured else nothing,
        fake=measured["fake"].provenance,
        environment=environment(torch_device, protocol.precision),
        warnings=tuple(dict.fromkeys([*warnings, *(w for r in results.values() for w in r.warnings)])),
        notes=tuple(notes),
        per_image={f"{name}_image_digests": one.image_digests for name, one in measured.items()},
        elapsed_seconds=time.perf_counter() - started,
    )


def compute(
    wanted: Sequence[Metric],
    measured: Mapping[str, Measured],
    *,
    protocol: Protocol,
    settings: Settings,
    reference: str,
    level: float,
    warnings: tuple[str, ...] = (),
    skip_too_few: bool = False,
    device: torch.device | None = None,
) -> tuple[dict[str, MetricResult], list[str]]:
    """Every metric from what the passes left; each ``measure`` of the registry is called once.

    Returns:
        The results in the order of ``wanted``, and notes on metrics that were skipped for want of images.
    """
    real, fake, test = (measured.get(name) for name in ("real", "fake", "test"))
    assert fake is not None
    shared = int(np.intersect1d(real.image_digests, fake.image_digests).size) if real is not None else 0
    groups: dict[str, list[Metric]] = {}
    for metric in wanted:
        groups.setdefault(metric.measure, []).append(metric)
    found: dict[str, MetricResult] = {}
    notes: list[str] = []
    for target, group in groups.items():
        layer = group[0].layer
        inputs = MetricInputs(
            wanted=frozenset(m.name for m in group),
            protocol=protocol.at(layer),
            real=real.layers.get(layer) if real is not None else None,
            fake=fake.layers[layer],
            test=test.layers.get(layer) if test is not None else None,
            settings=settings, reference=reference, level=level, shared_images=shared, warnings=warnings,
            device=device,
        )  # fmt: skip
        module, _, function = target.partition(":")
        measure = cast(Callable[[MetricInputs], dict[str, MetricResult]], getattr(import_module(module), function))
        try:
            found |= measure(inputs)
        except NotEnoughSamplesError as error:
            if not skip_too_few:
                raise
            notes.append(f"left out: {error}")
    return {m.name: found[m.name] for m in wanted if m.name in found}, notes


def build_statistics(
    images: object,
    *,
    protocol: str | Protocol = "ttur",
    device: str = "auto",
    weights: str | Path | None = None,
    num: int | None = None,
    shard: tuple[int, int] | None = None,
    rows: bool = False,
    note: str | None = None,
    **reading: Any,
) -> Statistics:
    """Reference statistics of a set of images, with their protocol: what ``save_statistics`` writes.

    Args:
        num: a seeded subset of this size.
        shard: (I, N): only the I-th, from 1, of N shares of the images, for N machines; ``merge_statistics`` makes
            the whole of them.
        rows: keep the features too, so that the file can stand as a sample (``--reference sample``).
        note: something to remember about these images; shown wherever the statistics are used.
        reading: how images are opened and read, as in ``evaluate``: ``num_samples``, ``latent_dim``, ``num_classes``,
            ``value_range``, ``seed``, ``batch_size``, ``workers``, ``on_error``, ``feature_memory``, ``data_root``,
            ``download``, ``progress``.
    """
    protocol = get_protocol(protocol) if isinstance(protocol, str) else protocol
    torch_device = choose_device(device)
    how = Reading(device=torch_device, **reading)
    source = open_side("images", images, how, num=num)
    if isinstance(source, Statistics):
        raise InputError(f"{source.spec} is a statistics file already; give images.")
    if shard is not None:
        source = shard_of(source, *shard)
    extractor = load_extractor(protocol, device=torch_device, weights=Path(weights) if weights is not None else None)
    with ExitStack() as stack:
        measured = measure_images("images", source, extractor, {"features": Need(True, rows)}, how, stack)
        features = measured.layers["features"]
        assert features.gaussian is not None
        meta = {
            "protocol": extractor.protocol.to_dict(),
            "source": dict(measured.provenance),
            "environment": environment(torch_device, extractor.protocol.precision),
            "warnings": [*extractor.warnings, *measured.warnings],
            "note": note,
        }
        return Statistics(
            mean=features.gaussian.mean,
            covariance=features.gaussian.covariance,
            n=features.gaussian.n,
            ddof=features.gaussian.ddof,
            meta=meta,
            rows=features.rows.to_array() if features.rows is not None else None,
            digests=measured.image_digests if len(measured.image_digests) else None,
        )


# --- what is computed, and what that needs ------------------------------------------------------------------------


def _settings(given: Mapping[str, Any]) -> Settings:
    names = [f.name for f in fields(Settings)]
    for name in given:
        if name not in names:
            arguments = [p.name for p in signature(evaluate).parameters.values() if p.kind is p.KEYWORD_ONLY]
            close = get_close_matches(name, [*names, *arguments], n=1)
            hint = f" Did you mean {close[0]}?" if close else f" There are {', '.join(names)}."
            raise ConfigError(f"there is no argument or setting {name!r}.{hint}")
    return Settings(**given)


def _applicable(
    chosen: Sequence[Metric] | None,
    sides: Mapping[str, ImageSource | Statistics],
    protocol: Protocol,
    settings: Settings,
    mode: str,
) -> tuple[list[Metric], list[str]]:
    """The metrics that these sides and this network serve, and a note on each that was not asked for by name.

    Raises:
        ConfigError: one that was asked for by name cannot be computed.
    """
    wanted, notes = [], []
    for metric in chosen if chosen is not None else METRICS.values():
        if chosen is None and not metric.in_eval:
            continue
        if (obstacle := _obstacle(metric, sides, protocol, settings, mode)) is None:
            wanted.append(metric)
        elif chosen is not None:
            raise ConfigError(f"{metric.name} cannot be computed here: {obstacle}.")
        else:
            notes.append(f"{metric.name} is left out: {obstacle}")
    if wanted and all(metric.generator for metric in wanted):
        raise ConfigError("ppl alone has a command and a function of its own: ganeval ppl GENERATOR, path_length(g).")
    if not wanted:
        raise ConfigError("there is no metric to compute. " + " ".join(f"{note}." for note in notes))
    return wanted, notes


def _obstacle(
    metric: Metric,
    sides: Mapping[str, ImageSource | Statistics],
    protocol: Protocol,
    settings: Settings,
    mode: str,
) -> str | None:
    if "fake" not in sides:
        return "there are no generated images"
    if metric.generator and not isinstance(sides["fake"], GeneratedSource):
        return "it walks between the latents of a generator, and FAKE is none"
    if metric.sides == "both" and "real" not in sides:
        return "it compares with real images; give REAL"
    if metric.test and "test" not in sides:
        return "it needs held-out real images; give --test"
    if not protocol.has(metric.layer):
        return f"the network {protocol.extractor} has no layer for it ({metric.layer})"
    for name in ("real", "fake") if metric.sides == "both" else ("fake",):
        side = sides[name]
        if not isinstance(side, Statistics):
            continue
        if metric.layer != "features":
            return f"{side.spec} holds statistics of features, not {metric.layer}; give images"
        if metric.rows and side.rows is None:
            return (
                f"{side.spec} holds no features of single images; give images, or build the file with "
                "`ganeval stats build --rows`"
            )
    return None


def _needs(side: str, wanted: Sequence[Metric], settings: Settings, mode: str) -> dict[str, Need]:
    """By layer, what has to be kept of this side."""
    needs: dict[str, Need] = {}
    for metric in wanted:
        if metric.generator or (side != "fake" and metric.sides == "fake" and not metric.beside):
            continue
        if side == "test" and not (metric.test or metric.beside):
            continue
        # the error bars of metrics that are made of moments need rows too, where the side is a sample
        rows = metric.rows or side == "fake" or mode == "sample" or settings.floor or settings.per_class
        before = needs.get(metric.layer, Need(False, False))
        needs[metric.layer] = Need(before.moments or not metric.rows, before.rows or rows)
    return needs
