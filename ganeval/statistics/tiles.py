"""Tiles of squared distances in float32: the products behind every search, and never a matrix of all pairs.

Rows are centred and lifted, z = [x, 1, |x|^2], so that one product with the turned rows [-2x, |x|^2, 1] is a tile of
squared distances, with no pass over it for the norms. In a set against itself every tile serves twice, for its rows
and for its columns: a search inside a set costs half of the product of all pairs.

``nearest_torch`` and ``close_pairs_torch`` in ``tiles_torch`` do the same on an accelerator.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ganeval.errors import InputError

TILE = 1024
BANDS, MARGIN = 101, 1.021  # at 101 bands of rounding, a ratio is off by less than 2.1 %
LARGEST = float(np.finfo(np.float32).max) / 8  # of a squared length: a squared distance is up to 4 times that
TINY = float(np.finfo(np.float32).tiny)

Pairs = tuple[np.ndarray, np.ndarray, np.ndarray]


def lifted(points: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """(n, d + 2) float32: [x - c, 1, |x - c|^2].

    Distances do not change with the centre, rounding shrinks: |x|^2 + |y|^2 - 2 x.y cancels less.

    Raises:
        InputError: distances may leave float32.
    """
    d = points.shape[1]
    z = np.empty((len(points), d + 2), np.float32)
    np.subtract(points, centre.astype(np.float32), out=z[:, :d])
    z[:, d] = 1.0
    for start in range(0, len(z), TILE):
        x = z[start : start + TILE, :d].astype(np.float64)
        squares = np.einsum("ij,ij->i", x, x)
        if squares.max() > LARGEST:
            raise InputError(
                f"features are too large for distances in float32: squared lengths up to {squares.max():.3g}, and "
                f"{LARGEST:.3g} is the most. Scale what the network gives."
            )
        z[start : start + TILE, d + 1] = squares
    return z


def turned(z: np.ndarray) -> np.ndarray:
    """[-2x, |x|^2, 1] of lifted rows."""
    t = np.empty_like(z)
    np.multiply(z[:, :-2], np.float32(-2), out=t[:, :-2])
    t[:, -2], t[:, -1] = z[:, -1], 1.0
    return t


def within(z: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The ``width`` nearest other rows of every lifted row, nearest first.

    Returns:
        Squared distances (n, width) float32 and indices (n, width) int32; infinite and -1 past the n - 1 there are.
    """
    nearest = _Nearest(len(z), width)
    blocks = [slice(start, min(start + TILE, len(z))) for start in range(0, len(z), TILE)]
    buffer = np.empty(TILE * TILE, np.float32)
    for rows in blocks:  # first, so that every row has a bound when it meets the others
        tile = _product(turned(z[rows]), z[rows], buffer)
        np.fill_diagonal(tile, np.inf)
        nearest.offer(rows, rows, tile)
    for i, rows in enumerate(blocks):
        left = turned(z[rows])
        for columns in blocks[i + 1 :]:
            tile = _product(left, z[columns], buffer)
            nearest.offer(rows, columns, tile)
            nearest.offer(columns, rows, tile, across=True)
    return nearest.sorted()


def close_pairs(
    a: np.ndarray, b: np.ndarray, of_rows: np.ndarray | None, of_columns: np.ndarray | None
) -> Iterator[Pairs]:
    """Pairs of lifted rows no farther apart than the bound of either: (i, j, squared distances), a tile at a time.

    Args:
        of_rows: (m,) float32 squared bounds of ``a``; None: it has none.
        of_columns: (n,) of ``b``.
    """
    buffer = np.empty(TILE * TILE, np.float32)
    for i in range(0, len(a), TILE):
        left = turned(a[i : i + TILE])
        for j in range(0, len(b), TILE):
            tile = _product(left, b[j : j + TILE], buffer)
            close = tile <= of_rows[i : i + TILE, None] if of_rows is not None else np.zeros(tile.shape, bool)
            if of_columns is not None:
                close |= tile <= of_columns[None, j : j + TILE]
            flat = np.flatnonzero(close)
            if len(flat):
                row, column = np.divmod(flat, tile.shape[1])
                yield row + i, column + j, tile.ravel()[flat]


