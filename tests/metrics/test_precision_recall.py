"""Precision, recall, density, coverage: against prdc, brute force and theory, and the two that could be swapped."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.peers import needs_peer
from support.sides import metric_inputs

from ganeval.errors import NotEnoughSamplesError
from ganeval.metrics.intervals import quantile
from ganeval.metrics.precision_recall import (
    BLOCKS,
    DEFAULT_K,
    FORMS,
    PARTITIONS,
    measure,
    neighbourhoods,
    null_coverage,
    with_errors,
)
from ganeval.metrics.registry import METRICS
from ganeval.metrics.types import MetricInputs

FOUR = frozenset({"precision", "recall", "density", "coverage"})


def drawn(n: int, d: int = 8, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    return (scale * np.random.default_rng(seed).standard_normal((n, d))).astype(np.float32)


def inputs(real: np.ndarray, fake: np.ndarray, *wanted: str, **settings: object) -> MetricInputs:
    return metric_inputs(real, fake, *(wanted or FOUR), **settings)


@needs_peer("prdc")
def test_values_against_prdc() -> None:
    from prdc import compute_prdc

    real, fake = drawn(400, seed=1), drawn(300, seed=2, scale=0.8)
    theirs = compute_prdc(real_features=real.astype(np.float64), fake_features=fake.astype(np.float64), nearest_k=5)
    five = dict.fromkeys(FOUR, 5)
    ours = neighbourhoods(real, fake, k=five, strict=True).values()
    assert ours == pytest.approx(theirs, abs=1e-12)


def test_collapse_costs_recall_and_not_precision() -> None:
    """The two cannot be swapped: fakes in one corner of the reals are precise and recall nothing, and the reverse."""
    real, corner = drawn(600, seed=1), drawn(600, seed=2, scale=0.2)
    found = neighbourhoods(real, corner).values()
    assert found["precision"] > 0.99
    assert found["recall"] < 0.05
    assert found["coverage"] < 0.6
    turned = neighbourhoods(corner, real).values()
    assert turned["precision"] < 0.05
    assert turned["recall"] > 0.99


def test_equal_laws_against_theory() -> None:
    """Density 1 and coverage 1 - prod (m - i) / (n + m - i), whatever the law."""
    for m, n in ((200, 200), (200, 500), (300, 100)):
        values = [neighbourhoods(drawn(m, 3, 2 * i), drawn(n, 3, 2 * i + 1)).values() for i in range(150)]
        for name, truth in (("density", 1.0), ("coverage", null_coverage(m, n, 5))):
            got = np.array([v[name] for v in values])
            assert abs(got.mean() - truth) < 3.5 * got.std(ddof=1) / np.sqrt(len(got)), name


@pytest.mark.nightly
def test_block_errors_against_the_spread() -> None:
    """Standard errors of all four within 20 % of the truth, over 120 draws of 800 + 800."""
    values, errors = [], []
    for i in range(120):
        real, fake = drawn(800, 8, 2 * i), drawn(800, 8, 2 * i + 1, scale=0.85)
        values.append(neighbourhoods(real, fake).values())
        if i < 40:
            errors.append(with_errors(real, fake)[1])
    for name in FOUR:
        spread = np.std([v[name] for v in values], ddof=1)
        assert np.sqrt(np.mean([e[name] ** 2 for e in errors])) == pytest.approx(spread, rel=0.20), name


@pytest.mark.parametrize("kind", ["continuous", "copies", "collapsed", "apart", "radius"])
def test_errors_against_blocks_that_are_searched_one_by_one(kind: str) -> None:
    """From the products of the whole sets, bit for bit what each block by itself gives: ties and rare cases too."""
    real, fake = drawn(330, 4, seed=1), drawn(290, 4, seed=2, scale=0.8)
    if kind == "copies":
        real[100:200], fake[:120] = real[:100], real[150:270]
    if kind == "collapsed":
        fake = np.tile(fake[:5], (58, 1))
    if kind == "apart":
        fake = fake + 50
    radius = 1.5 if kind == "radius" else None
    for strict in (None, True, False):
        whole, errors = with_errors(real, fake, strict=strict, radius=radius)
        assert whole.values() == neighbourhoods(real, fake, strict=strict, radius=radius).values()
        random, variances = np.random.default_rng(0), []
        for _ in range(PARTITIONS):
            orders = [np.array_split(random.permutation(len(points)), BLOCKS) for points in (real, fake)]
            found = [
                neighbourhoods(real[i], fake[j], strict=strict, radius=radius) for i, j in zip(*orders, strict=True)
            ]
            values = [f.values() | f.others() for f in found]
            variances.append({name: np.var([v[name] for v in values], ddof=1) / BLOCKS for name in values[0]})
        assert set(errors) == set(variances[0])
        for name in errors:
            assert errors[name] == pytest.approx(np.sqrt(np.mean([v[name] for v in variances])), rel=1e-12), name


def test_fixed_radius_and_other_k() -> None:
    real, fake = drawn(200, seed=1), drawn(180, seed=2)
    huge = neighbourhoods(real, fake, radius=1e3).values()
    assert (huge["precision"], huge["recall"], huge["coverage"]) == (1.0, 1.0, 1.0)
    tiny = neighbourhoods(real, fake, radius=1e-3).values()
    assert (tiny["precision"], tiny["recall"], tiny["coverage"]) == (0.0, 0.0, 0.0)
    few, many = (measure(inputs(real, fake, neighbours=k))["recall"] for k in (1, 9))
    assert few.value < many.value
    assert few.comparison_key() != many.comparison_key()
    with_border, without = (measure(inputs(real, real[:150], strict=s))["density"] for s in (False, True))
    assert with_border.value > without.value  # copies lie on borders


def test_results() -> None:
    results = measure(inputs(drawn(400, seed=1), drawn(400, seed=2, scale=0.9)))
    assert set(results) == FOUR
    for result in results.values():
        assert result.interval is not None
        assert result.interval.estimand == "protocol"
        assert result.interval.low < result.value < result.interval.high
        assert result.higher_is_better
    assert results["coverage"].details["null"] == pytest.approx(null_coverage(400, 400, 5))
    one = measure(inputs(drawn(400, seed=1), drawn(400, seed=2, scale=0.9), "recall"))
    assert set(one) == {"recall"}


@pytest.mark.parametrize("level", [0.95, 0.999])
def test_intervals_stay_in_the_range(level: float) -> None:
    """Near an end the interval of few blocks reaches beyond what a share can be: it is cut there, with a width left."""
    for scale in (0.95, 0.3, 3.0):
        chosen = replace(inputs(drawn(120, seed=1), drawn(120, seed=2, scale=scale)), level=level)
        for name, result in measure(chosen).items():
            low, high = METRICS[name].range
            for ends in (result.interval, result.details.get(FORMS[name], {}).get("interval")):  # type: ignore[attr-defined]
                if ends is None:
                    continue
                ends = ends if isinstance(ends, list) else [ends.low, ends.high]
                assert low <= ends[0] < ends[1] <= high, name
            if result.interval is not None:
                assert result.interval.low <= result.value <= result.interval.high
                half = quantile(level, BLOCKS - 1) * (result.standard_error or 0.0)
                assert result.interval.low == pytest.approx(max(low, result.value - half))
                assert result.interval.high == pytest.approx(min(high, result.value + half))


def test_fewer_neighbours_need_fewer_images() -> None:
    """Precision alone is of the third neighbour: four reals are enough, and what density needs is not searched."""
    real, fake = drawn(4, seed=1), drawn(40, seed=2)
    alone = measure(inputs(real, fake, "precision"))["precision"]
    assert alone.value == neighbourhoods(real, fake, k=dict.fromkeys(FOUR, 3)).values()["precision"]
    with pytest.raises(NotEnoughSamplesError, match="density, precision need at least 6 real images; found 4"):
        measure(inputs(real, fake, "precision", "density"))
    real = drawn(400, seed=1)
    few, all_four = measure(inputs(real, fake, "precision")), measure(inputs(real, fake))
    assert few["precision"].value == all_four["precision"].value
    assert few["precision"].interval is not None  # blocks of 10 hold three neighbours twice over, not five
    assert all_four["precision"].interval is None
    more = measure(inputs(real, real[:200] + 0.1, "precision")), measure(inputs(real, real[:200] + 0.1))
    assert more[0]["precision"].standard_error == more[1]["precision"].standard_error


@pytest.mark.parametrize("copies", [3, 4, 5, 6])
@pytest.mark.parametrize("neighbours", [None, 4])
def test_balls_of_radius_0_are_told_of_the_k_that_each_metric_uses(copies: int, neighbours: int | None) -> None:
    repeated, others = np.repeat(drawn(40, seed=3), copies, axis=0), drawn(40 * copies, seed=4)
    for real, fake, side in ((repeated, others, "real"), (others, repeated, "fake")):
        found = measure(inputs(real, fake, neighbours=neighbours))
        for name, result in found.items():
            k = neighbours or DEFAULT_K[name]
            told = [w for w in result.warnings if "radius 0" in w]
            uses = "fake" if name == "recall" else "real"
            if side != uses or copies <= k:  # an image and k copies of it are k + 1 images
                assert not told
            else:
                n = len(repeated)
                assert told == [
                    f"{name}: {n} of {n} {side} images have {k} or more exact copies: their balls (k = {k}) have "
                    "radius 0 and hold no other image"
                ]
                assert name not in ("precision", "recall") or result.value == 0


def test_measure_degenerate() -> None:
    with pytest.raises(NotEnoughSamplesError, match="at least 6 real images; found 5"):
        measure(inputs(drawn(5), drawn(50, seed=1)))
    small = measure(inputs(drawn(30), drawn(30, seed=1)))["precision"]
    assert small.interval is None
    assert small.reason is not None
    assert (small.reason.code, small.reason.numbers["neighbours"]) == ("too_few_in_block", 5)
    copies = np.repeat(drawn(40, seed=3), 10, axis=0)
    found = measure(inputs(copies, drawn(400, seed=4)))["precision"]
    assert any("precision: 400 of 400 real images have 3 or more exact copies" in w for w in found.warnings)
    unequal = measure(inputs(drawn(100), drawn(200, seed=1)))["recall"]
    assert any("differ here" in w for w in unequal.warnings)
