"""Means and proportions with their intervals: against scipy, and their coverage in simulations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from ganeval.metrics.sample_mean import SampleMean, sample_mean

TRIALS = 2000


def test_mean_against_scipy() -> None:
    values = np.random.default_rng(0).normal(3, 2, 57)
    found = sample_mean(values, level=0.9)
    peer = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx((peer.low, peer.high), rel=1e-12)
    assert found.standard_error == pytest.approx(stats.sem(values), rel=1e-12)


@pytest.mark.parametrize("hits", [0, 1, 7, 40])
def test_proportion_against_scipy(hits: int) -> None:
    values = (np.arange(40) < hits).astype(float)
    found = sample_mean(values, proportion=True)
    peer = stats.binomtest(hits, 40).proportion_ci(method="wilson")
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx((peer.low, peer.high), abs=1e-12)
    assert (found.standard_error is None) == (hits in (0, 40))


def test_clusters_of_one_are_no_clusters() -> None:
    rng = np.random.default_rng(1)
    ids = np.arange(60, dtype=np.uint64)
    for values, proportion in ((rng.normal(size=60), False), ((rng.random(60) < 0.4).astype(float), True)):
        plain, grouped = (sample_mean(values, groups=groups, proportion=proportion) for groups in (None, ids))
        assert grouped.standard_error == pytest.approx(plain.standard_error, rel=1e-12)


def test_repeated_units_in_clusters_are_worth_one() -> None:
    hits = (np.random.default_rng(2).random(50) < 0.3).astype(float)
    grouped = sample_mean(np.repeat(hits, 4), groups=np.repeat(np.arange(50, dtype=np.uint64), 4), proportion=True)
    assert grouped.effective_n == pytest.approx(50, rel=0.03)


def test_degenerate() -> None:
    few = sample_mean(np.arange(9.0))
    assert few.interval is None
    assert "too few scored images" in str(few.reason)
    constant = sample_mean(np.full(30, 0.3))
    assert constant.interval is None
    assert constant.reason is not None
    assert constant.reason.code == "no_spread"
    groups = sample_mean(np.arange(40.0), groups=np.repeat(np.arange(8, dtype=np.uint64), 5))
    assert groups.reason is not None
    assert groups.reason.code == "too_few_groups"
    assert sample_mean(np.linspace(0, 0.01, 10), within=(0.0, np.inf)).interval is not None


def coverage(trials: list[SampleMean], truth: float) -> float:
    inside = [t.interval is not None and t.interval.low <= truth <= t.interval.high for t in trials]
    return float(np.mean(inside))


@pytest.mark.parametrize("n", [10, 100])
def test_mean_covers(n: int) -> None:
    rng = np.random.default_rng(3)
    trials = [sample_mean(rng.gamma(4.0, 1.0, n)) for _ in range(TRIALS)]
    assert 0.93 <= coverage(trials, 4.0) <= 0.97


@pytest.mark.parametrize("p", [0.1, 0.5, 0.83])
def test_proportion_covers(p: float) -> None:
    rng = np.random.default_rng(4)
    trials = [sample_mean((rng.random(200) < p).astype(float), proportion=True) for _ in range(TRIALS)]
    assert 0.93 <= coverage(trials, p) <= 0.97


def test_mean_of_clusters_covers() -> None:
    """40 prompts of 4 outputs each, of which half the variance is the prompt's."""
    rng = np.random.default_rng(5)
    ids = np.repeat(np.arange(40, dtype=np.uint64), 4)
    trials = [sample_mean(np.repeat(rng.normal(size=40), 4) + rng.normal(size=160), groups=ids) for _ in range(TRIALS)]
    assert 0.93 <= coverage(trials, 0.0) <= 0.97


def test_proportion_of_clusters_covers() -> None:
    """60 prompts of 4 outputs each; the probability of a hit differs from prompt to prompt."""
    rng = np.random.default_rng(6)
    ids = np.repeat(np.arange(60, dtype=np.uint64), 4)
    trials = []
    for _ in range(TRIALS):
        share = np.repeat(rng.beta(1.4, 0.6, 60), 4)
        trials.append(sample_mean((rng.random(240) < share).astype(float), groups=ids, proportion=True))
    assert 0.93 <= coverage(trials, 0.7) <= 0.97
