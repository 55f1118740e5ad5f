"""Sums of a kernel over all pairs of rows of two sets, a block of pairs at a time: on the host, or on an accelerator.

A kernel is a function of two blocks of rows, arrays or tensors alike, to the values of all their pairs. Its products
are of the rows' own type, float32 as a rule and exactly that (no TF32); sums are float64. The accelerator's sums equal
the host's to 1e-6 relative.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganeval.arithmetic import exact_float32, unsupported_errors, warn_host_fallback
from ganeval.statistics.tiles_torch import Tile, accelerates

Kernel = Callable[[Any, Any], Any]
BLOCK = 1024


@dataclass(frozen=True, slots=True)
class Within:
    """A set with itself.

    Attributes:
        sums: (n,) for each row, the sum of its kernel with all others.
        squares: sum of all (k - level)^2 of two different rows.
        own: mean kernel of a row with itself.
    """

    sums: np.ndarray
    squares: float
    own: float


@dataclass(frozen=True, slots=True)
class PairSums:
    """Two sets, of m and n rows.

    Attributes:
        level: a typical value, around which squares are summed: they would drown in the kernel's mean.
        by_first: (m,) for each row of the first set, the sum of its kernel with all of the second; ``by_second`` alike.
        squares: sum of (k - level)^2 over the pairs of one with the other.
    """

    level: float
    first: Within
    second: Within
    by_first: np.ndarray
    by_second: np.ndarray
    squares: float


def pair_sums(first: np.ndarray, second: np.ndarray, kernel: Kernel, device: torch.device | None = None) -> PairSums:
    """All pairs of two sets and within each.

    Args:
        device: an accelerator; what it has no memory or no arithmetic for is done on the host.

    Shape:
        (m, d), (n, d) of one float type; memory O(block (m + n)).
    """
    if accelerates(device):
        try:
            return _there(first, second, kernel, device)
        except unsupported_errors(device) as error:
            warn_host_fallback("kernels are computed", error)
    level = kernel(second[:BLOCK], first[:BLOCK]).mean(dtype=np.float64)
    within = [_within(x, kernel, level) for x in (first, second)]
    by_first, by_second, squares = np.zeros(len(first)), np.zeros(len(second)), 0.0
    for a in range(0, len(second), BLOCK):
        for b in range(0, len(first), BLOCK):
            k = kernel(second[a : a + BLOCK], first[b : b + BLOCK])
            by_second[a : a + BLOCK] += k.sum(axis=1, dtype=np.float64)
            by_first[b : b + BLOCK] += k.sum(axis=0, dtype=np.float64)
            squares += _squares(k, level)
    return PairSums(level, within[0], within[1], by_first, by_second, squares)


def _within(x: np.ndarray, kernel: Kernel, level: float) -> Within:
    """Blocks above the diagonal are used twice."""
    sums, squares, own = np.zeros(len(x)), 0.0, 0.0
    for a in range(0, len(x), BLOCK):
        for b in range(a, len(x), BLOCK):
            k = kernel(x[a : a + BLOCK], x[b : b + BLOCK])
            if a == b:
                own += float(np.trace(k, dtype=np.float64))
                np.fill_diagonal(k, level)
                squares += _squares(k, level)
                np.fill_diagonal(k, 0.0)
            else:
                squares += 2 * _squares(k, level)
                sums[b : b + BLOCK] += k.sum(axis=0, dtype=np.float64)
            sums[a : a + BLOCK] += k.sum(axis=1, dtype=np.float64)
    return Within(sums, squares, own / len(x))


def _squares(k: np.ndarray, level: float) -> float:
    flat = (k - k.dtype.type(level)).ravel()
    largest = float(np.abs(flat).max())
    if largest == 0:
        return 0.0
    flat /= k.dtype.type(largest)  # the square of a cube leaves float32 soon
    return largest**2 * float(flat @ flat)


# --- the same on an accelerator ------------------------------------------------------------------------------------


def _there(first: np.ndarray, second: np.ndarray, kernel: Kernel, device: torch.device) -> PairSums:
    """Sums stay there until the end: the host waits for the level and for the results alone.

    Raises:
        torch.OutOfMemoryError: the memory does not hold the smallest tile together with the rows.
    """
    tile, found = Tile(), None
    with exact_float32(device):
        x, y = (torch.from_numpy(rows if rows.flags.writeable else rows.copy()).to(device) for rows in (first, second))
        level = float(kernel(y[:BLOCK], x[:BLOCK]).mean(dtype=torch.float64))
        while found is None:
            found = tile.fitted(lambda: _all_there(x, y, kernel, level, tile.rows))
    return found


def _all_there(x: Tensor, y: Tensor, kernel: Kernel, level: float, block: int) -> PairSums:
    within = [_within_there(rows, kernel, level, block) for rows in (x, y)]
    by_first, by_second = (torch.zeros(len(rows), dtype=torch.float64, device=x.device) for rows in (x, y))
    squares = torch.zeros((), dtype=torch.float64, device=x.device)
    for a in range(0, len(y), block):
        for b in range(0, len(x), block):
            k = kernel(y[a : a + block], x[b : b + block])
            by_second[a : a + block] += k.sum(1, dtype=torch.float64)
            by_first[b : b + block] += k.sum(0, dtype=torch.float64)
            squares += _squares_there(k, level)
    return PairSums(level, within[0], within[1], by_first.cpu().numpy(), by_second.cpu().numpy(), float(squares))


def _within_there(x: Tensor, kernel: Kernel, level: float, block: int) -> Within:
    sums = torch.zeros(len(x), dtype=torch.float64, device=x.device)
    squares, own = (torch.zeros((), dtype=torch.float64, device=x.device) for _ in range(2))
    for a in range(0, len(x), block):
        for b in range(a, len(x), block):
            k = kernel(x[a : a + block], x[b : b + block])
            if a == b:
                own += k.diagonal().sum(dtype=torch.float64)
                squares += _squares_there(k.fill_diagonal_(level), level)
                k.fill_diagonal_(0.0)
            else:
                squares += 2 * _squares_there(k, level)
                sums[b : b + block] += k.sum(0, dtype=torch.float64)
            sums[a : a + block] += k.sum(1, dtype=torch.float64)
    return Within(sums.cpu().numpy(), float(squares), float(own) / len(x))


def _squares_there(k: Tensor, level: float) -> Tensor:
    apart = k - level
    largest = apart.abs().amax().clamp_min(torch.finfo(k.dtype).tiny)
    return apart.div_(largest).square_().sum(dtype=torch.float64) * largest.double().square()