def promising_pairs(
    queries: np.ndarray, centres: np.ndarray, numerators: np.ndarray, band: float, epsilon: float
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs (i, j) of lifted rows among which is, for each query, the largest numerator_j / (distance^2 + epsilon).

    Args:
        numerators: (m,) float32, of the centres.
        band: how far a squared distance may be from the truth.
    """
    buffer = np.empty(TILE * TILE, np.float32)
    for i in range(0, len(queries), TILE):
        left = turned(queries[i : i + TILE])
        least = np.zeros((len(left), 1), np.float32)
        for j in range(0, len(centres), TILE):
            squared = _product(left, centres[j : j + TILE], buffer)
            squared += np.float32(band + epsilon + TINY)  # now at least the truth, and above 0
            ratios = numerators[j : j + TILE] / squared  # at most the truth
            np.maximum(least, ratios.max(axis=1, keepdims=True), out=least)
            row, column = np.nonzero((ratios >= least / np.float32(MARGIN)) | (squared <= BANDS * band + epsilon))
            yield row + i, column + j


def _product(left: np.ndarray, z: np.ndarray, buffer: np.ndarray) -> np.ndarray:
    return np.matmul(left, z.T, out=buffer[: len(left) * len(z)].reshape(len(left), len(z)))


class _Nearest:
    """The nearest so far of every row, in no order."""

    def __init__(self, n: int, width: int) -> None:
        self.distances = np.full((n, width), np.inf, np.float32)
        self.indices = np.full((n, width), -1, np.int32)
        self.limits = np.full(n, np.inf, np.float32)

    def offer(self, rows: slice, others: slice, tile: np.ndarray, *, across: bool = False) -> None:
        """Take what is nearer than the farthest that is kept.

        Args:
            across: the rows run along the tile's second axis.
        """
        limit, width = self.limits[rows], self.distances.shape[1]
        if not across and tile.shape[1] > width and np.isposinf(limit).all():  # the first tile: all of it
            self._keep(rows, tile, np.broadcast_to(np.arange(others.start, others.stop, dtype=np.int32), tile.shape))
            return
        flat = np.flatnonzero(tile < (limit[None, :] if across else limit[:, None]))
        if not len(flat):
            return
        row, other = np.divmod(flat, tile.shape[1])
        values = tile.ravel()[flat]
        if across:
            row, other = other, row
            order = np.argsort(row.astype(np.uint16), kind="stable")
            row, other, values = row[order], other[order], values[order]
        counts = np.bincount(row, minlength=len(limit))
        place = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts) + width
        total = width + int(counts.max())
        distances = np.full((len(limit), total), np.inf, np.float32)
        indices = np.full((len(limit), total), -1, np.int32)
        distances[:, :width], indices[:, :width] = self.distances[rows], self.indices[rows]
        distances[row, place], indices[row, place] = values, other + others.start
        self._keep(rows, distances, indices)

    def _keep(self, rows: slice, distances: np.ndarray, indices: np.ndarray) -> None:
        width = self.distances.shape[1]
        kept = np.argpartition(distances, width - 1, axis=1)[:, :width]
        self.distances[rows] = np.take_along_axis(distances, kept, axis=1)
        self.indices[rows] = np.take_along_axis(indices, kept, axis=1)
        self.limits[rows] = self.distances[rows].max(axis=1)

    def sorted(self) -> tuple[np.ndarray, np.ndarray]:
        order = np.argsort(self.distances, axis=1)
        return np.take_along_axis(self.distances, order, axis=1), np.take_along_axis(self.indices, order, axis=1)
