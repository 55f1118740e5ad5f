"""How precision, recall, density and coverage answer lost modes, outliers and truncation, on laws that are known."""

from __future__ import annotations

import numpy as np
import pytest

from ganeval.metrics.precision_recall import neighbourhoods

N, D, MODES = 1000, 16, 10
CENTRES = 12 * np.random.default_rng(0).standard_normal((MODES, D))


def mixture(weights: np.ndarray, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    of = random.choice(MODES, N, p=weights / weights.sum())
    return (CENTRES[of] + random.standard_normal((N, D))).astype(np.float32)


REAL = mixture(np.ones(MODES), 1)


@pytest.mark.parametrize("how", ["one by one", "all together"])
def test_modes_are_lost(how: str) -> None:
    """What stays is as good as before, and there is less of it: coverage and recall fall about linearly.

    One by one, or all but the first thinned together (Naeem et al. 2020): coverage falls then too, while recall is
    blind, for the balls of fewer fakes are wider, until nothing is left.
    """
    levels, shares = [], np.arange(10, 0, -1) / 10
    for i, share in enumerate(shares):
        weights = np.zeros(MODES)
        if how == "one by one":
            weights[: MODES - i] = 1
        else:
            lost = 1 - (share - 0.1) / 0.9  # 0 at first, 1 when the first mode is all there is
            weights[:] = 0.1 * (1 - lost)
            weights[0] += lost
        levels.append(neighbourhoods(REAL, mixture(weights, 2)).values())
    for name in ("coverage", "recall"):
        values = np.array([level[name] for level in levels])
        assert values[-1] < 0.15 < 0.75 < values[0]
        if how == "one by one":
            assert values / values[0] == pytest.approx(shares, abs=0.08)
        elif name == "coverage":
            assert (np.diff(values) < 0).all(), values
        else:
            assert values[:-1].min() > 0.75
    for name, flat in (("precision", 0.06), ("density", 0.1)):
        values = np.array([level[name] for level in levels])
        assert values == pytest.approx(values[0], abs=flat), (name, values)


def test_one_outlier_lifts_precision_and_recall_and_not_density_and_coverage() -> None:
    """N(0, I) in 64 dimensions against N(mu 1, I); an outlier's ball reaches over all of the other set."""
    random = np.random.default_rng(3)
    for mu in (-1.0, -0.6, 0.6, 1.0):
        real = random.standard_normal((N, 64)).astype(np.float32)
        fake = (random.standard_normal((N, 64)) + mu).astype(np.float32)
        real_outlier, fake_outlier = real.copy(), fake.copy()
        real_outlier[0] = np.float32(np.sign(mu) * 3)  # beyond the fakes
        fake_outlier[0] = np.float32(-np.sign(mu) * 3 + mu)  # beyond the reals
        plain = neighbourhoods(real, fake).values()
        odd_real = neighbourhoods(real_outlier, fake).values()
        odd_fake = neighbourhoods(real, fake_outlier).values()
        assert odd_real["precision"] > plain["precision"] + 0.3
        assert odd_fake["recall"] > plain["recall"] + 0.3
        for name in ("density", "coverage"):
            assert odd_fake[name] == pytest.approx(plain[name], abs=0.01)
        assert odd_real["coverage"] == pytest.approx(plain["coverage"], abs=0.01)
        assert odd_real["density"] < plain["density"] + 0.25  # one ball of N: at most N / (k N)


def test_truncation_trades_recall_for_precision() -> None:
    """Fakes N(0, s^2 I): the smaller s, the surer each fake and the less of the reals is reached."""
    real = np.random.default_rng(5).standard_normal((N, D)).astype(np.float32)
    drawn = np.random.default_rng(6).standard_normal((N, D)).astype(np.float32)
    found = [neighbourhoods(real, np.float32(s) * drawn).values() for s in (1.0, 0.85, 0.7, 0.5)]
    precisions, recalls = ([f[name] for f in found] for name in ("precision", "recall"))
    assert precisions == sorted(precisions)
    assert recalls == sorted(recalls, reverse=True)
    assert precisions[-1] > precisions[0] + 0.15
    assert recalls[-1] < 0.1 < 0.6 < recalls[0]
    assert found[2]["density"] > 1.5  # fakes that crowd the middle are no better than reals


def test_fakes_that_are_the_reals() -> None:
    """Copies: everything but density, whose balls leave out their border, is perfect."""
    values = neighbourhoods(REAL, REAL.copy()).values()
    assert (values["precision"], values["recall"], values["coverage"]) == (1.0, 1.0, 1.0)
    assert values["density"] == pytest.approx(1.0, abs=0.05)
