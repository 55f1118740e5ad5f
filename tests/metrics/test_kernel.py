"""Kernel distances against theory, against torch-fidelity, against themselves, and at their ends."""

from __future__ import annotations

from dataclasses import replace
from math import comb

import numpy as np
import pytest
import torch
from support.peers import needs_peer
from support.sides import metric_inputs

from ganeval.errors import ConfigError, NotEnoughSamplesError
from ganeval.metrics.kernel import KERNELS, kernel_distance, measure, polynomial, rbf, subset_distances
from ganeval.metrics.types import MetricInputs


def drawn(n: int, d: int = 24, seed: int = 0, shift: float = 0.0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal((n, d)) + shift).astype(np.float32)


@pytest.mark.parametrize("kernel", [polynomial, rbf])
@pytest.mark.parametrize(("m", "n"), [(30, 41), (1024, 1025), (1500, 7)])
def test_blocks_against_the_whole_matrix(kernel, m: int, n: int) -> None:  # type: ignore[no-untyped-def]
    y, x = drawn(m, seed=1).astype(np.float64), drawn(n, seed=2, shift=0.2).astype(np.float64)
    kxx, kyy, kxy = kernel(x, x), kernel(y, y), kernel(x, y)
    expected = (
        (kxx.sum() - np.trace(kxx)) / (n * (n - 1)) + (kyy.sum() - np.trace(kyy)) / (m * (m - 1)) - 2 * kxy.mean()
    )
    assert kernel_distance(y, x, kernel=kernel).value == pytest.approx(expected, rel=1e-9)
    assert kernel_distance(y.astype(np.float32), x.astype(np.float32), kernel=kernel).value == pytest.approx(
        expected, rel=1e-4, abs=1e-6
    )


def test_one_dimension_against_the_moments() -> None:
    """(xy + 1)^3 compares the first three raw moments, weighted by binomials; the V-statistic does so exactly."""
    x, y = drawn(50, 1).astype(np.float64), drawn(60, 1, seed=5, shift=0.3).astype(np.float64)
    n, m = 50, 60
    closed = sum(comb(3, j) * ((x**j).mean() - (y**j).mean()) ** 2 for j in (1, 2, 3))
    u = kernel_distance(y, x).value
    # from the U- to the V-statistic: the diagonals come back
    kx, ky = (float(polynomial(z, z).sum()) for z in (x, y))
    dx, dy = (float(np.trace(polynomial(z, z))) for z in (x, y))
    v = u - (kx - dx) / (n * (n - 1)) - (ky - dy) / (m * (m - 1)) + kx / n**2 + ky / m**2
    assert v == pytest.approx(closed, rel=1e-9)


@needs_peer("torch_fidelity")
@pytest.mark.parametrize(("kernel", "theirs"), [("polynomial", "poly"), ("rbf", "rbf")])
def test_subsets_against_torch_fidelity(kernel: str, theirs: str) -> None:
    from torch_fidelity.metric_kid import kid_features_to_metric

    real, fake = drawn(300, 64, seed=1), drawn(260, 64, seed=2, shift=0.3)
    out = kid_features_to_metric(
        torch.from_numpy(fake), torch.from_numpy(real), kid_subsets=20, kid_subset_size=100, kid_kernel=theirs,
        kid_kernel_rbf_sigma=10.0, verbose=False, rng_seed=2020,
    )  # fmt: skip
    ours = subset_distances(real, fake, subsets=20, size=100, kernel=KERNELS[kernel])
    tolerance = {"rel": 1e-6} if kernel == "polynomial" else {"abs": 1e-6}
    assert ours.mean() == pytest.approx(out["kernel_inception_distance_mean"], **tolerance)
    assert ours.std() == pytest.approx(out["kernel_inception_distance_std"], rel=1e-4)


