"""Symmetric, clipped and per-image forms of the four: against theory, brute force, simulation and outliers."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from support.sides import metric_inputs

from ganeval.metrics.clipped import clipped_coverage, expected_coverage
from ganeval.metrics.precision_recall import FORMS, measure, neighbourhoods, with_errors
from ganeval.metrics.rarity import rarity
from ganeval.metrics.realism import realism
from ganeval.parsing.layout import to_json
from ganeval.report.table import columns
from ganeval.results import MetricResult
from ganeval.statistics import depth, neighbours, tiles_torch

CLIPPED = ("clipped density", "clipped coverage")


def drawn(n: int, d: int = 8, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    return (scale * np.random.default_rng(seed).standard_normal((n, d))).astype(np.float32)


def spoilt(n: int, share: float, seed: int) -> np.ndarray:
    """The law of ``drawn`` with a share of far outliers."""
    x = drawn(n, seed=seed)
    bad = int(share * n)
    x[:bad] = 100 + 50 * drawn(bad, seed=seed + 10_000)
    return x


def distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    squared: np.ndarray = ((x[:, None].astype(np.float64) - y[None]) ** 2).sum(-1)
    return squared


def four(real: np.ndarray, fake: np.ndarray) -> dict[str, MetricResult]:
    return measure(metric_inputs(real, fake, *FORMS))


@pytest.mark.parametrize("copies", [0, 12])
def test_against_brute_force(copies: int) -> None:
    """All four forms in float64 over the whole matrix; copies among the reals make exact ties."""
    real, fake = drawn(150, seed=1), drawn(130, seed=2, scale=0.9)
    real[:copies] = real[20]
    fake[: copies // 2] = real[30 : 30 + copies // 2]
    n = len(fake)
    own = [np.sort(distances(x, x), axis=1) for x in (real, fake)]
    across = distances(fake, real)
    near_real, near_fake = across <= own[0][:, 3], across <= own[1][:, 3][:, None]
    precision, recall = near_real.any(axis=1).mean(), near_fake.any(axis=0).mean()
    r = own[0][:, 5]
    cut = np.minimum(r, np.median(r))
    among = (distances(real, real) <= cut).sum(axis=1) - 1
    share, of_reals = (np.minimum(c / 5, 1).mean() for c in ((across <= cut).sum(axis=1), among))
    found = neighbourhoods(real, fake).others()
    assert found["symmetric precision"] == min(precision, near_fake.any(axis=1).mean())
    assert found["symmetric recall"] == min(recall, near_real.any(axis=0).mean())
    assert found["clipped density"] == pytest.approx(min(share / of_reals, 1), rel=1e-12)
    assert found["clipped coverage"] == clipped_coverage((across < r).sum(axis=0), n, 5)


def test_curve_against_the_full_sum_and_simulation() -> None:
    """K terms give what all g + 1 terms give; f(0) = 0, f(1) = 1/m, strictly increasing."""
    from scipy.stats import betabinom

    m, k = 300, 5
    good = np.arange(301)
    curve = expected_coverage(good, m, k)
    for g in (0, 1, 2, 30, 300):
        j = np.arange(g + 1)
        assert curve[g] == pytest.approx((np.minimum(j, k) * betabinom.pmf(j, g, k, m - k)).sum() / k, abs=1e-10)
    assert curve[0] == pytest.approx(0, abs=1e-12)
    assert curve[1] == pytest.approx(1 / m)
    assert (np.diff(curve) > 0).all()
    for share in (0.1, 0.5, 1.0):
        values = []
        for i in range(60):
            near = neighbourhoods(drawn(m, seed=2 * i), spoilt(300, 1 - share, 2 * i + 1)).fakes_near
            values.append(np.minimum(near, k).mean() / k)
        assert abs(np.mean(values) - curve[round(300 * share)]) < 3.5 * np.std(values, ddof=1) / np.sqrt(60)


def test_outliers_cost_their_share() -> None:
    """A share x of the fakes far away: 1 - x. Three per cent of outliers in both: nothing moves."""
    for share in (0.1, 0.3, 0.6):
        found = [neighbourhoods(drawn(400, seed=3 * i), spoilt(400, share, 3 * i + 1)).others() for i in range(15)]
        for name in CLIPPED:
            assert np.mean([f[name] for f in found]) == pytest.approx(1 - share, abs=0.03), name
    both = [neighbourhoods(spoilt(400, 0.03, 3 * i), spoilt(400, 0.03, 3 * i + 1)).others() for i in range(15)]
    for name in CLIPPED:
        assert np.mean([f[name] for f in both]) == pytest.approx(0.985, abs=0.03), name


def test_an_outlier_inflates_precision_and_not_the_clipped_form() -> None:
    real = drawn(300, 32, 1)
    wide = real.copy()
    wide[0] = 30
    shifted = drawn(300, 32, 2) + 1
    before, after = (neighbourhoods(y, shifted) for y in (real, wide))
    assert after.values()["precision"] > before.values()["precision"] + 0.3
    assert after.others()["clipped density"] == pytest.approx(before.others()["clipped density"], abs=0.02)


def test_symmetric_forms_see_what_one_side_alone_does_not() -> None:
    """Inside a sphere of high dimension precision is 1 though no real lies among the fakes."""
    real, inner = drawn(400, 64, 1), drawn(400, 64, 2, 0.7)
    found = neighbourhoods(real, inner)
    assert found.values()["precision"] > 0.99
    assert found.others()["symmetric precision"] < 0.1


@pytest.mark.nightly
def test_block_errors_of_the_other_forms_against_the_spread() -> None:
    """Within 20 % over 120 draws of 800 + 800, where the values are off their ends."""
    values, errors = [], []
    for i in range(120):
        real, fake = drawn(800, 8, 2 * i), drawn(800, 8, 2 * i + 1, 1.2)
        values.append(neighbourhoods(real, fake).others())
        if i < 40:
            errors.append(with_errors(real, fake)[1])
    for name in values[0]:
        spread = np.std([v[name] for v in values], ddof=1)
        assert np.sqrt(np.mean([e[name] ** 2 for e in errors])) == pytest.approx(spread, rel=0.20), name


@pytest.mark.parametrize("accelerator", [False, True])
@pytest.mark.parametrize("squared", [False, True])
def test_realism_against_its_formula(squared: bool, accelerator: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also the authors' form: squared distances, and 1e-5 in the denominator."""
    real, fake = drawn(500, 24, 1), drawn(300, 24, 2)
    fake[:20] = real[:20]
    fake[20:40] = real[20:40] + np.float32(1e-4)
    r = np.sort(distances(real, real), axis=1)[:, 3]
    kept = r <= np.median(r)
    across = distances(fake, real)[:, kept]
    with np.errstate(divide="ignore"):
        expected = (r[kept] / (across + 1e-5)).max(axis=1) if squared else np.sqrt((r[kept] / across).max(axis=1))
    used = []
    if accelerator:  # the tiles of one, in small, on the CPU
        monkeypatch.setattr(tiles_torch, "_ROWS", 128)
        monkeypatch.setattr(tiles_torch, "_COLUMNS", 100)
        for module in (neighbours, depth):
            monkeypatch.setattr(module, "accelerates", lambda device: used.append(device) or True)
    found = realism(real, fake, squared=squared, device=torch.device("cpu"))
    assert bool(used) == accelerator
    assert np.array_equal(np.isinf(found), np.isinf(expected))
    assert np.isinf(found).any() != squared
    finite = np.isfinite(expected)
    assert found[finite] == pytest.approx(expected[finite], rel=1e-12)


