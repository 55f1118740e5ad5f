"""MIND, a sliced Wasserstein distance: the mean, over directions, of the W2 distance of one-dimensional projections.

    MIND = 3d mean_u W2^2(u^T X, u^T Y),   u uniform on the unit sphere        (Berthet et al. 2026)

In one dimension, W2^2 is the integral over t in (0, 1) of the squared difference of the two quantile functions. For
samples of equal size it is the mean squared difference of the sorted values. For other sizes it is a sum over the steps
of both quantile functions. The influence of a point z is the one-dimensional Kantorovich potential phi, with
phi'(z) = 2 (z - T(z)), where T is the monotone map to the other sample.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ganeval.errors import InputError, NotEnoughSamplesError
from ganeval.metrics.build_result import build_result
from ganeval.metrics.intervals import ESTIMAND, variance_of_mean
from ganeval.metrics.types import MetricInputs
from ganeval.results import MetricResult

DIRECTIONS = 1000
_SEED = 2020  # of directions and of the halves: the same for every model that is compared
HALVINGS = 16  # each for its share of the directions
_AT_ONCE = 64
_ROWS = 1024
_Steps = tuple[np.ndarray, np.ndarray, np.ndarray]  # see ``_merged``


@dataclass(frozen=True, slots=True)
class SlicedDistance:
    """A distance, and the influence of each row on it; the influences of each sample have mean 0."""

    value: float
    influence_real: np.ndarray
    influence_fake: np.ndarray


def directions(number: int, d: int, *, seed: int = _SEED) -> np.ndarray:
    """(number, d) unit vectors, uniform on the sphere, the same in every run."""
    drawn = np.random.Generator(np.random.Philox(key=seed)).standard_normal((number, d))
    unit: np.ndarray = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return unit


def sliced_distance(real: np.ndarray, fake: np.ndarray, *, number: int = DIRECTIONS) -> SlicedDistance:
    """MIND in float64, ``_AT_ONCE`` directions at a time: memory O(64 (m + n)).

    Shape:
        (m, d), (n, d), at least 2 rows each.
    """
    if min(len(real), len(fake)) < 2:
        raise NotEnoughSamplesError(
            f"MIND needs at least 2 images on each side; found {len(real)} real and {len(fake)} fake."
        )
    if number < 1:
        raise InputError(f"MIND takes at least 1 direction; got {number}. The usual number is {DIRECTIONS}.")
    d = real.shape[1]
    value, on_real, on_fake = 0.0, np.zeros(len(real)), np.zeros(len(fake))
    merged = _merged(len(real), len(fake))
    for start in range(0, number, _AT_ONCE):
        u = directions(number, d)[start : start + _AT_ONCE].T
        y, x = _projected(real, u), _projected(fake, u)
        for a, b in zip(y.T, x.T, strict=True):
            order_a, order_b = np.argsort(a, kind="stable"), np.argsort(b, kind="stable")
            one, phi_a, phi_b = _line(a[order_a], b[order_b], merged)
            value += one
            on_real[order_a] += phi_a
            on_fake[order_b] += phi_b
    scale = 3 * d / number
    return SlicedDistance(value * scale, scale * (on_real - on_real.mean()), scale * (on_fake - on_fake.mean()))


def bias_by_halves(
    real: np.ndarray, fake: np.ndarray, whole: float, *, number: int = DIRECTIONS, target: bool = False
) -> float:
    """Estimate the bias, of order 1 / n: the mean distance of two pairs of halves minus that of the whole sets.

    The directions are divided into ``HALVINGS`` parts, each with its own random halves. This costs as much as one
    halving, and has less noise.

    Args:
        whole: ``sliced_distance`` of the sets.
        target: whether the reals are the target distribution itself, and are not halved.

    Shape:
        (m, d), (n, d), at least 4 rows each.
    """
    random = np.random.default_rng(_SEED)
    d, total = real.shape[1], 0.0
    sides = [1 if target else 2, 2]
    sizes = [[len(part) for part in np.array_split(points, s)] for points, s in zip((real, fake), sides, strict=True)]
    steps = [_merged(sizes[0][h % sides[0]], sizes[1][h]) for h in (0, 1)]
    for some in np.array_split(directions(number, d), min(HALVINGS, number)):
        halves = [
            np.array_split(random.permutation(len(points)), s) for points, s in zip((real, fake), sides, strict=True)
        ]
        for start in range(0, len(some), _AT_ONCE):
            u = some[start : start + _AT_ONCE].T
            y, x = _projected(real, u), _projected(fake, u)
            for h, merged in enumerate(steps):
                a, b = np.sort(y[halves[0][h % sides[0]]], axis=0), np.sort(x[halves[1][h]], axis=0)
                total += sum(_between(one, other, merged) for one, other in zip(a.T, b.T, strict=True)) / 2
    return float(3 * d / number * total - whole)


def measure(inputs: MetricInputs) -> dict[str, MetricResult]:
    """Compute MIND, its bias from halves and its error from influences; a fixed target contributes to neither."""
    real, fake = inputs.real_rows().to_array(), inputs.fake_rows().to_array()
    number = inputs.settings.directions
    found = sliced_distance(real, fake, number=number)
    variance = variance_of_mean(found.influence_fake)
    if inputs.reference == "sample":
        variance += variance_of_mean(found.influence_real)
    bias = None
    if min(len(real), len(fake)) >= 4:
        bias = bias_by_halves(real, fake, found.value, number=number, target=inputs.reference == "population")
    result = build_result(
        inputs,
        "mind",
        found.value,
        standard_error=float(np.sqrt(variance)),
        bias=bias,
        method="influence",
        estimand=ESTIMAND[inputs.reference],
        reason=inputs.overlap(),
        settings={"directions": number, "seed": _SEED},
        per_image={"mind_influence_fake": found.influence_fake, "mind_influence_real": found.influence_real},
    )
    return {"mind": result}


def _projected(points: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Project in float64, one block of rows at a time, so that all features never exist in float64 at once."""
    blocks = (points[start : start + _ROWS] for start in range(0, len(points), _ROWS))
    return np.concatenate([block.astype(np.float64) @ u for block in blocks])