def test_error_against_itself() -> None:
    """300 pairs of samples away from equality: standard error within 10 %, coverage 93 to 97 %."""
    found = [kernel_distance(drawn(300, 8, seed=2 * i), drawn(300, 8, 2 * i + 1, shift=0.4)) for i in range(600)]
    values = np.array([f.value for f in found])
    variances = np.array([f.influence_fake.var(ddof=1) / 300 + f.influence_real.var(ddof=1) / 300 for f in found])
    assert np.sqrt(variances.mean()) == pytest.approx(values.std(ddof=1), rel=0.10)
    large = kernel_distance(drawn(8000, 8, seed=10**6), drawn(8000, 8, 10**6 + 1, shift=0.4)).value
    covered = np.abs(values - large) < 1.96 * np.sqrt(variances)
    assert 0.92 <= covered.mean() <= 0.975  # 600 runs: one standard error is 0.9 %


def test_no_bias_at_equality() -> None:
    values = [kernel_distance(drawn(60, 6, seed=2 * i), drawn(40, 6, seed=2 * i + 1)).value for i in range(800)]
    assert abs(np.mean(values)) < 3 * np.std(values, ddof=1) / np.sqrt(800)


def inputs(real: np.ndarray, fake: np.ndarray, **settings: object) -> MetricInputs:
    return metric_inputs(real, fake, "kid", **settings)


def test_result_holds_both_forms() -> None:
    given = inputs(drawn(200, seed=1), drawn(150, seed=2, shift=0.2), kid_subsets=(10, 100))
    result = measure(given)["kid"]
    found = kernel_distance(drawn(200, seed=1), drawn(150, seed=2, shift=0.2))
    assert result.value == found.value
    assert result.corrected == result.value  # the U-statistic has no bias
    assert result.details["subsets"]["subsets"] == 10  # type: ignore[index]
    assert result.interval is not None
    assert result.interval.estimand == "population"
    half = inputs(drawn(200, seed=1), drawn(150, seed=2, shift=0.2), kid_kernel="rbf")
    assert measure(half)["kid"].comparison_key() != result.comparison_key()


@pytest.mark.parametrize("kernel", ["polynomial", "rbf"])
def test_a_reference_that_is_the_target_against_itself(kernel: str) -> None:
    """Fakes drawn from the reals themselves are 0 away on average; others as far as a large sample of them is."""
    target, random = drawn(60, seed=1), np.random.default_rng(0)
    for source, truth in (
        (target, 0.0),
        (drawn(30_000, seed=2, shift=0.3), None),
    ):
        if truth is None:
            large = kernel_distance(target, source, kernel=KERNELS[kernel])
            truth = large.value + large.shortfall
        found = []
        for _ in range(150):
            fakes = source[random.choice(len(source), 80)]
            fakes = fakes + 1e-6 * random.standard_normal(fakes.shape).astype(np.float32)  # draws, not copies
            rows = inputs(target, fakes, kid_kernel=kernel)
            result = measure(replace(rows, reference="population"))["kid"]
            assert result.interval is not None
            assert result.corrected is not None
            assert result.interval.estimand == "population-given-reference"
            found.append((result.value, result.corrected, result.interval.low <= truth <= result.interval.high))
        (raw, corrected, covered), errors = np.mean(found, axis=0), np.std(found, axis=0) / np.sqrt(150)
        assert corrected == pytest.approx(truth, abs=4 * errors[1])
        assert raw < truth - 4 * errors[0]
        assert covered >= 0.91


def test_measure_iv() -> None:
    with pytest.raises(ConfigError, match="one of polynomial, rbf; got 'cubic'"):
        measure(inputs(drawn(20), drawn(20, seed=1), kid_kernel="cubic"))
    with pytest.raises(NotEnoughSamplesError, match="subsets of 100 need 100 images on each side; found 20 real"):
        measure(inputs(drawn(20), drawn(20, seed=1), kid_subsets=(10, 100)))
    with pytest.raises(NotEnoughSamplesError, match="at least 2"):
        kernel_distance(drawn(1), drawn(5))
    big = measure(inputs(1000 * drawn(20), 1000 * drawn(20, seed=1)))["kid"]
    assert any("features are large" in warning for warning in big.warnings)
