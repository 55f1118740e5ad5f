"""Monte Carlo with known truth, beyond what each metric's own tests hold: are errors and sizes what they say?

The bounds are those of the measurements in the literature of each estimator, and leave three Monte Carlo errors.
"""

from __future__ import annotations

import numpy as np
import pytest

from ganeval.metrics import two_sample
from ganeval.metrics.frechet import frechet_inference
from ganeval.metrics.kernel import kernel_distance
from ganeval.metrics.precision_recall import neighbourhoods, with_errors
from ganeval.metrics.sliced import sliced_distance
from ganeval.metrics.two_sample import one_nearest_neighbour, play
from ganeval.statistics.moments import Moments
from ganeval.statistics.rows import FeatureRows

pytestmark = pytest.mark.nightly


def sides(*arrays: np.ndarray) -> list[tuple[Moments, FeatureRows]]:
    out = []
    for array in arrays:
        moments, rows = Moments(array.shape[1]), FeatureRows(array.shape[1])
        moments.update(array)
        rows.append(array)
        out.append((moments, rows))
    return out


@pytest.mark.parametrize(
    ("of_real", "of_fake"), [((0, 1, 2), ()), ((), (0, 1, 2)), ((0, 1, 2), (3, 4, 5))], ids=["real", "fake", "other"]
)
def test_distance_with_features_that_are_dead_on_one_side(of_real: tuple[int, ...], of_fake: tuple[int, ...]) -> None:
    """500 runs of 500 + 500 images in 12 dimensions: coverage, and the standard error, as with none dead."""
    scale, shift = np.linspace(1.3, 0.7, 12), 0.15
    real_scale, fake_scale = np.ones(12), scale.copy()
    real_scale[list(of_real)], fake_scale[list(of_fake)] = 0.0, 0.0
    mean_fake = np.where(np.isin(np.arange(12), of_fake), 0.0, shift)
    truth = float((mean_fake**2).sum() + ((real_scale - fake_scale) ** 2).sum())
    found = []
    for run in range(500):
        random = np.random.default_rng([run, len(of_real), len(of_fake)])
        real = (random.standard_normal((500, 12)) * real_scale).astype(np.float32)
        fake = (random.standard_normal((500, 12)) * fake_scale + mean_fake).astype(np.float32)
        (r, r_rows), (f, f_rows) = sides(real, fake)
        result = frechet_inference(r.finish(), f.finish(), r_rows, f_rows)
        assert result.bias is not None
        found.append((result.value, result.bias, result.standard_error))
    value, bias, error = np.array(found, float).T
    covered = np.abs(value - bias - truth) <= 1.959964 * error
    assert 0.92 <= covered.mean() <= 0.98  # 500 runs: one standard error is 1 %
    assert error.mean() == pytest.approx(value.std(ddof=1), rel=0.10)
    assert abs((value - bias).mean() - truth) < 3 * value.std(ddof=1) / np.sqrt(500) + 0.1 * bias.mean()


def test_bias_of_equal_laws_is_inverse_in_the_number() -> None:
    """E FD = b, so that its slope on 1 / n is n b: 600 runs at each of two numbers."""
    predicted, measured, noise = {}, {}, {}
    for n in (300, 900):
        found = []
        for run in range(600):
            random = np.random.default_rng([run, n, 5])
            pair = ((random.standard_normal((n, 8)) * np.arange(1, 9)).astype(np.float32) for _ in range(2))
            (r, r_rows), (f, f_rows) = sides(*pair)
            result = frechet_inference(r.finish(), f.finish(), r_rows, f_rows)
            assert result.bias is not None
            found.append((result.value, result.bias))
        value, bias = np.array(found).T
        predicted[n], measured[n], noise[n] = bias.mean(), value.mean(), value.std(ddof=1) / np.sqrt(600)
        assert abs(measured[n] - predicted[n]) < 3 * noise[n] + 0.02 * predicted[n]
    slope = (measured[300] - measured[900]) / (1 / 300 - 1 / 900)
    error = np.hypot(noise[300], noise[900]) / (1 / 300 - 1 / 900)
    assert slope == pytest.approx(300 * predicted[300], abs=3 * error + 0.02 * slope)


