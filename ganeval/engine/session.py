"""The engine: sides that are opened and looked at, networks that are loaded, one pass a side, then every metric."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import fields, replace
from importlib import import_module
from inspect import signature
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import numpy as np
import torch

from ganeval.arithmetic import collect_host_fallbacks
from ganeval.distributed import current
from ganeval.engine.accumulator import Measured, Place
from ganeval.engine.generator_notes import frequency_note, notes_on
from ganeval.engine.inputs import (
    Opened,
    Reading,
    measure_images,
    measure_statistics,
    open_side,
    require_choice,
    require_protocol,
    require_range_used,
    require_spatial,
    serves,
    under_policy,
)
from ganeval.engine.path_length import measure_generator
from ganeval.engine.planning import Task, applicable, idle, needs_of, networks_of, shared_out, tasks_of, used
from ganeval.engine.set_warnings import cautions
from ganeval.environment import environment
from ganeval.errors import ConfigError, InputError
from ganeval.features.cache import FeatureCache
from ganeval.features.cached_numbers import remembered
from ganeval.features.compiled import COMPILE
from ganeval.features.custom import CustomNetwork
from ganeval.features.extractor import FeatureExtractor, load_extractor
from ganeval.features.networks import Given
from ganeval.features.perceptual import PerceptualDistance, load_distance
from ganeval.features.weights import by_network
from ganeval.images.class_labels import like_real
from ganeval.images.options import OPTION_NAMES
from ganeval.metrics.path_length import LPIPS_VGG
from ganeval.metrics.path_length import Path as LatentPath
from ganeval.metrics.registry import Metric, named_metrics
from ganeval.metrics.settings import Settings
from ganeval.metrics.single import distance_by_size, neighbours_across
from ganeval.metrics.types import FeatureSet, Memo, MetricInputs, nothing_is_kept
from ganeval.parsing.arguments import PROTOCOL, option, require_known
from ganeval.protocol import COMPACT, CUSTOM, Protocol, get_protocol
from ganeval.results import Evaluation, MetricResult
from ganeval.statistics.reference import Statistics

NOT_PUBLISHED = (
    "compact-v1 is a small network that sees texture and coarse shape only: no value under it is comparable with a "
    "published one"
)
POPULATION = "the reference is taken as the target itself: intervals cover only the sampling of the fakes"
BOTH = ("blocks", "two-fold")  # standard errors that are always of both sides
LATER = object()  # stands for a side whose images come later, from a training loop


class Run:
    """Sides that are opened and looked at, networks that are loaded: all that can fail early has not.

    Args:
        specs: by side (``real``, ``fake``, ``test``), what it is and the size of a subset; see ``LATER``.
        stack: closes what is measured.
        reading: how images are opened and read.
        others: as in ``evaluate``.

    Attributes:
        sides: as they were opened, by name; None for images that come later.
        needs: what has to be kept of each.
        extractors: the networks, by protocol; all are loaded unless every side is statistics.
        minimum: fewest images of a side.
    """

    def __init__(
        self,
        specs: Mapping[str, tuple[object, int | None]],
        stack: ExitStack,
        reading: Reading,
        *,
        metrics: Sequence[str] | None,
        protocol: str | Protocol | CustomNetwork,
        weights: str | Path | Mapping[str, str | Path] | None,
        reference: str | None,
        level: float,
        assume_protocol: bool,
        settings: Mapping[str, Any],
        precision: str | None = None,
        compile: bool = False,
        single_images: bool = False,
    ) -> None:
        chosen = named_metrics(metrics) if metrics is not None else None
        self.settings, self.level, self.reading, self.stack = _settings(settings), level, reading, stack
        self.protocol, own = resolved(protocol, precision)
        self.compiled = compile
        self.single_images = single_images
        protocol = self.protocol
        require_choice("reference", reference, (None, "sample", "population"))
        if not 0 < level < 1:
            raise ConfigError(f"the level of an interval lies between 0 and 1; got {level}. The usual one is 0.95.")
        self.minimum = max((m.minimum for m in chosen), default=2) if chosen is not None else 2
        self.sides: dict[str, Any] = {}
        for name, (spec, num) in specs.items():
            how = replace(reading, label_distribution=None, labels=None)  # those are of the fakes
            if name == "fake" and spec is not LATER:
                real = self.sides.get("real")
                how = like_real(reading, None if real is None else real.images)
            self.sides[name] = None if spec is LATER else open_side(name, spec, how, num=num, minimum=self.minimum)
        opened = [side.images for side in self.sides.values() if side is not None and side.images is not None]
        if None not in self.sides.values():
            require_range_used(opened, reading.value_range)
        protocol = self.protocol = under_policy(protocol, opened)
        tasks = [replace(task, protocol=under_policy(task.protocol, opened)) for task in tasks_of(chosen, protocol)]
        kind = "compact" if protocol.extractor == COMPACT else LPIPS_VGG
        walked = [kind] if kind == LPIPS_VGG and any(task.metric.generator for task in tasks) else []
        named = by_network(weights, [*networks_of(tasks, protocol), *walked])
        paths = {**named, **own}
        self.asked = chosen is not None
        self.wanted, self.left_out = applicable(
            tasks, self.sides, protocol, asked=self.asked, given=paths, reference=reference,
            assume_protocol=assume_protocol,
        )  # fmt: skip
        self._require_floor()
        on_features = self.on_features = [task for task in self.wanted if not task.metric.generator]
        self.distance: PerceptualDistance | None = None
        if len(on_features) < len(self.wanted):
            trunk = named.get(COMPACT if kind == "compact" else kind)
            self.distance = load_distance(kind, device=reading.device, weights=trunk)
        # of sets with images and statistics, as they were opened; ``sides`` then has what of them is used
        self._of_both = {n: side for n, side in self.sides.items() if side and side.images and side.statistics}
        parts = {name: used(name, side, on_features, self.settings) for name, side in self.sides.items()}
        self.sides = {name: side for name, (side, _) in parts.items()}
        self.needs = {name: needs for name, (_, needs) in parts.items()}
        # the protocols of the run, as they were asked for, and what becomes of them once their weights are known
        self.bound = {task.protocol: task.protocol for task in on_features}
        self.extractors: dict[Protocol, FeatureExtractor] = {}
        self._remarks: dict[Protocol, tuple[str, ...]] = {}
        images = any(side is None or side.images is not None for side in self.sides.values())
        for asked in self.bound:
            if images or asked.extractor in own:
                layers = tuple(dict.fromkeys(layer for need in self.needs.values() for p, layer in need if p == asked))
                self.extractors[asked] = load_extractor(
                    asked, device=reading.device, weights=paths.get(asked.extractor), layers=layers,
                    compile=compile, batch_size=reading.batch_size,
                )  # fmt: skip
                self.bound[asked] = self.extractors[asked].protocol
        self._computes, self._in_vain = bool(self.extractors), False
        self.warnings: list[str] = []
        self._of_statistics: list[str] = []  # warnings for the metrics that take the statistics of a set of both alone
        for name, side in self.sides.items():
            if side is not None and side.statistics is not None:
                self._bind(name, side.statistics, assume_protocol)

    def _require_floor(self) -> None:
        real = self.sides.get("real")
        if not self.settings.floor or real is None or real.statistics is None or real.statistics.rows is not None:
            return
        if any("floor" in task.metric.settings and "real" in task.statistics for task in self.wanted):
            raise ConfigError(
                f"{option('floor', True)} needs real images, or statistics with rows: it measures between their halves."
            )

    def _bind(self, name: str, stats: Statistics, assume_protocol: bool) -> None:
        """Check the protocol of statistics that are used, and let the run's have the weights that they name."""
        alone = self._statistics_alone(name)
        told = self.warnings if alone else self._of_statistics
        if stats.note:
            told.append(f"{stats.spec}: {stats.note}")
        taking = {task.protocol for task in self.on_features if name in task.statistics}
        for asked in self.bound:
            if serves(stats, asked, self.protocol) and (alone or asked in taking):
                self.bound[asked] = require_protocol(name, stats, self.bound[asked], assume=assume_protocol)
        for task in self.on_features:
            if name in task.statistics and task.metric.layer == "spatial" and task.protocol in self.extractors:
                require_spatial(stats, self.extractors[task.protocol])
        if stats.protocol is None:
            told.append(f"{stats.spec} does not say how it was made; taken as {self.protocol.name}, as you said")

    def _statistics_alone(self, name: str) -> bool:
        side = self.sides[name]
        return side is not None and side.images is None

    def measure(self, name: str) -> Measured:
        """The one pass over a side that was opened."""
        side, needs, both = self.sides[name], self.needs[name], self._of_both.get(name)
        assert side is not None
        measured = None
        if side.images is not None:
            measured = measure_images(
                name, side.images, self.extractors, needs, self.reading, self.stack, minimum=self.minimum
            )  # fmt: skip
        if side.statistics is not None:
            taking = [task for task in self.on_features if name in task.statistics]
            rows = any(need.rows for need in needs_of(name, taking, self.settings).values())
            served = [asked for asked in self.bound if serves(side.statistics, asked, self.protocol)]
            sample = any(not task.metric.rows for task in taking)
            found = measure_statistics(side.statistics, served, self.reading, self.stack, rows=rows, sample=sample)
            if measured is None:
                measured = found
            else:
                measured = replace(measured, statistics=found.layers)
                self._of_statistics.extend(found.warnings)
        assert measured is not None
        return measured if both is None else replace(measured, provenance=_of_both(measured.provenance, both))

    def remarks(self) -> dict[Protocol, tuple[str, ...]]:
        """Warnings of each network."""
        return {asked: one.warnings for asked, one in self.extractors.items()} or self._remarks

    def compiled_in_vain(self) -> bool:
        """Whether a network was compiled for batches of which hardly any came."""
        return any(one.compiled_in_vain for one in self.extractors.values()) or self._in_vain

    def drop_networks(self) -> None:
        """Once all sides are measured: metrics take features, and decompositions need the memory."""
        self._remarks = self.remarks()
        self._in_vain = self.compiled_in_vain()
        for extractor in self.extractors.values():
            extractor.release()
        self.extractors.clear()
        with suppress(AttributeError, OSError, TypeError):  # a C library that keeps what was freed: 200 MB of Inception
            ctypes.CDLL(None).malloc_trim(0)

    def finish(self, measured: Mapping[str, Measured], *, started: float) -> Evaluation:
        """Every metric, from all sides."""
        warnings = [*self.warnings, *(warning for one in measured.values() for warning in one.warnings)]
        warnings.extend(cautions(measured))
        with collect_host_fallbacks() as on_host:
            results, failed = compute(
                self.on_features, measured, bound=self.bound, settings=self.settings, level=self.level,
                warnings=tuple(warnings), of_statistics=tuple(self._of_statistics), skip_failed=not self.asked,
                device=self.reading.device, remarks=self.remarks(), cache=self.reading.cache,
            )  # fmt: skip
        if self.distance is not None:
            fake = self.sides["fake"]
            assert fake is not None
            results["ppl"] = measure_generator(
                fake.images, LatentPath(), self.distance, batch_size=self.reading.batch_size,
                level=self.level, progress=self.reading.progress,
            )  # fmt: skip
            names = [task.metric.name for task in self.wanted]
            results = {name: results[name] for name in names if name in results}
        per_image = {f"{name}_image_digests": one.image_digests for name, one in measured.items()}
        per_image["fake_input_digests"] = measured["fake"].input_digests
        if self.single_images:
            per_image |= self._names(measured)
            self._add_neighbours(measured, results, per_image)
        notes = [*self.left_out, *failed, *notes_on({name: one.provenance for name, one in measured.items()})]
        notes += frequency_note(measured["fake"].provenance, _labels(measured.get("real")))
        notes.extend(shared_out(name, both, self.on_features) for name, both in self._of_both.items())
        if any(task.protocol.extractor == COMPACT for task in self.wanted):
            notes.append(NOT_PUBLISHED)
        notes.extend(caveat for task in self.wanted if task.metric.name in results and (caveat := task.metric.caveat))
        target = {task.metric.name for task in self.on_features if task.reference == "population"}
        if target and "real" in measured:
            # those that compare, and whose error is not one given REAL
            both = [
                n for n, r in results.items()
                if n in target and r.n_real is not None and r.interval and r.interval.method in BOTH
            ]  # fmt: skip
            notes.append(POPULATION + (f"; those of {', '.join(both)} cover that of both sides" if both else ""))
        notes.extend(
            f"{option(name)} has no effect here: no metric of this run reads it"
            for name in idle(self.settings, self.wanted)
        )
        if self.compiled and not self._computes:
            notes.append(f"{COMPILE} has no effect here: no network of features runs")
        elif self.compiled_in_vain():
            notes.append(
                f"{COMPILE} had little effect: most batches had another size than the first; set {option('batch_size')}"
            )
        nothing: Mapping[str, object] = {"spec": None, "kind": "none", "n": None, "digest": None}
        ranks = {"ranks": current().size} if current().size > 1 else {}
        recalled = {} if self.reading.cache is None else {"recalled": {s: one.recalled for s, one in measured.items()}}
        return Evaluation(
            results=results,
            real=measured["real"].provenance if "real" in measured else nothing,
            fake=measured["fake"].provenance,
            test=measured["test"].provenance if "test" in measured else None,
            environment={
                **environment(self.reading.device, self.protocol.precision, compiled=self.compiled),
                **ranks,
                **recalled,
            },
            warnings=tuple(dict.fromkeys([*warnings, *on_host, *(w for r in results.values() for w in r.warnings)])),
            notes=tuple(notes),
            per_image=per_image,
            elapsed_seconds=time.perf_counter() - started,
        )

    def _names(self, measured: Mapping[str, Measured]) -> dict[str, np.ndarray]:
        """The file of every image, in order, of the sides whose images are files."""
        found = {}
        for name, one in measured.items():
            side = self.sides[name]
            source = None if side is None else side.images
            if source is not None and (names := source.names()) is not None:
                skipped = {file for file, _ in source.report.skipped}
                names = [file for file in names if file not in skipped]
                if len(names) == one.n:
                    found[f"{name}_image_names"] = np.array(names)
        return found

    def _add_neighbours(
        self, measured: Mapping[str, Measured], results: dict[str, MetricResult], per_image: dict[str, np.ndarray]
    ) -> None:
        """Neighbours across the sets, and the Frechet distance of fewer fakes, where the features are at hand."""
        place = self.protocol, "features"
        real, fake = (measured[name].layers.get(place) if name in measured else None for name in ("real", "fake"))
        if real is None or fake is None:
            return
        if real.rows is not None and fake.rows is not None and min(len(real.rows), len(fake.rows)) > 1:
            per_image |= neighbours_across(real.rows.to_array(), fake.rows.to_array(), device=self.reading.device)
        task = next((task for task in self.wanted if task.metric.name == "fid"), None)
        if task is not None and (fid := results.get("fid")) is not None:
            one, other = (measured[s].at(place, statistics=s in task.statistics) for s in ("real", "fake"))
            assert one is not None
            assert other is not None
            sizes = distance_by_size(one, other, reference=task.reference, ddof=fid.protocol.ddof)
            results["fid"] = replace(fid, details={**fid.details, "by_size": sizes})


