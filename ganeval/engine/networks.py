"""The networks of a run: what the plan needs, loaded once, and held against the statistics that it compares with."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from dataclasses import dataclass, field

from ganeval.engine.config import NetworkOptions
from ganeval.engine.planning import Plan, distance_network
from ganeval.engine.runtime import Runtime
from ganeval.engine.statistics_set import other_rows, require_network, require_protocol, require_spatial, serves
from ganeval.features.extractor import FeatureExtractor
from ganeval.features.interface import Extractor
from ganeval.features.perceptual import PerceptualDistance, load_distance
from ganeval.features.wavelets import HaarPackets
from ganeval.protocol import WAVELETS, Protocol
from ganeval.statistics.reference import Statistics


@dataclass(slots=True)
class Networks:
    """Everything that is loaded for a run.

    Attributes:
        extractors: by protocol as the run names it; empty where every image set is statistics.
        bound: those protocols, with the weights that were loaded or that statistics name.
        distance: of path length.
        warnings: on statistics in place of images.
        statistics_warnings: for the metrics that take the statistics of a set of both alone.
    """

    extractors: dict[Protocol, Extractor]
    bound: dict[Protocol, Protocol]
    distance: PerceptualDistance | None
    warnings: list[str] = field(default_factory=list)
    statistics_warnings: list[str] = field(default_factory=list)
    _remarks: dict[Protocol, tuple[str, ...]] = field(default_factory=dict)
    computes: bool = False
    _compiled_for_nothing: bool = False

    def remarks(self) -> dict[Protocol, tuple[str, ...]]:
        """Warnings of each network."""
        return {asked: one.warnings for asked, one in self.extractors.items()} or self._remarks

    def compiled_for_nothing(self) -> bool:
        """Whether a network was compiled for batches of which hardly any came."""
        return any(one.compiled_for_nothing for one in self.extractors.values()) or self._compiled_for_nothing

    def release(self) -> None:
        """Give the accelerator's memory back until the next batch."""
        for extractor in self.extractors.values():
            extractor.release()

    def drop(self) -> None:
        """Once all sets are measured: metrics take features, and decompositions need the memory."""
        self._remarks, self._compiled_for_nothing = self.remarks(), self.compiled_for_nothing()
        self.release()
        self.extractors.clear()
        with suppress(AttributeError, OSError, TypeError):  # a C library that keeps what was freed: 200 MB of Inception
            ctypes.CDLL(None).malloc_trim(0)


def load_networks(plan: Plan, config: NetworkOptions, runtime: Runtime, *, assume_protocol: bool) -> Networks:
    """Load what the plan needs, and check the statistics that it compares with.

    Raises:
        WeightsError: weights are missing, damaged, or of another network.
        IncomparableError: statistics of another protocol.
    """
    distance = plan.distance
    if isinstance(distance, str):
        trunk = plan.weights.get(distance_network(distance))
        distance = load_distance(distance, device=runtime.device, weights=trunk)  # type: ignore[arg-type]
    networks = Networks({}, {asked: asked for asked in plan.protocols}, distance)
    images = any(one is None or one.images is not None for one in plan.sets.values())
    for asked in plan.protocols:
        if asked.name == WAVELETS:
            networks.extractors[asked] = HaarPackets(asked, runtime.device, config.batch_size)
        elif images or asked.extractor in plan.user_networks:
            layers = (layer for required in plan.requirements.values() for p, layer in required if p == asked)
            networks.extractors[asked] = FeatureExtractor(
                asked,
                device=runtime.device,
                weights=plan.weights.get(asked.extractor),
                layers=tuple(dict.fromkeys(layers)),
                compile=config.compile,
                batch_size=config.batch_size,
            )
        if asked in networks.extractors:
            networks.bound[asked] = networks.extractors[asked].protocol
    networks.computes = bool(networks.extractors)
    for name, one in plan.sets.items():
        if one is not None and one.statistics is not None:
            _bind(networks, plan, name, one.statistics, alone=one.images is None, assume=assume_protocol)
    return networks


def _bind(networks: Networks, plan: Plan, name: str, stats: Statistics, *, alone: bool, assume: bool) -> None:
    """Check the protocol of statistics that are used, and take the weights that they name.

    Args:
        alone: the set has no images.
    """
    warnings = networks.warnings if alone else networks.statistics_warnings
    if stats.note:
        warnings.append(f"{stats.spec}: {stats.note}")
    taking = {task.protocol for task in plan.on_features if name in task.statistics}
    for asked, bound in networks.bound.items():
        if serves(stats, asked, plan.protocol) and (alone or asked in taking):
            networks.bound[asked] = require_protocol(name, stats, bound, assume=assume)
        elif asked in taking and other_rows(stats, asked) is not None:
            networks.bound[asked] = require_network(name, stats, bound)
    for task in plan.on_features:
        if name in task.statistics and task.metric.layer == "spatial" and task.protocol in networks.extractors:
            require_spatial(stats, networks.extractors[task.protocol])
    if stats.protocol is None:
        warnings.append(f"{stats.spec} does not say how it was made; taken as {plan.protocol.name}, as you said")
