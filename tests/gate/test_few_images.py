"""Gates and comparisons of Frechet distances of few images: calibrated differences, bounds, and no verdict."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ganeval.errors import IncomparableError
from ganeval.gate.rules import Gate, Rule
from ganeval.gate.verdict import judge
from ganeval.metrics.difference import Measurement, UndecidedError, difference
from ganeval.metrics.fid import measure
from ganeval.metrics.types import FeatureSet, MetricInputs
from ganeval.protocol import get_protocol
from ganeval.result_files import Record
from ganeval.results import Evaluation, MetricResult
from ganeval.statistics.moments import Moments
from ganeval.statistics.rows import FeatureRows

D = 64
ROOT = np.arange(1, D + 1) ** -0.5
PROTOCOL = get_protocol("compact").with_weights("ab" * 32, verified=True)


def feature_set(array: np.ndarray, name: str) -> FeatureSet:
    rows, moments = FeatureRows(array.shape[1]), Moments(array.shape[1])
    rows.append(array.astype(np.float32))
    moments.update(array.astype(np.float32))
    digests = np.arange(len(array), dtype=np.uint64) + np.uint64(hash(name) % 2**32)
    return FeatureSet(n=len(array), gaussian=moments.finish(), rows=rows, digest=name, image_digests=digests)


def measured(
    fake: np.ndarray, real: np.ndarray, *, reference: str = "population", latents: np.ndarray | None = None
) -> Measurement:
    reals, fakes = feature_set(real, "real"), feature_set(fake, "fake")
    inputs = MetricInputs(wanted=frozenset({"fid"}), protocol=PROTOCOL, real=reals, fake=fakes, reference=reference)
    result = measure(inputs)["fid"]
    arrays = dict(result.per_image)
    if latents is not None:
        arrays["fake_input_digests"] = latents
    return Measurement(result=result, arrays=arrays)


def sample(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, D)) * ROOT


REAL = sample(4000, 1)


def record(measurement: Measurement) -> Record:
    result = measurement.result
    provenance = {"spec": "x", "kind": "folder", "n": result.n_fake, "digest": "x"}
    evaluation = Evaluation(
        results={"fid": result}, real=provenance, fake=provenance, environment={}, elapsed_seconds=0.0
    )
    return Record(name="run", evaluation=evaluation, arrays=measurement.arrays)


def checked(measurement: Measurement, baseline: Measurement | None = None, **rule: object):  # type: ignore[no-untyped-def]
    gate = Gate(rules=(Rule(metric="fid", **rule),), protocol="compact")  # type: ignore[arg-type]
    return judge(gate, record(measurement), None if baseline is None else record(baseline)).checks[0]


def test_the_plain_difference_prefers_too_little_spread_and_the_decided_one_does_not() -> None:
    x = sample(16, 5)
    ids = np.arange(16, dtype=np.uint64)
    full, shrunk = measured(x, REAL, latents=ids), measured(0.85 * x, REAL, latents=ids)
    assert shrunk.result.value < full.result.value  # "better than real"
    plain = difference(full, shrunk, compare="value")
    assert plain.value == shrunk.result.value - full.result.value
    found = difference(full, shrunk)
    assert found.how == "paired"
    assert found.value == shrunk.result.details["calibrated"] - full.result.details["calibrated"]
    assert plain.value < 0.0
    truth = 0.15**2 * float((ROOT**2).sum())
    assert abs(found.value - truth) < 3 * found.standard_error < truth - plain.value
    assert found.degrees_of_freedom == 15
    assert "kappa" in str(found.note)


def test_a_drawn_reference_of_few_reals_says_what_the_plain_difference_prefers() -> None:
    real = sample(30, 1)
    a, b = (measured(sample(30, seed), real, reference="sample") for seed in (5, 6))
    assert a.result.interval is not None
    assert a.result.interval.estimand == "protocol"
    assert "rewards too little diversity" in str(difference(a, b).note)


def test_unequal_numbers_do_not_meet() -> None:
    with pytest.raises(IncomparableError, match="n_fake"):
        difference(measured(sample(40, 5), REAL), measured(sample(41, 6), REAL))


def test_below_a_tenth_of_an_image_a_feature_there_is_no_verdict() -> None:
    wide = np.random.default_rng(0).standard_normal((400, 150))
    a, b = (measured(np.random.default_rng(s).standard_normal((14, 150)), wide) for s in (1, 2))
    assert a.result.interval is not None
    with pytest.raises(UndecidedError, match="14 images for 150 features .* at least 15"):
        difference(a, b)


def test_values_that_were_calibrated_differently_do_not_meet() -> None:
    a, b = measured(sample(40, 5), REAL), measured(sample(40, 6), REAL)
    details = {**b.result.details, "kappa": 0.5}
    other = replace(b, result=replace(b.result, details=details))
    with pytest.raises(UndecidedError, match="calibrated differently"):
        difference(a, other)


def test_a_limit_of_the_distance_itself_is_decided_by_bounds() -> None:
    found = measured(2.0 * sample(100, 7), REAL)
    bounds = found.result.details["bounds"]
    assert isinstance(bounds, dict)
    assert checked(found, max=bounds["upper"] * 1.01).status == "pass"
    failed = checked(found, max=bounds["lower"] * 0.9)
    assert failed.status == "fail"
    assert "at least" in failed.reason
    between = checked(found, max=(bounds["lower"] + bounds["upper"]) / 2)
    assert between.status == "inconclusive"
    assert between.needed == int(2.5 * D) + 1
    assert checked(found, min=bounds["lower"] * 0.9).status == "pass"
    assert checked(found, min=bounds["upper"] * 1.05).status == "fail"


def test_without_a_lower_bound_a_limit_cannot_fail() -> None:
    found = measured(2.0 * sample(40, 7), sample(40, 8), reference="sample")
    assert checked(found, max=1e-6).status == "inconclusive"
    assert checked(found, max=1e6).status == "pass"


def test_a_papers_limit_is_held_against_the_value_at_the_same_number() -> None:
    found = measured(sample(40, 7), REAL)
    value, error = found.result.value, found.result.standard_error
    assert error is not None
    assert checked(found, max=value + 3 * error, compare="value").status == "pass"
    assert checked(found, max=value - 3 * error, compare="value").status == "fail"
    assert checked(found, max=value + 0.1 * error, compare="value").status == "inconclusive"


def test_a_result_with_all_of_it_survives_the_file(tmp_path: Path) -> None:
    result = measured(sample(40, 7), REAL).result
    back = MetricResult.from_dict("fid", result.to_dict())
    assert back.to_dict() == result.to_dict()
    assert "for 40 images" in str(back)


@pytest.mark.nightly
@pytest.mark.timeout(900)
@pytest.mark.parametrize("n", [26, 64, 128])
def test_two_equal_models_are_told_apart_in_at_most_one_of_twenty(n: int) -> None:
    false = 0
    runs = 300
    for seed in range(runs):
        a, b = (measured(sample(n, 10_000 + 2 * seed + i), REAL) for i in (0, 1))
        found = difference(a, b)
        false += found.value > 1.645 * found.standard_error
    assert false / runs <= 0.05 + 2 * (0.05 * 0.95 / runs) ** 0.5
