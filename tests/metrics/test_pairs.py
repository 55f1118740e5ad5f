"""Similarity and distance of pairs: against torchmetrics on 8-bit images of odd sizes, and their coverage."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from ganeval.metrics import pairs
from ganeval.protocol import scores_protocol

peers = pytest.importorskip("torchmetrics.functional.image")


def images(height: int, width: int, n: int = 3) -> tuple[Tensor, Tensor]:
    """Smooth 8-bit images and noisy copies, as floats from 0 to 1."""
    rng = np.random.default_rng(height)
    coarse = torch.from_numpy(rng.random((n, 3, height // 8 + 2, width // 8 + 2)))
    real = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)
    fake = (real + torch.from_numpy(rng.normal(0, 0.1, real.shape))).clamp(0, 1)
    return ((real * 255).round() / 255, (fake * 255).round() / 255)


@pytest.mark.parametrize(("height", "width"), [(33, 47), (11, 20), (101, 64)])
def test_ssim_and_psnr_against_torchmetrics(height: int, width: int) -> None:
    real, fake = images(height, width)
    found, expected = (
        pairs.ssim(real, fake),
        [
            float(peers.structural_similarity_index_measure(fake[i : i + 1], real[i : i + 1], data_range=1.0))
            for i in range(len(real))
        ],
    )
    assert found.tolist() == pytest.approx(expected, abs=1e-6)
    peer = peers.peak_signal_noise_ratio(fake, real, data_range=1.0, dim=(1, 2, 3), reduction="none")
    assert pairs.psnr(real, fake).tolist() == pytest.approx(peer.tolist(), abs=1e-6)


@pytest.mark.parametrize(("height", "width"), [(33, 47), (101, 64)])
def test_ssim_and_psnr_against_scikit_image(height: int, width: int) -> None:
    """Its mean leaves out the borders: it is given images with the borders that torchmetrics adds."""
    peer = pytest.importorskip("skimage.metrics")
    real, fake = images(height, width)
    half = pairs.WINDOW // 2
    expected = [
        peer.structural_similarity(
            *(np.pad(image, ((0, 0), (half, half), (half, half)), mode="reflect") for image in both),
            data_range=1.0,
            channel_axis=0,
            gaussian_weights=True,
            sigma=pairs.SIGMA,
            use_sample_covariance=False,
        )
        for both in zip(real.numpy(), fake.numpy(), strict=True)
    ]
    assert pairs.ssim(real, fake).tolist() == pytest.approx(expected, abs=1e-6)
    noise = [
        peer.peak_signal_noise_ratio(a, b, data_range=1.0) for a, b in zip(real.numpy(), fake.numpy(), strict=True)
    ]
    assert pairs.psnr(real, fake).tolist() == pytest.approx(noise, abs=1e-6)


@pytest.mark.parametrize(("height", "width"), [(177, 191), (176, 203)])
def test_ms_ssim_against_torchmetrics(height: int, width: int) -> None:
    real, fake = images(height, width, n=2)
    peer = [
        float(peers.multiscale_structural_similarity_index_measure(fake[i : i + 1], real[i : i + 1], data_range=1.0))
        for i in range(2)
    ]
    assert pairs.ms_ssim(real, fake).tolist() == pytest.approx(peer, abs=1e-6)


def test_flat_images_against_torchmetrics() -> None:
    """The variance is 0 up to rounding, where a difference of large numbers could be below 0."""
    real, fake = torch.full((1, 3, 25, 25), 200 / 255).double(), torch.full((1, 3, 25, 25), 190 / 255).double()
    peer = peers.structural_similarity_index_measure(fake, real, data_range=1.0)
    assert float(pairs.ssim(real, fake)) == pytest.approx(float(peer), abs=1e-9)


def test_distances_by_hand() -> None:
    real, fake = torch.zeros(2, 3, 12, 12), torch.zeros(2, 3, 12, 12)
    fake[1, :, :6] = 0.5
    assert pairs.l1(real, fake).tolist() == [0.0, 0.25]
    assert pairs.l2(real, fake).tolist() == pytest.approx([0.0, 0.125**0.5])
    assert pairs.luma(torch.ones(1, 3, 1, 1).double()).item() == pytest.approx(235 / 255, abs=1e-9)


@pytest.mark.parametrize(("function", "limit"), [(pairs.ssim, 1.0), (pairs.ms_ssim, 1.0), (pairs.l1, 0), (pairs.l2, 0)])
def test_identical_pairs_have_the_exact_limit(function: Callable[[Tensor, Tensor], Tensor], limit: float) -> None:
    real, _ = images(176, 180, n=1)
    assert float(function(real, real)) == pytest.approx(limit, abs=1e-12)


def result(name: str, values: np.ndarray) -> object:
    return pairs.result(
        name,
        values,
        protocol=scores_protocol(),
        label=name,
        reference="r",
        inputs=np.arange(len(values), dtype=np.uint64),
    )


def test_identical_pairs_are_not_in_the_mean_of_psnr() -> None:
    values = np.append(np.random.default_rng(0).normal(30, 2, 40), [np.inf, np.inf])
    found = result("psnr", values)
    assert found is not None
    assert found.value == pytest.approx(values[:40].mean())  # type: ignore[attr-defined]
    assert found.details["identical"] == 2  # type: ignore[attr-defined]
    assert "2 of 42 pairs are identical" in found.warnings[0]  # type: ignore[attr-defined]
    assert result("psnr", np.full(20, np.inf)) is None
