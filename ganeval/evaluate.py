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
from types import MappingProxyType
from typing import Any, cast

import numpy as np
import torch

from ganeval.cautions import cautions
from ganeval.environment import environment
from ganeval.errors import ConfigError, InputError
from ganeval.features.custom import CustomNetwork
from ganeval.features.extractor import FeatureExtractor, Given, choose_device, load_extractor
from ganeval.features.perceptual import PerceptualDistance, load_distance
from ganeval.features.weights import by_network
from ganeval.images.source import ImageSource
from ganeval.metrics.inputs import MetricInputs, Settings
from ganeval.metrics.path_length import Path as LatentPath
from ganeval.metrics.registry import Metric, get_metric
from ganeval.plan import Task, applicable, idle, needs_of, networks_of, tasks_of
from ganeval.protocol import COMPACT, CUSTOM, Protocol, get_protocol
from ganeval.results import Evaluation, MetricResult
from ganeval.sides import (
    Measured,
    Need,
    Place,
    Reading,
    measure_images,
    measure_statistics,
    open_side,
    require_choice,
    require_effect,
    require_protocol,
    serves,
    shard_of,
)
from ganeval.statistics.collect import ProgressFactory
from ganeval.statistics.reference import Statistics
from ganeval.statistics.rows import DEFAULT_MEMORY
from ganeval.walk import measure_generator