def test_details_and_per_image() -> None:
    real, fake = drawn(400, seed=1), drawn(400, seed=2, scale=0.9)
    results = four(real, fake)
    for name, form in FORMS.items():
        entry: Any = results[name].details[form]
        assert 0 < entry["value"] <= 1
        assert entry["standard_error"] > 0
        low, high = entry["interval"]
        assert 0 <= low < high <= 1
        assert low <= entry["value"] <= high
    scores = results["precision"].per_image["realism_fake"]
    summary: Any = results["precision"].details["realism"]
    assert summary["mean"] == pytest.approx(scores.mean())
    assert summary["standard_error"] == pytest.approx(scores.std(ddof=1) / 20)
    assert summary["copies"] == 0
    fake[:300] = real[:300]  # more than half: even the median is infinite
    copied = four(real, fake)["precision"]
    assert np.isinf(copied.per_image["realism_fake"]).sum() > 100
    entry = json.loads(to_json(copied.to_dict()))["details"]["realism"]
    assert entry["mean"] is None
    assert entry["copies"] == np.isinf(copied.per_image["realism_fake"]).sum()
    fixed = measure(metric_inputs(real, fake, "precision", "density", radius=2.0))
    assert "clipped" not in fixed["density"].details
    assert "realism" not in fixed["precision"].details


