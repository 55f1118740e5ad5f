"""Neighbours and balls against a float64 brute force, exactly: copies, ties, far-off means and tiny sets included."""

from __future__ import annotations

import numpy as np
import pytest

from ganeval.errors import NotEnoughSamplesError
from ganeval.statistics.neighbours import count_in_balls, count_pairs, nearest, radii


def squared(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    out = np.empty((len(a), len(b)))
    for i, row in enumerate(a.astype(np.float64)):
        difference = row - b
        out[i] = np.einsum("ij,ij->i", difference, difference)
    return out


def with_copies(n: int, d: int, seed: int, offset: float = 0.0) -> np.ndarray:
    points = (np.random.default_rng(seed).standard_normal((n, d)) + offset).astype(np.float32)
    points[n // 2 : n // 2 + n // 10] = points[: n // 10]
    points[-3:] = points[0]
    return points


@pytest.mark.parametrize(("n", "d", "k"), [(1, 3, 0), (12, 2, 11), (400, 8, 5), (1100, 24, 3), (300, 256, 1)])
@pytest.mark.parametrize("offset", [0.0, 30.0])
def test_neighbours_in_one_set_against_brute_force(n: int, d: int, k: int, offset: float) -> None:
    points = with_copies(max(n, 2), d, 0, offset)
    distances = squared(points, points)
    np.fill_diagonal(distances, np.inf)
    k = max(k, 1)
    order = np.lexsort((np.broadcast_to(np.arange(len(points)), distances.shape), distances), axis=1)[:, :k]
    found = nearest(points, k=k)
    assert np.array_equal(found.distances, np.take_along_axis(distances, order, axis=1))
    assert np.array_equal(found.indices, order)
    assert np.array_equal(radii(points, k), found.distances[:, -1])


@pytest.mark.parametrize("k", [1, 4])
def test_neighbours_across_sets_against_brute_force(k: int) -> None:
    points, queries = with_copies(500, 16, 1, 5.0), with_copies(70, 16, 2, 5.0)
    queries[:20] = points[100:120]
    distances = squared(queries, points)
    order = np.lexsort((np.broadcast_to(np.arange(500), distances.shape), distances), axis=1)[:, :k]
    found = nearest(points, queries, k=k)
    assert np.array_equal(found.distances, np.take_along_axis(distances, order, axis=1))
    assert np.array_equal(found.indices, order)


def test_more_copies_than_spare_candidates() -> None:
    points = np.repeat(with_copies(30, 4, 3), 40, axis=0)
    found = nearest(points, k=45)
    assert np.array_equal(found.distances, np.sort(squared(points, points), axis=1)[:, 1:46])


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_balls_against_brute_force(strict: bool, offset: float) -> None:
    centres, queries = with_copies(1300, 24, 4, offset), with_copies(1100, 24, 5, offset)
    queries[:90] = centres[:90]  # they lie exactly on the borders of other balls
    bounds = radii(centres, 3)
    distances = squared(centres, queries)
    inside = distances < bounds[:, None] if strict else distances <= bounds[:, None]
    found = count_in_balls(centres, bounds, queries, strict=strict)
    assert np.array_equal(found.around, inside.sum(axis=1))
    assert np.array_equal(found.within, inside.sum(axis=0))


def test_families_of_balls_share_a_pass() -> None:
    a, b = with_copies(200, 6, 6), with_copies(150, 6, 7)
    one, other = count_pairs(a, b, ((radii(a, 2), None), (None, radii(b, 4))), strict=(True, False))
    assert np.array_equal(one.around, count_in_balls(a, radii(a, 2), b, strict=True).around)
    assert np.array_equal(other.around, count_in_balls(b, radii(b, 4), a).around)
    assert np.array_equal(other.within, count_in_balls(b, radii(b, 4), a).within)


def test_too_few_iv() -> None:
    points = with_copies(5, 2, 8)
    with pytest.raises(NotEnoughSamplesError, match="5 nearest neighbours need at least 6 images in the set; found 5"):
        nearest(points, k=5)
    with pytest.raises(NotEnoughSamplesError, match="need at least 7"):
        nearest(points, with_copies(9, 2, 9), k=7)
