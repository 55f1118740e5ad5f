"""The indistinguishability game against known laws, against itself, and at its ends."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import trapezoid
from scipy.special import expit
from scipy.stats import norm
from support.sides import metric_inputs

from ganeval.errors import NotEnoughSamplesError
from ganeval.metrics import two_sample
from ganeval.metrics.two_sample import fit, measure, one_nearest_neighbour, play
from ganeval.metrics.types import MetricInputs
from ganeval.results import Reason


def drawn(n: int, shift: float = 0.0, seed: int = 0, d: int = 6) -> np.ndarray:
    x = np.random.default_rng(seed).standard_normal((n, d))
    x[:, 0] += shift
    return x.astype(np.float32)


def inputs(real: np.ndarray, fake: np.ndarray, **settings: object) -> MetricInputs:
    return metric_inputs(real, fake, "ind", **settings)


def total_variation(shift: float) -> float:
    """Between N(0, I) and N(shift e, I)."""
    return float(2 * norm.cdf(shift / 2) - 1)


def divergence(shift: float) -> float:
    """Jensen-Shannon, in nats, by integration."""
    t = np.linspace(-12, 12 + shift, 200_001)
    p, q = norm.pdf(t), norm.pdf(t, shift)
    middle = (p + q) / 2
    terms = [np.where(f > 0, f * np.log(np.maximum(f, 1e-300) / np.maximum(middle, 1e-300)), 0) for f in (p, q)]
    return float(trapezoid(sum(terms), t) / 2)


@pytest.mark.parametrize("shift", [0.0, 0.5, 1.5])
def test_large_samples_reach_what_the_laws_allow(shift: float) -> None:
    """Between these laws the best adversary is linear: the advantage nears the total variation, from below."""
    game = play(drawn(6000, seed=1), drawn(5000, shift, seed=2))
    assert game.standard_error is not None
    assert game.advantage == pytest.approx(total_variation(shift), abs=4 * game.standard_error)
    assert game.jsd == pytest.approx(divergence(shift), abs=4 * game.jsd_error + 0.003)
    assert game.jsd - 1.645 * game.jsd_error <= divergence(shift)


def test_fit_against_its_condition() -> None:
    """At the minimum the gradient is 0; the constant is not penalised."""
    x, labels = drawn(400, seed=3).astype(np.float64), (np.arange(400) % 3 == 0).astype(float)
    x[labels == 1, 1] += 0.7
    w = fit(x, labels, 0.1)
    weights = np.where(labels == 1, 0.5 / labels.sum(), 0.5 / (1 - labels).sum())
    pull = weights * (expit(x @ w[:-1] + w[-1]) - labels)
    assert x.T @ pull + 0.1 * w[:-1] == pytest.approx(np.zeros(6), abs=1e-4)
    assert pull.sum() == pytest.approx(0, abs=1e-4)


@pytest.mark.nightly
def test_intervals_and_bounds_against_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    """150 + 150 images, 300 games: coverage of the adversary's own advantage, validity of the bounds and of p."""
    for shift in (0.0, 0.5, 1.5):
        # fewer than usual, for time: the size of the test is 0.05 with 199 as with 999
        monkeypatch.setattr(two_sample, "PERMUTATIONS", 199 if shift == 0.0 else 9)
        covered, valid_tv, valid_jsd, p_values = [], [], [], []
        for i in range(300):
            real, fake = drawn(150, seed=3 * i), drawn(150, shift, seed=3 * i + 1)
            result = measure(inputs(real, fake))["ind"]
            assert result.interval is not None
            covered.append(result.interval.low <= total_variation(shift))
            valid_tv.append(result.details["total_variation_lower_bound"] <= total_variation(shift) + 1e-12)  # type: ignore[operator]
            valid_jsd.append(result.details["jsd_lower_bound"] <= divergence(shift) + 1e-9)  # type: ignore[operator]
            p_values.append(result.details["p_value"])
        assert np.mean(covered) >= 0.95
        assert np.mean(valid_tv) >= 0.93
        assert np.mean(valid_jsd) >= 0.93
        if shift == 0.0:
            assert 0.02 <= np.mean(np.array(p_values) <= 0.05) <= 0.085  # 300 runs: one standard error is 1.3 %


def test_copies_are_told_by_their_neighbours() -> None:
    real = drawn(300, seed=5)
    apart, mixed, copies = drawn(300, 9.0, seed=6), drawn(300, seed=7), real + np.float32(1e-3)
    assert one_nearest_neighbour(real, apart).accuracy == 1.0
    assert one_nearest_neighbour(real, apart).p_value == pytest.approx(1 / 1000)
    assert 0.4 < one_nearest_neighbour(real, mixed).accuracy < 0.6
    assert one_nearest_neighbour(real, copies).accuracy == 0.0


