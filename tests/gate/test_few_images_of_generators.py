"""What a gate decides on real generators with few images: the shipped DCGAN, itself, and itself with worse weights."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import nn

from ganeval import build_statistics, load_statistics
from ganeval.files import reference_stats_dir
from ganeval.generators.checkpoint import load_generator
from ganeval.generators.load import WEIGHTS
from ganeval.metrics.calibration import kappa
from ganeval.metrics.frechet_result import distance
from ganeval.metrics.leave_one_out import LeaveOneOut, leave_one_out
from ganeval.statistics.moments import Gaussian, Moments
from ganeval.statistics.rows import FeatureRows

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(1800)]
POOL = 8000


def kept(array: np.ndarray) -> tuple[Gaussian, FeatureRows]:
    rows, moments = FeatureRows(array.shape[1], memory_limit=array.size * 4), Moments(array.shape[1])
    rows.append(array)
    moments.update(array)
    return moments.finish(), rows


def rounded(model: nn.Module, bits: int) -> nn.Module:
    """Each weight to the nearest of 2^bits - 1 values, evenly from minus to plus the largest of its tensor."""
    worse = copy.deepcopy(model)
    with torch.no_grad():
        for weight in worse.parameters():
            if weight.ndim > 1:
                step = weight.abs().max() / (2 ** (bits - 1) - 1)
                weight.copy_((weight / step).round() * step)
    return worse


@pytest.fixture(scope="module")
def pools() -> Mapping[str, np.ndarray]:
    """Features of the same latents through the generator and through its 4-bit copy."""
    model = load_generator(WEIGHTS / "dcgan-cifar10.safetensors").module
    settings = {"num_samples": POOL, "protocol": "compact", "device": "cpu", "rows": True, "cache": False}
    found = {"good": model, "worse": rounded(model, 4)}
    return {name: np.asarray(build_statistics(one, **settings).rows) for name, one in found.items()}


@pytest.fixture(scope="module")
def reference() -> tuple[Gaussian, FeatureRows]:
    stats = load_statistics(reference_stats_dir() / "cifar10-test.npz")
    assert stats.row_sample is not None
    return stats.gaussian(), kept(stats.row_sample)[1]


def calibrated(real: Gaussian, rows: np.ndarray, known: float) -> LeaveOneOut:
    gaussian, fake_rows = kept(rows)
    return leave_one_out(real, gaussian, fake_rows, kappa=known)


def decided(real: Gaussian, rows: np.ndarray, known: float | None) -> tuple[float, float]:
    """What a gate decides on, and its error: the calibrated value, or, of more images, the corrected one."""
    if known is not None:
        few = calibrated(real, rows, known)
        return few.value, few.standard_error
    gaussian, fake_rows = kept(rows)
    found = distance(real, gaussian, None, fake_rows, reference="population")
    assert found.corrected is not None
    assert found.standard_error is not None
    return found.corrected, found.standard_error


def test_half_an_image_a_feature_finds_weights_of_four_bits(
    pools: Mapping[str, np.ndarray], reference: tuple[Gaussian, FeatureRows]
) -> None:
    real, real_rows = reference
    n, runs = real.dimension // 2, 100
    known, found = kappa(real, n, real_rows).value, 0
    for seed in range(runs):
        chosen = np.random.default_rng(seed).integers(0, POOL, n)
        good, worse = (calibrated(real, pools[name][chosen], known) for name in ("good", "worse"))
        error = np.sqrt(np.var(worse.pseudo_fake - good.pseudo_fake, ddof=1) / n)
        found += worse.value - good.value > 1.657 * error
    assert found / runs >= 0.9


@pytest.mark.parametrize("n", [100, 256, 600, 1000, 2000])
def test_two_equal_generators_are_told_apart_in_at_most_one_of_twenty(
    n: int, pools: Mapping[str, np.ndarray], reference: tuple[Gaussian, FeatureRows]
) -> None:
    real, real_rows = reference
    known, false, runs = kappa(real, n, real_rows).value if n < 2.5 * real.dimension else None, 0, 300
    for seed in range(runs):
        chosen = np.random.default_rng(seed).permutation(POOL)[: 2 * n].reshape(2, n)
        a, b = (decided(real, pools["good"][one], known) for one in chosen)
        false += b[0] - a[0] > 1.65 * np.hypot(a[1], b[1])
    assert false / runs <= 0.05 + 2 * (0.05 * 0.95 / runs) ** 0.5


@pytest.mark.parametrize("n", [64, 256])
def test_real_features_against_the_dcgan_are_covered(
    n: int, pools: Mapping[str, np.ndarray], reference: tuple[Gaussian, FeatureRows]
) -> None:
    real, runs = reference[0], 400
    found = []
    for seed in range(runs):
        gaussian, rows = kept(pools["good"][np.random.default_rng(seed).integers(0, POOL, n)])
        found.append(leave_one_out(real, gaussian, rows))
    values = np.array([one.value for one in found])
    inside = [abs(one.value - values.mean()) <= one.half_width(0.95) for one in found]
    assert 0.92 <= np.mean(inside) <= 0.98 + 0.007