def _labels(measured: Measured | None) -> Sequence[str] | None:
    known = None if measured is None else next(iter(measured.layers.values()), None)
    return None if known is None or known.labels is None else [str(label) for label in known.labels]


def compute(
    wanted: Sequence[Task],
    measured: Mapping[str, Measured],
    *,
    bound: Mapping[Protocol, Protocol],
    settings: Settings,
    level: float,
    warnings: tuple[str, ...] = (),
    of_statistics: tuple[str, ...] = (),
    remarks: Mapping[Protocol, tuple[str, ...]] = MappingProxyType({}),
    skip_failed: bool = False,
    device: torch.device | None = None,
    cache: FeatureCache | None = None,
) -> tuple[dict[str, MetricResult], list[str]]:
    """Every metric from what the passes left; each ``measure`` of the registry is called once a network.

    Args:
        bound: the protocols of the tasks, with the weights that were used.
        of_statistics: warnings for the metrics that take statistics of a set that has images too.
        remarks: warnings of one network, by protocol.
        skip_failed: a metric that these images do not serve takes the others' results with it otherwise.

    Returns:
        The results in the order of ``wanted``, and notes on metrics that were skipped: too few images, or features
        that the metric cannot take.
    """
    real, fake, test = (measured.get(name) for name in ("real", "fake", "test"))
    assert fake is not None
    groups: dict[tuple[str, Place, frozenset[str], str], list[Metric]] = {}
    for task in wanted:
        groups.setdefault((task.metric.measure, task.place, task.statistics, task.reference), []).append(task.metric)
    found: dict[str, MetricResult] = {}
    notes: list[str] = []
    shared: dict[frozenset[str], int] = {}
    for (target, place, statistics, reference), group in groups.items():
        asked, layer = place
        parts = {
            name: one.at(place, statistics=name in statistics) if one is not None else None
            for name, one in (("real", real), ("fake", fake), ("test", test))
        }
        fakes = parts["fake"]
        assert fakes is not None
        both = frozenset(name for name in statistics if (one := measured.get(name)) is not None and one.statistics)
        if both not in shared:
            shared[both] = _shared(measured, both)
        protocol = bound[asked].at(layer)
        inputs = MetricInputs(
            wanted=frozenset(m.name for m in group),
            protocol=protocol,
            real=parts["real"], fake=fakes, test=parts["test"],
            settings=settings, reference=reference, level=level, shared_images=shared[both],
            warnings=(*remarks.get(asked, ()), *warnings, *(of_statistics if both else ())), device=device,
            memo=_memo(cache, protocol, parts["real"]),
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


def _memo(cache: FeatureCache | None, protocol: Protocol, real: FeatureSet | None) -> Memo:
    """Keeps what depends on the reference under this protocol alone, where there is a cache and the set is known."""
    if cache is None or real is None or real.digest is None:
        return nothing_is_kept
    key = {"protocol": protocol.key(), "layer": protocol.layer, "weights": protocol.weights, "reference": real.digest}
    rows = None if (known := real.rows or real.row_sample) is None else len(known)
    return lambda name, kind, compute: remembered(cache.folder, {**key, "what": name, "rows": rows}, kind, compute)


def _shared(measured: Mapping[str, Measured], statistics: frozenset[str]) -> int:
    """Images of one side that are in the other too, every copy counted; none where one side is known by statistics.

    A thousand fakes that are two of the reals are no sample of their own.

    Args:
        statistics: the sides, of those with images too, of which the statistics are meant.
    """
    real, fake = (measured.get(name) for name in ("real", "fake"))
    if real is None or fake is None or statistics & {"real", "fake"}:
        return 0
    return max(
        int(np.isin(one.image_digests, other.image_digests).sum()) for one, other in ((real, fake), (fake, real))
    )


def _of_both(provenance: Mapping[str, object], both: Opened) -> dict[str, object]:
    """The provenance of the part that was measured, with the size of the other part of the file."""
    stats, images = both.statistics, both.images
    assert stats is not None
    assert images is not None
    if provenance.get("kind") == "statistics":
        return {**provenance, "images": {"n": images.length}}
    return {**provenance, "statistics": {"n": stats.n, "digest": stats.digest}}


def resolved(
    protocol: str | Protocol | CustomNetwork, precision: str | None = None
) -> tuple[Protocol, dict[str, Given]]:
    """The protocol, and the user's own network, if it is on one, by name.

    Args:
        precision: in place of the protocol's own.
    """
    own: dict[str, Given] = {}
    if isinstance(protocol, CustomNetwork):
        own = {CUSTOM: protocol.given()}
        protocol = protocol.protocol()
    elif not isinstance(protocol, Protocol):
        protocol = get_protocol(PROTOCOL("protocol", protocol))
    return (protocol if precision is None else replace(protocol, precision=precision)), own


def _settings(given: Mapping[str, Any]) -> Settings:
    from ganeval.api import evaluate  # which stands on this

    names = [f.name for f in fields(Settings)]
    if not given.keys() <= set(names):
        arguments = (p.name for p in signature(evaluate).parameters.values() if p.kind is p.KEYWORD_ONLY)
        require_known([name for name in given if name not in names], [*names, *arguments, *OPTION_NAMES])
    return Settings(**given)
