"""Exact nearest neighbours, and balls around points: what precision, recall, density, coverage and 1-NN tests ask.

Distances are found in float32 and trusted only where float64 would say the same: anything within the rounding
band of a decision is recomputed from the features in float64. The answers equal a float64 brute force, ties included,
and no n x n matrix is ever made. Between two sets faiss searches; inside one set tiles do, each of which serves twice
(``tiles``); membership in balls, each with a radius of its own, is a comparison of tiles. On an accelerator all three
are tiled products there. With a group of processes, each searches for its share of the rows, and
all get the same answers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from ganeval.errors import NotEnoughSamplesError
from ganeval.statistics.searches import ProcessGroup, search, search_some
from ganeval.statistics.tiles import TILE, Pairs, close_pairs, lifted, turned
from ganeval.statistics.tiles_torch import accelerates, close_pairs_torch

_SPARE = 8  # neighbours searched beyond the k-th, among which float64 decides
_CHUNK = 2**17  # numbers that are recomputed at a time: they stay in the cache
_AT_ONCE = 2**21  # pairs that are decided at a time
_ROWS_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The k nearest other rows of every row, nearest first.

    Attributes:
        distances: (n, k) float64, squared.
        indices: (n, k); of equal distances the smaller index first.
    """

    distances: np.ndarray
    indices: np.ndarray


def nearest(
    points: np.ndarray,
    queries: np.ndarray | None = None,
    *,
    k: int = 1,
    device: torch.device | None = None,
    group: ProcessGroup | None = None,
) -> Neighbours:
    """The ``k`` nearest rows of ``points`` to every query; without queries, to every point among the *other* points.

    Args:
        device: an accelerator that computes the products; None: the CPU.
        group: the processes that share the search; None: this process alone.

    Shape:
        points (m, d), queries (n, d), float32 -> (n, k).

    Raises:
        NotEnoughSamplesError: not more than ``k`` points.
    """
    own = queries is None
    asked = points if queries is None else queries
    _require(len(points), k, own)
    centre = points.mean(axis=0, dtype=np.float64)
    z = lifted(points, centre)
    z_asked = z if queries is None else lifted(queries, centre)
    band = rounding_band(z, z_asked)
    distances, indices = np.empty((len(asked), k)), np.empty((len(asked), k), np.int64)
    pending, width = np.arange(len(asked)), k + _SPARE
    while len(pending):
        width = min(width, len(points) - int(own))
        if len(pending) == len(asked):
            found, ids = search(z, None if own else z_asked, width, device, group)
        else:
            found, ids = search_some(z, z_asked, pending, width, own, device)
        # a candidate that is farther than the k-th by more than both may be wrong is none of the k nearest
        near = found <= found[:, k - 1 : k].astype(np.float64) + 2 * band
        exact = np.full(found.shape, np.inf)
        exact[near] = squared_pairs(asked, points, np.repeat(pending, near.sum(axis=1)), ids[near])
        order = np.lexsort((ids, exact), axis=1)[:, :k]
        distances[pending] = np.take_along_axis(exact, order, axis=1)
        indices[pending] = np.take_along_axis(ids, order, axis=1)
        # certain where even the farthest candidate, rounding allowed for, lies beyond the k-th
        certain = (found[:, -1] - band > distances[pending, -1]) | (width == len(points) - int(own))
        pending, width = pending[~certain], 4 * width
        copied = distances[pending, -1] == 0  # nothing is nearer; which of the copies have the smallest indices?
        if copied.any():
            rows, pending = pending[copied], pending[~copied]
            distances[rows], indices[rows] = 0.0, _copies(points, asked, rows, k, own)
    return Neighbours(distances, indices)


