"""A protocol brought to life on one device: batches of images in, named rows of features out."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from ganeval.arguments import DEVICE, Device, option
from ganeval.distributed import accelerator_index
from ganeval.download import sha256_of
from ganeval.errors import ConfigError, WeightsError
from ganeval.features.compiled import Compiled, require_compiler
from ganeval.features.fill import library, missing_library
from ganeval.features.lanes import Features, Images, Lanes
from ganeval.features.precision import HALF, Deviation, arithmetic, require_precision
from ganeval.features.published import SPECS, WeightSpec
from ganeval.features.weights import LocatedWeights, load_state_dict, locate, status
from ganeval.images.crossing import across
from ganeval.images.resize import PIL_MODES, PillowResize, resize, resize_mixed
from ganeval.images.source import ImageBatch
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
from ganeval.torch_defaults import plain_defaults

SCALES: dict[str, Callable[[Tensor], Tensor]] = {
    "(x-128)/128": lambda x: (x - 128) / 128,
    "(x-127.5)/127.5": lambda x: (x - 127.5) / 127.5,
    "2*(x/255)-1": lambda x: 2 * (x / 255) - 1,
    "x/255": lambda x: x / 255,
    "x": lambda x: x,
    # means and deviations of red, green, blue over a network's training images, in 0..1
    "imagenet": lambda x: _standardised(x, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "clip": lambda x: _standardised(x, (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
}


def _standardised(x: Tensor, mean: tuple[float, ...], deviation: tuple[float, ...]) -> Tensor:
    return (x / 255 - _of_channels(mean, x.device)) / _of_channels(deviation, x.device)


@functools.lru_cache
def _of_channels(values: tuple[float, ...], device: torch.device) -> Tensor:
    """(c, 1, 1); kept, because the host would wait for its copy to a device every time."""
    return torch.tensor(values, dtype=torch.float32, device=device)[:, None, None]


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


class FeatureExtractor:
    """Resize, scale and network of one protocol.

    Call it with an ``ImageBatch`` of N images of any sizes, or of float32 images that ``prepare`` has resized; it
    returns ``{tap: float32 (N, d)}`` on its device.
    Float32 throughout: TF32 and autocast are off while it runs, and restored afterwards. Under another precision of the
    protocol the network alone computes in that, and the first images go through it in float32 too, so that its
    warnings can tell what it costs.

    Args:
        compile: run the network as one compiled program, see ``ganeval.features.compiled``.

    Attributes:
        protocol: the protocol, with the hash of the weights that were loaded.
        prepare: what decode workers had better do to each image (Pillow's resize modes), or None.
        dimensions: width of every tap.
        deviation: of the protocol's precision from float32, once there were images.
        batch_size: a good batch size on this device, unless it was given.
        compiled: whether it is one.
        from_file: whether the hash of the weights stands for all of the network, which it does not for code of a user.
    """

    def __init__(
        self,
        protocol: Protocol,
        *,
        device: torch.device,
        weights: Given | None = None,
        layers: tuple[str, ...] = ("features",),
        compile: bool = False,
        batch_size: int | None = None,
    ) -> None:
        require_precision(protocol.precision, device)
        if compile:
            require_compiler(device)
        network = _NETWORKS[protocol.extractor](protocol, device, weights)
        if protocol.extractor == CUSTOM:  # its width is known only now
            protocol = replace(protocol, layer=next(iter(network.dimensions)))
        self.protocol = protocol.with_weights(network.weights, verified=network.verified)
        self._warnings = network.warnings
        self.from_file, self.compiled = weights is None or isinstance(weights, Path), compile
        self.device = device
        self.deviation: Deviation | None = None
        self.taps = tuple(self.tap(layer) for layer in layers)
        self.dimensions = network.dimensions
        self._network = network.module
        self._run: Callable[[Tensor, tuple[str, ...]], dict[str, Tensor]] = self._network
        self._away, self._halved = False, False
        self._fits: int | None = None  # images at once, once the device's memory was full
        self.batch_size = batch_size or (_CPU_BATCH.get(protocol.extractor, 8) if device.type == "cpu" else 128)
        self._lanes: Lanes | None = None
        self._program: Compiled | None = None
        if compile:
            self._run = self._program = Compiled(self._network, device)
        elif device.type == "cpu" and protocol.extractor == INCEPTION:
            self.batch_size = batch_size or _LANES_BATCH
            name = protocol.extractor
            if protocol.precision == "float32":
                self._pack()
            else:
                name = f"{name}-{protocol.precision}"
            self._lanes = Lanes(name, self.batch_size, tuned=batch_size is None)
        self.prepare: PillowResize | None = None
        if protocol.resize in PIL_MODES:
            self.prepare = PillowResize(protocol.size, protocol.resize)

    def tap(self, layer: str) -> str:
        """The network's own name of what a metric calls ``features``, ``logits`` or ``spatial``."""
        return self.protocol.at(layer).layer

    def release(self) -> None:
        """Move the network off the accelerator, and give its memory back, until the next batch.

        A compiled network stays: a captured graph knows the places of its weights.
        """
        if self.device.type != "cpu" and not self._away and not self.compiled:
            self._network.to("cpu")
            self._away = True
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    @property
    def compiled_in_vain(self) -> bool:
        """Whether most batches had another shape than the first, for which the network was compiled."""
        return self._program is not None and self._program.others > self._program.calls

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader of the numbers should know of the network, and of its arithmetic as far as it is known."""
        precision, told = self.protocol.precision, list(self._warnings)
        if precision != "float32" and self.deviation is None:
            told.append(f"{precision} arithmetic: compare values of one precision only")
        elif self.deviation is not None:
            told.append(self.deviation.told(precision, self.protocol.layer))
        if self._fits is not None:
            told.append(
                f"the memory of {self.device} held {self._fits} images at once: {option('batch_size', self._fits)}"
            )
        return tuple(told)

    def __call__(self, batch: ImageBatch) -> dict[str, Tensor]:
        if self._away:
            self._network.to(self.device)
            self._away = False
        parts: list[dict[str, Tensor]] = []
        images = batch.images if self.prepare is None else batch.resized.get(self.prepare, batch.images)
        start, n = 0, len(images)
        while start < n or not parts:
            size = n - start if self._fits is None else min(n - start, self._fits)
            try:
                # a network of the user's, and what it calls, has the user's defaults
                with nullcontext() if self.protocol.extractor == CUSTOM else plain_defaults():
                    parts.append(self._through(images[start : start + size]))
            except torch.cuda.OutOfMemoryError as error:
                if size <= 1:
                    raise ConfigError(
                        f"{self.device} has no memory for one image through {self.protocol.extractor} "
                        f"({str(error).split('. ')[0]}). Free some of it, or compute on the CPU: "
                        f"{option('device', 'cpu')}; a smaller {option('batch_size')} leaves more of it to the "
                        "surrounding program."
                    ) from error
                self._fits = size // 2
                continue
            start += size
        return parts[0] if len(parts) == 1 else {tap: torch.cat([part[tap] for part in parts]) for tap in parts[0]}

    def _through(self, given: Images) -> dict[str, Tensor]:
        """Of as many images as the device's memory holds at once."""
        precision, exact = self.protocol.precision, None
        with arithmetic("float32", self.device):
            if self._lanes is not None and (precision == "float32" or self._halved):
                return self._lanes(self._features, given)
            images = SCALES[self.protocol.scale](self._resized(given))
            if precision == "float32":
                return dict(self._run(images, self.taps))
            if self.deviation is None and not self._halved:
                exact = self._network(images[:_CALIBRATION], self.taps)
        half = HALF.get(precision)
        if half is not None and self.protocol.extractor != CUSTOM:  # of which autocast casts what it can
            images = images.to(half)
            if not self._halved:  # once, though the batch may fail: what is lost of the weights does not come back
                self._network.to(half)
                self._halved = True
                if self._lanes is not None:
                    self._pack()
        with arithmetic(precision, self.device):
            features = {tap: rows.float() for tap, rows in self._run(images, self.taps).items()}
        if exact is not None:
            self.deviation = Deviation.between(exact, {tap: rows[:_CALIBRATION] for tap, rows in features.items()})
        return features

    def _features(self, images: Images) -> Features:
        """Of one lane, which has float32 around it."""
        scaled, half = SCALES[self.protocol.scale](self._resized(images)), HALF.get(self.protocol.precision)
        if half is None:
            return dict(self._network(scaled, self.taps))
        with torch.autocast("cpu", half):
            return {tap: rows.float() for tap, rows in self._network(scaled.to(half), self.taps).items()}

    def _pack(self) -> None:
        from ganeval.features.packed import packed

        self._run = self._network = packed(self._network)

    def _resized(self, images: Images) -> Tensor:
        if isinstance(images, Tensor) and images.is_floating_point():  # the decode workers did it
            return across(images, self.device)
        # Pillow has no accelerator, and Apple's lacks some kernels
        there = torch.device("cpu") if self.prepare or self.device.type == "mps" else self.device
        size, mode = self.protocol.size, self.protocol.resize
        if isinstance(images, Tensor):
            return across(resize(across(images, there).float(), size, mode), self.device)
        return across(resize_mixed(images, size, mode, there), self.device)


def load_extractor(
    protocol: Protocol,
    *,
    device: torch.device,
    weights: Given | None = None,
    layers: tuple[str, ...] = ("features",),
    compile: bool = False,
    batch_size: int | None = None,
) -> FeatureExtractor:
    """Load the network of a protocol, from ``weights`` or from where its published weights are found or fetched.

    Raises:
        WeightsError: no weights, damaged ones, or ones of another network.
        ConfigError: an arithmetic that the device does not have, or nothing that compiles.
    """
    return FeatureExtractor(
        protocol, device=device, weights=weights, layers=layers, compile=compile, batch_size=batch_size
    )


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


def choose_device(device: Device) -> torch.device:
    """``auto``, or None, is CUDA where there is one, then Apple's, then the CPU.

    Each of several ranks has its own CUDA device.

    Raises:
        ConfigError: there is no such device here; the message names those that there are.
    """
    name: str = DEVICE("device", device)
    available = ["cpu"]
    if torch.cuda.is_available():
        available[:0] = ["cuda", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        available.insert(0, "mps")
    if name == "auto":
        name = available[0]
    if name == "cuda" and name in available and (index := accelerator_index()) is not None:
        name = f"cuda:{index}"
    if name not in available:
        raise ConfigError(
            f"{option('device')}: this machine has no device {name!r}. Available: auto, {', '.join(available)}."
        )
    return torch.device(name)


# --- the networks ------------------------------------------------------------------------------------------------

COMPACT_WEIGHTS = Path(__file__).with_name("compact-v1.safetensors")
COMPACT_SHA256 = "8ab8d13c10d3fe3a2b59d2503dc1fdbe3ec72364de3f75f68044600a4cc1db60"


_CALIBRATION = 16  # images, or those of the first batch if they are fewer
_CPU_BATCH = {COMPACT: 64, DINOV2_L: 4, CLIP_L_336: 2}
_LANES_BATCH = 16  # for all lanes together
# the first part of a network's name: the library that it needs, and the extra that installs it
_LIBRARIES = {"dinov2": ("timm", "dinov2"), "clip": ("open_clip", "clip")}


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


_NETWORKS: Mapping[str, Callable[[Protocol, torch.device, Given | None], LoadedNetwork]] = {
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
