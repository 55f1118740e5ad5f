"""From the features of every image set to the results: each metric once, then notes and provenance."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import cast

import numpy as np

from ganeval.arithmetic import collect_host_fallbacks
from ganeval.engine.accumulator import FeatureKey, SetFeatures
from ganeval.engine.config import EvaluationConfig
from ganeval.engine.inputs import ImageSet
from ganeval.engine.networks import Networks
from ganeval.engine.path_length import NOT_PPL
from ganeval.engine.planning import Plan, idle, shared_out
from ganeval.engine.runtime import Runtime
from ganeval.engine.set_warnings import frequency_note, generator_notes, set_warnings
from ganeval.environment import environment
from ganeval.errors import InputError
from ganeval.features.cache import FeatureCache, remembered
from ganeval.features.compiled import COMPILE
from ganeval.metrics.registry import Metric
from ganeval.metrics.single import distance_by_size, neighbours_across
from ganeval.metrics.types import FeatureSet, Memo, MetricInputs, nothing_is_kept
from ganeval.parsing.arguments import option
from ganeval.protocol import Protocol
from ganeval.results import Evaluation, MetricResult

POPULATION = "the reference is taken as the target itself: intervals cover only the sampling of the fakes"
BOTH = ("blocks", "two-fold")  # standard errors that are always of both sets
NO_SET: Mapping[str, object] = {"spec": None, "kind": "none", "n": None, "digest": None}


@dataclass(frozen=True, slots=True)
class Measured:
    """Everything that a run has when its passes are done.

    Attributes:
        features: by image set.
        of_generator: results of metrics of the generator itself.
        started: ``time.perf_counter()`` when the run began.
    """

    plan: Plan
    config: EvaluationConfig
    networks: Networks
    runtime: Runtime
    features: Mapping[str, SetFeatures]
    of_generator: Mapping[str, MetricResult]
    started: float


def evaluation_of(run: Measured) -> Evaluation:
    """Every metric, from all image sets, with what a reader should know of them."""
    plan, features = run.plan, run.features
    warnings = [*run.networks.warnings, *(warning for one in features.values() for warning in one.warnings)]
    warnings += set_warnings(features)
    with collect_host_fallbacks() as on_host:
        results, failed = compute(run, tuple(warnings))
    results |= run.of_generator
    results = {task.metric.name: results[task.metric.name] for task in plan.tasks if task.metric.name in results}
    per_image: dict[str, np.ndarray] = {}
    if plan.on_features:
        per_image = {f"{name}_image_digests": one.image_digests for name, one in features.items()}
        per_image["fake_input_digests"] = features["fake"].input_digests
        per_image |= _groups(features)
    if run.config.single_images:
        per_image |= _names(run)
        _add_single_images(run, results, per_image)
    said = [*warnings, *on_host, *(w for result in results.values() for w in result.warnings)]
    return Evaluation(
        results=results,
        real=features["real"].provenance if "real" in features else NO_SET,
        fake=features["fake"].provenance,
        test=features["test"].provenance if "test" in features else None,
        heldout=features["heldout"].provenance if "heldout" in features else None,
        environment=_environment(run),
        warnings=tuple(dict.fromkeys(said)),
        notes=tuple(_notes(run, results, failed)),
        per_image=per_image,
        elapsed_seconds=time.perf_counter() - run.started,
    )


def _environment(run: Measured) -> dict[str, object]:
    runtime, config = run.runtime, run.config
    precision = run.plan.protocol.precision
    if not run.plan.on_features and run.networks.distance is not None:
        precision = run.networks.distance.protocol("").precision
    found = environment(runtime.device, precision, compiled=config.compile)
    if runtime.group.size > 1:
        found["ranks"] = runtime.group.size
    if runtime.cache is not None and run.plan.on_features:
        found["recalled"] = {name: one.recalled for name, one in run.features.items()}
    return found


def _notes(run: Measured, results: Mapping[str, MetricResult], failed: Sequence[str]) -> list[str]:
    plan, features = run.plan, run.features
    provenance = {name: one.provenance for name, one in features.items()}
    notes = [*plan.left_out, *failed, *generator_notes(provenance)]
    notes += frequency_note(provenance["fake"], _labels(features.get("real")))
    notes += _on_groups(provenance)
    notes += [shared_out(name, both, plan.on_features) for name, both in plan.both.items()]
    networks = [task.protocol.network for task in plan.on_features]
    notes += dict.fromkeys(network.note for network in networks if network is not None and network.note is not None)
    notes += [caveat for task in plan.tasks if task.metric.name in results and (caveat := task.metric.caveat)]
    if not plan.on_features and run.of_generator["ppl"].label == "PPL[compact-v1]":
        notes.append(NOT_PPL)
    target = {task.metric.name for task in plan.on_features if task.reference == "population"}
    if target and "real" in features:
        # those that compare, and whose error is not one given REAL
        both = [
            name
            for name, result in results.items()
            if name in target and result.n_real is not None and result.interval and result.interval.method in BOTH
        ]
        notes.append(POPULATION + (f"; those of {', '.join(both)} cover that of both sets" if both else ""))
    unused = idle(run.config.settings, plan.tasks)
    notes += [f"{option(name)} has no effect here: no metric of this run reads it" for name in unused]
    if run.config.compile and not run.networks.computes:
        notes.append(f"{COMPILE} has no effect here: no network of features runs")
    elif run.networks.compiled_for_nothing():
        notes.append(
            f"{COMPILE} had little effect: most batches had another size than the first; set {option('batch_size')}"
        )
    return notes


def _names(run: Measured) -> dict[str, np.ndarray]:
    """The file of every image, in order, of the sets whose images are files."""
    found = {}
    for name, one in run.features.items():
        opened = run.plan.sets[name]
        source = None if opened is None else opened.images
        if source is not None and (names := source.names()) is not None:
            skipped = {file for file, _ in source.report.skipped}
            names = [file for file in names if file not in skipped]
            if len(names) == one.n:
                found[f"{name}_image_names"] = np.array(names)
    return found


def _add_single_images(run: Measured, results: dict[str, MetricResult], per_image: dict[str, np.ndarray]) -> None:
    """Neighbours across the sets, and the Frechet distance of fewer fakes, where the features are known."""
    key = run.plan.protocol, "features"
    real, fake = (run.features[name].layers.get(key) if name in run.features else None for name in ("real", "fake"))
    if real is None or fake is None:
        return
    if real.rows is not None and fake.rows is not None and min(len(real.rows), len(fake.rows)) > 1:
        per_image |= neighbours_across(
            real.rows.to_array(), fake.rows.to_array(), device=run.runtime.device, group=run.runtime.group
        )
    task = next((task for task in run.plan.tasks if task.metric.name == "fid"), None)
    if task is not None and (fid := results.get("fid")) is not None:
        one, other = (run.features[s].at(key, statistics=s in task.statistics) for s in ("real", "fake"))
        assert one is not None
        assert other is not None
        sizes = distance_by_size(one, other, reference=task.reference, ddof=fid.protocol.ddof)
        results["fid"] = replace(fid, details={**fid.details, "by_size": sizes})


def _on_groups(provenance: Mapping[str, Mapping[str, object]]) -> list[str]:
    known = {name: one["groups"] for name, one in provenance.items() if isinstance(one.get("groups"), dict)}
    if not known:
        return []
    counts = [f"{name}: {one['n']} groups of {provenance[name]['n']} images" for name, one in known.items()]  # type: ignore[index]
    return [f"images that belong together count as one in the error bars ({'; '.join(counts)})"]


def _groups(features: Mapping[str, SetFeatures]) -> dict[str, np.ndarray]:
    known = {name: next(iter(one.layers.values()), None) for name, one in features.items()}
    return {f"{name}_groups": one.groups for name, one in known.items() if one is not None and one.groups is not None}


def _labels(features: SetFeatures | None) -> Sequence[str] | None:
    known = None if features is None else next(iter(features.layers.values()), None)
    return None if known is None or known.labels is None else [str(label) for label in known.labels]


def compute(run: Measured, warnings: tuple[str, ...]) -> tuple[dict[str, MetricResult], list[str]]:
    """Every metric of features; each ``measure`` of the registry is called once a network.

    Returns:
        The results, and notes on metrics that were not asked for by name and cannot be computed: too few images, or
        features that the metric cannot take.
    """
    groups: dict[tuple[str, FeatureKey, frozenset[str], str], list[Metric]] = {}
    for task in run.plan.on_features:
        groups.setdefault((task.metric.measure, task.key, task.statistics, task.reference), []).append(task.metric)
    found: dict[str, MetricResult] = {}
    notes: list[str] = []
    shared: dict[frozenset[str], int] = {}
    for (target, key, statistics, reference), metrics in groups.items():
        both = frozenset(name for name in statistics if name in run.features and run.features[name].statistics)
        if both not in shared:
            shared[both] = _shared(run.features, both)
        inputs = _inputs(run, key, metrics, statistics, reference, warnings, shared[both], both=bool(both))
        module, _, function = target.partition(":")
        measure = cast(Callable[[MetricInputs], dict[str, MetricResult]], getattr(import_module(module), function))
        try:
            found |= measure(inputs)
        except InputError as error:
            if run.plan.asked:
                raise
            notes.append(f"left out: {error}")
    return found, notes


def _inputs(
    run: Measured,
    key: FeatureKey,
    metrics: Sequence[Metric],
    statistics: frozenset[str],
    reference: str,
    warnings: tuple[str, ...],
    shared: int,
    *,
    both: bool,
) -> MetricInputs:
    asked, layer = key
    parts = {name: one.at(key, statistics=name in statistics) for name, one in run.features.items()}
    fakes = parts["fake"]
    assert fakes is not None
    protocol = run.networks.bound[asked].at(layer)
    of_statistics = run.networks.statistics_warnings if both else ()
    return MetricInputs(
        wanted=frozenset(metric.name for metric in metrics),
        protocol=protocol,
        real=parts.get("real"),
        fake=fakes,
        test=parts.get("test"),
        heldout=parts.get("heldout"),
        settings=run.config.settings,
        reference=reference,
        level=run.config.level,
        shared_images=shared,
        warnings=(*run.networks.remarks().get(asked, ()), *warnings, *of_statistics),
        device=run.runtime.device,
        group=run.runtime.group,
        memo=_memo(run.runtime.cache, protocol, parts.get("real")),
    )


def _memo(cache: FeatureCache | None, protocol: Protocol, real: FeatureSet | None) -> Memo:
    """Keeps what depends on the reference under this protocol alone, where there is a cache and the set is known."""
    if cache is None or real is None or real.digest is None:
        return nothing_is_kept
    key = {"protocol": protocol.key(), "layer": protocol.layer, "weights": protocol.weights, "reference": real.digest}
    rows = None if (known := real.rows or real.row_sample) is None else len(known)
    return lambda name, kind, compute: remembered(cache.folder, {**key, "what": name, "rows": rows}, kind, compute)


def _shared(features: Mapping[str, SetFeatures], statistics: frozenset[str]) -> int:
    """Images of one set that are in the other too, every copy counted; none where one is known by statistics.

    A thousand fakes that are two of the reals are no sample of their own.

    Args:
        statistics: the sets, of those with images too, of which the statistics are meant.
    """
    real, fake = (features.get(name) for name in ("real", "fake"))
    if real is None or fake is None or statistics & {"real", "fake"}:
        return 0
    return max(
        int(np.isin(one.image_digests, other.image_digests).sum()) for one, other in ((real, fake), (fake, real))
    )


def with_both(provenance: Mapping[str, object], both: ImageSet) -> dict[str, object]:
    """The provenance of the part that was measured, with the size of the other part of the file."""
    stats, images = both.statistics, both.images
    assert stats is not None
    assert images is not None
    if provenance.get("kind") == "statistics":
        return {**provenance, "images": {"n": images.length}}
    return {**provenance, "statistics": {"n": stats.n, "digest": stats.digest}}
