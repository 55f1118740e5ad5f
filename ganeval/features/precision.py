"""The precision of the networks: full float32 under any settings of the surrounding program, or a faster one.

TF32 keeps 10 bits of every factor: it moves features by about 1e-3, by an amount that depends on the batch size.
bfloat16 keeps 8 bits and moves them by about 1e-2, float16 11 bits in a narrow range.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ganeval.errors import ConfigError
from ganeval.parsing.arguments import option
from ganeval.protocol import PRECISIONS


def require_precision(precision: str, device: torch.device) -> None:
    """Raise ConfigError for a precision that does not exist, or that the device does not support."""
    if precision not in PRECISIONS:
        raise ConfigError(f"{option('precision')} is {precision!r}; expected one of {', '.join(PRECISIONS)}.")
    here = ["float32"]
    if device.type == "cpu":
        here.append("bf16")
    elif device.type == "cuda":
        ampere = torch.cuda.get_device_capability(device) >= (8, 0)
        here += ["fp16", "bf16", "tf32"] if ampere else ["fp16"]
    if precision not in here:
        raise ConfigError(
            f"{option('precision', precision)} is not supported on {device}. Supported: {', '.join(here)}."
        )


@dataclass(frozen=True, slots=True)
class Deviation:
    """How far features of another arithmetic are from those of float32, on the same images.

    Attributes:
        images: how many.
        relative: the largest difference of a feature, over the largest float32 feature of its layer.
        length: by layer, the root of the mean square length of a row of differences, in features.
    """

    images: int
    relative: float
    length: Mapping[str, float]

    @classmethod
    def between(cls, exact: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> Deviation:
        """Of the same layers; (n, d) each."""
        apart = {layer: other[layer].double() - rows.double() for layer, rows in exact.items()}
        tiny = torch.finfo(torch.float32).tiny
        relative = max(
            float(apart[layer].abs().max() / rows.abs().max().clamp_min(tiny)) for layer, rows in exact.items()
        )
        length = {layer: float(rows.square().sum(1).mean().sqrt()) for layer, rows in apart.items()}
        return cls(len(next(iter(exact.values()))), relative, length)

    def describe(self, precision: str, layer: str) -> str:
        """A sentence, with what it means for a distance on ``layer``.

        The root of a Frechet distance is a metric on distributions. Rounding moves a set by at most the root of the
        mean square length of the differences, so the root of a distance moves by at most twice that.
        """
        root = ""
        if layer in self.length:
            root = f", so the root of a Frechet distance by less than about {2 * self.length[layer]:.1g}"
        return (
            f"{precision} arithmetic moves features by up to {self.relative:.1e} of the largest one (against float32, "
            f"on the first {self.images} images){root}: compare values of one precision only"
        )
