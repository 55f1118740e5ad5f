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
_LAYERS = {INCEPTION: ("64", "192", "768", "2048"), COMPACT: ("256",)}
# what the metrics call the other layers that they need, and which they are; the layer "features" is a choice of _LAYERS
_TAPS: Mapping[str, Mapping[str, str]] = {
    INCEPTION: {"logits": "logits_unbiased", "spatial": "sfid"},
    COMPACT: {"logits": "logits"},
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
        precision: arithmetic of the network.
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

    def key(self) -> str:
        """16 hexadecimal digits; features may meet only at equal keys."""
        return _hash(self._identity())

    def label(self, metric: str = "FID") -> str:
        """``FID`` for verified FID-Inception weights at the 2048-wide layer; any other network or layer is named.

        >>> get_protocol("compact").label()
        'FD[compact-v1]'
        """
        short = self.extractor.split("-")[0]
        usual = self.layer == _LAYERS[self.extractor][-1] or self.layer in _TAPS[self.extractor].values()
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

    def has(self, layer: str) -> bool:
        """Whether the network has what a metric calls ``features``, ``logits`` or ``spatial``."""
        return layer == "features" or layer in _TAPS[self.extractor]

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
            raise IncomparableError(
                f"{what} were made under another protocol ({'; '.join(differences)}). "
                f"Compute both sides under one protocol: --protocol {self.name}, or --protocol {other.name}."
            )

    def _identity(self) -> dict[str, object]:
        return {k: v for k, v in asdict(self).items() if k not in ("name", "verified")}


def _hash(fields: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:16]


_INCEPTION = {"extractor": INCEPTION, "layer": "2048", "size": 299, "scale": "(x-128)/128"}

PROTOCOLS: Mapping[str, Protocol] = {
    p.name: p
    for p in (
        Protocol(name="ttur", **_INCEPTION, resize="tf1-bilinear"),  # type: ignore[arg-type]
        Protocol(name="pytorch-fid", **{**_INCEPTION, "scale": "2*(x/255)-1"}, resize="torch-bilinear"),  # type: ignore[arg-type]
        Protocol(name="clean", **_INCEPTION, resize="pil-bicubic-float"),  # type: ignore[arg-type]
        Protocol(name="torchmetrics", **_INCEPTION, resize="torch-bilinear-antialias"),  # type: ignore[arg-type]
        Protocol(
            name="compact", extractor=COMPACT, layer="256", resize="torch-bilinear-antialias", size=32,
            scale="(x-127.5)/127.5",
        ),
    )
}  # fmt: skip

STANDS_FOR: Mapping[str, str] = {
    "ttur": "the FID of the paper: TensorFlow's bilinear resize; equals torch-fidelity and NVIDIA's scripts",
    "pytorch-fid": "pytorch-fid: PyTorch's bilinear resize without antialiasing",
    "clean": "clean-fid: Pillow's bicubic resize in floating point",
    "torchmetrics": "torchmetrics 1.8 and later: PyTorch's antialiased bilinear resize",
    "compact": "the small network that ships with ganeval: no download; not comparable with any published FID",
}


# what a protocol takes from another network than its own: by metric, the protocol of its features
ROUTES: Mapping[str, Mapping[str, str]] = {}


def routed(protocol: Protocol, metric: str, own: str | None = None) -> Protocol:
    """The protocol of a metric's features in a run under ``protocol``.

    Args:
        own: the protocol that is part of the metric's definition, if there is one.
    """
    name = own or ROUTES.get(protocol.name.partition(":")[0], {}).get(metric)
    return protocol if name is None else PROTOCOLS[name]


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
