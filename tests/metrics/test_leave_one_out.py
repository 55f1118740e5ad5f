"""The leave-one-out error of the Frechet distance against deletion, theory and simulation."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest

from ganeval.errors import InputError
from ganeval.metrics.frechet import frechet_inference
from ganeval.metrics.leave_one_out import leave_one_out, singular_values
from ganeval.statistics.linalg import Coupling
from ganeval.statistics.moments import Gaussian
from ganeval.statistics.rows import FeatureRows


def rows_of(array: np.ndarray) -> FeatureRows:
    rows = FeatureRows(array.shape[1])
    rows.append(array.astype(np.float32))
    return rows


def gaussian_of(array: np.ndarray, ddof: int = 1) -> Gaussian:
    wide = array.astype(np.float32).astype(np.float64)
    return Gaussian(len(wide), wide.mean(0), np.atleast_2d(np.cov(wide.T, ddof=ddof)), ddof)


def by_definition(x: np.ndarray, y: np.ndarray, kappa: float | None, ddof: int = 1, *, fixed: bool = False) -> float:
    """D, or the calibrated one, from the centred rows' singular values."""
    cx, cy = x - x.mean(0), y - y.mean(0)
    nx, ny = len(x) - ddof, len(y) - ddof
    nuclear = np.linalg.svd(cy @ cx.T, compute_uv=False).sum() / sqrt(nx * ny)
    plain = np.square(x.mean(0) - y.mean(0)).sum() + np.square(cx).sum() / nx + np.square(cy).sum() / ny
    value = float(plain - 2 * nuclear / (kappa or 1))
    if kappa is None:
        return value
    drawn = [x] if fixed else [x, y]
    return value - sum(float(np.var(one, axis=0, ddof=1).sum()) / len(one) for one in drawn)


SHAPES = [
    (12, 13, 30, None),
    (12, 60, 30, 0.9),
    (60, 50, 20, None),
    (30, 31, 30, 0.8),
    (25, 80, 24, None),
    (70, 12, 30, 1.0),
]


@pytest.mark.parametrize("ddof", [1, 0])
@pytest.mark.parametrize(("n", "m", "d", "kappa"), SHAPES)
def test_pseudo_values_against_deletion(n: int, m: int, d: int, kappa: float | None, ddof: int) -> None:
    random = np.random.default_rng(n + m)
    x = (random.standard_normal((n, d)) ** 2 + 0.3).astype(np.float32).astype(np.float64)
    y = (random.standard_normal((m, d)) * np.arange(1, d + 1) ** -0.5).astype(np.float32).astype(np.float64)
    found = leave_one_out(gaussian_of(y, ddof), gaussian_of(x, ddof), rows_of(x), rows_of(y), kappa=kappa)
    assert found.value == pytest.approx(by_definition(x, y, kappa, ddof), rel=1e-9)
    without_fake = np.array([by_definition(np.delete(x, i, 0), y, kappa, ddof) for i in range(n)])
    without_real = np.array([by_definition(x, np.delete(y, j, 0), kappa, ddof) for j in range(m)])
    assert found.pseudo_real is not None
    for pseudo, without in ((found.pseudo_fake, without_fake), (found.pseudo_real, without_real)):
        expected = (len(without) - 1) * (without.mean() - without)
        assert np.abs(pseudo - expected).max() < 1e-6 * np.abs(expected).max()
        assert abs(pseudo.sum()) < 1e-8 * np.abs(pseudo).sum()


def test_a_fixed_reference_against_deletion() -> None:
    random = np.random.default_rng(5)
    x, y = random.standard_normal((15, 40)) ** 2, random.standard_normal((200, 40))
    x = x.astype(np.float32).astype(np.float64)
    y = y.astype(np.float32).astype(np.float64)
    found = leave_one_out(gaussian_of(y), gaussian_of(x), rows_of(x), kappa=0.7)
    assert found.pseudo_real is None
    without = np.array([by_definition(np.delete(x, i, 0), y, 0.7, fixed=True) for i in range(15)])
    expected = 14 * (without.mean() - without)
    assert np.abs(found.pseudo_fake - expected).max() < 1e-6 * np.abs(expected).max()


