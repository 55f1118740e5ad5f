"""Full float32 arithmetic in the networks, whatever the surrounding program has set.

TF32 keeps 10 bits of every factor: it moves features by about 1e-3, by an amount that depends on the batch size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch

T = TypeVar("T")


@contextmanager
def strict_float32() -> Iterator[None]:
    """Inside, float32 matrix products and convolutions use neither TF32 nor bfloat16, on CUDA and on the CPU.

    Afterwards every setting is what it was, whether it was made through ``allow_tf32``,
    ``torch.set_float32_matmul_precision`` or the ``fp32_precision`` attributes. The settings are global: another
    thread that computes meanwhile computes strictly too.
    """
    backends = torch.backends
    # PyTorch has two interfaces to one state and raises where they disagree: its kernels look at either, so both are
    # set, and what cannot be read because the user's own settings disagree is reached through the newer one alone.
    places = [
        place
        for place in (
            backends.cuda.matmul,
            getattr(backends.cudnn, "conv", None),
            getattr(backends.cudnn, "rnn", None),
            getattr(backends.mkldnn, "matmul", None),
            getattr(backends.mkldnn, "conv", None),
        )
        if hasattr(place, "fp32_precision")
    ]
    precisions = [place.fp32_precision for place in places]  # type: ignore[union-attr]
    matmul = _read(torch.get_float32_matmul_precision)
    cudnn = _read(lambda: backends.cudnn.allow_tf32)
    try:
        if matmul is not None:
            torch.set_float32_matmul_precision("highest")
        if cudnn is not None:
            backends.cudnn.allow_tf32 = False
        for place in places:
            place.fp32_precision = "ieee"  # type: ignore[union-attr]
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
