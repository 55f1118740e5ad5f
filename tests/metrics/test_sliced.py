"""MIND against its closed form, against brute force, against itself, and at its ends."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.sides import metric_inputs

from ganeval.errors import InputError, NotEnoughSamplesError
from ganeval.metrics.sliced import bias_by_halves, directions, measure, sliced_distance
from ganeval.metrics.types import MetricInputs

D = 6


def drawn(n: int, seed: int = 0, shift: float = 0.0, scale: float = 1.0) -> np.ndarray:
    return (scale * np.random.default_rng(seed).standard_normal((n, D)) + shift).astype(np.float32)


def test_equal_numbers_against_sorted_differences() -> None:
    real, fake = drawn(200, 1), drawn(200, 2, 0.5)
    u = directions(70, D)
    gaps = np.sort(real @ u.T.astype(np.float64), axis=0) - np.sort(fake @ u.T.astype(np.float64), axis=0)
    assert sliced_distance(real, fake, number=70).value == pytest.approx(3 * D * (gaps**2).mean(), rel=1e-10)


@pytest.mark.parametrize(("m", "n"), [(30, 20), (7, 5), (12, 36), (50, 49)])
def test_unequal_numbers_against_the_common_multiple(m: int, n: int) -> None:
    real, fake = drawn(m, 1), drawn(n, 2, 0.5)
    common = np.lcm(m, n)
    repeated = np.repeat(real, common // m, axis=0), np.repeat(fake, common // n, axis=0)
    expected = sliced_distance(*repeated, number=20).value
    assert sliced_distance(real, fake, number=20).value == pytest.approx(expected, rel=1e-12)


def test_gaussians_against_theory() -> None:
    """3d mean_u [(u.(mu - nu))^2 + (sqrt(u^T S u) - sqrt(u^T W u))^2]; here S = 1.7^2 I, W = I."""
    real, fake = drawn(50_000, 1), drawn(50_000, 2, 0.4, 1.7)
    truth = 3 * D * np.mean([(u.sum() * 0.4) ** 2 + 0.7**2 for u in directions(64, D)])
    found = sliced_distance(real, fake, number=64)
    error = np.sqrt(found.influence_real.var() / 50_000 + found.influence_fake.var() / 50_000)
    assert abs(found.value - truth) < 3 * error


def test_influence_against_a_small_change() -> None:
    """Moving a little weight to one point changes the value by its influence: here the point is doubled."""
    real, fake = drawn(400, 1), drawn(300, 2, 0.6)
    found = sliced_distance(real, fake, number=32)
    for i in (0, 17, 120):
        more = np.concatenate([np.repeat(fake, 20, axis=0), fake[i : i + 1]])
        change = (sliced_distance(real, more, number=32).value - found.value) * (20 * 300 + 1)
        assert change == pytest.approx(found.influence_fake[i], abs=0.05 * found.influence_fake.std())


def inputs(real: np.ndarray, fake: np.ndarray, **settings: object) -> MetricInputs:
    return metric_inputs(real, fake, "mind", **settings)


@pytest.mark.nightly
def test_coverage_against_itself() -> None:
    truth = sliced_distance(drawn(60_000, 10**6), drawn(60_000, 10**6 + 1, 0.3, 1.3), number=48).value
    found = [measure(inputs(drawn(400, 2 * i), drawn(400, 2 * i + 1, 0.3, 1.3), directions=48)) for i in range(300)]
    results = [f["mind"] for f in found]
    covered = [r.interval.low < truth < r.interval.high for r in results if r.interval is not None]
    assert len(covered) == 300
    assert 0.91 <= np.mean(covered) <= 0.985  # 95 %, and 300 runs have a standard error of 1.3 %
    corrected = [r.corrected for r in results if r.corrected is not None]
    raw = [r.value for r in results]
    assert abs(np.mean(corrected) - truth) < abs(np.mean(raw) - truth)


def test_bias_against_one_halving() -> None:
    """With one direction there is one halving; with many the same bias on average, with less noise than of one."""
    real, fake = drawn(40, 1), drawn(31, 2)
    random = np.random.default_rng(2020)
    halves = [np.array_split(random.permutation(n), 2) for n in (40, 31)]
    parts = [sliced_distance(real[i], fake[j], number=1).value for i, j in zip(*halves, strict=True)]
    whole = sliced_distance(real, fake, number=1).value
    assert bias_by_halves(real, fake, whole, number=1) == pytest.approx(np.mean(parts) - whole, rel=1e-10)
    many, single = [], []
    for i in range(60):
        x, y = drawn(50, 2 * i), drawn(50, 2 * i + 1)
        whole = sliced_distance(x, y, number=48).value
        many.append(bias_by_halves(x, y, whole, number=48))
        parts = [sliced_distance(x[rows], y[rows], number=48).value for rows in (slice(25), slice(25, 50))]
        single.append(np.mean(parts) - whole)
    assert np.mean(many) == pytest.approx(np.mean(single), abs=4 * np.std(single) / np.sqrt(60))
    assert np.std(many) < 0.75 * np.std(single)


@pytest.mark.nightly
@pytest.mark.parametrize(("n", "shift", "scale"), [(20, 0.3, 1.3), (50, 0.0, 1.0), (50, 0.3, 1.3), (50, 1.0, 1.0)])
def test_coverage_of_few_images_against_itself(n: int, shift: float, scale: float) -> None:
    """Noise of the bias, which the error knows nothing of, does not cost the interval its coverage."""
    truth, covered = 0.0, []
    if (shift, scale) != (0.0, 1.0):
        truth = sliced_distance(drawn(40_000, 10**6), drawn(40_000, 10**6 + 1, shift, scale), number=48).value
    for i in range(300):
        result = measure(inputs(drawn(n, 2 * i), drawn(n, 2 * i + 1, shift, scale), directions=48))["mind"]
        assert result.interval is not None
        covered.append(result.interval.low <= truth <= result.interval.high)
    assert np.mean(covered) >= 0.95 - 3 * 0.0126


def test_iv() -> None:
    with pytest.raises(NotEnoughSamplesError, match="at least 2 images on each side; found 1 real"):
        sliced_distance(drawn(1), drawn(5))
    with pytest.raises(InputError, match="at least 1 direction; got 0"):
        sliced_distance(drawn(5), drawn(5), number=0)
    same = measure(inputs(drawn(50), drawn(50)))["mind"]
    assert same.value == 0.0
    assert same.interval is None


def test_a_reference_that_is_the_target_has_no_bias() -> None:
    """Reals that are the target itself are not halved: the value without its bias is then right on average."""
    real = drawn(150, 1)
    truth = sliced_distance(real, drawn(40_000, 2), number=16).value
    found = []
    for i in range(60):
        sampled = inputs(real, drawn(150, 100 + i), directions=16)
        result = measure(replace(sampled, reference="population"))["mind"]
        assert result.interval is not None
        assert result.interval.estimand == "population-given-reference"
        found.append((result.value, result.corrected))
    (raw, corrected), errors = np.mean(found, axis=0), np.std(found, axis=0) / np.sqrt(60)
    assert raw > truth + 5 * errors[0]
    assert corrected == pytest.approx(truth, abs=4 * errors[1])
