"""The arithmetic of the networks: full float32 whatever the surrounding program has set, or a faster one on request.

TF32 keeps 10 bits of every factor: it moves features by about 1e-3, by an amount that depends on the batch size.
bfloat16 keeps 8 bits and moves them by about 1e-2, float16 11 bits in a narrow range.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from ganeval.arguments import option
from ganeval.errors import ConfigError
from ganeval.protocol import PRECISIONS

T = TypeVar("T")

HALF: Mapping[str, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}


def require_precision(precision: str, device: torch.device) -> None:
    """Raises ConfigError for an arithmetic that does not exist, or that this device does not have."""
    if precision not in PRECISIONS:
        raise ConfigError(f"{option('precision')} is one of {', '.join(PRECISIONS)}; got {precision!r}.")
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


@contextmanager
def arithmetic(precision: str, device: torch.device) -> Iterator[None]:
    """Inference in the named arithmetic: inside, no gradients, and what is not asked for is off."""
    half = HALF.get(precision)
    autocast = no_autocast(device) if half is None else torch.autocast(device.type, half)
    with strict_float32(tf32=precision == "tf32"), own_kernels(), torch.inference_mode(), autocast:
        yield


@contextmanager
def exactly(device: torch.device) -> Iterator[None]:
    """Float32 products and sums as they are written: inside, neither TF32 nor autocast nor gradients."""
    with arithmetic("float32", device):
        yield


def no_autocast(device: torch.device) -> AbstractContextManager[None]:
    """Inside, what runs on ``device`` keeps its type, whatever autocast surrounds it."""
    if not torch.amp.is_autocast_available(device.type):  # a device that has none cannot be in one
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


@contextmanager
def own_kernels(*, deterministic: bool = False) -> Iterator[None]:
    """Inside, cuDNN takes its kernels by rule and not by a timing, and no operation is refused as nondeterministic.

    A training program sets ``cudnn.benchmark``, or ``torch.use_deterministic_algorithms``, for its own sake. Here the
    first would time kernels anew for every shape of a batch and let the timing choose the last digits, and the second
    would refuse products and sums that need no order. Afterwards all are as they were.

    Args:
        deterministic: cuDNN takes only kernels that repeat bit by bit.
    """
    cudnn = torch.backends.cudnn
    before = cudnn.enabled, cudnn.benchmark, cudnn.deterministic
    strict, warns = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    try:
        cudnn.enabled, cudnn.benchmark, cudnn.deterministic = True, False, deterministic
        if strict:
            torch.use_deterministic_algorithms(False)
        yield
    finally:
        cudnn.enabled, cudnn.benchmark, cudnn.deterministic = before
        if strict:
            torch.use_deterministic_algorithms(True, warn_only=warns)


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

    def told(self, precision: str, layer: str) -> str:
        """In words, with what it means for a distance on ``layer``.

        The root of a Frechet distance is a metric on laws, and a set is no farther from its rounded self than the mean
        square length of the differences: it moves by no more than twice the root of that.
        """
        root = ""
        if layer in self.length:
            root = f", so the root of a Frechet distance by less than about {2 * self.length[layer]:.1g}"
        return (
            f"{precision} arithmetic moves features by up to {self.relative:.1e} of the largest one (against float32, "
            f"on the first {self.images} images){root}: compare values of one precision only"
        )


@contextmanager
def strict_float32(*, tf32: bool = False) -> Iterator[None]:
    """Inside, float32 matrix products and convolutions use neither TF32 nor bfloat16, on CUDA and on the CPU.

    Afterwards every setting is what it was, whether it was made through ``allow_tf32``,
    ``torch.set_float32_matmul_precision`` or the ``fp32_precision`` attributes. The settings are global: another
    thread that computes meanwhile computes strictly too.

    Args:
        tf32: on CUDA, TF32 wherever there is float32.
    """
    backends = torch.backends
    # PyTorch has two interfaces to one state and raises where they disagree: its kernels look at either, so both are
    # set, and what cannot be read because the user's own settings disagree is reached through the newer one alone.
    on_cuda = [backends.cuda.matmul, getattr(backends.cudnn, "conv", None), getattr(backends.cudnn, "rnn", None)]
    on_cpu = [getattr(backends.mkldnn, "matmul", None), getattr(backends.mkldnn, "conv", None)]
    places = [place for place in (*on_cuda, *on_cpu) if hasattr(place, "fp32_precision")]
    precisions = [place.fp32_precision for place in places]  # type: ignore[union-attr]
    matmul = _read(torch.get_float32_matmul_precision)
    cudnn = _read(lambda: backends.cudnn.allow_tf32)
    try:
        if matmul is not None:
            torch.set_float32_matmul_precision("high" if tf32 else "highest")
        if cudnn is not None:
            backends.cudnn.allow_tf32 = tf32
        for place in places:
            place.fp32_precision = "tf32" if tf32 and place in on_cuda else "ieee"  # type: ignore[union-attr]
        yield
    finally:
        if matmul is not None:
            torch.set_float32_matmul_precision(matmul)
        if cudnn is not None:
            backends.cudnn.allow_tf32 = cudnn
        for place, precision in zip(places, precisions, strict=True):
            place.fp32_precision = precision  # type: ignore[union-attr]


def _read(getter: Callable[[], T]) -> T | None:
    try:
        return getter()
    except RuntimeError:
        return None
