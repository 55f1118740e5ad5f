"""Real images, fake images, metrics: one decode and one forward pass of each set, then every number.

This is the engine of the command line and of ``ganeval.fid``; both have its defaults.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from typing import Any

from ganeval.distributed import joined, shared
from ganeval.engine.accumulator import Need
from ganeval.engine.inputs import (
    Reading,
    measure_images,
    open_images_alone,
    require_effect,
    require_range_used,
    shard_of,
    under_policy,
)
from ganeval.engine.loop import ProgressFactory
from ganeval.engine.session import Run, resolved
from ganeval.environment import environment
from ganeval.errors import ConfigError, warn
from ganeval.features.cache import FeatureCache, open_cache
from ganeval.features.custom import CustomNetwork
from ganeval.features.devices import choose_device, give_back
from ganeval.features.extractor import load_extractor
from ganeval.features.weights import by_network
from ganeval.images.grammar import spec_or_object
from ganeval.images.options import split_options
from ganeval.images.user_models import random_states_kept
from ganeval.parsing.arguments import Device, converted, require_known
from ganeval.protocol import Protocol
from ganeval.results import Evaluation, MetricResult
from ganeval.statistics.reference import Statistics
from ganeval.statistics.rows import DEFAULT_MEMORY, sampled_rows


def fid(real: object, fake: object, **options: Any) -> MetricResult:
    """Frechet Inception distance, with its error bar; on another network than Inception it says so in its label.

    ``ganeval.fid("real/", "fake/")`` is ``evaluate(real, fake, metrics=("fid",), ...)["fid"]``: see ``evaluate`` for
    the options and errors.
    """
    return evaluate(real, fake, metrics=("fid",), **options)["fid"]


@converted
@random_states_kept()
def evaluate(
    real: object,
    fake: object,
    *,
    metrics: Sequence[str] | None = ("fid",),
    test: object = None,
    protocol: str | Protocol | CustomNetwork = "ttur",
    device: Device = "auto",
    weights: str | Path | Mapping[str, str | Path] | None = None,
    reference: str | None = None,
    level: float = 0.95,
    num_real: int | None = None,
    num_fake: int | None = None,
    num_samples: int | None = None,
    latent_dim: int | tuple[int, ...] | None = None,
    num_classes: int | None = None,
    value_range: tuple[float, float] | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    workers: int | None = None,
    precision: str | None = None,
    compile: bool = False,
    on_error: str = "stop",
    assume_protocol: bool = False,
    feature_memory: int = DEFAULT_MEMORY,
    data_root: str | Path | None = None,
    download: bool = False,
    progress: ProgressFactory | None = None,
    cache: bool | str | Path | FeatureCache | None = None,
    sync: bool = True,
    single_images: bool = False,
    **others: Any,
) -> Evaluation:
    """Measure how far the fakes are from the reals: one pass over each set, whatever the number of metrics.

    Every image is decoded once and goes once through each network. Which networks those are, the protocol says, and a
    metric may have one of its own; asked for by name, it has its weights fetched, otherwise it takes part where they
    are at hand.

    Args:
        real: the reference: anything that ``open_source`` takes, a statistics file, ``stats:NAME``, or a Statistics;
            None if all metrics are of the fakes alone.
        fake: the generated images, likewise.
        metrics: names from ``ganeval.metrics.registry``, in a list or separated by commas; None: all that apply to
            these two sets.
        test: held-out real images, for the metrics of memorisation.
        protocol: a name such as ``ttur``, ``clean``, ``compact`` or ``pytorch-fid:768``, a Protocol, a CustomNetwork.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``, a ``torch.device``, or None, which is ``auto``.
        weights: a file to load instead of the published weights of the run's network, or files by network; that of
            the distance of ``ppl`` is ``lpips-vgg``.
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
        precision: arithmetic of the networks: ``float32``, or, faster and less exact, ``bf16``, on CUDA also ``fp16``
            and ``tf32``. It is part of the protocol, and a warning tells how far it moves the features of the first
            images. That of the distance of ``ppl`` stays float32. None: the protocol's own, which is float32.
        compile: compile the networks first: worth it for many images. Values move by float32 noise.
        on_error: ``stop`` at an unreadable file, or ``skip`` and count it.
        assume_protocol: take statistics of unknown origin as made under this protocol with its published weights.
        feature_memory: bytes of features kept in memory for one set; the rest goes to a temporary file.
        data_root: folder of torchvision data sets.
        download: allow torchvision to download them.
        progress: called with what is done and the number of images, returns a progress display.
        cache: whether the features of files that were seen before are recalled, and those of others kept: True: in the
            user's cache folder; None: likewise, unless ``GANEVAL_CACHE=0``; or a folder; False: no.
        sync: under torchrun, or in a process group of torch.distributed, all ranks make this call, share the work and
            get the same results; False: this rank alone.
        single_images: also what tables and reports show of single images: names of files, nearest neighbours across the
            sets, and the Frechet distance of fewer fakes. Where the features of both sides are at hand.
        others: how images are opened: the fields of ``ganeval.images.options.OpenOptions`` that are not above; and
            choices of single estimators: the fields of ``ganeval.metrics.settings.Settings``, such as ``trace``.

    Returns:
        Evaluation: results by name, and where they came from.

    Raises:
        InputError: images or statistics that cannot be used.
        NotEnoughSamplesError: fewer images than a metric needs.
        WeightsError: the network's weights are missing or damaged.
        IncomparableError: statistics of another protocol.
        ConfigError: an unknown name, or options that contradict each other.
        RankError: another rank failed, or did not come.

    Warns:
        GanEvalWarning: each of the result's ``warnings``, on the first rank.
    """
    started = time.perf_counter()
    opening, settings = split_options(others)
    given = {"real": (real, num_real), "fake": (fake, num_fake), "test": (test, None)}
    specs = {name: (spec_or_object(what), num) for name, (what, num) in given.items() if what is not None}
    with ExitStack() as stack:
        group = stack.enter_context(shared(stack.enter_context(joined(sync=sync, device=device))))
        stack.enter_context(group.together("evaluate"))
        group.agree("evaluate")
        reading = Reading(
            device=choose_device(device), num_samples=num_samples, latent_dim=latent_dim, num_classes=num_classes,
            value_range=value_range, seed=seed, data_root=data_root, download=download, **opening, on_error=on_error,
            batch_size=batch_size, workers=workers, feature_memory=feature_memory, progress=progress,
            cache=open_cache(cache),
        )  # fmt: skip
        require_effect([what for what, _ in specs.values()], reading)
        stack.callback(give_back, reading.device)
        run = Run(
            specs, stack, reading, metrics=metrics, protocol=protocol, weights=weights, reference=reference,
            level=level, assume_protocol=assume_protocol, settings=settings, precision=precision, compile=compile,
            single_images=single_images,
        )  # fmt: skip
        measured = {name: run.measure(name) for name in run.sides}
        run.drop_networks()
        evaluation, first = run.finish(measured, started=started), group.rank == 0
    if first:
        warn(evaluation.warnings)
    return evaluation


@converted
@random_states_kept()
def build_statistics(
    images: object,
    *,
    protocol: str | Protocol | CustomNetwork = "ttur",
    device: Device = "auto",
    weights: str | Path | Mapping[str, str | Path] | None = None,
    num: int | None = None,
    shard: tuple[int, int] | None = None,
    rows: bool = False,
    sample_rows: int | None = None,
    note: str | None = None,
    precision: str | None = None,
    compile: bool = False,
    cache: bool | str | Path | FeatureCache | None = None,
    **reading: Any,
) -> Statistics:
    """Reference statistics of a set of images, with their protocol: what ``save_statistics`` writes.

    Args:
        num: a seeded subset of this size.
        shard: (I, N): only the I-th, from 1, of N shares of the images, for N machines; ``merge_statistics`` makes
            the whole of them.
        rows: keep the features too, so that the file can stand as a sample (``--reference sample``).
        sample_rows: keep the features of so many images, drawn evenly, in half precision: a comparison of two models by
            few images (fewer than 2.5 for each feature) is calibrated with them; 2500 are enough.
        note: something to remember about these images; shown wherever the statistics are used.
        precision: as in ``evaluate``.
        compile: as in ``evaluate``.
        cache: as in ``evaluate``.
        reading: how images are opened and read, as in ``evaluate``: ``num_samples``, ``latent_dim``, ``num_classes``,
            ``value_range``, ``seed``, ``batch_size``, ``workers``, ``on_error``, ``feature_memory``, ``data_root``,
            ``download``, ``progress``, and the other fields of ``ganeval.images.options.OpenOptions``.
    """
    if sample_rows is not None and sample_rows < 2:
        raise ConfigError(f"sample_rows is a number of images from 2 on; got {sample_rows}.")
    require_known(reading, (field.name for field in fields(Reading) if field.init and field.name not in _NOT_GIVEN))
    protocol, own = resolved(protocol, precision)
    images = spec_or_object(images)
    with ExitStack() as stack:
        group = stack.enter_context(shared(stack.enter_context(joined(device=device))))
        stack.enter_context(group.together("build_statistics"))
        group.agree("build_statistics")
        torch_device = choose_device(device)
        how = Reading(device=torch_device, cache=open_cache(cache), **reading)
        require_effect([images], how)
        source = open_images_alone("images", images, how, num=num)
        if shard is not None:
            source = shard_of(source, *shard)
        require_range_used([source], how.value_range)
        protocol = under_policy(protocol, [source])
        place = protocol, "features"
        weights_given = {**by_network(weights, [protocol.extractor]), **own}.get(protocol.extractor)
        extractor = load_extractor(
            protocol, device=torch_device, weights=weights_given, compile=compile, batch_size=how.batch_size
        )
        stack.callback(extractor.release)
        measured = measure_images(
            "images", source, {protocol: extractor}, {place: Need(True, rows or sample_rows is not None)}, how, stack
        )
        features = measured.layers[place]
        assert features.gaussian is not None
        meta = {
            "protocol": extractor.protocol.to_dict(),
            "source": dict(measured.provenance),
            "environment": environment(torch_device, extractor.protocol.precision, compiled=compile),
            "warnings": [*extractor.warnings, *measured.warnings],
            "note": note,
        }
        statistics = Statistics(
            mean=features.gaussian.mean,
            covariance=features.gaussian.covariance,
            n=features.gaussian.n,
            ddof=features.gaussian.ddof,
            meta=meta,
            rows=features.rows.to_array() if rows and features.rows is not None else None,
            row_sample=None
            if sample_rows is None or features.rows is None
            else features.rows.to_array()[sampled_rows(len(features.rows), sample_rows)],
            digests=measured.image_digests if len(measured.image_digests) else None,
        )
        first = group.rank == 0
    if first:
        warn(statistics.warnings)
    return statistics


_NOT_GIVEN = ("device", "cache", "in_place")  # fields of Reading that ``build_statistics`` sets itself
