"""Does the gate cry wolf, and does it let worse models through? By simulation, with known truth."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from support.gates import gate, record, result, run_of
from support.sides import metric_inputs

from ganeval.gate.decide import planned_fakes
from ganeval.gate.verdict import judge
from ganeval.metrics.difference import Measurement, difference
from ganeval.metrics.frechet import frechet_inference
from ganeval.metrics.kernel import measure as measure_kid
from ganeval.metrics.sliced import measure as measure_mind
from ganeval.result_files import Record
from ganeval.results import MetricResult
from ganeval.statistics.moments import Moments
from ganeval.statistics.rows import FeatureRows

D, M = 8, 500
Z95 = 1.959963984540054
SHIFT = np.array([0.5, 0.3] + [0.0] * (D - 2))


def stretched(weight: float) -> np.ndarray:
    return np.concatenate([np.full(D // 2, 1.0 + 0.5 * weight), np.ones(D // 2)])


def model(weight: float, z: np.ndarray) -> np.ndarray:
    """Standard normal latents to features: ``weight`` moves their mean and their spread away from the reals."""
    return (weight * SHIFT + z * stretched(weight)).astype(np.float32)


def distance(weight: float) -> float:
    """Of ``model(weight)`` from standard normal reals: |mean|^2 + sum (s - 1)^2."""
    return float(weight**2 * SHIFT @ SHIFT + ((stretched(weight) - 1) ** 2).sum())


def of_distance(target: float) -> float:
    return float(np.sqrt(target / distance(1.0)))


def run(real: np.ndarray, fake: np.ndarray, latents: int | None = None) -> Record:
    """FD with its influences, as ``evaluate`` would leave them; equal ``latents`` stand for equal seeds."""
    sides = []
    for x in (real, fake):
        moments, rows = Moments(D), FeatureRows(D)
        moments.update(x)
        rows.append(x)
        sides.append((moments.finish(), rows))
    (r, r_rows), (f, f_rows) = sides
    found = frechet_inference(r, f, r_rows, f_rows)
    assert found.influence_fake is not None
    assert found.influence_real is not None
    arrays = {
        "fid_influence_fake": found.influence_fake, "fid_influence_real": found.influence_real,
        "real_image_digests": np.arange(len(real), dtype=np.uint64),
    }  # fmt: skip
    if latents is not None:
        arrays["fake_input_digests"] = np.arange(len(fake), dtype=np.uint64) + np.uint64(10**6 * latents)
    measured = run_of("fid", found.value, found.influence_fake, found.influence_real, bias=found.bias)
    return record(measured, arrays=arrays)


def noise(rate: float, runs: int) -> float:
    """What a simulated rate may be off by chance: 2.6 of its standard deviations, one time in 200."""
    return 2.6 * float(np.sqrt(rate * (1 - rate) / runs))


def pair(seed: int, a: float, b: float, n: int, *, paired: bool) -> tuple[Record, Record]:
    """Two models on one reference."""
    random = np.random.default_rng([seed, n])
    real = random.standard_normal((M, D)).astype(np.float32)
    z = random.standard_normal((n, D))
    other = z if paired else random.standard_normal((n, D))
    return run(real, model(a, z), 1), run(real, model(b, other), 1 if paired else 2)


def pilot(a: float, b: float | None = None, *, paired: bool = False, n: int = 20_000) -> tuple[float, float]:
    """Variances of one fake and one real, in the value of one model or in the difference of two, from many images."""
    random = np.random.default_rng(7)
    real, z, other = (random.standard_normal((n, D)) for _ in range(3))
    real = real.astype(np.float32)
    one = run(real, model(a, z), 1)
    if b is None:
        fakes, reals = Measurement(result=one.evaluation["fid"], arrays=one.arrays).shares()
        return n * fakes, n * reals
    two = run(real, model(b, z if paired else other), 1 if paired else 2)
    found = difference(*(Measurement(result=r.evaluation["fid"], arrays=r.arrays) for r in (one, two)))
    return n * found.fake_variance, n * found.real_variance


# --- one metric ---------------------------------------------------------------------------------------------------


@pytest.mark.nightly
def test_a_model_exactly_at_a_limit_fails_at_most_5_percent() -> None:
    """max is the true distance; neither a pass nor a failure may come more often than one time in 20."""
    runs, rules = 2000, gate({"fid": {"max": distance(1.0)}})
    counts = {"pass": 0, "fail": 0, "inconclusive": 0}
    for seed in range(runs):
        random = np.random.default_rng([seed, 1])
        real, z = random.standard_normal((M, D)).astype(np.float32), random.standard_normal((400, D))
        counts[judge(rules, run(real, model(1.0, z))).outcome] += 1
    print(counts)
    assert counts["fail"] / runs <= 0.05 + noise(0.05, runs)
    assert counts["pass"] / runs <= 0.05 + noise(0.05, runs)
    assert counts["fail"] + counts["pass"] > 0.05 * runs  # the bound is used, not avoided


@pytest.mark.nightly
@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("relative", [True, False])
def test_a_model_exactly_at_the_margin_fails_at_most_5_percent(paired: bool, relative: bool) -> None:
    runs, before = 2000, distance(1.0)
    rules = gate({"fid": {"max-regression": {"rel": 0.1} if relative else {"abs": 0.1 * before}}})
    worse = of_distance(1.1 * before)
    counts = {"pass": 0, "fail": 0, "inconclusive": 0}
    for seed in range(runs):
        old, new = pair(seed, 1.0, worse, 400, paired=paired)
        verdict = judge(rules, new, old)
        counts[verdict.outcome] += 1
        assert verdict.checks[0].pairing == ("paired" if paired else "shared reference")
    print(counts)
    assert counts["fail"] / runs <= 0.05 + noise(0.05, runs)
    assert counts["pass"] / runs <= 0.05 + noise(0.05, runs)
    assert counts["fail"] + counts["pass"] > 0.05 * runs


@pytest.mark.nightly
@pytest.mark.parametrize("paired", [True, False])
def test_a_model_within_the_margin_passes_9_times_in_10_at_the_planned_number(paired: bool) -> None:
    """A model that is better than what the margin allows: unpaired by all of it, paired by a sixth."""
    runs, other = 600, 1.05 if paired else 1.0
    shift = distance(other) - distance(1.0)
    margin = 1.2 * shift if paired else 0.25
    rules = gate({"fid": {"max-regression": {"abs": margin}}})
    fake_variance, real_variance = pilot(1.0, other, paired=paired)
    n = planned_fakes(margin - shift, fake_variance, real_variance / M)
    assert n is not None
    assert n < 3000
    passed = 0
    for seed in range(1, runs + 1):
        old, new = pair(seed, 1.0, other, n, paired=paired)
        passed += judge(rules, new, old).exit_code == 0
    print(n, passed / runs)
    assert passed / runs >= 0.9 - noise(0.9, runs)


@pytest.mark.nightly
def test_a_model_below_the_limit_passes_9_times_in_10_at_the_planned_number() -> None:
    """The truth is a fifth below the limit; the number is planned from a pilot."""
    runs, limit = 600, 1.25 * distance(1.0)
    rules = gate({"fid": {"max": limit}})
    fake_variance, real_variance = pilot(1.0)
    n = planned_fakes(limit - distance(1.0), fake_variance, real_variance / M)
    assert n is not None
    passed = 0
    for seed in range(runs):
        random = np.random.default_rng([seed, 3])
        real, z = random.standard_normal((M, D)).astype(np.float32), random.standard_normal((n, D))
        passed += judge(rules, run(real, model(1.0, z))).exit_code == 0
    print(n, passed / runs)
    assert passed / runs >= 0.9 - noise(0.9, runs)


# --- several metrics ----------------------------------------------------------------------------------------------

FOUR = ("fid", "kid", "mind", "is")


def draws(excess: tuple[float, ...], correlation: float, runs: int) -> np.ndarray:
    """Normal estimates of four metrics, ``excess`` standard errors worse than their margins."""
    covariance = np.full((4, 4), correlation) + (1 - correlation) * np.eye(4)
    return np.array(excess) + np.random.default_rng(0).standard_normal((runs, 4)) @ np.linalg.cholesky(covariance).T


def outcomes(excess: tuple[float, ...], correlation: float, runs: int = 4000) -> np.ndarray:
    rules = gate({name: {"min" if name == "is" else "max": 10.0} for name in FOUR})
    found = []
    for row in draws(excess, correlation, runs):
        signs = [-1 if name == "is" else 1 for name in FOUR]
        values = [result(10.0 + s * x, 1.0, name=name) for name, s, x in zip(FOUR, signs, row, strict=True)]
        found.append(judge(rules, record(*values)).exit_code)
    return np.array(found)


@pytest.mark.nightly
@pytest.mark.parametrize("correlation", [0.0, 0.8])
def test_four_metrics_at_their_margins_fail_at_most_6_percent(correlation: float) -> None:
    codes = outcomes((0.0, 0.0, 0.0, 0.0), correlation)
    print(np.mean(codes == 1))
    assert 0.01 < np.mean(codes == 1) <= 0.06
    uncorrected = np.mean((draws((0.0, 0.0, 0.0, 0.0), correlation, 4000) > 1.6449).any(axis=1))
    assert uncorrected > 0.09  # which Holm's correction is there for


@pytest.mark.nightly
def test_one_bad_metric_passes_at_most_6_percent() -> None:
    """Three metrics are as good as can be, one is exactly at its margin."""
    codes = outcomes((-9.0, -9.0, -9.0, 0.0), 0.0)
    print(np.mean(codes == 0))
    assert 0.03 < np.mean(codes == 0) <= 0.06


# --- the error of a difference ------------------------------------------------------------------------------------


@pytest.mark.nightly
@pytest.mark.parametrize("how", ["paired", "half paired", "shared reference"])
def test_the_difference_covers_against_itself(how: str) -> None:
    """95 % intervals of D_b - D_a hold the truth in 93 to 97 %, whatever the two runs have in common."""
    truth = distance(0.8) - distance(1.0)
    hits, deviations, errors, naive = [], [], [], []
    for seed in range(2000):
        old, new = pair(seed, 1.0, 0.8, 400, paired=how != "shared reference")
        if how == "half paired":
            random = np.random.default_rng([seed, 9])
            real = random.standard_normal((M, D)).astype(np.float32)
            z, more = random.standard_normal((400, D)), random.standard_normal((200, D))
            old, new = run(real, model(1.0, z), 1), run(real, model(0.8, np.concatenate([z[:200], more])), 1)
            arrays = dict(new.arrays)
            arrays["fake_input_digests"] = np.concatenate([arrays["fake_input_digests"][:200], np.arange(200)]).astype(
                np.uint64
            )
            new = record(new.evaluation["fid"], arrays=arrays)
        found = difference(*(Measurement(result=r.evaluation["fid"], arrays=r.arrays) for r in (old, new)))
        deviations.append(found.value - truth)
        errors.append(found.standard_error)
        naive.append(np.hypot(*(r.evaluation["fid"].standard_error or 0.0 for r in (old, new))))
        hits.append(abs(deviations[-1]) <= Z95 * errors[-1])
    print(how, np.mean(hits), np.mean(errors), np.std(deviations), np.mean(naive))
    assert 0.93 <= np.mean(hits) <= 0.97
    assert np.mean(errors) == pytest.approx(np.std(deviations, ddof=1), rel=0.08)
    assert np.mean(naive) > 1.1 * np.mean(errors)  # what is shared is worth counting


@cache
def truth_of(name: str) -> float:
    """The difference of two large samples."""
    random = np.random.default_rng(99)
    real, z = random.standard_normal((6000, D)).astype(np.float32), random.standard_normal((6000, D))
    a, b = (other(name, real, model(w, z)).value for w in (1.0, 0.8))
    return b - a


def other(name: str, real: np.ndarray, fake: np.ndarray) -> MetricResult:
    measure, settings = {"kid": (measure_kid, {}), "mind": (measure_mind, {"directions": 40})}[name]
    return measure(metric_inputs(real, fake, name, **settings))[name]


@pytest.mark.nightly
@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("name", ["kid", "mind"])
def test_other_metrics_pair_the_same_way_against_itself(name: str, paired: bool) -> None:
    # the first-order error of MIND is 9 % too large at 200 + 200, 7 % at 400 + 400, where 0.967 is expected
    n = {"kid": 200, "mind": 400}[name]
    truth, hits = truth_of(name), []
    for seed in range(1000):
        random = np.random.default_rng([seed, 11])
        real, z = random.standard_normal((n, D)).astype(np.float32), random.standard_normal((n, D))
        z2 = z if paired else random.standard_normal((n, D))
        runs = []
        for weight, latents, tag in ((1.0, z, 0), (0.8, z2, 0 if paired else 1)):
            found = other(name, real, model(weight, latents))
            arrays = {
                **found.per_image, "real_image_digests": np.arange(n, dtype=np.uint64),
                "fake_input_digests": np.arange(n, dtype=np.uint64) + np.uint64(1000 * tag),
            }  # fmt: skip
            runs.append(Measurement(result=found, arrays=arrays))
        found_difference = difference(*runs)
        assert found_difference.how == ("paired" if paired else "shared reference")
        hits.append(abs(found_difference.value - truth) <= Z95 * found_difference.standard_error)
    print(name, paired, np.mean(hits))
    assert 0.93 <= np.mean(hits) <= 0.97


def test_the_truths_of_these_simulations() -> None:
    """The closed form of ``distance`` is that of the Frechet distance."""
    random = np.random.default_rng(0)
    big = run(
        random.standard_normal((100_000, D)).astype(np.float32), model(1.0, random.standard_normal((100_000, D)))
    ).evaluation["fid"]
    assert big.corrected == pytest.approx(distance(1.0), abs=4 * (big.standard_error or 0))
