"""The networks that metrics of pairs of images need: a perceptual distance, and networks of image features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ganeval.engine.paired_config import PairedConfig, PerceptualOptions
from ganeval.features.extractor import FeatureExtractor
from ganeval.features.networks import why_unavailable
from ganeval.features.perceptual import PerceptualDistance, load_distance
from ganeval.features.registry import get_distance
from ganeval.features.weights import by_network, status
from ganeval.images.types import ImageBatch
from ganeval.metrics.pairs import cosine
from ganeval.parsing.arguments import option
from ganeval.protocol import get_protocol

# by metric of image features, the protocol of the features
FEATURES: Mapping[str, str] = {"clip-i": "clip-fid", "dino-i": "fld"}


@dataclass(frozen=True, slots=True)
class PairNetworks:
    """The networks of a run.

    Attributes:
        distance: of ``lpips``.
        extractors: by the metrics of image features.
    """

    distance: PerceptualDistance | None = None
    extractors: Mapping[str, FeatureExtractor] = field(default_factory=dict)

    def values(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """The metrics of pairs that need a network, (N,) each.

        Args:
            real, fake: uint8 (N, 3, H, W).
        """
        found = {}
        if self.distance is not None:
            floats = [images.to(self.distance.dtype) / 127.5 - 1 for images in (real, fake)]
            found["lpips"] = self.distance(floats[0], floats[1])
        for name, extractor in self.extractors.items():
            one, other = (_features(extractor, images) for images in (real, fake))
            found[name] = cosine(one, other)
        return found


def unavailable(names: Sequence[str], config: PairedConfig) -> dict[str, str]:
    """The metrics whose networks cannot be loaded without fetching or installing anything, and why."""
    found = {}
    spec = get_distance(config.distance).weights
    if "lpips" in names and spec is not None and config.distance_weights is None and not status(spec).present:
        advice = f"{spec.command}; {option('distance', 'compact')} needs none"
        found["lpips"] = f"the weights of {config.distance} are not on this machine ({advice})"
    given = _given(config)
    for name in FEATURES:
        if name in names and (why := why_unavailable(_extractor(name), given)) is not None:
            found[name] = why
    return found


def load_pair_networks(names: Sequence[str], config: PairedConfig, device: torch.device) -> PairNetworks:
    """Load what these metrics need.

    Raises:
        WeightsError: weights are missing or damaged.
        ConfigError: a library is not installed.
    """
    given = _given(config)
    extractors = {
        name: FeatureExtractor(get_protocol(protocol), device=device, weights=given.get(_extractor(name)))
        for name, protocol in FEATURES.items()
        if name in names
    }
    return PairNetworks(load_paired_distance(config, device) if "lpips" in names else None, extractors)


def load_paired_distance(config: PerceptualOptions, device: torch.device) -> PerceptualDistance:
    """The perceptual distance of the options."""
    weights = None if config.distance_weights is None else Path(config.distance_weights)
    return load_distance(config.distance, device=device, weights=weights)


def _extractor(metric: str) -> str:
    return get_protocol(FEATURES[metric]).extractor


def _given(config: PairedConfig) -> dict[str, Path]:
    return by_network(config.weights, [_extractor(name) for name in FEATURES])


def _features(extractor: FeatureExtractor, images: Tensor) -> Tensor:
    digests = np.empty(0, np.uint64)
    return extractor(ImageBatch(images, [""] * len(images), digests))[extractor.protocol.layer]
