"""A protocol is everything between a file and a feature vector that changes the number.

Two values of one metric mean the same thing only if their protocols have the same ``key()``. People cite protocols by
the tool that they used; the names here follow that habit, and each says which tool's numbers it reproduces.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from difflib import get_close_matches

from ganeval.errors import ConfigError, IncomparableError

INCEPTION = "inception-2015-12-05"
COMPACT = "compact-v1"
VGG16 = "vgg16-fc2"
DINOV2_L, DINOV2_B = "dinov2-vitl14", "dinov2-vitb14"
CLIP_L_336, CLIP_B_32 = "clip-vitl14-336", "clip-vitb32"
TORCHVISION_INCEPTION = "torchvision-inception-v3"
PRECISIONS = ("float32", "bf16", "fp16", "tf32")  # of a network; not every device has them all
CUSTOM = "custom"  # a network of the user's own; its only layer is what it returns
# the layers that may be taken as features, the usual one last
_LAYERS: Mapping[str, tuple[str, ...]] = {
    INCEPTION: ("64", "192", "768", "2048"),
    COMPACT: ("256",),
    VGG16: ("4096",),
    DINOV2_L: ("1024",),
    DINOV2_B: ("768",),
    CLIP_L_336: ("768",),
    CLIP_B_32: ("512",),
    TORCHVISION_INCEPTION: ("2048",),
}
# what the metrics call the other layers that they need, and which they are; the layer "features" is a choice of _LAYERS
_TAPS: Mapping[str, Mapping[str, str]] = {
    INCEPTION: {"logits": "logits_unbiased", "spatial": "sfid"},
    COMPACT: {"logits": "logits"},
    TORCHVISION_INCEPTION: {"logits": "logits"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """How an image becomes a feature vector.

    Attributes:
        name: what people call it; not part of the key.
        extractor: the network.
        layer: the tap of that network, named by its width.
        decode: the policy that turns a file into 8-bit RGB.
        resize: the mode of ``ganeval.images.resize``.
        size: height and width that enter the network, in pixels.
        scale: the map from 0..255 to the network's range, in ``x``.
        ddof: of the covariance, 1 or 0.
        precision: arithmetic of the network, one of ``PRECISIONS``; of a perceptual distance its dtype.
        weights: SHA-256 of the weights, once they are known.
        verified: whether those weights are the published ones; not part of the key, the hash is.
    """

    name: str
    extractor: str
    layer: str
    resize: str
    size: int
    scale: str
    decode: str = "pil-rgb"
    ddof: int = 1
    precision: str = "float32"
    weights: str | None = None
    verified: bool = False

    def __post_init__(self) -> None:
        if self.ddof not in (0, 1) or self.size < 0:
            raise ValueError(f"a protocol has a ddof of 0 or 1 and a size of at least 0; got {self.ddof}, {self.size}")

    def key(self) -> str:
        """16 hexadecimal digits; features may meet only at equal keys."""
        return _hash(self._identity())

    def label(self, metric: str = "FID") -> str:
        """``FID`` for verified FID-Inception weights at the 2048-wide layer; any other network or layer is named.

        >>> get_protocol("compact").label()
        'FD[compact-v1]'
        """
        short = self.extractor.split("-")[0]
        usual = self.layer in (_LAYERS.get(self.extractor, (self.layer,))[-1], *_TAPS.get(self.extractor, {}).values())
        if self.weights is not None and not self.verified:
            network = f"{short}-{self.weights[:8]}"
        elif self.extractor == INCEPTION:
            if self.verified and usual:
                return metric
            network = short if self.verified else f"{short}-unknown"
        else:
            network = self.extractor
        if not usual:
            network += f":{self.layer}"
        return f"{metric.replace('FID', 'FD')}[{network}]"

    def told(self) -> str:
        """The name, with the precision where it is not float32."""
        return self.name if self.precision == "float32" else f"{self.name}, {self.precision}"

    def has(self, layer: str) -> bool:
        """Whether the network has what a metric calls ``features``, ``logits`` or ``spatial``."""
        return layer == "features" or layer in _TAPS.get(self.extractor, ())

    def at(self, layer: str) -> Protocol:
        """The same protocol with the network's output where ``layer`` is taken.

        >>> get_protocol("ttur").at("logits").layer
        'logits_unbiased'
        """
        return self if layer == "features" else replace(self, layer=_TAPS[self.extractor][layer])

    def with_weights(self, sha256: str, *, verified: bool) -> Protocol:
        return replace(self, weights=sha256, verified=verified)

    def to_dict(self) -> dict[str, object]:
        return {**asdict(self), "key": self.key()}

    @classmethod
    def from_dict(cls, fields: Mapping[str, object]) -> Protocol:
        names = cls.__dataclass_fields__
        return cls(**{k: v for k, v in fields.items() if k in names})  # type: ignore[arg-type]

    def difference(self, other: Protocol) -> list[str]:
        """The fields that differ, each as ``resize: tf1-bilinear against pil-bicubic-float``."""
        mine, theirs = self._identity(), other._identity()
        return [f"{k}: {mine[k]} against {theirs[k]}" for k in mine if mine[k] != theirs[k]]

    def require_same(self, other: Protocol, what: str) -> None:
        """Raise IncomparableError, naming every field that differs, unless the keys are equal."""
        if differences := self.difference(other):
            names = [f"--protocol {p.name}" for p in (self, other)]
            if self.precision != other.precision:
                names = [f"{name} --precision {p.precision}" for name, p in zip(names, (self, other), strict=True)]
            raise IncomparableError(
                f"{what} were made under another protocol ({'; '.join(differences)}). "
                f"Compute both sides under one protocol: {names[0]}, or {names[1]}."
            )

    def _identity(self) -> dict[str, object]:
        return {k: v for k, v in asdict(self).items() if k not in ("name", "verified")}


def _hash(fields: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:16]


def _inception(name: str, resize: str, *, scale: str = "(x-128)/128", ddof: int = 1) -> Protocol:
    return Protocol(name=name, extractor=INCEPTION, layer="2048", size=299, resize=resize, scale=scale, ddof=ddof)


def _other(name: str, extractor: str, size: int, resize: str, scale: str = "imagenet") -> Protocol:
    layer = _LAYERS[extractor][-1]
    return Protocol(name=name, extractor=extractor, layer=layer, size=size, resize=resize, scale=scale)


PROTOCOLS: Mapping[str, Protocol] = {
    p.name: p
    for p in (
        _inception("ttur", "tf1-bilinear"),
        _inception("pytorch-fid", "torch-bilinear", scale="2*(x/255)-1"),
        _inception("clean", "pil-bicubic-float"),
        _inception("torchmetrics", "torch-bilinear-antialias"),
        _inception("adm", "tf1-bilinear"),
        _inception("stylegan", "tf1-bilinear", ddof=0),
        _other("dgm", DINOV2_L, 224, "pil-bicubic-uint8"),
        _other("edm2", DINOV2_L, 224, "torch-bicubic-antialias"),
        _other("fld", DINOV2_B, 224, "pil-bicubic-uint8"),
        _other("vgg16", VGG16, 224, "tf1-bilinear"),
        _other("cmmd", CLIP_L_336, 336, "square-pil-bicubic-uint8", "clip"),
        _other("clip-fid", CLIP_B_32, 224, "pil-bicubic-uint8-square", "clip"),
        _other("torchvision", TORCHVISION_INCEPTION, 299, "torch-bilinear-antialias", "2*(x/255)-1"),
        _other("compact", COMPACT, 32, "torch-bilinear-antialias", "(x-127.5)/127.5"),
    )
}

STANDS_FOR: Mapping[str, str] = {
    "ttur": "the FID of the paper: TensorFlow's bilinear resize; equals torch-fidelity and NVIDIA's scripts",
    "pytorch-fid": "pytorch-fid: PyTorch's bilinear resize without antialiasing",
    "clean": "clean-fid: Pillow's bicubic resize in floating point",
    "torchmetrics": "torchmetrics 1.8 and later: PyTorch's antialiased bilinear resize",
    "adm": "guided-diffusion's evaluator: the features of ttur; sFID",
    "stylegan": "StyleGAN2-ADA and StyleGAN3: covariances over n; precision, recall, density and coverage on VGG16",
    "dgm": "dgm-eval: DINOv2 ViT-L/14 behind Pillow's bicubic resize on 8 bits",
    "edm2": "EDM2's FD-DINOv2: DINOv2 ViT-L/14 behind PyTorch's antialiased bicubic resize",
    "fld": "the features of fld: DINOv2 ViT-B/14",
    "vgg16": "the features of improved precision and recall: VGG16's second fully connected layer",
    "cmmd": "the features of CMMD: CLIP ViT-L/14 at 336 pixels",
    "clip-fid": "clean-fid's CLIP-FID: CLIP ViT-B/32",
    "torchvision": "torchvision's own Inception-v3, which is not the network of the FID",
    "compact": "the small network that ships with ganeval: no download; not comparable with any published FID",
}


# what a protocol takes from another network than its own: by metric, the protocol of its features
ROUTES: Mapping[str, Mapping[str, str]] = {
    "stylegan": dict.fromkeys(("precision", "recall", "density", "coverage"), "vgg16"),
}


def routed(protocol: Protocol, metric: str, own: str | None = None) -> Protocol:
    """The protocol of a metric's features in a run under ``protocol``.

    Args:
        own: the protocol that is part of the metric's definition, if there is one.
    """
    if own is not None:
        return replace(PROTOCOLS[own], precision=protocol.precision)
    name = ROUTES.get(protocol.name.partition(":")[0], {}).get(metric)
    return protocol if name is None else replace(PROTOCOLS[name], name=protocol.name, precision=protocol.precision)


def get_protocol(name: str) -> Protocol:
    """``NAME`` or ``NAME:LAYER``, for instance ``ttur`` or ``pytorch-fid:768``.

    Raises:
        ConfigError: no such protocol or layer; the message lists what there is.
    """
    base, _, layer = name.partition(":")
    if base not in PROTOCOLS:
        close = get_close_matches(base, PROTOCOLS, n=1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise ConfigError(f"There is no protocol {base!r}; there are {', '.join(PROTOCOLS)}.{hint}")
    protocol = PROTOCOLS[base]
    if not layer or layer == protocol.layer:
        return protocol
    layers = _LAYERS[protocol.extractor]
    if layer not in layers:
        raise ConfigError(f"Protocol {base} has no layer {layer!r}; there are {', '.join(layers)}.")
    return replace(protocol, name=name, layer=layer)