NOT_FID = "FD[compact-v1] is not comparable with published FID: a small network, texture and coarse shape only"
POPULATION = "the reference is taken as the target itself: intervals cover only the sampling of the fakes"
BOTH = ("blocks", "two-fold")  # standard errors that are always of both sides


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
    protocol: str | Protocol | CustomNetwork = "ttur",
    device: str = "auto",
    weights: str | Path | Mapping[str, str | Path] | None = None,
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

    Every image is decoded once and goes once through each network. Which networks those are, the protocol says, and a
    metric may have one of its own; asked for by name, it has its weights fetched, otherwise it takes part where they
    are at hand.

    Args:
        real: the reference: anything that ``open_source`` takes, a statistics file, ``stats:NAME``, or a Statistics;
            None if all metrics are of the fakes alone.
        fake: the generated images, likewise.
        metrics: names from ``ganeval.metrics.registry``; None: all that apply to these two sets.
        test: held-out real images, for the metrics of memorisation.
        protocol: a name such as ``ttur``, ``clean``, ``compact`` or ``pytorch-fid:768``, a Protocol, a CustomNetwork.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        weights: a file to load instead of the published weights of the run's network, or files by network.
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
    protocol, own = _resolved(protocol)
    require_choice("reference", reference, (None, "sample", "population"))
    if not 0 < level < 1:
        raise ConfigError(f"the level of an interval lies between 0 and 1; got {level}. The usual one is 0.95.")
    torch_device = choose_device(device)
    reading = Reading(
        device=torch_device, num_samples=num_samples, latent_dim=latent_dim, num_classes=num_classes,
        value_range=value_range, seed=seed, data_root=data_root, download=download, on_error=on_error,
        batch_size=batch_size, workers=workers, feature_memory=feature_memory, progress=progress,
    )  # fmt: skip
    require_effect([real, fake, test], reading)
    specs = {"real": (real, num_real), "fake": (fake, num_fake), "test": (test, None)}
    minimum = max((m.minimum for m in chosen), default=2) if chosen is not None else 2
    sides = {
        name: open_side(name, spec, reading, num=num, minimum=minimum)
        for name, (spec, num) in specs.items()
        if spec is not None
    }
    mode = reference or ("population" if isinstance(sides.get("real"), Statistics) else "sample")
    real_side = sides.get("real")
    tasks = tasks_of(chosen, protocol)
    floor = choices.floor and "floor" not in idle(choices, tasks)
    if floor and isinstance(real_side, Statistics) and real_side.rows is None:
        raise ConfigError("--floor needs real images, or statistics with rows: it measures between their halves.")
    paths = {**by_network(weights, networks_of(tasks, protocol)), **own}
    wanted, left_out = applicable(tasks, sides, protocol, asked=chosen is not None, given=paths)
    on_features = [task for task in wanted if not task.metric.generator]
    distance: PerceptualDistance | None = None
    if len(on_features) < len(wanted):
        distance = load_distance("compact" if protocol.extractor == COMPACT else "lpips-vgg", device=torch_device)
    needs = {name: needs_of(name, on_features, choices, mode) for name in sides}
    # the protocols of the run, as they were asked for, and what becomes of them once their weights are known
    bound = {task.protocol: task.protocol for task in on_features}
    extractors: dict[Protocol, FeatureExtractor] = {}
    images = any(isinstance(side, ImageSource) for side in sides.values())
    for asked in bound:
        if images or asked.extractor in own:
            layers = tuple(dict.fromkeys(layer for need in needs.values() for p, layer in need if p == asked))
            path = paths.get(asked.extractor)
            extractors[asked] = load_extractor(asked, device=torch_device, weights=path, layers=layers)
            bound[asked] = extractors[asked].protocol
    warnings: list[str] = []
    for name, side in sides.items():
        if isinstance(side, Statistics):
            if side.note:
                warnings.append(f"{side.spec}: {side.note}")
            for asked in bound:
                if serves(side, asked, protocol):
                    bound[asked] = require_protocol(name, side, bound[asked], assume=assume_protocol)
            if side.protocol is None:
                warnings.append(f"{side.spec} does not say how it was made; taken as {protocol.name}, as you said")
    with ExitStack() as stack:
        measured: dict[str, Measured] = {}
        for name, side in sides.items():
            if isinstance(side, Statistics):
                rows = any(need.rows for need in needs[name].values())
                served = [asked for asked in bound if serves(side, asked, protocol)]
                measured[name] = measure_statistics(side, served, reading, stack, rows=rows)
            else:
                measured[name] = measure_images(name, side, extractors, needs[name], reading, stack, minimum=minimum)
        for one in measured.values():
            warnings.extend(one.warnings)
        warnings.extend(cautions(measured))
        results, failed = compute(
            on_features, measured, bound=bound, settings=choices, reference=mode, level=level,
            warnings=tuple(warnings), remarks={asked: one.warnings for asked, one in extractors.items()},
            skip_failed=chosen is None, device=torch_device,
        )  # fmt: skip
        if distance is not None:
            results["ppl"] = measure_generator(
                sides["fake"], LatentPath(), distance, batch_size=batch_size, level=level, progress=progress
            )
            names = [task.metric.name for task in wanted]
            results = {name: results[name] for name in names if name in results}
    notes = [*left_out, *failed]
    if any(task.protocol.extractor == COMPACT for task in wanted):
        notes.append(NOT_FID)
    notes.extend(caveat for task in wanted if task.metric.name in results and (caveat := task.metric.caveat))
    if mode == "population" and "real" in sides:
        # those that compare, and whose error is not one given REAL
        both = [n for n, r in results.items() if r.n_real is not None and r.interval and r.interval.method in BOTH]
        notes.append(POPULATION + (f"; those of {', '.join(both)} cover that of both sides" if both else ""))
    notes.extend(
        f"--{name.replace('_', '-')} has no effect here: no metric of this run reads it"
        for name in idle(choices, wanted)
    )
    nothing: Mapping[str, object] = {"spec": None, "kind": "none", "n": None, "digest": None}
    return Evaluation(
        results=results,
        real=measured["real"].provenance if "real" in measured else nothing,
        fake=measured["fake"].provenance,
        test=measured["test"].provenance if "test" in measured else None,
        environment=environment(torch_device, protocol.precision),
        warnings=tuple(dict.fromkeys([*warnings, *(w for r in results.values() for w in r.warnings)])),
        notes=tuple(notes),
        per_image={
            **{f"{name}_image_digests": one.image_digests for name, one in measured.items()},
            "fake_input_digests": measured["fake"].input_digests,
        },
        elapsed_seconds=time.perf_counter() - started,
    )