def _merged(m: int, n: int) -> _Steps:
    """Find the steps on which both quantile functions are constant: their widths, and the ranks in each sample."""
    # in units of 1 / (m n), whole numbers: no step is lost or made by rounding
    ends = np.union1d(np.arange(1, m + 1) * n, np.arange(1, n + 1) * m)
    starts = np.concatenate([[0], ends[:-1]])
    return (ends - starts) / (m * n), starts // n, starts // m


def _between(a: np.ndarray, b: np.ndarray, merged: _Steps) -> float:
    """W2^2 of two sorted samples."""
    widths, rank_a, rank_b = merged
    gaps = a[rank_a] - b[rank_b]
    return float(widths @ (gaps * gaps))


def _line(a: np.ndarray, b: np.ndarray, merged: _Steps) -> tuple[float, np.ndarray, np.ndarray]:
    """W2^2 of two sorted samples, and the potential of each of their points."""
    widths, rank_a, rank_b = merged
    value = _between(a, b, merged)
    # the mean of the other sample over the quantiles that a point stands for: the monotone map
    to_b = np.bincount(rank_a, widths * b[rank_b], len(a)) * len(a)
    to_a = np.bincount(rank_b, widths * a[rank_a], len(b)) * len(b)
    return value, _potential(a, to_b), _potential(b, to_a)


def _potential(z: np.ndarray, mapped: np.ndarray) -> np.ndarray:
    """phi with phi' = 2 (z - T(z)) along sorted points, by the trapezoid rule."""
    slope = 2 * (z - mapped)
    steps = np.diff(z) * (slope[1:] + slope[:-1]) / 2
    return np.concatenate([[0.0], np.cumsum(steps)])
