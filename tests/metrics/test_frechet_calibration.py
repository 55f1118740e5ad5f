"""Monte Carlo with known truth: is the bias right, is the standard error right, do the intervals cover?"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from support.differences import frechet_difference

from ganeval.metrics.frechet import FrechetInference, frechet_inference
from ganeval.statistics.moments import Moments
from ganeval.statistics.rows import FeatureRows

D = 16
Z95 = 1.959963984540054


def covariance(seed: int, decay: float) -> np.ndarray:
    q, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((D, D)))
    return (q * np.arange(1, D + 1) ** -decay) @ q.T


W = covariance(1, 0.7)
SHIFT = 0.15 * np.random.default_rng(3).standard_normal(D)


def fake_law(weight: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Mean, Cholesky factor and the true distance to N(0, W)."""
    s = (1.0 - 0.25 * weight) * W + 0.4 * weight * covariance(2, 0.4)
    mean = weight * SHIFT
    l_w, l_s = np.linalg.cholesky(W), np.linalg.cholesky(s)
    nuclear = np.linalg.svd(l_w.T @ l_s, compute_uv=False).sum()
    return mean, l_s, float(mean @ mean + np.trace(W) + np.trace(s) - 2.0 * nuclear)


def measured(real: np.ndarray, fake: np.ndarray) -> FrechetInference:
    sides = []
    for x in (real, fake):
        moments, rows = Moments(D), FeatureRows(D)
        moments.update(x)
        rows.append(x)
        sides.append((moments.finish(), rows))
    (r, r_rows), (f, f_rows) = sides
    return frechet_inference(r, f, r_rows, f_rows)


@cache
def runs(weight: float, n: int, m: int, dead: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Values, predicted biases, standard errors, truth."""
    mean, l_s, truth = fake_law(weight)
    l_w = np.linalg.cholesky(W)
    out = []
    for run in range(count):
        rng = np.random.default_rng([run, n, m])
        real = (rng.standard_normal((m, D)) @ l_w.T).astype(np.float32)
        fake = (mean + rng.standard_normal((n, D)) @ l_s.T).astype(np.float32)
        real[:, :dead], fake[:, :dead] = 0.0, 0.0
        result = measured(real, fake)
        assert result.bias is not None
        out.append((result.value, result.bias, result.standard_error))
    value, bias, error = np.array(out).T
    return value, bias, error, truth


@pytest.mark.nightly
def test_coverage_bias_and_standard_error_against_itself() -> None:
    """1500 runs at n = m = 1000: the standard error is within 5 % of the truth, 95 % intervals cover 93 to 97 %."""
    value, bias, error, truth = runs(1.0, 1000, 1000, 0, 1500)
    corrected = value - bias
    noise = corrected.std(ddof=1) / np.sqrt(len(value))
    assert error.mean() == pytest.approx(value.std(ddof=1), rel=0.05)
    assert abs(corrected.mean() - truth) < 3.0 * noise
    assert value.mean() - truth == pytest.approx(bias.mean(), rel=0.1)
    coverage = np.mean(np.abs(corrected - truth) <= Z95 * error)
    assert 0.93 <= coverage <= 0.97
    assert np.mean(np.abs(value - truth) <= Z95 * error) < 0.9  # the correction is what makes them cover


@pytest.mark.nightly
def test_coverage_with_dead_features_against_itself() -> None:
    value, bias, error, _ = runs(1.0, 500, 500, 3, 1000)
    mean, l_s, _ = fake_law(1.0)
    w, s = W[3:, 3:], (l_s @ l_s.T)[3:, 3:]
    nuclear = np.linalg.svd(np.linalg.cholesky(w).T @ np.linalg.cholesky(s), compute_uv=False).sum()
    truth = float(mean[3:] @ mean[3:] + np.trace(w) + np.trace(s) - 2.0 * nuclear)
    assert error.mean() == pytest.approx(value.std(ddof=1), rel=0.07)
    assert 0.93 <= np.mean(np.abs(value - bias - truth) <= Z95 * error) <= 0.97


def test_equal_laws_raise_few_false_alarms_against_itself() -> None:
    value, bias, error, truth = runs(0.0, 400, 400, 0, 600)
    assert truth == pytest.approx(0.0, abs=1e-12)
    corrected = value - bias
    assert abs(corrected.mean()) < 0.1 * value.mean()
    assert np.mean(corrected - 1.6448536 * error > 0.0) <= 0.05
    assert 1.2 < error.mean() / value.std(ddof=1) < 1.6  # conservative at D = 0, as documented


@pytest.mark.nightly
@pytest.mark.parametrize("paired", [False, True])
def test_difference_of_two_models_covers_against_itself(paired: bool) -> None:
    mean_a, l_a, truth_a = fake_law(1.0)
    mean_b, l_b, truth_b = fake_law(0.8)
    l_w = np.linalg.cholesky(W)
    hits, deviations, errors = [], [], []
    for run in range(1000):
        rng = np.random.default_rng([run, 77])
        real = (rng.standard_normal((500, D)) @ l_w.T).astype(np.float32)
        z = rng.standard_normal((500, D))
        other = z if paired else rng.standard_normal((500, D))
        a = measured(real, (mean_a + z @ l_a.T).astype(np.float32))
        b = measured(real, (mean_b + other @ l_b.T).astype(np.float32))
        value, error = frechet_difference(a, b, paired=paired)
        deviations.append(value - (truth_b - truth_a))
        errors.append(error)
        hits.append(abs(deviations[-1]) <= Z95 * error)
    assert 0.93 <= np.mean(hits) <= 0.97
    assert np.mean(errors) == pytest.approx(np.std(deviations, ddof=1), rel=0.08)
