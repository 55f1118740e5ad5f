"""A CUDA device that nobody may wait for."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def never_waiting() -> Iterator[None]:
    """Inside, CUDA itself raises at whatever would make the host wait."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():  # torch tells once that the mode is a prototype
        warnings.filterwarnings("ignore", message="Synchronization debug mode")
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)
