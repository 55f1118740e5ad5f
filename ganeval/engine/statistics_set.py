"""A statistics file as an image set: the protocols that it stands for, and its features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ganeval.engine.accumulator import SetFeatures
from ganeval.engine.runtime import Runtime
from ganeval.errors import IncomparableError
from ganeval.features.interface import Extractor
from ganeval.features.networks import published_sha256
from ganeval.images.preparation import of_set
from ganeval.metrics.types import FeatureSet
from ganeval.parsing.arguments import option
from ganeval.protocol import FEATURES, Protocol
from ganeval.statistics.reference import Statistics
from ganeval.statistics.rows import FeatureRows, sampled_rows


def made_under(stats: Statistics, protocol: Protocol) -> bool:
    """Whether statistics say that they were made under a protocol; its weights may be others."""
    own = stats.protocol
    if own is None:
        return False
    return replace(own, weights=None, prepare="").key() == replace(protocol, weights=None, prepare="").key()


def serves(stats: Statistics, protocol: Protocol, main: Protocol) -> bool:
    """Whether a statistics file stands for features under ``protocol``: the run's, unless the file says another."""
    return protocol == main or made_under(stats, protocol)


def other_rows(stats: Statistics, protocol: Protocol) -> np.ndarray | None:
    """The features that a statistics file has under ``protocol`` in addition to its own; its weights may be others."""
    own = stats.network(protocol.extractor)
    if own is None or replace(own, weights=None).key() != replace(protocol, weights=None).key():
        return None
    return stats.other_rows[protocol.extractor]


def require_network(name: str, stats: Statistics, protocol: Protocol) -> Protocol:
    """The protocol of ``other_rows``, with the weights that the file names.

    Raises:
        IncomparableError: the run has other weights.
    """
    own = stats.network(protocol.extractor)
    assert own is not None
    if protocol.weights is not None:
        protocol.require_same(own, f"the {name} features in {stats.spec}")
        return protocol
    return protocol.with_weights(own.weights or "", verified=own.weights == published_sha256(own.extractor))


def require_protocol(name: str, stats: Statistics, protocol: Protocol, *, assume: bool) -> Protocol:
    """The protocol of the run, with the weights that this statistics file names.

    Args:
        name: of the image set.
        assume: take statistics of unknown origin as made under this protocol.

    Raises:
        IncomparableError: the statistics and the run cannot be compared.
    """
    if protocol.name == FEATURES and stats.protocol == protocol:
        return protocol
    if stats.protocol is None and stats.mean.size != int(protocol.layer):
        raise IncomparableError(
            f"{stats.spec} holds statistics of {stats.mean.size} features; the protocol {protocol.name} has "
            f"{protocol.layer}. Name the protocol, or the layer, that they were made with: "
            f"{option('protocol', 'NAME:LAYER')}."
        )
    if stats.protocol is not None:
        own = replace(protocol, prepare=of_set(protocol.prepare, name))
        if protocol.weights is None and replace(stats.protocol, weights=None).key() == own.key():
            weights = stats.protocol.weights or ""  # no network was loaded, the file says which it was
            return protocol.with_weights(weights, verified=weights == published_sha256(protocol.extractor))
        own.require_same(stats.protocol, f"the {name} statistics in {stats.spec}")
        return protocol
    if not assume:
        raise IncomparableError(
            f"{stats.spec} does not say under which protocol its statistics were made, so nothing can be compared with "
            f"them. If you know that it is {protocol.name}, add {option('assume_protocol', True)}; otherwise "
            f"build statistics from the images: ganeval stats build IMAGES -o FILE.npz --protocol {protocol.name}, or "
            f"build_statistics(images, protocol={protocol.name!r})"
        )
    if protocol.weights is None:
        return protocol.with_weights(published_sha256(protocol.extractor), verified=True)
    return protocol


def require_spatial(stats: Statistics, extractor: Extractor) -> None:
    """Raises IncomparableError for statistics of a spatial layer of another size."""
    wanted = extractor.dimensions[extractor.tap("spatial")]
    if stats.spatial is not None and stats.spatial[0].size != wanted:
        raise IncomparableError(
            f"{stats.spec} holds spatial statistics (mu_s) of {stats.spatial[0].size} features; the layer "
            f"{extractor.tap('spatial')} of {extractor.protocol.extractor} has {wanted}. Take a file of this network."
        )


def statistics_features(
    stats: Statistics,
    protocols: Sequence[Protocol],
    others: Sequence[Protocol],
    runtime: Runtime,
    *,
    rows: bool,
    sample: bool,
    memory: int,
) -> SetFeatures:
    """The features of a statistics file: its layers, with rows only if the file has them.

    Args:
        protocols: those under which the file stands for features; see ``serves``.
        others: those under which it has ``other_rows``.
        rows: whether all rows are needed.
        sample: whether some rows are needed, for a calibration.
        memory: bytes of rows that stay in memory.
    """
    kept = _kept(stats.rows, runtime, memory) if rows and stats.rows is not None else None
    sampled = stats.row_sample
    if sample and sampled is None and stats.rows is not None:
        sampled = np.asarray(stats.rows[sampled_rows(len(stats.rows))])
    digests = stats.digests if stats.digests is not None else np.empty(0, np.uint64)
    layers = {
        "features": FeatureSet(
            n=stats.n,
            gaussian=stats.gaussian(),
            rows=kept,
            row_sample=_kept(sampled, runtime, sampled.size * 4) if sample and sampled is not None else None,
            digest=stats.digest,
            image_digests=digests,
        ),
        "spatial": FeatureSet(n=stats.n, gaussian=stats.spatial_gaussian(), digest=stats.spatial_digest),
    }
    provenance = {"spec": stats.spec, "kind": "statistics", "n": stats.n, "digest": stats.digest, "meta": stats.meta}
    found = {
        (protocol, layer): features
        for protocol in protocols
        for layer, features in layers.items()
        if features.gaussian is not None
    }
    for protocol in others:
        more = other_rows(stats, protocol)
        assert more is not None
        found[protocol, "features"] = FeatureSet(
            n=stats.n, rows=_kept(more, runtime, memory), digest=stats.digest, image_digests=digests
        )
    return SetFeatures(found, stats.n, stats.digest, digests, provenance, stats.warnings)


def _kept(rows: np.ndarray, runtime: Runtime, memory: int) -> FeatureRows:
    kept = FeatureRows(rows.shape[1], memory_limit=memory, expected=len(rows))
    runtime.stack.enter_context(kept).append(rows)
    return kept