def compute(
    wanted: Sequence[Task],
    measured: Mapping[str, Measured],
    *,
    bound: Mapping[Protocol, Protocol],
    settings: Settings,
    reference: str,
    level: float,
    warnings: tuple[str, ...] = (),
    remarks: Mapping[Protocol, tuple[str, ...]] = MappingProxyType({}),
    skip_failed: bool = False,
    device: torch.device | None = None,
) -> tuple[dict[str, MetricResult], list[str]]:
    """Every metric from what the passes left; each ``measure`` of the registry is called once a network.

    Args:
        bound: the protocols of the tasks, with the weights that were used.
        remarks: warnings of one network, by protocol.
        skip_failed: a metric that these images do not serve takes the others' results with it otherwise.

    Returns:
        The results in the order of ``wanted``, and notes on metrics that were skipped: too few images, or features
        that the metric cannot take.
    """
    real, fake, test = (measured.get(name) for name in ("real", "fake", "test"))
    assert fake is not None
    shared = int(np.intersect1d(real.image_digests, fake.image_digests).size) if real is not None else 0
    groups: dict[tuple[str, Place], list[Metric]] = {}
    for task in wanted:
        groups.setdefault((task.metric.measure, task.place), []).append(task.metric)
    found: dict[str, MetricResult] = {}
    notes: list[str] = []
    for (target, place), group in groups.items():
        asked, layer = place
        inputs = MetricInputs(
            wanted=frozenset(m.name for m in group),
            protocol=bound[asked].at(layer),
            real=real.layers.get(place) if real is not None else None,
            fake=fake.layers[place],
            test=test.layers.get(place) if test is not None else None,
            settings=settings, reference=reference, level=level, shared_images=shared,
            warnings=(*remarks.get(asked, ()), *warnings), device=device,
        )  # fmt: skip
        module, _, function = target.partition(":")
        measure = cast(Callable[[MetricInputs], dict[str, MetricResult]], getattr(import_module(module), function))
        try:
            found |= measure(inputs)
        except InputError as error:
            if not skip_failed:
                raise
            notes.append(f"left out: {error}")
    return {task.metric.name: found[task.metric.name] for task in wanted if task.metric.name in found}, notes


def build_statistics(
    images: object,
    *,
    protocol: str | Protocol | CustomNetwork = "ttur",
    device: str = "auto",
    weights: str | Path | Mapping[str, str | Path] | None = None,
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
    protocol, own = _resolved(protocol)
    torch_device = choose_device(device)
    how = Reading(device=torch_device, **reading)
    require_effect([images], how)
    source = open_side("images", images, how, num=num)
    if isinstance(source, Statistics):
        raise InputError(f"{source.spec} is a statistics file already; give images.")
    if shard is not None:
        source = shard_of(source, *shard)
    given = {**by_network(weights, [protocol.extractor]), **own}.get(protocol.extractor)
    extractor = load_extractor(protocol, device=torch_device, weights=given)
    place = protocol, "features"
    with ExitStack() as stack:
        measured = measure_images("images", source, {protocol: extractor}, {place: Need(True, rows)}, how, stack)
        features = measured.layers[place]
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


def _resolved(protocol: str | Protocol | CustomNetwork) -> tuple[Protocol, dict[str, Given]]:
    """The protocol, and the user's own network, if it is on one, by name."""
    if isinstance(protocol, CustomNetwork):
        return protocol.protocol(), {CUSTOM: protocol.given()}
    return (get_protocol(protocol) if isinstance(protocol, str) else protocol), {}


def _settings(given: Mapping[str, Any]) -> Settings:
    names = [f.name for f in fields(Settings)]
    for name in given:
        if name not in names:
            arguments = [p.name for p in signature(evaluate).parameters.values() if p.kind is p.KEYWORD_ONLY]
            close = get_close_matches(name, [*names, *arguments], n=1)
            hint = f" Did you mean {close[0]}?" if close else f" There are {', '.join(names)}."
            raise ConfigError(f"there is no argument or setting {name!r}.{hint}")
    return Settings(**given)
