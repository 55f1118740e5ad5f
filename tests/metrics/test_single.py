"""Neighbours across the sets against brute force, and the distance of fewer fakes against theory."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from ganeval.metrics import single
from ganeval.metrics.frechet import frechet_distance, frechet_inference
from ganeval.metrics.single import SHARES, WIDEST, distance_by_size, neighbours_across
from ganeval.metrics.types import FeatureSet
from ganeval.statistics.moments import Moments
from ganeval.statistics.rows import FeatureRows


def feature_set(x: np.ndarray) -> FeatureSet:
    moments, rows = Moments(x.shape[1]), FeatureRows(x.shape[1])
    moments.update(x)
    rows.append(x)
    return FeatureSet(n=len(x), gaussian=moments.finish(), rows=rows)


def test_neighbours_against_brute_force() -> None:
    random = np.random.default_rng(0)
    real, fake = (random.standard_normal((n, 5)).astype(np.float32) for n in (40, 30))
    fake[3] = real[7]
    found = neighbours_across(real, fake)
    between, among = cdist(fake, real), cdist(real, real)
    np.fill_diagonal(among, np.inf)
    np.testing.assert_array_equal(found["nearest_real_fake"], between.argmin(1))
    np.testing.assert_allclose(found["nearest_distance_fake"], between.min(1), rtol=1e-6)
    np.testing.assert_array_equal(found["nearest_fake_real"], between.argmin(0))
    np.testing.assert_allclose(found["nearest_distance_real"], between.min(0), rtol=1e-6)
    np.testing.assert_allclose(found["own_distance_real"], among.min(1), rtol=1e-6)
    np.testing.assert_allclose(found["nearest_ratio_fake"], between.min(1) / among.min(1)[between.argmin(1)], rtol=1e-6)
    assert found["nearest_ratio_fake"][3] == 0


def test_neighbours_of_copies_degenerate() -> None:
    """A real that has a twin: what equals it is a copy, what is beside it is not."""
    real = np.array([[0, 0], [0, 0], [9, 9]], np.float32)
    found = neighbours_across(real, np.array([[0, 0], [1, 0]], np.float32))
    assert found["nearest_ratio_fake"].tolist() == [0.0, np.inf]


def test_distance_by_size_against_theory() -> None:
    """Equal laws: the plain value is nearly all bias, which falls as 1 / n; corrected, nothing is left."""
    random = np.random.default_rng(1)
    real, fake = (feature_set(random.standard_normal((n, 8)).astype(np.float32)) for n in (20_000, 4000))
    sizes = distance_by_size(real, fake, reference="sample", ddof=1)
    assert [s["n"] for s in sizes] == [int(share * 4000) for share in SHARES]
    plain = np.array([s["value"] for s in sizes], dtype=float)
    assert (np.diff(plain) < 0).all()
    for one in sizes:
        assert isinstance(one["corrected"], float)
        assert isinstance(one["standard_error"], float)
        assert abs(one["corrected"]) < 4 * one["standard_error"]


def test_distance_by_size_is_that_of_the_subset_itself() -> None:
    random = np.random.default_rng(2)
    real, fake = (feature_set(random.standard_normal((n, 4)).astype(np.float32)) for n in (200, 160))
    (*_, half) = distance_by_size(real, fake, reference="sample", ddof=1)
    assert fake.rows is not None
    chosen = feature_set(fake.rows.to_array()[np.sort(np.random.default_rng(0).permutation(160)[:80])])
    assert real.gaussian is not None
    assert real.rows is not None
    assert chosen.gaussian is not None
    assert chosen.rows is not None
    direct = frechet_inference(real.gaussian, chosen.gaussian, real.rows, chosen.rows)
    assert half["value"] == pytest.approx(direct.value, rel=1e-12)
    assert half["corrected"] == pytest.approx(direct.corrected, rel=1e-9)


def test_distance_by_size_of_many_features(monkeypatch: pytest.MonkeyPatch) -> None:
    """Past WIDEST few sizes, each the distance of the subset itself from fixed reals, with the error of that number."""
    monkeypatch.setattr(single, "WIDEST", 39)
    monkeypatch.setattr(single, "FEW", (8, 16, 32, 64))
    random = np.random.default_rng(4)
    mixing = random.standard_normal((40, 40)).astype(np.float32)
    real, fake = (feature_set(random.standard_normal((n, 40)).astype(np.float32) @ mixing) for n in (300, 100))
    sizes = distance_by_size(real, fake, reference="sample", ddof=1)
    assert [s["n"] for s in sizes] == [8, 16, 32]  # not more than the features
    assert fake.rows is not None
    assert real.gaussian is not None
    for one in sizes:
        chosen = feature_set(
            fake.rows.to_array()[np.sort(np.random.default_rng(0).permutation(100)[: int(str(one["n"]))])]
        )
        assert chosen.gaussian is not None
        assert one["value"] == pytest.approx(frechet_distance(real.gaussian, chosen.gaussian).value, rel=1e-9)
        assert one["corrected"] is None
        enough = int(str(one["n"])) >= 10
        assert (one["standard_error"] is not None) == enough
        assert one["estimand"] == ("protocol-given-reference" if enough else None)


def test_distance_by_size_without_rows_or_of_too_few() -> None:
    one = feature_set(np.random.default_rng(3).standard_normal((50, 4)).astype(np.float32))
    assert distance_by_size(one, FeatureSet(n=50, gaussian=one.gaussian), reference="sample", ddof=1) == []
    wide = feature_set(np.random.default_rng(3).standard_normal((4, WIDEST + 1)).astype(np.float32))
    assert distance_by_size(wide, wide, reference="sample", ddof=1) == []
