"""Paths, trimming and the error of a trimmed mean, against theory and against themselves."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import polygamma
from scipy.stats import lognorm

from ganeval.errors import ConfigError, InputError, NotEnoughSamplesError
from ganeval.metrics.path_length import Path, defined, lerp, measure, path_length, slerp
from ganeval.metrics.settings import Settings
from ganeval.protocol import Protocol
from ganeval.results import MetricResult, Reason


def protocol(name: str = "lpips-vgg", *, verified: bool = True) -> Protocol:
    return Protocol(
        name="z-full", extractor=name, layer="maps", resize="none", size=0, scale="-1..1", weights="ab" * 32,
        verified=verified,
    )  # fmt: skip


def result(distances: np.ndarray, path: Path | None = None, **options: object) -> MetricResult:
    digests = np.arange(len(distances), dtype=np.uint64)
    return measure(distances, digests, path=path or Path(), **{"protocol": protocol(), **options})  # type: ignore[arg-type]


# --- paths -------------------------------------------------------------------------------------------------------


def test_slerp_against_theory() -> None:
    random = np.random.default_rng(0)
    start, end = random.normal(size=(2, 50, 7))
    u, v = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (start, end))
    np.testing.assert_allclose(slerp(start, end, 0.0), u, atol=1e-14)
    np.testing.assert_allclose(slerp(start, end, 1.0), v, atol=1e-14)
    t = random.random(50)
    points = slerp(start, end, t)
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1, atol=1e-14)
    angle = np.arccos((u * v).sum(1))
    expected = (np.sin((1 - t) * angle)[:, None] * u + np.sin(t * angle)[:, None] * v) / np.sin(angle)[:, None]
    np.testing.assert_allclose(points, expected, atol=1e-13)
    # the speed is the angle, anywhere
    moved = slerp(start, end, t + 1e-4)
    np.testing.assert_allclose(np.linalg.norm(moved - points, axis=1) / 1e-4, angle, rtol=1e-6)
    many = slerp(start.reshape(50, 7, 1), end.reshape(50, 7, 1), t)
    np.testing.assert_array_equal(many.reshape(50, 7), points)


def test_slerp_degenerate() -> None:
    line = np.array([[1.0, 2.0], [1.0, 2.0], [0.0, 0.0], [1.0, 2.0]])
    other = np.array([[2.0, 4.0], [-3.0, -6.0], [1.0, 0.0], [1.0, 2.001]])
    assert defined(line, other).tolist() == [False, False, False, True]
    with pytest.raises(InputError, match="no great circle"):
        slerp(line, other, 0.5)
    assert np.isfinite(slerp(line[3:], other[3:], 0.5)).all()


def test_linear_generator_against_theory() -> None:
    """d = |.|^2, G(z) = A z: 2 tr(A'A) on lines; (pi^2/4 + trigamma(d/2)/2) tr(A'A)/d on unit circles."""
    random = np.random.default_rng(1)
    step, n = 1e-4, 20_000
    for size in (2, 8, 64):
        a = random.normal(size=(5, size))
        start, end = random.normal(size=(2, n, size))
        t = random.random(n)
        trace = float((a * a).sum())
        both = {
            2 * trace: [lerp(start, end, s[:, None]) for s in (t, t + step)],
            (np.pi**2 / 4 + polygamma(1, size / 2) / 2) * trace / size: [slerp(start, end, s) for s in (t, t + step)],
        }
        for expected, (one, other) in both.items():
            found = path_length((((other - one) @ a.T) ** 2).sum(1) / step**2, trim=False)
            assert abs(found.value - expected) < 3 * found.standard_error
            assert found.standard_error < 0.03 * expected


# --- the number --------------------------------------------------------------------------------------------------


def test_trim_golden() -> None:
    shuffled = np.random.default_rng(0).permutation(np.arange(1.0, 201.0))
    found = path_length(shuffled)
    assert (found.value, found.kept, found.low, found.high) == (100.5, 198, 2.0, 199.0)
    everything = path_length(shuffled, trim=False)
    assert (everything.kept, everything.low, everything.high) == (200, 1.0, 200.0)
    heavy = np.arange(10) + 1e9
    assert path_length(np.append(np.ones(990), heavy)).value == pytest.approx((990 + 1e9) / 991)  # the end is kept
    assert path_length(np.append(np.ones(1990), heavy)).value == 1.0


def test_influence_is_that_of_each_pair() -> None:
    """What the value does when one of many pairs counts a little more."""
    values = np.random.default_rng(3).lognormal(size=100_001)
    for trim in (False, True):
        found = path_length(values, trim=trim)
        assert found.influence.mean() == pytest.approx(0, abs=1e-12)
        order = values.argsort()
        for place, copies in ((order[5], 50), (order[30_000], 2000), (order[99_700], 50)):
            more = path_length(np.append(values, np.repeat(values[place], copies)), trim=trim).value
            assert (more - found.value) * (100_001 + copies) / copies == pytest.approx(found.influence[place], rel=0.05)


@pytest.mark.parametrize("sigma", [0.5, 1.2])
def test_winsorised_error_against_itself(sigma: float) -> None:
    """2000 samples of 5000 lognormals: ratio to the true spread within 5 %, coverage within 0.93 and 0.97."""
    random, runs, n = np.random.default_rng(0), 2000, 5000
    law = lognorm(sigma)
    truth = law.expect(lb=law.ppf(0.01), ub=law.ppf(0.99)) / 0.98
    values, errors, naive = np.empty(runs), np.empty(runs), np.empty(runs)
    for i in range(runs):
        sample = random.lognormal(0, sigma, n)
        found = path_length(sample)
        values[i], errors[i] = found.value, found.standard_error
        kept = sample[(sample >= found.low) & (sample <= found.high)]
        naive[i] = kept.std(ddof=1) / np.sqrt(len(kept))
    spread = values.std(ddof=1)
    assert np.sqrt(np.mean(errors**2)) / spread == pytest.approx(1, abs=0.05)
    assert np.sqrt(np.mean(naive**2)) / spread < 0.95  # what it would be without
    coverage = np.mean(np.abs(values - truth) < 1.959964 * errors)
    assert 0.93 <= coverage <= 0.97


def test_result() -> None:
    distances = np.random.default_rng(0).lognormal(size=1000)
    found = result(distances, level=0.9)
    assert found.label == "PPL"
    assert not found.higher_is_better
    assert found.interval is not None
    assert found.interval.high - found.interval.low == pytest.approx(2 * 1.644854 * found.standard_error, rel=1e-6)
    assert str(found).endswith("(z-full, 1000 pairs)")
    assert MetricResult.from_dict("ppl", found.to_dict()).to_dict() == found.to_dict()
    assert result(distances, protocol=protocol("lpips-alex")).label == "PPL[lpips-alex]"
    assert result(distances, protocol=protocol(verified=False)).label == "PPL[lpips-vgg-abababab]"


def test_every_choice_is_in_the_comparison_key() -> None:
    distances = np.random.default_rng(0).lognormal(size=100)
    choices = [
        {}, {"space": "w"}, {"sampling": "end"}, {"epsilon": 1e-3}, {"crop": True}, {"resize": 64}, {"trim": False},
        {"unit": True},
    ]  # fmt: skip
    paths = [Path(**choice) for choice in choices]  # type: ignore[arg-type]
    keys = {result(distances, path).comparison_key() for path in paths}
    keys |= {result(distances, protocol=protocol(name)).comparison_key() for name in ("compact-v1", "lpips-alex")}
    assert len(keys) == len(choices) + 2
    assert len({path.name for path in paths}) == len(choices)


def test_degenerate() -> None:
    still = result(np.zeros(50))
    assert still.value == 0
    assert (still.interval, still.standard_error) == (None, None)
    assert still.reason == Reason("constant_distances")
    with pytest.raises(NotEnoughSamplesError, match="at least 2 pairs of latents; found 1"):
        path_length(np.ones(1))
    with pytest.raises(InputError, match="distance of pair 1 is not a finite number"):
        result(np.array([1.0, np.nan, 2.0]))


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"space": "s"}, "must be one of z, w; got 's'"),
        ({"sampling": "begin"}, "must be one of full, end"),
        ({"epsilon": 0.0}, "must be a number above 0"),
        ({"epsilon": float("nan")}, "must be a number above 0"),
        ({"resize": 0}, "must be at least 1"),
        ({"space": "w", "unit": True}, "in w, paths are straight"),
    ],
)
def test_path_iv(choice: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Settings(**choice)  # type: ignore[arg-type]
