"""Exact nearest neighbours, and balls around points: what precision, recall, density, coverage and 1-NN tests ask.

Distances are found in float32 and trusted only where float64 would say the same: whatever lies within the rounding
band of a decision is recomputed from the features in float64. The answers equal a float64 brute force, ties included,
and no n x n matrix is ever made. faiss searches for neighbours; membership in balls, each with a radius of its own,
is a comparison of tiles of squared distances, which a search for the k nearest cannot answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ganeval.errors import NotEnoughSamplesError

_TILE = 1024
_SPARE = 8  # neighbours searched beyond the k-th, among which float64 decides


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The k nearest other rows of every row, nearest first.

    Attributes:
        distances: (n, k) float64, squared.
        indices: (n, k); of equal distances the smaller index first.
    """

    distances: np.ndarray
    indices: np.ndarray


def nearest(points: np.ndarray, queries: np.ndarray | None = None, *, k: int = 1) -> Neighbours:
    """The ``k`` nearest rows of ``points`` to every query; without queries, to every point among the *other* points.

    Shape:
        points (m, d), queries (n, d), float32 -> (n, k).

    Raises:
        NotEnoughSamplesError: not more than ``k`` points.
    """
    own = queries is None
    asked = points if queries is None else queries
    available = len(points) - int(own)
    if available < k:
        raise NotEnoughSamplesError(
            f"{k} nearest neighbours need at least {k + int(own)} images in the set; found {len(points)}. "
            "Give more images, or ask for fewer neighbours."
        )
    centre = points.mean(axis=0, dtype=np.float64)
    centred, centred_queries = _centred(points, centre), _centred(asked, centre)
    band = _band(centred, centred_queries)
    distances, indices = np.empty((len(asked), k)), np.empty((len(asked), k), np.int64)
    pending, width = np.arange(len(asked)), k + int(own) + _SPARE
    while len(pending):
        width = min(width, len(points))
        found, ids = _search(centred, centred_queries[pending], width)
        for start in range(0, len(pending), _TILE):
            part = slice(start, start + _TILE)
            rows = pending[part]
            exact = _exact(asked[rows], points, ids[part])
            if own:
                exact[ids[part] == rows[:, None]] = np.inf
            order = np.lexsort((ids[part], exact), axis=1)[:, :k]
            distances[rows] = np.take_along_axis(exact, order, axis=1)
            indices[rows] = np.take_along_axis(ids[part], order, axis=1)
        # certain where even the farthest candidate, rounding allowed for, lies beyond the k-th
        certain = (found[:, -1] - band > distances[pending, -1]) | (width == len(points))
        pending, width = pending[~certain], 4 * width
    return Neighbours(distances, indices)


def radii(points: np.ndarray, k: int) -> np.ndarray:
    """(n,) float64: the squared distance of every row from its ``k``-th nearest other row."""
    return nearest(points, k=k).distances[:, -1]


@dataclass(frozen=True, slots=True)
class Balls:
    """How the points of one set lie in the balls around those of another.

    Attributes:
        around: (m,) how many of the queries each ball holds.
        within: (n,) how many balls hold each query.
    """

    around: np.ndarray
    within: np.ndarray


def count_in_balls(
    centres: np.ndarray, squared_radii: np.ndarray, queries: np.ndarray, *, strict: bool = False
) -> Balls:
    """Which queries lie in which balls, counted both ways.

    Args:
        strict: leave out the border: distance < radius, not <=.

    Shape:
        centres (m, d), squared radii (m,) float64, queries (n, d).
    """
    (one,) = count_pairs(centres, queries, ((squared_radii, None),), strict=strict)
    return one