def test_both_decompositions_agree() -> None:
    random = np.random.default_rng(1)
    spread = np.arange(1, 49) ** -0.5
    x, y = random.standard_normal((40, 48)) * spread + 0.1, random.standard_normal((300, 48)) * spread
    parts = singular_values(gaussian_of(y), gaussian_of(x), rows_of(x), rows_of(y))
    plan = Coupling.of(gaussian_of(y).covariance, gaussian_of(x).covariance)
    assert parts.method == "gram"
    assert parts.total == pytest.approx(float(plan.s.sum()), rel=1e-9)
    np.testing.assert_allclose(parts.s, plan.s, rtol=1e-9)


def test_invariance() -> None:
    random = np.random.default_rng(2)
    x, y = random.standard_normal((20, 8)) * 1.5, random.standard_normal((30, 8))
    base = leave_one_out(gaussian_of(y), gaussian_of(x), rows_of(x), rows_of(y))
    order = random.permutation(20)
    shuffled = leave_one_out(gaussian_of(y), gaussian_of(x[order]), rows_of(x[order]), rows_of(y))
    np.testing.assert_allclose(shuffled.pseudo_fake, base.pseudo_fake[order], rtol=1e-6, atol=1e-6)
    scaled = leave_one_out(gaussian_of(2 * y), gaussian_of(2 * x), rows_of(2 * x), rows_of(2 * y))
    assert scaled.standard_error == pytest.approx(4 * base.standard_error, rel=1e-6)
    turn = np.linalg.qr(random.standard_normal((8, 8)))[0]
    turned = leave_one_out(gaussian_of(y @ turn), gaussian_of(x @ turn), rows_of(x @ turn), rows_of(y @ turn))
    assert turned.standard_error == pytest.approx(base.standard_error, rel=1e-4)


@pytest.mark.parametrize("kappa", [None, 0.9])
def test_degenerate(kappa: float | None) -> None:
    """Copies, a constant set, a rank below n - 1: finite, and a constant set has no spread of its own."""
    random = np.random.default_rng(3)
    y = random.standard_normal((40, 12))
    sets = {
        "copies": np.repeat(random.standard_normal((5, 12)), 6, axis=0),
        "constant": np.ones((30, 12)),
        "low rank": random.standard_normal((30, 2)) @ random.standard_normal((2, 12)),
        "n - 1 = rank": random.standard_normal((13, 12)),
    }
    for name, x in sets.items():
        found = leave_one_out(gaussian_of(y), gaussian_of(x), rows_of(x), rows_of(y), kappa=kappa)
        assert np.isfinite(found.standard_error), name
        assert np.isfinite(found.pseudo_fake).all(), name
        if name == "constant":
            assert np.abs(found.pseudo_fake).max() < 1e-9


def test_fewer_than_ten_rows_iv() -> None:
    random = np.random.default_rng(4)
    x, y = random.standard_normal((9, 3)), random.standard_normal((20, 3))
    with pytest.raises(InputError, match="at least 10 fake rows; got 9"):
        leave_one_out(gaussian_of(y), gaussian_of(x), rows_of(x), rows_of(y))


def test_far_above_the_rank_it_is_the_influence_error() -> None:
    random = np.random.default_rng(6)
    d = 16
    x, y = random.standard_normal((50 * d, d)) * 1.2 + 0.1, random.standard_normal((50 * d, d))
    found = leave_one_out(gaussian_of(y), gaussian_of(x), rows_of(x), rows_of(y))
    known = frechet_inference(gaussian_of(y), gaussian_of(x), rows_of(y), rows_of(x))
    assert found.standard_error == pytest.approx(known.standard_error, rel=0.02)
