"""Neighbours and balls against a float64 brute force, exactly: copies, ties, far-off means and tiny sets included."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ganeval.errors import NotEnoughSamplesError
from ganeval.statistics import depth, neighbours, searches, tiles_torch
from ganeval.statistics.neighbours import Balls, Family, Reach, count_pairs, nearest
from ganeval.statistics.tiles import lifted, within
from ganeval.statistics.tiles_torch import nearest_torch


def radii(points: np.ndarray, k: int) -> np.ndarray:
    return nearest(points, k=k).distances[:, -1]


def count_in_balls(centres: np.ndarray, radii: np.ndarray, queries: np.ndarray, *, strict: bool = False) -> Balls:
    return count_pairs(centres, queries, (Family(radii, None, strict),))[0]


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
    families = (Family(radii(a, 2), None, strict=True), Family(None, radii(b, 4)))
    one, other = count_pairs(a, b, families)
    assert np.array_equal(one.around, count_in_balls(a, radii(a, 2), b, strict=True).around)
    assert np.array_equal(other.around, count_in_balls(b, radii(b, 4), a).around)
    assert np.array_equal(other.within, count_in_balls(b, radii(b, 4), a).within)


@pytest.mark.parametrize("own", [True, False])
def test_collapsed_sets_are_no_longer_search(own: bool) -> None:
    """Thousands of copies of few images: all are candidates, the first of them are the answer."""
    few = with_copies(30, 4, 3)[:3]
    points = np.tile(few, (700, 1))
    points[5] *= np.float32(-0.0) if own else np.float32(1)  # a row of -0 is one of 0
    points[9] = 0.0 if own else points[9]
    queries = None if own else points[:40]
    distances = squared(points if own else points[:40], points)
    if own:
        np.fill_diagonal(distances, np.inf)
    order = np.argsort(distances, axis=1, kind="stable")[:, :4]
    found = nearest(points, queries, k=4)
    assert np.array_equal(found.distances, np.take_along_axis(distances, order, axis=1))
    assert np.array_equal(found.indices, order)


@pytest.mark.parametrize("width", [1, 13, 80])
@pytest.mark.parametrize(("n", "d"), [(90, 3), (1024, 8), (2100, 40)])
def test_tiles_against_faiss(n: int, d: int, width: int) -> None:
    import faiss

    points = np.random.default_rng(n).standard_normal((n, d)).astype(np.float32)
    points = points[np.argsort(points[:, 0])]  # near rows are in the same tile
    index = faiss.IndexFlatL2(d)
    index.add(points)
    distances, ids = index.search(points, width + 1)
    z = lifted(points, points.mean(axis=0))
    for found, numbers in (within(z, width), nearest_torch(z, None, width, torch.device("cpu"))):
        assert found == pytest.approx(distances[:, 1:], abs=2e-5 * float((points**2).sum(axis=1).max()))
        assert np.mean(numbers == ids[:, 1:]) > 0.999  # but for ties within rounding


def on(device: str, monkeypatch: pytest.MonkeyPatch) -> torch.device:
    """A device that counts as an accelerator, in small tiles, so that there are several."""
    monkeypatch.setattr(tiles_torch, "_ROWS", 128)
    monkeypatch.setattr(tiles_torch, "_COLUMNS", 200)
    for module in (neighbours, searches):
        monkeypatch.setattr(module, "accelerates", lambda device: True)
    return torch.device(device)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_accelerator_against_the_cpu(device: str, offset: float, monkeypatch: pytest.MonkeyPatch) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("there is no CUDA device")
    points, others = with_copies(700, 24, 4, offset), with_copies(450, 24, 5, offset)
    others[:90] = points[:90]
    bounds = Reach(points, 4).kth(4), Reach(others, 2).kth(2)
    families = (Family(bounds[0], None, strict=True), Family(None, bounds[1]))
    here = nearest(points, k=3), nearest(points, others, k=3), *count_pairs(points, others, families)
    there_device = on(device, monkeypatch)
    calls = []
    for module, name in ((searches, "nearest_torch"), (neighbours, "close_pairs_torch")):
        real = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *a, real=real, name=name: calls.append(name) or real(*a))
    bounds = Reach(points, 4, device=there_device).kth(4), Reach(others, 2, device=there_device).kth(2)
    families = (Family(bounds[0], None, strict=True), Family(None, bounds[1]))
    there = (
        nearest(points, k=3, device=there_device),
        nearest(points, others, k=3, device=there_device),
        *count_pairs(points, others, families, device=there_device),
    )
    assert set(calls) == {"nearest_torch", "close_pairs_torch"}
    for one, other in zip(here, there, strict=True):
        for field in one.__slots__:
            assert np.array_equal(getattr(one, field), getattr(other, field)), field


@pytest.mark.parametrize("surroundings", ["bf16", "fp16", "tiles of 16", "full", "full at once"])
def test_accelerator_in_any_surroundings(
    surroundings: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The user's autocast is not that of the searches; a full memory makes tiles smaller, and then sends them home."""
    points, others = 1000 * with_copies(700, 24, 4, 3.0), 1000 * with_copies(450, 24, 5, 3.0)
    radii = Reach(points, 4).kth(4)
    epsilon = 1e-5 * radii.squared.mean()
    here = [
        nearest(points, k=3),
        nearest(points, others, k=3),
        *count_pairs(points, others, (Family(None, Reach(others, 2).kth(2)),)),
    ]
    largest = depth.largest_ratio(points, radii.squared.astype(float), others, epsilon=epsilon)
    there = on("cpu", monkeypatch)
    monkeypatch.setattr(depth, "accelerates", lambda device: True)
    monkeypatch.setattr(tiles_torch, "_SMALLEST", 16)
    turned, sizes = tiles_torch._turned, []

    def full(z: torch.Tensor) -> torch.Tensor:
        if len(z) > {"tiles of 16": 16, "full": 15}.get(surroundings, 1000) or surroundings == "full at once":
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 4 GiB")
        sizes.append(len(z))
        return turned(z)

    monkeypatch.setattr(tiles_torch, "_turned", full)
    half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(surroundings)
    with torch.autocast("cpu", half, enabled=half is not None):
        families = (Family(None, Reach(others, 2, device=there).kth(2)),)
        found = [nearest(points, k=3, device=there), nearest(points, others, k=3, device=there)]
        found += count_pairs(points, others, families, device=there)
        ratios = depth.largest_ratio(points, radii.squared.astype(float), others, epsilon=epsilon, device=there)
    for one, other in zip(here, found, strict=True):
        for field in one.__slots__:
            assert np.array_equal(getattr(one, field), getattr(other, field)), field
    assert np.array_equal(largest, ratios)
    assert (max(sizes) <= 16) if surroundings == "tiles of 16" else True
    assert ("searched on the host: CUDA out of memory" in caplog.text) == surroundings.startswith("full")