def count_pairs(
    points: np.ndarray,
    others: np.ndarray,
    balls: tuple[tuple[np.ndarray | None, np.ndarray | None], ...],
    *,
    strict: bool | tuple[bool, ...] = False,
) -> tuple[Balls, ...]:
    """All pairs of two sets in one pass of products, against several families of balls.

    Args:
        balls: each either (squared radii of ``points``, None), or (None, squared radii of ``others``).
        strict: of each family: distance < radius, not <=.

    Returns:
        For each family ``around`` by centre and ``within`` by the points of the other set.
    """
    rules = strict if isinstance(strict, tuple) else (strict,) * len(balls)
    centre = points.mean(axis=0, dtype=np.float64)
    a, b = _centred(points, centre), _centred(others, centre)
    band = np.float32(_band(a, b))
    found = [(np.zeros(len(points), np.int64), np.zeros(len(others), np.int64)) for _ in balls]
    for rows, columns, squared in _tiles(a, b):
        for (mine, theirs), (by_row, by_column), rule in zip(balls, found, rules, strict=True):
            bound = mine[rows][:, None] if mine is not None else theirs[columns][None, :]  # type: ignore[index]
            bound32 = bound.astype(np.float32)
            inside = squared < bound32 - band
            unsure = squared <= bound32 + band
            unsure ^= inside
            if unsure.any():
                i, j = np.nonzero(unsure)
                exact = _pairs(points[rows][i], others[columns][j])
                limit = np.broadcast_to(bound, unsure.shape)[i, j]
                inside[i, j] = exact < limit if rule else exact <= limit
            by_row[rows] += np.count_nonzero(inside, axis=1)
            by_column[columns] += np.count_nonzero(inside, axis=0)
    return tuple(
        Balls(by_row, by_column) if mine is not None else Balls(by_column, by_row)
        for (mine, _), (by_row, by_column) in zip(balls, found, strict=True)
    )


def _tiles(a: np.ndarray, b: np.ndarray) -> Iterator[tuple[slice, slice, np.ndarray]]:
    """Squared distances, float32, a tile at a time; the tile is reused."""
    norms_a = np.einsum("ij,ij->i", a, a, dtype=np.float64).astype(np.float32)
    norms_b = np.einsum("ij,ij->i", b, b, dtype=np.float64).astype(np.float32)
    buffer = np.empty((min(_TILE, len(a)), min(_TILE, len(b))), np.float32)
    for i in range(0, len(a), _TILE):
        rows = slice(i, min(i + _TILE, len(a)))
        for j in range(0, len(b), _TILE):
            columns = slice(j, min(j + _TILE, len(b)))
            tile = buffer[: rows.stop - i, : columns.stop - j]
            tile = np.matmul(a[rows], b[columns].T, out=tile if tile.flags.c_contiguous else None)
            tile *= np.float32(-2)
            tile += norms_a[rows][:, None]
            tile += norms_b[columns][None, :]
            yield rows, columns, tile


def _search(points: np.ndarray, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    import faiss  # slow to import

    index = faiss.IndexFlatL2(points.shape[1])
    index.add(points)
    distances, ids = index.search(np.ascontiguousarray(queries), k)
    return distances, ids


def _exact(queries: np.ndarray, points: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Squared distances in float64, (n, k), of each query from its candidates."""
    out = np.empty(ids.shape)
    wide = queries.astype(np.float64)
    for column in range(ids.shape[1]):
        difference = wide - points[ids[:, column]]
        out[:, column] = np.einsum("ij,ij->i", difference, difference)
    return out


def _pairs(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    out = np.empty(len(a))
    for start in range(0, len(a), _TILE):
        part = slice(start, start + _TILE)
        difference = a[part].astype(np.float64) - b[part]
        out[part] = np.einsum("ij,ij->i", difference, difference)
    return out


def _centred(points: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Distances do not change, rounding shrinks: |x|^2 + |y|^2 - 2 x.y cancels less."""
    return np.ascontiguousarray(points - centre.astype(np.float32), dtype=np.float32)


def _band(a: np.ndarray, b: np.ndarray) -> float:
    """How far a float32 squared distance may be from the truth: 8 sqrt(d) 2^-24 of the largest squared norm."""
    largest = max(float(np.einsum("ij,ij->i", x, x, dtype=np.float64).max()) for x in (a, b))
    return 8 * float(np.sqrt(a.shape[1])) * 2.0**-24 * largest
