"""Float64 linear algebra on an accelerator that is fast at it: the same products, the same answers within rounding."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from ganeval.statistics.linalg import eigh_in_place

Eigh = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
# CUDA devices that do half as many float64 operations as float32 ones; all others do one in 32 or 64
_FULL_RATE = {(6, 0), (7, 0), (8, 0), (9, 0), (10, 0)}


def fast_float64(device: torch.device | None) -> bool:
    """Whether large float64 products belong on this device rather than on the host."""
    return device is not None and device.type == "cuda" and torch.cuda.get_device_capability(device) in _FULL_RATE


def eigh_for(device: torch.device | None) -> Eigh:
    """What finds eigenvectors of a symmetric matrix fastest in a run on this device."""
    return partial(eigh_torch, device=device) if device is not None and fast_float64(device) else eigh_in_place


def eigh_torch(matrix: np.ndarray, device: torch.device) -> tuple[np.ndarray, np.ndarray]:
    """``numpy.linalg.eigh`` of a symmetric (d, d), of which the lower triangle is read.

    On the host where the device cannot: its memory is full of somebody's training, say.
    """
    try:
        eigenvalues, vectors = torch.linalg.eigh(torch.from_numpy(np.ascontiguousarray(matrix)).to(device))
        return eigenvalues.cpu().numpy(), vectors.cpu().numpy()
    except RuntimeError:  # torch's LinAlgError and OutOfMemoryError are such
        return eigh_in_place(matrix)


class Projected:
    """Of rows x: the squared length of T^T x, and what the squares of its entries come to behind another map.

    On the host where the device's memory is full.

    Args:
        transport: T, (d, r).
        root: (r, k).
    """

    def __init__(self, transport: np.ndarray, root: np.ndarray, device: torch.device) -> None:
        self._device, self._maps = device, (transport, root)
        self._there: list[torch.Tensor] = []

    def __call__(self, centred: np.ndarray) -> tuple[np.ndarray, float]:
        """(b,) sum_i P_i^2 with P = X T, and the sum over the rows of |root^T P^2|^2."""
        try:
            return self._of(centred)
        except torch.cuda.OutOfMemoryError:
            self._device, self._there = torch.device("cpu"), []
            return self._of(centred)

    def _of(self, centred: np.ndarray) -> tuple[np.ndarray, float]:
        if not self._there:
            self._there = [self._sent(array) for array in self._maps]
        transport, root = self._there
        squares = (self._sent(centred) @ transport).square_()
        return squares.sum(1).cpu().numpy(), float((squares @ root).square_().sum())

    def _sent(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device)