@pytest.mark.parametrize("accelerator", [False, True])
def test_rarity_against_its_formula(accelerator: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    real, fake = drawn(500, 12, 1), drawn(1300, 12, 2)
    fake[:20] = real[:20]
    squared = np.sort(distances(real, real), axis=1)[:, 3]
    held = distances(fake, real) <= squared
    expected = np.sqrt(np.where(held, squared, np.inf).min(axis=1))
    if accelerator:  # the tiles of one, in small, on the CPU
        monkeypatch.setattr(tiles_torch, "_ROWS", 128)
        monkeypatch.setattr(tiles_torch, "_COLUMNS", 100)
        monkeypatch.setattr(depth, "accelerates", lambda device: True)
    found = rarity(real, fake, squared_radii=squared, device=torch.device("cpu"))
    assert np.array_equal(np.isnan(found), np.isinf(expected))
    assert 0 < np.isnan(found).mean() < 1
    assert found[held.any(axis=1)] == pytest.approx(expected[held.any(axis=1)], rel=1e-12)


def test_rarity_on_request() -> None:
    real, fake = drawn(400, seed=1), drawn(400, seed=2, scale=0.9)
    asked, other = (measure(metric_inputs(real, fake, "precision", rarity=on))["precision"] for on in (True, False))
    scores = asked.per_image["rarity_fake"]
    entry: Any = asked.details["rarity"]
    assert entry["share_inside"] == asked.value == np.mean(~np.isnan(scores))
    assert entry["mean"] == pytest.approx(np.nanmean(scores))
    assert "rarity" not in other.details
    assert columns(asked.per_image, 400, 400)["rarity"][:400] == pytest.approx(scores, nan_ok=True)
    outside = measure(metric_inputs(real, fake + np.float32(1e3), "precision", rarity=True))["precision"]
    assert json.loads(to_json(outside.to_dict()))["details"]["rarity"]["mean"] is None


def test_near_duplicates_are_told() -> None:
    real = drawn(300, seed=1)
    clean = four(real, drawn(300, seed=2))["precision"]
    assert not clean.warnings
    repeated = np.concatenate([drawn(200, seed=2), drawn(50, seed=2)[:50].repeat(2, axis=0)])
    repeated[200:] += 1e-3 * drawn(100, seed=3)
    warned = four(real, repeated)["precision"]
    assert any(
        "150 of 300 fake images nearly repeat another one (0 of 300 real images do)" in w for w in warned.warnings
    )
    both = four(np.concatenate([real[:150], real[:150] + 1e-4 * drawn(150, seed=4)]), repeated)["precision"]
    assert not any("nearly repeat" in w for w in both.warnings)
