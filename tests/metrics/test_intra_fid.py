"""Intra-FID against a loop of FID, its error against many draws, and what it needs."""

from __future__ import annotations

from dataclasses import replace
from math import sqrt

import numpy as np
import pytest
from support.sides import metric_inputs

from ganeval.errors import ConfigError, NotEnoughSamplesError
from ganeval.metrics import fid, intra_fid, kernel
from ganeval.metrics.difference import Measurement
from ganeval.metrics.intervals import variance_of_mean
from ganeval.metrics.settings import Settings
from ganeval.results import MetricResult, Reason

D = 8
MEANS = np.random.default_rng(0).standard_normal((3, D))


def drawn(sizes: tuple[int, ...], seed: int, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian features of classes a, b, c, in mixed order, with their labels."""
    random = np.random.default_rng(seed)
    rows = np.concatenate([random.standard_normal((n, D)) + MEANS[c] + shift for c, n in enumerate(sizes)])
    labels = np.concatenate([np.full(n, "abc"[c]) for c, n in enumerate(sizes)])
    order = random.permutation(len(rows))
    return rows[order].astype(np.float32), labels[order]


def intra(real: tuple[int, ...], fake: tuple[int, ...], seed: int = 0, shift: float = 0.0, **more: str) -> MetricResult:
    (y, y_labels), (x, x_labels) = drawn(real, 2 * seed), drawn(fake, 2 * seed + 1, shift)
    return intra_fid.measure(metric_inputs(y, x, "intra-fid", labels=(y_labels, x_labels), **more))["intra-fid"]


@pytest.mark.parametrize("sizes", [(60, 45, 30), (18, 14, 12)])
def test_a_loop_of_fid(sizes: tuple[int, ...]) -> None:
    (y, y_labels), (x, x_labels) = drawn(sizes, 0), drawn(sizes[::-1], 1, 0.3)
    alone = [fid.measure(metric_inputs(y[y_labels == c], x[x_labels == c], "fid"))["fid"] for c in ("a", "b", "c")]
    found = intra_fid.measure(metric_inputs(y, x, "intra-fid", labels=(y_labels, x_labels)))["intra-fid"]
    errors = [one.standard_error for one in alone]
    assert found.value == pytest.approx(np.mean([one.value for one in alone]), rel=1e-12)
    assert found.standard_error == pytest.approx(sqrt(sum(e**2 for e in errors if e)) / 3, rel=1e-9)
    assert found.details["weighted"] == pytest.approx(np.average([one.value for one in alone], weights=sizes))
    assert found.details["weighted_se"] == pytest.approx(
        sqrt(sum((n * e) ** 2 for n, e in zip(sizes, errors, strict=True) if e)) / sum(sizes)
    )
    centres = [one.value if one.corrected is None else one.corrected for one in alone]
    assert found.details["worst_class"] == "abc"[int(np.argmax(centres))]
    table = found.details["per_class"]
    assert [entry["value"] for entry in table.values()] == [one.value for one in alone]  # type: ignore[attr-defined]
    if alone[0].bias is not None:
        assert found.bias == pytest.approx(np.mean([one.bias for one in alone]), rel=1e-9)  # type: ignore[arg-type]
        assert found.interval is not None
        assert found.interval.estimand == "population"


def test_influences_give_the_error_so_that_runs_can_be_paired() -> None:
    found = intra((60, 45, 30), (50, 40, 30), shift=0.3)
    arrays = found.per_image["intra-fid_influence_fake"], found.per_image["intra-fid_influence_real"]
    assert [len(one) for one in arrays] == [120, 135]
    assert sqrt(sum(map(variance_of_mean, arrays))) == pytest.approx(found.standard_error, rel=1e-9)
    assert Measurement(result=found, arrays=found.per_image).influences() is not None


def test_one_small_class_makes_it_the_value_of_these_numbers() -> None:
    found = intra((60, 45, 30), (50, 40, 15), shift=0.3)
    assert found.bias is None
    assert found.interval is not None
    assert (found.interval.estimand, found.interval.method) == ("protocol", "leave-one-out")
    assert isinstance(found.details["degrees_of_freedom"], float)
    assert found.details["degrees_of_freedom"] > 14


def test_classes_that_cannot_be_measured() -> None:
    few = intra((60, 45, 30), (50, 40, 9))
    assert few.interval is None
    assert few.reason == Reason("classes_without_error", n=1, classes=3, first="c")
    one = intra((60, 45, 30), (50, 40, 1))
    assert one.details["classes"] == 2
    assert one.settings == {"classes": 2}
    assert "1 of 3 classes have fewer than 2 images" in one.warnings[-1]
    missing = intra((60, 45, 30), (50, 40))
    assert missing.details["classes_only_in_real"] == ["c"]
    with pytest.raises(NotEnoughSamplesError, match="class with at least 2 images of each set; found none among 3"):
        intra((60, 45, 30), (1, 1, 1))
    y, x = drawn((20,), 0), drawn((20,), 1)
    with pytest.raises(ConfigError, match="intra-fid needs the class of every image.*REAL has none"):
        intra_fid.measure(metric_inputs(y[0], x[0], "intra-fid"))
    with pytest.raises(ConfigError, match="intra-fid found no class on both sides: a in REAL, z in FAKE"):
        intra_fid.measure(metric_inputs(y[0], x[0], "intra-fid", labels=(y[1], np.full(20, "z"))))


def test_groups_of_images_count_as_one() -> None:
    (y, y_labels), (x, x_labels) = drawn((60, 45, 30), 0), drawn((40, 40, 40), 1, 0.3)
    plain = metric_inputs(y, x, "intra-fid", labels=(y_labels, x_labels))
    each, pairs = (
        intra_fid.measure(replace(plain, fake=replace(plain.fake, groups=np.arange(120) // size)))["intra-fid"]
        for size in (1, 2)
    )
    alone = intra_fid.measure(plain)["intra-fid"]
    assert each.standard_error == pytest.approx(alone.standard_error, rel=1e-9)
    assert pairs.standard_error != each.standard_error
    assert pairs.details["weighted_se"] is None
    kid = kernel.measure(
        replace(
            plain,
            wanted=frozenset(["kid"]),
            settings=Settings(per_class=True),
            fake=replace(plain.fake, groups=np.arange(120) // 2),
        )
    )["kid"]
    assert kid.details["per_class"]["a"]["interval"] is not None  # type: ignore[index]


def ratio_of_errors(sizes: tuple[int, ...], shift: float, repeats: int) -> float:
    """The mean standard error over the deviation of the value, over many draws."""
    found = [intra(sizes, sizes, seed, shift) for seed in range(repeats)]
    errors = [one.standard_error for one in found if one.standard_error is not None]
    assert len(errors) == repeats
    return float(np.mean(errors) / np.std([one.value for one in found], ddof=1))


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("sizes", "shift", "most"),
    [
        ((200, 120, 60), 0.5, 1.15),  # every class has more than 2.5 x 8 images
        ((40, 30, 24), 0.5, 1.15),
        ((18, 14, 12), 0.5, 1.6),
        ((18, 14, 12), 0.0, 1.6),
    ],
)
def test_its_error_against_many_draws(sizes: tuple[int, ...], shift: float, most: float) -> None:
    assert 0.9 <= ratio_of_errors(sizes, shift, 600) <= most


def test_its_error_against_some_draws() -> None:
    assert 0.85 <= ratio_of_errors((40, 30, 24), 0.5, 100) <= 1.2
    assert 0.85 <= ratio_of_errors((18, 14, 12), 0.5, 100) <= 1.65
