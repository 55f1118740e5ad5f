"""A protocol brought to life on one device: batches of images in, named rows of features out."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ganeval.download import sha256_of
from ganeval.errors import ConfigError, WeightsError
from ganeval.features.precision import strict_float32
from ganeval.images.resize import PIL_MODES, resize, resize_pil
from ganeval.images.source import ImageBatch
from ganeval.protocol import COMPACT, INCEPTION, Protocol

SCALES: dict[str, Callable[[Tensor], Tensor]] = {
    "(x-128)/128": lambda x: (x - 128) / 128,
    "(x-127.5)/127.5": lambda x: (x - 127.5) / 127.5,
    "2*(x/255)-1": lambda x: 2 * (x / 255) - 1,
}


@dataclass(frozen=True, slots=True)
class LoadedNetwork:
    """A network with its weights: ``module(x, taps) -> {tap: (N, d)}`` on scaled input, and where it came from."""

    module: nn.Module
    dimensions: Mapping[str, int]
    weights: str
    verified: bool
    warnings: tuple[str, ...] = ()


class FeatureExtractor:
    """Resize, scale and network of one protocol.

    Call it with an ``ImageBatch`` of N images of any sizes, or of float32 images that ``prepare`` has resized; it
    returns ``{tap: float32 (N, d)}`` on its device.
    Float32 throughout: TF32 and autocast are off while it runs, and restored afterwards.

    Attributes:
        protocol: the protocol, with the hash of the weights that were loaded.
        prepare: what decode workers had better do to each image (Pillow's resize modes), or None.
        dimensions: width of every tap.
        batch_size: a good batch size on this device.
    """

    def __init__(
        self,
        protocol: Protocol,
        *,
        device: torch.device,
        weights: Path | None = None,
        layers: tuple[str, ...] = ("features",),
    ) -> None:
        network = _NETWORKS[protocol.extractor](device, weights)
        self.protocol = protocol.with_weights(network.weights, verified=network.verified)
        self.warnings = network.warnings
        self.device = device
        self.taps = tuple(self.tap(layer) for layer in layers)
        self.dimensions = network.dimensions
        self._network = network.module
        self.batch_size = {INCEPTION: 8, COMPACT: 64}[protocol.extractor] if device.type == "cpu" else 128
        self.prepare: Callable[..., Tensor] | None = None
        if protocol.resize in PIL_MODES:
            self.prepare = functools.partial(resize_pil, size=protocol.size, mode=protocol.resize)

    def tap(self, layer: str) -> str:
        """The network's own name of what a metric calls ``features``, ``logits`` or ``spatial``."""
        return self.protocol.at(layer).layer

    def __call__(self, batch: ImageBatch) -> dict[str, Tensor]:
        autocast = torch.autocast("cuda" if self.device.type == "cuda" else "cpu", enabled=False)
        with strict_float32(), torch.inference_mode(), autocast:
            return dict(self._network(SCALES[self.protocol.scale](self._resized(batch.images)), self.taps))

    def _resized(self, images: Tensor | list[Tensor]) -> Tensor:
        if isinstance(images, list):  # mixed sizes: each image by itself
            return torch.cat([self._resized(image[None]) for image in images])
        if images.is_floating_point():  # the decode workers did it
            return images.to(self.device, non_blocking=True)
        if self.prepare or self.device.type == "mps":  # Pillow has no accelerator, and Apple's lacks some kernels
            images = images.cpu()
        else:
            images = images.to(self.device, non_blocking=True)
        return resize(images.float(), self.protocol.size, self.protocol.resize).to(self.device)


def load_extractor(
    protocol: Protocol, *, device: torch.device, weights: Path | None = None, layers: tuple[str, ...] = ("features",)
) -> FeatureExtractor:
    """Load the network of a protocol, from ``weights`` or from where its published weights are found or fetched.

    Raises:
        WeightsError: no weights, damaged ones, or ones of another network.
    """
    return FeatureExtractor(protocol, device=device, weights=weights, layers=layers)


def published_weights(extractor: str) -> str:
    """SHA-256 of the weights that a network's name stands for, without loading them."""
    from ganeval.features.weights import SPECS

    sha256 = COMPACT_SHA256 if extractor == COMPACT else SPECS[extractor].sha256
    if sha256 is None:
        raise WeightsError(f"no hash of the published weights of {extractor} is known. Use images, not statistics.")
    return sha256


def not_at_hand(extractor: str, given: Collection[str] = ()) -> str | None:
    """Why a network cannot be loaded without fetching anything; None if it can.

    Args:
        given: the networks for which a file of weights was named.
    """
    from ganeval.features.weights import SPECS, status

    if extractor in given or extractor == COMPACT or status(SPECS[extractor]).present:
        return None
    return f"the weights of {extractor} are not on this machine (ganeval weights fetch {extractor})"


def choose_device(name: str) -> torch.device:
    """``auto`` is CUDA where there is one, then Apple's, then the CPU.

    Raises:
        ConfigError: there is no such device here; the message names those that there are.
    """
    available = ["cpu"]
    if torch.cuda.is_available():
        available[:0] = ["cuda", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        available.insert(0, "mps")
    if name == "auto":
        name = available[0]
    if name not in available:
        raise ConfigError(f"There is no device {name!r} here; there are auto, {', '.join(available)}.")
    return torch.device(name)


# --- the networks ------------------------------------------------------------------------------------------------

COMPACT_WEIGHTS = Path(__file__).with_name("compact-v1.safetensors")
COMPACT_SHA256 = "8ab8d13c10d3fe3a2b59d2503dc1fdbe3ec72364de3f75f68044600a4cc1db60"


def _load_inception(device: torch.device, weights: Path | None) -> LoadedNetwork:
    from ganeval.features.inception import TAPS, load_inception
    from ganeval.features.weights import SPECS, load_state_dict, locate

    located = locate(SPECS[INCEPTION], weights)
    module = load_inception(load_state_dict(located.path), device=device)
    warnings: tuple[str, ...] = ()
    if not located.verified:
        warnings = (
            f"the weights in {located.path} are not the published ones (SHA-256 {located.sha256[:8]}...): "
            "values are labelled with that hash and are not FID",
        )
    return LoadedNetwork(module, TAPS, located.sha256, located.verified, warnings)


def _load_compact(device: torch.device, weights: Path | None) -> LoadedNetwork:
    from ganeval.features.compact import TAPS, load_compact

    path = weights or COMPACT_WEIGHTS
    if not path.is_file():
        raise WeightsError(f"there is no weights file {path}. Leave it out to use the weights that ship with ganeval.")
    digest = sha256_of(path)
    if weights is None and digest != COMPACT_SHA256:
        raise WeightsError(f"{path} is not the file that ships with ganeval (SHA-256 {digest[:16]}...). Reinstall it.")
    verified = digest == published_weights(COMPACT)
    warnings = () if verified else (f"the weights in {path} are not those of {COMPACT} that ship with ganeval",)
    return LoadedNetwork(load_compact(path, device), TAPS, digest, verified, warnings)


_NETWORKS: dict[str, Callable[[torch.device, Path | None], LoadedNetwork]] = {
    INCEPTION: _load_inception,
    COMPACT: _load_compact,
}
