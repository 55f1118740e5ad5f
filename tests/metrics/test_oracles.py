"""Values that can be checked by hand, or that theory gives exactly: no weights, no peers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import xlogy

from ganeval.metrics.frechet import frechet_distance
from ganeval.metrics.inception_score import inception_score, split_scores
from ganeval.metrics.kernel import kernel_distance, polynomial
from ganeval.metrics.precision_recall import neighbourhoods, null_coverage
from ganeval.statistics.moments import Gaussian, Moments
from ganeval.statistics.rows import FeatureRows


def test_kernel_distance_of_three_points() -> None:
    """X = {(1,0), (0,1), (1,1)}, Y = {(2,0), (0,2), (1,0)}: unbiased -3.3611111, with the diagonals 2.6805556."""
    x, y = np.array([[1.0, 0], [0, 1], [1, 1]]), np.array([[2.0, 0], [0, 2], [1, 0]])
    assert kernel_distance(y, x).value == pytest.approx(-3.3611111, abs=1e-7)
    assert kernel_distance(x, y).value == pytest.approx(-3.3611111, abs=1e-7)  # symmetric
    biased = polynomial(x, x).mean() + polynomial(y, y).mean() - 2 * polynomial(x, y).mean()
    assert biased == pytest.approx(2.6805556, abs=1e-7)


def score_rows(p: np.ndarray) -> FeatureRows:
    rows = FeatureRows(p.shape[1])
    rows.append(np.log(p).astype(np.float32))
    return rows


def test_inception_score_of_four_images() -> None:
    p = np.array([[0.5, 0.5], [0.9, 0.1], [0.1, 0.9], [0.7, 0.3]])
    assert inception_score(score_rows(p)).value == pytest.approx(1.2209075, abs=1e-6)
    parts = split_scores(np.log(p), splits=2, shuffle=False)
    assert parts == pytest.approx([1.1071058, 1.2275717], abs=1e-7)
    assert parts.mean() == pytest.approx(1.1673388, abs=1e-7)
    assert parts.std() == pytest.approx(0.0602330, abs=1e-7)
    assert parts.std(ddof=1) == pytest.approx(0.0851823, abs=1e-7)


def test_bounds_of_splits_that_do_not_divide() -> None:
    """Eleven images in ten splits: nine of one image, whose score is 1, and the last of two."""
    logits = np.random.default_rng(0).standard_normal((11, 5))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    last = p[9:]
    expected = np.exp((xlogy(last, last) - xlogy(last, last.mean(axis=0))).sum(axis=1).mean())
    parts = split_scores(logits, splits=10, shuffle=False)
    assert parts == pytest.approx([1.0] * 9 + [expected], abs=1e-9)
    assert expected > 1.001


@pytest.mark.parametrize(
    ("k", "strict", "expected"),
    [
        (1, True, (1.0, 0.6, 1.0, 0.8)),
        (1, False, (1.0, 0.8, 1.8, 1.0)),
        (2, True, (1.0, 1.0, 0.8, 0.8)),
        (2, False, (1.0, 1.0, 1.3, 1.0)),
    ],
)
def test_five_points_on_a_line(k: int, strict: bool, expected: tuple[float, ...]) -> None:
    """Reals 0 1 2 4 8, fakes 0 2 3 9 9: nearly every distance is a tie, so that each rule has its own answer."""
    real, fake = (np.array(points, np.float32)[:, None] for points in ([0, 1, 2, 4, 8], [0, 2, 3, 9, 9]))
    found = neighbourhoods(
        real, fake, k=dict.fromkeys(("precision", "recall", "density", "coverage"), k), strict=strict
    )
    values = found.values()
    assert tuple(values[name] for name in ("precision", "recall", "density", "coverage")) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("n", "k", "expected"),
    [(10_000, 5, 0.9687734), (1000, 5, 0.9689841), (50_000, 5, 0.9687547), (100, 3, 0.8787593)],
)
def test_coverage_of_equal_laws(n: int, k: int, expected: float) -> None:
    assert null_coverage(n, n, k) == pytest.approx(expected, abs=1e-7)


def test_the_bias_of_the_distance_is_inverse_in_the_number() -> None:
    """A sample against its own law, N(0, I) in 64 dimensions: N x FD is d + d (d + 1) / 4 = 1104 and a little."""
    law = Gaussian(mean=np.zeros(64), covariance=np.eye(64), n=None, ddof=1)
    for n in (250, 500, 1000):
        values = []
        for run in range(30):
            moments = Moments(64)
            moments.update(np.random.default_rng([run, n]).standard_normal((n, 64)))
            values.append(n * frechet_distance(law, moments.finish()).value)
        assert np.mean(values) == pytest.approx(1120, rel=0.04)
