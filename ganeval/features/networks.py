"""The networks by name: where their weights come from, and how each is loaded."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from ganeval.download import sha256_of
from ganeval.errors import ConfigError, WeightsError
from ganeval.features.fill import library, missing_library
from ganeval.features.published import SPECS, WeightSpec
from ganeval.features.weights import LocatedWeights, load_state_dict, locate, status
from ganeval.protocol import (
    CLIP_B_32,
    CLIP_L_336,
    COMPACT,
    CUSTOM,
    DINOV2_B,
    DINOV2_L,
    INCEPTION,
    TORCHVISION_INCEPTION,
    VGG16,
    Protocol,
)

COMPACT_WEIGHTS = Path(__file__).with_name("compact-v1.safetensors")
COMPACT_SHA256 = "8ab8d13c10d3fe3a2b59d2503dc1fdbe3ec72364de3f75f68044600a4cc1db60"
# the first part of a network's name: the library that it needs, and the extra that installs it
_LIBRARIES = {"dinov2": ("timm", "dinov2"), "clip": ("open_clip", "clip")}

# what a network is loaded from in place of its published weights: a file, or a network of the user's own
Given = Path | Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class LoadedNetwork:
    """A network with its weights: ``module(x, taps) -> {tap: (N, d)}`` on scaled input, and where it came from."""

    module: nn.Module
    dimensions: Mapping[str, int]
    weights: str
    verified: bool
    warnings: tuple[str, ...] = ()


def published_weights(extractor: str) -> str:
    """SHA-256 of the weights that a network's name stands for, without loading them."""
    sha256 = COMPACT_SHA256 if extractor == COMPACT else spec_of(extractor).sha256
    if sha256 is None:
        raise WeightsError(f"no hash of the published weights of {extractor} is known. Use images, not statistics.")
    return sha256


def spec_of(extractor: str) -> WeightSpec:
    """The published file of a network's weights."""
    return SPECS[{VGG16: "vgg16"}.get(extractor, extractor)]


def not_at_hand(extractor: str, given: Collection[str] = ()) -> str | None:
    """Why a network cannot be loaded without fetching or installing anything; None if it can.

    Args:
        given: the networks for which a file of weights was named.
    """
    if extractor in (COMPACT, CUSTOM):
        return None
    module, extra = _LIBRARIES.get(extractor.split("-")[0], (None, ""))
    if module is not None and find_spec(module) is None:
        return missing_library(extra, extractor)
    spec = spec_of(extractor)
    if extractor in given or status(spec).present:
        return None
    return f"the weights of {extractor} are not on this machine (ganeval weights fetch {spec.name})"


def _fetched(extractor: str, weights: Given | None) -> tuple[LocatedWeights, tuple[str, ...]]:
    """The file, and a warning unless it is the published one."""
    assert weights is None or isinstance(weights, Path)
    spec = spec_of(extractor)
    located = locate(spec, weights)
    if located.verified:
        return located, ()
    what = f"the weights in {located.path} are not the published ones (SHA-256 {located.sha256[:8]}...)"
    if spec.sha256 is None:
        what = f"nothing is on record by which {located.path} could be verified (SHA-256 {located.sha256[:8]}...)"
    tail = "values are labelled with that hash" + (" and are not FID" if extractor == INCEPTION else "")
    return located, (f"{what}: {tail}",)


def _load_inception(protocol: Protocol, device: torch.device, weights: Given | None) -> LoadedNetwork:
    from ganeval.features.inception import TAPS, load_inception

    located, warnings = _fetched(protocol.extractor, weights)
    module = load_inception(load_state_dict(located.path), device=device)
    return LoadedNetwork(module, TAPS, located.sha256, located.verified, warnings)


def _load_torchvision_inception(protocol: Protocol, device: torch.device, weights: Given | None) -> LoadedNetwork:
    from ganeval.features.torchvision_inception import TAPS, load_torchvision_inception

    located, warnings = _fetched(protocol.extractor, weights)
    module = load_torchvision_inception(load_state_dict(located.path), device=device)
    return LoadedNetwork(module, TAPS, located.sha256, located.verified, warnings)


def _load_vgg16(protocol: Protocol, device: torch.device, weights: Given | None) -> LoadedNetwork:
    from ganeval.features.vgg16 import TAPS, load_vgg16

    located, warnings = _fetched(protocol.extractor, weights)
    module = load_vgg16(load_state_dict(located.path), device=device)
    return LoadedNetwork(module, TAPS, located.sha256, located.verified, warnings)


def _load_dinov2(protocol: Protocol, device: torch.device, weights: Given | None) -> LoadedNetwork:
    from ganeval.features.dinov2 import WIDTHS, load_dinov2

    name = protocol.extractor
    library("timm", "dinov2", name)  # before anything is fetched
    located, warnings = _fetched(name, weights)
    module = load_dinov2(load_state_dict(located.path), name, device=device)
    return LoadedNetwork(module, {module.tap: WIDTHS[name]}, located.sha256, located.verified, warnings)


def _load_clip(protocol: Protocol, device: torch.device, weights: Given | None) -> LoadedNetwork:
    from ganeval.features.clip import SHAPES, load_clip, read_clip

    name = protocol.extractor
    library("open_clip", "clip", name)
    located, warnings = _fetched(name, weights)
    module = load_clip(read_clip(located.path, published=located.verified), SHAPES[name], device=device)
    dimensions = {module.tap: SHAPES[name].output_dim}
    return LoadedNetwork(module, dimensions, located.sha256, located.verified, warnings)


def _load_custom(protocol: Protocol, device: torch.device, weights: Given | None) -> LoadedNetwork:
    from ganeval.features.custom import load_custom

    if weights is None:
        raise ConfigError("a network of your own is given as a CustomNetwork, or with --network FILE.pt.")
    return load_custom(weights, protocol.size, device)


def _load_compact(protocol: Protocol, device: torch.device, weights: Given | None) -> LoadedNetwork:
    from ganeval.features.compact import TAPS, load_compact

    assert weights is None or isinstance(weights, Path)
    path = weights or COMPACT_WEIGHTS
    if not path.is_file():
        raise WeightsError(f"there is no weights file {path}. Leave it out to use the weights that ship with ganeval.")
    digest = sha256_of(path)
    if weights is None and digest != COMPACT_SHA256:
        raise WeightsError(f"{path} is not the file that ships with ganeval (SHA-256 {digest[:16]}...). Reinstall it.")
    verified = digest == published_weights(COMPACT)
    warnings = () if verified else (f"the weights in {path} are not those of {COMPACT} that ship with ganeval",)
    return LoadedNetwork(load_compact(path, device), TAPS, digest, verified, warnings)


NETWORKS: Mapping[str, Callable[[Protocol, torch.device, Given | None], LoadedNetwork]] = {
    INCEPTION: _load_inception,
    COMPACT: _load_compact,
    VGG16: _load_vgg16,
    TORCHVISION_INCEPTION: _load_torchvision_inception,
    DINOV2_L: _load_dinov2,
    DINOV2_B: _load_dinov2,
    CLIP_L_336: _load_clip,
    CLIP_B_32: _load_clip,
    CUSTOM: _load_custom,
}
