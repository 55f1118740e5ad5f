"""The tiles of ``tiles`` on an accelerator: the same lifted rows, the same answers within float32 rounding.

Products are strict float32: TF32 keeps 10 bits of every factor, which would outgrow the band that float64 rechecks.
Where the accelerator's memory is full, tiles get smaller, and what still does not fit, or needs an operation that the
device lacks, is done on the host.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TypeGuard, TypeVar

import numpy as np
import torch
from torch import Tensor

from ganeval.arithmetic import exact_float32, unsupported_errors, warn_host_fallback
from ganeval.statistics import tiles
from ganeval.statistics.tiles import BANDS, MARGIN, TINY, Pairs

T = TypeVar("T")
_Search = Callable[[int, int, int], list[T]]  # by the first row, and the rows and columns of a tile

_ROWS, _COLUMNS, _SMALLEST = 4096, 8192, 256
SEARCHES = "neighbours are searched"


def accelerates(device: torch.device | None) -> TypeGuard[torch.device]:
    """Whether products are computed on this device; None and the CPU: on the host."""
    return device is not None and device.type != "cpu"


@dataclass(slots=True)
class Tile:
    """How many rows meet how many columns at once."""

    rows: int = field(default_factory=lambda: _ROWS)
    columns: int = field(default_factory=lambda: _COLUMNS)

    def fitted(self, attempt: Callable[[], T]) -> T | None:
        """What the attempt gives, or None if the memory is full: the tile is smaller then.

        Raises:
            torch.OutOfMemoryError: it is the smallest tile already.
        """
        try:
            return attempt()
        except torch.cuda.OutOfMemoryError:
            if self.rows <= _SMALLEST:
                raise
        self.rows, self.columns = self.rows // 2, self.columns // 2
        return None


def nearest_torch(
    points: np.ndarray, queries: np.ndarray | None, width: int, device: torch.device
) -> tuple[np.ndarray, np.ndarray]:
    """The ``width`` nearest lifted rows of ``points`` to every query, or to every point among the others.

    Returns:
        As ``tiles.within``.

    Raises:
        torch.OutOfMemoryError: the accelerator's memory does not hold the smallest tile.
    """
    n, tile = len(points if queries is None else queries), Tile()
    distances = np.full((n, width), np.inf, np.float32)
    indices = np.full((n, width), -1, np.int32)
    with exact_float32(device):
        z = torch.from_numpy(points).to(device)
        asked = z if queries is None else torch.from_numpy(queries).to(device)
        start = 0
        while start < n:
            own = start if queries is None else None

            def attempt(at: int = start, own: int | None = own) -> tuple[np.ndarray, np.ndarray]:
                return _nearest(z, asked[at : at + tile.rows], own, width, tile.columns)

            found = tile.fitted(attempt)
            if found is None:
                continue
            best, of = found
            rows = slice(start, start + len(best))
            distances[rows, : best.shape[1]], indices[rows, : best.shape[1]] = best, of
            start += len(best)
    indices[np.isposinf(distances)] = -1
    return distances, indices


def _nearest(z: Tensor, asked: Tensor, own: int | None, width: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """The nearest of some rows.

    Args:
        own: the number of the first among the points, none of which is its own neighbour; None: they are others.
    """
    left = _turned(asked)
    best = torch.full((len(left), 0), torch.inf, dtype=torch.float32, device=z.device)
    of = torch.full((len(left), 0), -1, dtype=torch.int64, device=z.device)
    for first in range(0, len(z), columns):
        tile = left @ z[first : first + columns].T
        if own is not None:
            mine = torch.arange(own, own + len(left), device=z.device)
            here = (mine >= first) & (mine < first + tile.shape[1])
            tile[here, mine[here] - first] = torch.inf
        numbers = torch.arange(first, first + tile.shape[1], device=z.device).expand(len(left), -1)
        best, of = torch.cat([best, tile], dim=1), torch.cat([of, numbers], dim=1)
        best, kept = best.topk(min(width, best.shape[1]), dim=1, largest=False)
        of = of.gather(1, kept)
    return best.cpu().numpy(), of.cpu().numpy()


def close_pairs_torch(
    a: np.ndarray, b: np.ndarray, of_rows: np.ndarray | None, of_columns: np.ndarray | None, device: torch.device
) -> Iterator[Pairs]:
    """As ``tiles.close_pairs``."""

    def begin() -> _Search[Pairs]:
        x = torch.from_numpy(b).to(device)
        columns = torch.from_numpy(of_columns).to(device) if of_columns is not None else None

        def some(i: int, size: int, width: int) -> list[Pairs]:
            left = _turned(torch.from_numpy(a[i : i + size]).to(device))
            rows = torch.from_numpy(of_rows[i : i + size]).to(device) if of_rows is not None else None
            found = []
            for j in range(0, len(x), width):
                tile = left @ x[j : j + width].T
                close = torch.zeros_like(tile, dtype=torch.bool)
                if rows is not None:
                    close |= tile <= rows[:, None]
                if columns is not None:
                    close |= tile <= columns[None, j : j + width]
                row, column = close.nonzero(as_tuple=True)
                found.append(((row + i).cpu().numpy(), (column + j).cpu().numpy(), tile[row, column].cpu().numpy()))
            return found

        return some

    def here(done: int) -> Iterator[Pairs]:
        rest = None if of_rows is None else of_rows[done:]
        for row, column, squared in tiles.close_pairs(a[done:], b, rest, of_columns):
            yield row + done, column, squared

    return _pairs(len(a), begin, here, device)


def promising_pairs_torch(
    queries: np.ndarray, centres: np.ndarray, numerators: np.ndarray, band: float, epsilon: float, device: torch.device
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """As ``tiles.promising_pairs``."""

    def begin() -> _Search[tuple[np.ndarray, np.ndarray]]:
        y, r = (torch.from_numpy(array).to(device) for array in (centres, numerators))

        def some(i: int, size: int, width: int) -> list[tuple[np.ndarray, np.ndarray]]:
            left = _turned(torch.from_numpy(queries[i : i + size]).to(device))
            least = torch.zeros(len(left), 1, dtype=torch.float32, device=device)
            found = []
            for j in range(0, len(y), width):
                squared = left @ y[j : j + width].T + (band + epsilon + TINY)
                ratios = r[j : j + width] / squared
                least = torch.maximum(least, ratios.amax(dim=1, keepdim=True))
                row, column = ((ratios >= least / MARGIN) | (squared <= BANDS * band + epsilon)).nonzero(as_tuple=True)
                found.append(((row + i).cpu().numpy(), (column + j).cpu().numpy()))
            return found

        return some

    def here(done: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for row, column in tiles.promising_pairs(queries[done:], centres, numerators, band, epsilon):
            yield row + done, column

    return _pairs(len(queries), begin, here, device)


def _pairs(
    n: int, begin: Callable[[], _Search[T]], here: Callable[[int], Iterator[T]], device: torch.device
) -> Iterator[T]:
    """Pairs of n rows with others, block by block; from where the memory is full, on the host.

    Args:
        begin: sends what all blocks need; what it returns finds those of one block, by its first row and the tile.
        here: those of the rows from a number on, on the host.
    """
    tile, start = Tile(), 0
    try:
        with exact_float32(device):
            some = begin()
        while start < n:
            with exact_float32(device):
                found = tile.fitted(partial(lambda at: some(at, tile.rows, tile.columns), start))
            if found is not None:
                start += tile.rows
                yield from found
    except unsupported_errors(device) as error:
        warn_host_fallback(SEARCHES, error)
    else:
        return
    yield from here(start)


def _turned(z: Tensor) -> Tensor:
    return torch.cat([-2 * z[:, :-2], z[:, -1:], torch.ones_like(z[:, -1:])], dim=1)