@pytest.mark.parametrize("kind", ["continuous", "copies", "near copies"])
def test_any_kth_neighbour_against_brute_force(kind: str) -> None:
    """In the whole set and in blocks: what is not among the near neighbours that are kept is searched again."""
    points = with_copies(600, 5, 11) if kind == "copies" else np.random.default_rng(1).random((600, 5), np.float32)
    if kind == "near copies":
        points[:300] = points[0] + 1e-4 * points[:300]  # nearer together than float32 tells apart
    distances = squared(points, points)
    np.fill_diagonal(distances, np.inf)
    rows = np.arange(600)
    halves = (rows % 7 == 0).astype(np.int8)  # unequal: the k-th of the small block is often not among the kept
    reach = Reach(points, 5, blocks=2)
    for k in (1, 3, 5):
        assert np.array_equal(reach.kth(k).exact(rows), np.sort(distances, axis=1)[:, k - 1])
        inside = np.where(halves[:, None] == halves[None, :], distances, np.inf)
        found = reach.kth(k, halves)
        assert np.array_equal(found.exact(rows), np.sort(inside, axis=1)[:, k - 1])
        assert np.abs(found.squared - found.exact(rows)).max() <= found.slack


def test_too_few_iv() -> None:
    points = with_copies(5, 2, 8)
    with pytest.raises(NotEnoughSamplesError, match="5 nearest neighbours need at least 6 images in the set; found 5"):
        nearest(points, k=5)
    with pytest.raises(NotEnoughSamplesError, match="need at least 7"):
        nearest(points, with_copies(9, 2, 9), k=7)
