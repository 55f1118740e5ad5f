"""Reference statistics of a set of images, from their options to what a file of them holds."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ganeval.engine.accumulator import FeatureKey, Requirement
from ganeval.engine.config import StatisticsConfig
from ganeval.engine.inputs import open_images_alone, preparation_of, require_effect, require_range_used, shard_of
from ganeval.engine.loop import measure_images
from ganeval.engine.planning import requirements_of_table, resolved, under_policy
from ganeval.engine.runtime import Runtime
from ganeval.environment import environment
from ganeval.features.extractor import FeatureExtractor
from ganeval.features.interface import Extractor
from ganeval.features.types import NetworkSource
from ganeval.features.weights import by_network
from ganeval.images.grammar import spec_or_object
from ganeval.protocol import Protocol
from ganeval.statistics.moments import Gaussian
from ganeval.statistics.reference import Statistics
from ganeval.statistics.rows import sampled_rows


def run_statistics(images: object, config: StatisticsConfig, runtime: Runtime) -> Statistics:
    """Open, load, one pass: the statistics of a set of images, with their provenance."""
    images = spec_or_object(images)
    require_effect([images], config)
    source = open_images_alone("images", images, config, device=runtime.device, num=config.num)
    if config.shard is not None:
        source = shard_of(source, *config.shard)
    require_range_used([source], config.value_range)
    protocol, own = resolved(config)
    protocol = under_policy(protocol, [source], preparation_of(config, "images"))
    requirements = requirements_of_table(protocol, [source]) if config.table else {}
    key = (protocol, "features")
    keep_rows = config.rows or (key in requirements and requirements[key].rows)
    requirements[key] = Requirement(True, keep_rows or config.sample_rows is not None)
    extractors = _load_extractors(requirements, config, own, runtime)
    measured = measure_images("images", source, extractors, requirements, config, runtime)
    features, spatial = measured.layers[key], measured.layers.get((protocol, "spatial"))
    assert features.gaussian is not None
    rows = None if features.rows is None else features.rows.to_array()
    sample = None if rows is None or config.sample_rows is None else rows[sampled_rows(len(rows), config.sample_rows)]
    others = {one: layer.rows for (one, _), layer in measured.layers.items() if one != protocol}
    networks = {one.extractor: extractors[one].protocol.to_dict() for one in others}
    return Statistics(
        mean=features.gaussian.mean,
        covariance=features.gaussian.covariance,
        n=features.gaussian.n,
        ddof=features.gaussian.ddof,
        meta={
            "protocol": extractors[protocol].protocol.to_dict(),
            **({"networks": networks} if networks else {}),
            "source": dict(measured.provenance),
            "environment": environment(runtime.device, protocol.precision, compiled=config.compile),
            "warnings": [*(w for one in extractors.values() for w in one.warnings), *measured.warnings],
            "note": config.note,
        },
        rows=rows if keep_rows else None,
        row_sample=sample,
        digests=measured.image_digests if len(measured.image_digests) else None,
        spatial=None if spatial is None else _mean_and_covariance(spatial.gaussian),
        other_rows={one.extractor: kept.to_array() for one, kept in others.items() if kept is not None},
    )


def _mean_and_covariance(gaussian: Gaussian | None) -> tuple[np.ndarray, np.ndarray] | None:
    return None if gaussian is None else (gaussian.mean, gaussian.covariance)


def _load_extractors(
    requirements: Mapping[FeatureKey, Requirement],
    config: StatisticsConfig,
    own: Mapping[str, NetworkSource],
    runtime: Runtime,
) -> dict[Protocol, Extractor]:
    """The networks that compute what is required, by protocol."""
    layers: dict[Protocol, list[str]] = {}
    for protocol, layer in requirements:
        layers.setdefault(protocol, []).append(layer)
    weights = {**by_network(config.weights, [protocol.extractor for protocol in layers]), **own}
    found: dict[Protocol, Extractor] = {}
    for protocol, names in layers.items():
        found[protocol] = FeatureExtractor(
            protocol,
            device=runtime.device,
            weights=weights.get(protocol.extractor),
            layers=tuple(names),
            compile=config.compile,
            batch_size=config.batch_size,
        )
        runtime.stack.callback(found[protocol].release)
    return found
