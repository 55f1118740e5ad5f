"""What every metric's result goes through: when an error is one, and what is said where it is none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.sides import metric_inputs

from ganeval.errors import InputError
from ganeval.metrics import kernel, memorisation, precision_recall, two_sample
from ganeval.metrics.build_result import build_result
from ganeval.parsing.layout import to_json
from ganeval.results import Reason

FEATURES = np.random.default_rng(0).standard_normal((12, 3)).astype(np.float32)


@pytest.mark.parametrize(
    ("error", "reason"),
    [(None, "no_standard_error"), (0.0, "no_spread"), (float("nan"), "no_spread"), (4e-13, "no_spread")],
)
def test_no_interval_without_a_spread(error: float | None, reason: str) -> None:
    result = build_result(metric_inputs(FEATURES, FEATURES + 1, "kid"), "kid", 1.0, standard_error=error, bias=0.0)
    assert (result.interval, result.standard_error, result.corrected) == (None, None, None)
    assert result.reason is not None
    assert result.reason.code == reason


def test_intervals_are_cut_to_the_range() -> None:
    """Of a metric that has one; a distance that is corrected for its bias may honestly lie below 0."""
    for name, value, ends in (
        ("ind", 0.98, (0.98 - 0.0784, 1.0)), ("ind", -0.98, (-1.0, -0.98 + 0.0784)), ("precision", 0.01, (0.0, 0.0884)),
        ("density", 0.01, (0.0, 0.0884)), ("density", 1.2, (1.1216, 1.2784)), ("kid", 0.01, (-0.0684, 0.0884)),
    ):  # fmt: skip
        found = build_result(metric_inputs(FEATURES, FEATURES + 1, name), name, value, standard_error=0.04).interval
        assert found is not None
        assert (found.low, found.high) == pytest.approx(ends, abs=1e-4), name


def test_a_handful_of_images_tells_no_error() -> None:
    few = build_result(metric_inputs(FEATURES, FEATURES[:9], "kid"), "kid", 1.0, standard_error=0.1)
    assert few.interval is None
    assert few.reason == Reason("too_few_images", image_set="fake", n=9, needed=10)
    enough = build_result(metric_inputs(FEATURES, FEATURES[:10], "kid"), "kid", 1.0, standard_error=0.1)
    assert enough.interval is not None
    alone = build_result(metric_inputs(FEATURES[:2], FEATURES, "vendi"), "vendi", 1.0, standard_error=0.1)
    assert alone.interval is not None  # of the fakes alone


def test_key_of_density_in_fixed_balls_has_k() -> None:
    """Of a fixed radius density still divides by k; the others know nothing of it."""
    three, six = (
        precision_recall.measure(
            metric_inputs(FEATURES, FEATURES + 0.1, "density", "coverage", radius=2.0, neighbours=k)
        )
        for k in (3, 6)
    )
    assert three["density"].value == pytest.approx(2 * six["density"].value)
    assert three["density"].comparison_key() != six["density"].comparison_key()
    assert three["coverage"].comparison_key() == six["coverage"].comparison_key()


def test_features_of_any_size_degenerate() -> None:
    """A network of one's own may give anything: values that stay, or a clear error, and no number that is none."""
    random = np.random.default_rng(1)
    real, fake = (random.standard_normal((60, 3)).astype(np.float32) for _ in range(2))
    usual = precision_recall.measure(metric_inputs(real, fake, "precision"))["precision"].value
    for scale in (1e-25, 1e-10, 1e10, 1e18):
        scaled = metric_inputs((real * scale).astype(np.float32), (fake * scale).astype(np.float32), "precision")
        assert precision_recall.measure(scaled)["precision"].value == usual, scale
    large, other = ((x * 1e5).astype(np.float32) for x in (real, fake))
    to_json(kernel.measure(metric_inputs(large, other, "kid"))["kid"].to_dict())  # the squares of cubes: 1e60
    huge = metric_inputs((real * 1e19).astype(np.float32), (fake * 1e19).astype(np.float32), "kid")
    with pytest.raises(InputError, match="too large for the cube of their products"):
        kernel.measure(huge)
    for name, measure in (
        ("precision", precision_recall.measure), ("ind", two_sample.measure),
        ("authpct", memorisation.measure_authenticity),
    ):  # fmt: skip
        with pytest.raises(InputError, match="too large for distances in float32"):
            measure(replace(huge, wanted=frozenset([name])))


def test_a_warning_of_network_and_file_stands_once() -> None:
    inputs = replace(metric_inputs(FEATURES, FEATURES + 0.1, "kid"), warnings=("weights", "file", "weights"))
    result = build_result(inputs, "kid", 1.0, standard_error=0.1, warnings=("file", "own"))
    assert result.warnings == ("weights", "file", "own")


def test_a_verb_agrees_with_the_number_of_metrics() -> None:
    one = metric_inputs(FEATURES, FEATURES[:3], "precision")
    with pytest.raises(InputError, match="^precision needs at least 4 fake images; found 3"):
        one.fake_rows()
    with pytest.raises(InputError, match="^precision, recall need at least 4 fake images; found 3"):
        replace(one, wanted=frozenset({"precision", "recall"})).fake_rows()
