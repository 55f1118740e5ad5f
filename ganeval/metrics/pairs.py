"""Similarity and distance of two images, pair by pair: SSIM, MS-SSIM, PSNR, L1, L2.

Images are floats from 0 to 1, (N, C, H, W), so the data range is 1. With means m, variances v and the covariance c in
a Gaussian window of 11 x 11 pixels (sigma 1.5), C1 = 0.01^2 and C2 = 0.03^2 (Wang et al. 2004, eq. 13)

    SSIM = mean over pixels and channels of (2 m_a m_b + C1) (2 c + C2) / ((m_a^2 + m_b^2 + C1) (v_a + v_b + C2))

The borders are reflected. All equal torchmetrics to 1e-6.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ganeval.metrics.build_result import NO_REFERENCE
from ganeval.metrics.registry import METRICS
from ganeval.metrics.sample_mean import mean_result, sample_mean
from ganeval.protocol import Protocol
from ganeval.results import MetricResult

WINDOW, SIGMA = 11, 1.5
SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # exponents, from fine to coarse (Wang et al. 2003)
LEAST_SIDE = WINDOW  # pixels, of SSIM
LEAST_SIDE_OF_SCALES = WINDOW * 2 ** (len(SCALES) - 1)  # 176 pixels
_C1, _C2 = 0.01**2, 0.03**2


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity of each pair, (N,), -1 to 1; equal to torchmetrics to 1e-6."""
    similarity, _ = _similarity_and_contrast(a, b)
    return similarity.mean((1, 2, 3))


def ms_ssim(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity at five scales, (N,), 0 to 1 (Wang et al. 2003); equal to torchmetrics to 1e-6.

    The contrast term of the four fine scales and the similarity of the coarsest, each to the power of its exponent.
    Negative terms count as 0. The sides have at least 176 pixels.
    """
    half = WINDOW // 2
    product = torch.ones(len(a), dtype=a.dtype, device=a.device)
    for scale, exponent in enumerate(SCALES):
        similarity, contrast = _similarity_and_contrast(a, b)
        last = scale == len(SCALES) - 1
        term = similarity if last else contrast[..., half:-half, half:-half]
        product = product * term.mean((1, 2, 3)).relu() ** exponent
        a, b = functional.avg_pool2d(a, 2), functional.avg_pool2d(b, 2)
    return product


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each pair in dB, (N,): -10 log10 of the mean squared error; inf where equal."""
    return -10 * torch.log10((a - b).square().mean((1, 2, 3)))


def l1(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute difference of each pair, (N,), 0 to 1."""
    return (a - b).abs().mean((1, 2, 3))


def l2(a: Tensor, b: Tensor) -> Tensor:
    """Root of the mean squared difference of each pair, (N,), 0 to 1."""
    return (a - b).square().mean((1, 2, 3)).sqrt()


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosine of the features of both images of each pair, (N, d) to (N,), -1 to 1."""
    return functional.cosine_similarity(a, b, dim=1)


def luma(images: Tensor) -> Tensor:
    """Luma of RGB, (N, 3, H, W) to (N, 1, H, W), by ITU-R BT.601 in its range from 16 / 255 to 235 / 255."""
    weights = torch.tensor([65.481, 128.553, 24.966], dtype=images.dtype, device=images.device) / 255
    return (images * weights.view(1, 3, 1, 1)).sum(1, keepdim=True) + 16 / 255


def _similarity_and_contrast(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """SSIM and its contrast term at every pixel."""
    mean_a, mean_b = _blurred(a), _blurred(b)
    squares, product = mean_a.square().add_(mean_b.square()), mean_a.mul_(mean_b)
    variances = _blurred(a.square().add_(b.square())).sub_(squares).clamp_min_(0)
    contrast = _blurred(a * b).sub_(product).mul_(2).add_(_C2).div_(variances.add_(_C2))
    luminance = product.mul_(2).add_(_C1).div_(squares.add_(_C1))
    return luminance.mul_(contrast), contrast


def _blurred(images: Tensor) -> Tensor:
    """The Gaussian mean at every pixel: down, then across, with reflected borders."""
    half = WINDOW // 2
    weights = [math.exp(-0.5 * ((i - half) / SIGMA) ** 2) for i in range(WINDOW)]
    total = sum(weights)
    padded = functional.pad(images, (half, half, half, half), mode="reflect")
    for dimension in (2, 3):
        length = padded.shape[dimension] - 2 * half
        padded = _weighted(padded, dimension, length, [weight / total for weight in weights])
    return padded


def _weighted(images: Tensor, dimension: int, length: int, weights: list[float]) -> Tensor:
    """The sum of shifted copies along a dimension; faster than a convolution with a window of two dimensions."""
    out = images.narrow(dimension, 0, length) * weights[0]
    for shift, weight in enumerate(weights[1:], 1):
        out.add_(images.narrow(dimension, shift, length), alpha=weight)
    return out


def result(
    name: str,
    values: np.ndarray,
    *,
    protocol: Protocol,
    label: str,
    reference: str | None,
    inputs: np.ndarray,
    level: float = 0.95,
    groups: np.ndarray | None = None,
    warnings: tuple[str, ...] = (),
) -> MetricResult | None:
    """The mean of a metric over pairs, with its standard error.

    PSNR of an identical pair is infinite: such pairs are counted in ``details.identical`` and left out of its mean.

    Args:
        values: (n,) of the pairs, in order.
        reference: digest of the reals.
        inputs: (n,) uint64, a digest of the real of each pair: by these two models are paired.
        groups: (n,) ids of pairs that count as one.

    Returns:
        None where every pair is identical, and the metric is PSNR.
    """
    metric, finite = METRICS[name], np.isfinite(values)
    identical = int((~finite).sum())
    if not finite.any():
        return None
    finite_groups = None if groups is None else groups[finite]
    found = sample_mean(values[finite], level=level, groups=finite_groups, within=metric.range, what="paired")
    if identical:
        message = f"{identical} of {len(values)} pairs are identical: their PSNR is infinite and is not in the mean"
        warnings = (*warnings, message)
    n = int(finite.sum())
    return mean_result(
        name,
        found,
        values,
        label=label,
        higher_is_better=metric.higher_is_better,
        n_real=n,
        n_fake=n,
        protocol=protocol,
        reference=reference or NO_REFERENCE,
        details={
            "kind": "mean",
            "identical": identical if name == "psnr" else None,
            "standard_deviation": float(np.std(values[finite], ddof=min(1, n - 1))),
        },
        per_image={f"{name}_latent_digests": inputs[finite]} if identical else None,
        warnings=warnings,
    )