@pytest.mark.parametrize(("shift", "conservative"), [(2.0, 1.1), (0.4, 1.4)])
def test_kernel_distance_less_its_noise(shift: float, conservative: float) -> None:
    """Far from and near equality (32 dimensions, 300 + 300, 800 runs) V1 - V2 is the variance; V1 is above it near."""
    found = []
    for run in range(800):
        random = np.random.default_rng([run, int(10 * shift)])
        fake = random.standard_normal((300, 32))
        fake[:, 0] += shift
        distance = kernel_distance(random.standard_normal((300, 32)), fake)
        found.append((distance.value, distance.variance(), distance.variance_less_noise()))
    value, first, less = np.array(found).T
    spread = value.std(ddof=1)
    assert 0.92 <= np.sqrt(less.mean()) / spread <= 1.08
    assert 0.95 <= np.sqrt(first.mean()) / spread <= conservative


@pytest.mark.parametrize(("d", "scale", "shift"), [(4, 1.0, 0.0), (24, 0.9, 0.1)])
def test_block_errors(d: int, scale: float, shift: float) -> None:
    """Two settings besides that of the metric's own tests, 80 draws of 800 + 800: 0.8 to 1.2 of the truth."""
    values, errors = [], []
    for run in range(80):
        random = np.random.default_rng([run, d])
        real = random.standard_normal((800, d)).astype(np.float32)
        fake = (scale * random.standard_normal((800, d)) + shift).astype(np.float32)
        if run < 30:
            whole, error = with_errors(real, fake)
            errors.append(error)
        else:
            whole = neighbourhoods(real, fake)
        values.append(whole.values())
    for name in values[0]:
        spread = np.std([v[name] for v in values], ddof=1)  # known within 8 %
        ratio = np.sqrt(np.mean([e[name] ** 2 for e in errors])) / spread
        assert 0.8 * 0.84 <= ratio <= 1.2 * 1.16, (name, ratio)


def test_error_of_the_sliced_distance() -> None:
    """16 dimensions, 500 + 500, 64 directions, 250 runs: the influence's error is the spread within 10 % and 4.5 %."""
    found = []
    for run in range(250):
        random = np.random.default_rng([run, 9])
        real = random.standard_normal((500, 16)).astype(np.float32)
        fake = (1.25 * random.standard_normal((500, 16)) + 0.25).astype(np.float32)
        one = sliced_distance(real, fake, number=64)
        found.append((one.value, (one.influence_real.var(ddof=1) + one.influence_fake.var(ddof=1)) / 500))
    value, variance = np.array(found).T
    assert 0.9 <= np.sqrt(variance.mean()) / value.std(ddof=1) <= 1.2


def test_sizes_of_the_permutation_tests() -> None:
    """Equal laws, 120 + 120 images, 400 games: 5 % of the p-values are below 5 %, and their mean is one half or more.

    Both statistics are counts, and a tie counts against the observed one: the mean exceeds one half.
    """
    from_scores, from_neighbours = [], []
    for run in range(400):
        random = np.random.default_rng([run, 11])
        real, fake = (random.standard_normal((120, 6)).astype(np.float32) for _ in range(2))
        from_scores.append(play(real, fake).p_value)
        from_neighbours.append(one_nearest_neighbour(real, fake).p_value)
    for p_values in (np.array(from_scores), np.array(from_neighbours)):
        assert 0.02 <= (p_values <= 0.05).mean() <= 0.08  # 0.03 to 0.07, and one Monte Carlo error
        assert 0.46 <= p_values.mean() <= 0.60


@pytest.mark.parametrize("shift", [0.0, 0.5, 1.5])
def test_coverage_of_the_adversarys_own_advantage(shift: float) -> None:
    """Both halves' classifiers are judged on 20 000 fresh images; the interval holds their mean in 94 % or more."""
    random = np.random.default_rng(99)
    fresh = random.standard_normal((20_000, 6)).astype(np.float32)
    fresh[10_000:, 0] += shift
    covered = []
    for run in range(200):
        draw = np.random.default_rng([run, 13])
        real, fake = (draw.standard_normal((150, 6)).astype(np.float32) for _ in range(2))
        fake[:, 0] += shift
        game = play(real, fake)
        assert game.standard_error is not None
        x, labels, half = np.concatenate([real, fake]), np.repeat([0.0, 1.0], 150), two_sample._halves(300)
        truths = []
        for trained in (0, 1):
            rows = half == trained
            points, train = np.concatenate([x[rows], fresh]), np.arange(rows.sum() + 20_000) < rows.sum()
            kinds = np.concatenate([labels[rows], np.zeros(20_000)])
            scores = two_sample._held_out_scores(points, kinds, train)
            truths.append(np.mean(scores[:10_000] < 0) + np.mean(scores[10_000:] > 0) - 1)
        covered.append(abs(game.advantage - np.mean(truths)) <= 1.959964 * game.standard_error)
    assert np.mean(covered) >= 0.94