def test_ties_against_every_pair() -> None:
    """On a small grid copies and equal distances are everywhere: all pairs, an average over those that are nearest."""
    random = np.random.default_rng(0)
    for m, n, side in ((30, 40, 3), (25, 20, 6), (40, 40, 2), (20, 20, 1)):
        real, fake = (random.integers(0, side, (size, 2)).astype(np.float32) for size in (m, n))
        real[real == 0] *= -1.0  # the same points
        pooled, labels = np.concatenate([real, fake]), np.arange(m + n) >= m
        squares = ((pooled[:, None] - pooled[None]) ** 2).sum(axis=2)
        np.fill_diagonal(squares, np.inf)
        closest = squares == squares.min(axis=1, keepdims=True)
        same = (closest & (labels[:, None] == labels[None])).sum(axis=1) / closest.sum(axis=1)
        found = one_nearest_neighbour(real, fake)
        expected = (same[:m].mean(), same[m:].mean(), same.mean())
        assert (found.accuracy_real, found.accuracy_fake, found.accuracy) == pytest.approx(expected, abs=1e-12)
        turned = one_nearest_neighbour(fake, real)
        assert (turned.accuracy_fake, turned.accuracy_real) == pytest.approx(expected[:2], abs=1e-12)


@pytest.mark.nightly
def test_size_with_ties_against_itself() -> None:
    """The permutation test stays exact where nearly every image has copies and ties."""
    random = np.random.default_rng(1)
    p = np.array(
        [one_nearest_neighbour(*random.integers(0, 4, (2, 30, 2)).astype(np.float32)).p_value for _ in range(200)]
    )
    assert np.mean(p <= 0.05) <= 0.05 + 3 * 0.0154
    assert np.mean(p <= 0.5) == pytest.approx(0.5, abs=3 * 0.0354)
    assert one_nearest_neighbour(np.ones((9, 3), np.float32), np.ones((7, 3), np.float32)).p_value == 1.0


def test_lower_bounds_follow_the_level() -> None:
    real, fake = drawn(400, seed=1), drawn(400, 1.0, seed=2)
    rows = inputs(real, fake)
    game = play(real, fake, groups=np.concatenate([rows.real_rows().hashes, rows.fake_rows().hashes]))
    assert game.jsd_error is not None
    assert game.gini_error is not None
    for level in (0.9, 0.95, 0.999):
        details = measure(replace(rows, level=level))["ind"].details
        z = norm.ppf(level)
        assert details["jsd_lower_bound"] == pytest.approx(game.jsd - z * game.jsd_error)
        assert details["total_variation_lower_bound"] == pytest.approx(
            1 - np.sqrt(1 - (game.gini - z * game.gini_error))
        )
        assert details["lower_bounds"] == f"one-sided, {100 * level:g} %"


def test_copies_stay_in_one_half() -> None:
    """Fakes that repeat a few images would be recognised by memory, were they in both halves."""
    few = drawn(3, seed=8)
    repeated = np.repeat(few, 100, axis=0)
    result = measure(inputs(drawn(300, seed=9), repeated))["ind"]
    careless = play(drawn(300, seed=9), repeated)
    assert careless.advantage > 0.5 > result.value


def test_what_belongs_together_is_one_observation() -> None:
    """Every image three times over is no more evidence than once; twenty different fakes are no evidence of 400."""
    real, fake = drawn(300, seed=1), drawn(300, 1.0, seed=2)
    once = play(real, fake)
    ids = np.concatenate([np.repeat(np.arange(600), 3)])
    thrice = play(np.repeat(real, 3, axis=0), np.repeat(fake, 3, axis=0), groups=ids)
    for name in ("standard_error", "jsd_error", "gini_error"):
        assert getattr(thrice, name) == pytest.approx(getattr(once, name), rel=0.15), name  # without: 0.58 of it
    collapsed = measure(inputs(drawn(400, seed=3), np.repeat(drawn(60, seed=4), 7, axis=0)))["ind"]
    spread = measure(inputs(drawn(400, seed=3), drawn(420, seed=4)))["ind"]
    assert collapsed.standard_error is not None
    assert spread.standard_error is not None
    assert collapsed.standard_error > 1.4 * spread.standard_error
    few = measure(inputs(drawn(400, seed=3), np.repeat(drawn(12, seed=4), 30, axis=0)))["ind"]
    assert few.reason == Reason("too_few_in_half", needed=10)


def test_memory_of_the_game() -> None:
    """Beside the pooled features, one float64 copy of half of them: as much again, and blocks."""
    real, fake = drawn(6000, seed=1, d=512), drawn(6000, 0.5, seed=2, d=512)
    tracemalloc.start()
    play(real, fake)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    pooled = real.nbytes + fake.nbytes
    blocks = 4 * 1024 * 512 * 8
    assert peak < 2.1 * pooled + blocks  # a further copy of the half would be another 1


def test_results_and_ends() -> None:
    result = measure(inputs(drawn(200, seed=1), drawn(200, 8.0, seed=2)))["ind"]
    assert result.value == 1.0
    assert result.details["separable"] is True
    assert result.interval is None
    assert 0.65 < result.details["jsd"] < np.log(2)  # type: ignore[operator]
    assert not result.higher_is_better
    assert len(result.per_image["ind_score_fake"]) == 200
    assert result.per_image["ind_score_fake"].mean() > result.per_image["ind_score_real"].mean()
    few = measure(inputs(drawn(12, seed=1), drawn(12, seed=2)))["ind"]
    assert few.interval is None
    assert few.reason == Reason("too_few_in_half", needed=10)
    assert few.details["jsd_lower_bound"] is few.details["total_variation_lower_bound"] is None
    assert result.reason == Reason("judged_alike")
    with pytest.raises(NotEnoughSamplesError, match="at least 2 different images of each kind in each half; found 0"):
        measure(inputs(np.ones((40, 3), np.float32), np.ones((40, 3), np.float32)))
