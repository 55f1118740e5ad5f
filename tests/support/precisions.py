"""PyTorch's newer names of float32 arithmetic, such as ``torch.backends.cudnn.conv.fp32_precision``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

PLACES = ("cuda.matmul", "cudnn.conv", "cudnn.rnn", "mkldnn.matmul", "mkldnn.conv")
HERE = hasattr(torch.backends, "fp32_precision")


def place(name: str) -> Any:
    found: Any = torch.backends
    for part in name.split("."):
        found = getattr(found, part)
    return found


def precisions() -> list[str]:
    """These can always be read; the older names raise where a program has used the newer ones."""
    return [place(name).fp32_precision for name in PLACES] if HERE else [torch.get_float32_matmul_precision()]


@contextmanager
def kept() -> Iterator[None]:
    """Afterwards all are as before: to set the name above them sets them, too."""
    backends: Any = torch.backends
    above, before = backends.fp32_precision, precisions()
    try:
        yield
    finally:
        backends.fp32_precision = above
        for name, precision in zip(PLACES, before, strict=True):
            place(name).fp32_precision = precision