class Reach:
    """The near neighbours of every row of a set: found once in float32, then asked for any k-th.

    Args:
        most: the largest k that will be asked for.
        blocks: how many blocks of equal size k-th neighbours will be asked for in (see ``kth``); 1: the whole set only.
        device: an accelerator that computes the products; None: the CPU.
        group: the processes that share the searches; None: this process alone.

    Raises:
        NotEnoughSamplesError: not more than ``most`` points.
    """

    def __init__(
        self,
        points: np.ndarray,
        most: int,
        *,
        blocks: int = 1,
        device: torch.device | None = None,
        group: ProcessGroup | None = None,
    ) -> None:
        _require(len(points), most, True)
        self.points, self.device, self.group = points, device, group
        self._centre = points.mean(axis=0, dtype=np.float64)
        z = lifted(points, self._centre)  # not kept: it is as large as the points
        self.band = rounding_band(z, z)
        # the k-th of a block is the B k-th of all on average; beyond 5 deviations it is searched for by itself
        spread = np.sqrt(most * blocks * (blocks - 1))
        width = min(int(most * blocks + 5 * spread) + _SPARE, len(points) - 1)
        self._found, self._ids = search(z, None, width, device, group)

    def kth(self, k: int, blocks: np.ndarray | None = None) -> Radii:
        """Squared distances of all rows from their ``k``-th nearest other row, or that within their own block.

        Args:
            blocks: (n,) the block of each row.
        """
        if blocks is None:
            return Radii(self, k, None, self._found[:, k - 1].astype(np.float64))
        rank = np.cumsum(self._same(blocks, np.arange(len(self.points))), axis=1)
        place = (rank < k).sum(axis=1)
        missing = np.flatnonzero(place == rank.shape[1])
        squared = self._found[np.arange(len(place)), np.minimum(place, rank.shape[1] - 1)].astype(np.float64)
        squared[missing] = self._from_all(missing, k, blocks)
        return Radii(self, k, blocks, squared)

    def exact(self, rows: np.ndarray, k: int, blocks: np.ndarray | None, squared: np.ndarray) -> np.ndarray:
        """The float64 truth of ``kth`` for some rows, whose float32 answers are ``squared``."""
        found, ids = self._found[rows], self._ids[rows]
        low, high = (squared + sign * 2 * self.band for sign in (-1, 1))
        candidate = self._same(blocks, rows) & (found <= high[:, None])
        below = candidate & (found < low[:, None])  # certainly nearer than the k-th
        window = candidate & ~below
        values = np.full(found.shape, np.inf)
        values[window] = squared_pairs(self.points, self.points, np.repeat(rows, window.sum(axis=1)), ids[window])
        values.sort(axis=1)
        place = k - 1 - below.sum(axis=1)
        result: np.ndarray = values[np.arange(len(rows)), np.minimum(place, values.shape[1] - 1)]
        whole = found.shape[1] == len(self.points) - 1
        certain = whole | (result <= found[:, -1] - self.band) | (result == 0)
        again = np.flatnonzero(~certain)
        result[again] = self._from_all(rows[again], k, blocks)
        return result

    def near(self, blocks: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(n, width) each, nearest first: float32 distances, indices, and which are in the row's own block."""
        return self._found, self._ids, self._same(blocks, np.arange(len(self.points)))

    def _same(self, blocks: np.ndarray | None, rows: np.ndarray) -> np.ndarray:
        """(rows, width): which near neighbours are in the row's own block."""
        if blocks is None:
            return np.ones((len(rows), self._ids.shape[1]), bool)
        same: np.ndarray = np.equal(blocks[self._ids[rows]], blocks[rows, None])
        return same

    def _from_all(self, rows: np.ndarray, k: int, blocks: np.ndarray | None) -> np.ndarray:
        """The truth for rows whose near neighbours do not hold it, from their distances to all."""
        out = np.empty(len(rows))
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            part = rows[start : start + _ROWS_AT_ONCE]
            left, starts = turned(lifted(self.points[part], self._centre)), range(0, len(self.points), TILE)
            tiles = [left @ lifted(self.points[i : i + TILE], self._centre).T for i in starts]
            squared = np.concatenate(tiles, axis=1)
            squared[np.arange(len(part)), part] = np.inf
            if blocks is not None:
                squared[blocks[part, None] != blocks[None, :]] = np.inf
            bound = np.partition(squared, k - 1, axis=1)[:, k - 1] + np.float32(2 * self.band)
            row, column = np.nonzero(squared <= bound[:, None])
            exact = squared_pairs(self.points, self.points, part[row], column)
            first = np.searchsorted(row, np.arange(len(part)))
            out[start : start + len(part)] = exact[np.lexsort((exact, row))][first + k - 1]
        return out


@dataclass(frozen=True, slots=True)
class Radii:
    """Squared radii around the rows of a set, known within ``slack``, and exactly where that is asked for."""

    reach: Reach
    k: int
    blocks: np.ndarray | None
    squared: np.ndarray

    @property
    def slack(self) -> float:
        return self.reach.band

    def exact(self, rows: np.ndarray) -> np.ndarray:
        return self.reach.exact(rows, self.k, self.blocks, self.squared[rows])

    def empty(self) -> int:
        """How many are exactly 0."""
        return int((self.exact(np.flatnonzero(self.squared <= self.slack)) == 0).sum())


Bounds = np.ndarray | Radii


@dataclass(frozen=True, slots=True)
class Family:
    """Balls around the points of one of two sets, and which pairs of the two are asked about.

    Attributes:
        mine: squared radii of the first set's points; None: the balls are around the other's.
        theirs: squared radii of the second set's.
        strict: leave out the border: distance < radius, not <=.
        blocks: (m,) and (n,): only pairs within a block count; None: all do.
    """

    mine: Bounds | None
    theirs: Bounds | None
    strict: bool = False
    blocks: tuple[np.ndarray, np.ndarray] | None = None


@dataclass(frozen=True, slots=True)
class Balls:
    """Which points of one set are in the balls around those of another.

    Attributes:
        around: (m,) how many of the queries each ball holds.
        within: (n,) how many balls hold each query.
    """

    around: np.ndarray
    within: np.ndarray


def count_pairs(
    points: np.ndarray,
    others: np.ndarray,
    families: tuple[Family, ...],
    *,
    device: torch.device | None = None,
    group: ProcessGroup | None = None,
) -> tuple[Balls, ...]:
    """All pairs of two sets in one pass of products, against several families of balls.

    Returns:
        For each family ``around`` by centre and ``within`` by the points of the other set.
    """
    centre = points.mean(axis=0, dtype=np.float64)
    a, b = lifted(points, centre), lifted(others, centre)
    band = rounding_band(a, b)
    ranges = [_range(family, band) for family in families]
    of_rows = _largest([high for family, (_, high) in zip(families, ranges, strict=True) if family.mine is not None])
    of_columns = _largest([high for family, (_, high) in zip(families, ranges, strict=True) if family.mine is None])
    mine = slice(0, len(a)) if group is None else group.share(len(a))
    of_mine = None if of_rows is None else of_rows[mine]
    pairs = (
        close_pairs_torch(a[mine], b, of_mine, of_columns, device)
        if accelerates(device)
        else close_pairs(a[mine], b, of_mine, of_columns)
    )
    counts = [(np.zeros(len(points), np.int64), np.zeros(len(others), np.int64)) for _ in families]
    for i, j, squared in _gathered(pairs):
        i += mine.start
        for family, (low, high), (by_row, by_column) in zip(families, ranges, counts, strict=True):
            rows, columns = _inside(points, others, family, low, high, i, j, squared)
            by_row += np.bincount(rows, minlength=len(by_row))
            by_column += np.bincount(columns, minlength=len(by_column))
    if group is not None:
        totals = iter(group.sums([count for both in counts for count in both], "pairs in balls"))
        counts = list(zip(totals, totals, strict=True))
    return tuple(
        Balls(by_row, by_column) if family.mine is not None else Balls(by_column, by_row)
        for family, (by_row, by_column) in zip(families, counts, strict=True)
    )


def _inside(
    points: np.ndarray,
    others: np.ndarray,
    family: Family,
    low: np.ndarray,
    high: np.ndarray,
    i: np.ndarray,
    j: np.ndarray,
    squared: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Those of the pairs (i, j) of which one is in the ball of the other."""
    if family.blocks is not None:
        same = np.flatnonzero(family.blocks[0][i] == family.blocks[1][j])
        i, j, squared = i[same], j[same], squared[same]
    ball = i if family.mine is not None else j
    inside = squared < low[ball]
    unsure = np.flatnonzero(~inside & (squared <= high[ball]))
    if len(unsure):
        bounds = family.mine if family.mine is not None else family.theirs
        assert bounds is not None
        of, place = np.unique(ball[unsure], return_inverse=True)
        bound = (bounds.exact(of) if isinstance(bounds, Radii) else bounds[of])[place]
        exact = squared_pairs(points, others, i[unsure], j[unsure])
        inside[unsure] = exact < bound if family.strict else exact <= bound
    return i[inside], j[inside]


def _range(family: Family, band: float) -> tuple[np.ndarray, np.ndarray]:
    """Float32 distances below the first are certainly inside, above the second certainly outside."""
    bounds = family.mine if family.mine is not None else family.theirs
    assert bounds is not None
    squared, slack = (bounds.squared, bounds.slack) if isinstance(bounds, Radii) else (bounds, 0.0)
    low, high = ((squared + sign * (slack + band)).astype(np.float32) for sign in (-1, 1))
    return np.nextafter(low, np.float32(-np.inf)), np.nextafter(high, np.float32(np.inf))


def _largest(bounds: list[np.ndarray]) -> np.ndarray | None:
    return np.maximum.reduce(bounds) if bounds else None


def _gathered(pairs: Iterator[Pairs]) -> Iterator[Pairs]:
    """The same pairs in larger portions."""
    held: list[Pairs] = []
    for pair in pairs:
        held.append(pair)
        if sum(len(i) for i, _, _ in held) >= _AT_ONCE:
            yield _joined(held)
            held = []
    if held:
        yield _joined(held)


def _joined(pairs: list[Pairs]) -> Pairs:
    i, j, squared = (np.concatenate(part) for part in zip(*pairs, strict=True))
    return i, j, squared


def _copies(points: np.ndarray, asked: np.ndarray, rows: np.ndarray, k: int, own: bool) -> np.ndarray:
    """(rows, k): the first points that equal each asked row, which has at least ``k`` such."""

    def key(row: np.ndarray) -> bytes:
        return hashlib.blake2b((row + 0.0).tobytes(), digest_size=16).digest()  # -0 is 0

    places: dict[bytes, list[int]] = {}
    for place, point in enumerate(points):
        places.setdefault(key(point), []).append(place)
    first = ([p for p in places[key(asked[row])][: k + 1] if not own or p != row][:k] for row in rows)
    return np.array(list(first), np.int64)


def squared_pairs(a: np.ndarray, b: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """Squared distances in float64 of the pairs a[i], b[j]."""
    out = np.empty(len(i))
    step = max(1, _CHUNK // a.shape[1])
    for start in range(0, len(i), step):
        part = slice(start, start + step)
        difference = a[i[part]].astype(np.float64)
        difference -= b[j[part]]
        out[part] = np.einsum("ij,ij->i", difference, difference)
    return out


def rounding_band(a: np.ndarray, b: np.ndarray) -> float:
    """How far a float32 squared distance may be from the truth: 8 sqrt(d) 2^-24 of the largest squared norm."""
    largest = max(float(z[:, -1].max()) for z in (a, b))
    return 8 * float(np.sqrt(a.shape[1] - 2)) * 2.0**-24 * largest


def _require(available: int, k: int, own: bool) -> None:
    if available - int(own) < k:
        raise NotEnoughSamplesError(
            f"{k} nearest neighbours need at least {k + int(own)} images in the set; found {available}. "
            "Give more images, or ask for fewer neighbours."
        )
