"""Frechet distances of few images: what the interval is of, the calibrated value, the bounds, and what they cover."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from ganeval.metrics.calibration import kappa
from ganeval.metrics.frechet_bounds import lower_bound
from ganeval.metrics.frechet_result import Distance, distance
from ganeval.metrics.intervals import quantile
from ganeval.metrics.leave_one_out import leave_one_out
from ganeval.results import Reason
from ganeval.statistics.moments import Gaussian, Moments
from ganeval.statistics.rows import FeatureRows

D = 64
ROOT = np.arange(1, D + 1) ** -0.5
EXACT = Gaussian(None, np.zeros(D), np.diag(ROOT**2))


def kept(array: np.ndarray) -> tuple[Gaussian, FeatureRows]:
    rows, moments = FeatureRows(array.shape[1]), Moments(array.shape[1])
    rows.append(array.astype(np.float32))
    moments.update(array.astype(np.float32))
    return moments.finish(), rows


def measured(fake: np.ndarray, real: np.ndarray | None = None, **options: object) -> Distance:
    x, x_rows = kept(fake)
    if real is None:
        return distance(EXACT, x, None, x_rows, reference="population", **options)  # type: ignore[arg-type]
    y, y_rows = kept(real)
    return distance(y, x, y_rows, x_rows, **options)  # type: ignore[arg-type]


def sample(n: int, seed: int, spread: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, D)) * ROOT * spread


def test_what_the_interval_is_of_changes_at_the_rule() -> None:
    above, below = measured(sample(161, 1), sample(200, 2)), measured(sample(160, 1), sample(200, 2))
    assert (above.estimand, above.method, above.degrees_of_freedom) == ("population", "influence", None)
    assert above.bias is not None
    assert (below.estimand, below.method, below.degrees_of_freedom) == ("protocol", "leave-one-out", 159)
    assert below.bias is None
    interval = below.interval(0.95)
    assert interval is not None
    assert interval.low < below.value < interval.high
    given = measured(sample(30, 1))
    assert given.estimand == "protocol-given-reference"
    assert given.influence_real is None


def test_a_reference_of_few_images_decides_too() -> None:
    found = measured(sample(400, 1), sample(40, 2))
    assert (found.estimand, found.degrees_of_freedom) == ("protocol", 39)
    assert found.influence_real is not None


@pytest.mark.parametrize(("n", "m"), [(9, 200), (200, 9)])
def test_nine_images_have_no_interval(n: int, m: int) -> None:
    found = measured(sample(n, 1), sample(m, 2))
    assert found.interval(0.95) is None
    assert found.reason == Reason("too_few_distinct", n=9, image_set="fake" if n < m else "real", needed=10)
    assert found.value == pytest.approx(measured(sample(n, 1), sample(m, 2), trace="svd").value, rel=1e-9)


def test_equal_rows_and_constant_sets_have_no_interval() -> None:
    rows = sample(40, 1)
    assert measured(rows, rows).reason == Reason("shared_features", n=40)
    constant = measured(np.ones((40, D)), np.ones((50, D)) * 2)
    assert constant.reason == Reason("too_few_distinct", n=1, image_set="fake", needed=10)


def test_copies_are_one_observation() -> None:
    """Padding by copying narrows nothing: the error is that of the distinct images, to first order."""
    once, padded = (
        measured(sample(200, 1), sample(700, 2)),
        measured(np.repeat(sample(200, 1), 5, axis=0), sample(700, 2)),
    )
    assert padded.estimand == "protocol"
    assert padded.degrees_of_freedom == 199
    assert once.standard_error is not None
    assert padded.standard_error == pytest.approx(once.standard_error, rel=0.15)


def test_sets_of_copies_are_covered() -> None:
    """The mean of replicates, each of other images in five copies."""
    found = [
        measured(*(np.repeat(sample(30, 2 * seed + i), 5, axis=0) for i in (0, 1)), details=False)
        for seed in range(200)
    ]
    mean = np.mean([one.value for one in found])
    intervals = [one.interval(0.95) for one in found]
    assert np.mean([i is not None and i.low <= mean <= i.high for i in intervals]) >= 0.93


def test_kappa_rises_to_one_and_rows_agree_with_theory() -> None:
    found = [kappa(EXACT, n).value for n in (8, 16, 64, 160, 640)]
    assert found == sorted(found)
    assert 0.5 < found[0] < found[-1] < 1.0
    real, rows = kept(sample(20_000, 3))
    of_rows, of_moments = kappa(real, 32, rows), kappa(real, 32)
    assert (of_rows.source, of_moments.source) == ("rows", "gaussian")
    assert of_rows.value == pytest.approx(of_moments.value, abs=0.015)
    assert kappa(real, 32, rows) == of_rows


def test_calibrated_value_is_zero_on_average_at_equality_where_the_plain_one_is_not() -> None:
    real, rows = kept(sample(20_000, 3))
    known = kappa(real, 32, rows, draws=40).value
    plain, calibrated = [], []
    for seed in range(40):
        x, x_rows = kept(sample(32, 1000 + seed))
        plain.append(leave_one_out(real, x, x_rows).value)
        calibrated.append(leave_one_out(real, x, x_rows, kappa=known).value)
    assert np.mean(plain) > 1.2
    assert abs(np.mean(calibrated)) < 3 * np.std(calibrated) / np.sqrt(40) + 0.02


def test_bounds_are_around_the_distance() -> None:
    spread, n = 1.3, 48
    truth = float(((spread - 1) ** 2 * ROOT**2).sum())
    lows, highs, estimates = [], [], []
    for seed in range(40):
        bounds = measured(sample(n, 50 + seed, spread)).small["bounds"]
        assert isinstance(bounds, dict)
        lows.append(bounds["lower"])
        highs.append(bounds["upper"])
        estimates.append((bounds["lower_estimate"], bounds["upper_estimate"]))
    assert np.mean(np.array(lows) <= truth) >= 0.92
    assert min(highs) > truth
    low, high = np.mean(estimates, axis=0)
    assert low < truth + 0.03
    assert high > truth


def test_a_drawn_reference_has_no_lower_bound_and_few_reals_no_kappa() -> None:
    few = measured(sample(30, 1), sample(40, 2)).small
    assert "kappa" not in few
    assert few["bounds"]["lower"] is None  # type: ignore[index]
    many = measured(sample(30, 1), sample(300, 2)).small
    assert many["kappa_source"] == "rows"


def test_bounds_at_the_optimal_map_are_the_distance() -> None:
    """Of many images T is the optimal transport, and the dual bound the distance itself."""
    _, rows = kept(sample(20_000, 9, 1.5))
    truth = float((0.25 * ROOT**2).sum())
    assert lower_bound(EXACT, rows).value == pytest.approx(truth, rel=0.05)


# --- coverage, simulated every night ---

RUNS = 1000


def covered(
    draw: Callable[[int], np.ndarray], real: Callable[[int], np.ndarray] | None, runs: int
) -> tuple[float, float]:
    """How often the intervals hold the mean of all values, and the mean standard error over their deviation."""
    found = [measured(draw(seed), None if real is None else real(seed), details=False) for seed in range(runs)]
    values, errors = np.array([one.value for one in found]), np.array([one.standard_error for one in found])
    intervals = [one.interval(0.95) for one in found]
    inside = [i is not None and i.low <= values.mean() <= i.high for i in intervals]
    return float(np.mean(inside)), float(np.sqrt(np.mean(errors**2)) / values.std())


def far(n: int, seed: int) -> np.ndarray:
    rows = sample(n, 10_000 + seed, 1.0)
    rows[:, : D // 2] = rows[:, : D // 2] * 1.6 + 0.4
    return rows


@pytest.mark.nightly
@pytest.mark.timeout(900)
@pytest.mark.parametrize("drawn", [False, True])
@pytest.mark.parametrize("share", [0.1, 0.5, 2.0])
def test_far_distributions_are_covered(share: float, drawn: bool) -> None:
    n = max(10, round(share * D))
    real = (lambda seed: sample(n, 500_000 + seed)) if drawn else None
    cover, ratio = covered(lambda seed: far(n, seed), real, RUNS)
    assert 0.92 <= cover <= 0.98
    assert 0.9 <= ratio <= 1.25


@pytest.mark.nightly
@pytest.mark.timeout(900)
@pytest.mark.parametrize("share", [0.25, 1.0])
def test_equal_distributions_are_covered_conservatively(share: float) -> None:
    n = round(share * D)
    cover, ratio = covered(lambda seed: sample(n, seed), lambda seed: sample(n, 500_000 + seed), RUNS)
    assert cover >= 0.95
    assert 1.1 <= ratio <= 1.65


@pytest.mark.nightly
@pytest.mark.timeout(900)
@pytest.mark.parametrize("share", [0.25, 1.0])
def test_the_calibrated_difference_of_shrunk_reals_covers_the_populations(share: float) -> None:
    """And the plain one has the wrong sign at a quarter of an image a feature: it calls too little spread better."""
    n, c = round(share * D), 0.85
    truth = float(((1 - c) ** 2 * ROOT**2).sum())
    real, rows = kept(sample(20_000, 77))
    known = kappa(real, n, rows, draws=40).value
    inside, signs = [], []
    for seed in range(RUNS):
        x = sample(n, 10_000 + seed)
        (full, full_rows), (shrunk, shrunk_rows) = kept(x), kept(c * x)
        a = leave_one_out(EXACT, full, full_rows, kappa=known)
        b = leave_one_out(EXACT, shrunk, shrunk_rows, kappa=known)
        half = quantile(0.95, n - 1) * np.sqrt(np.var(b.pseudo_fake - a.pseudo_fake, ddof=1) / n)
        inside.append(abs(b.value - a.value - truth) <= half)
        signs.append(leave_one_out(EXACT, shrunk, shrunk_rows).value - leave_one_out(EXACT, full, full_rows).value)
    assert 0.92 <= np.mean(inside) <= 0.98
    if share == 0.25:
        assert np.mean(np.array(signs) < 0) > 0.95
