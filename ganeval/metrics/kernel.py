"""Kernel distances: the squared maximum mean discrepancy between two sets of features, as an exact U-statistic.

    KID = mean_{i != i'} k(x_i, x_i') + mean_{j != j'} k(y_j, y_j') - 2 mean_{ij} k(x_i, y_j)
    k(x, y) = (x.y / d + 1)^3                                        (Binkowski et al. 2018)

over all pairs: without bias, below 0 at times, 0 on average for equal laws. Where the reals are the target itself,
the second mean is over all their pairs, those of a row with itself included: what that adds is taken for a bias, and
``value`` stays as papers print it. The Hajek projection gives the error:

    h_x(i) = 2 [mean_{i' != i} k(x_i, x_i') - mean_j k(x_i, y_j)],  h_y alike
    Var KID ~ var(h_x) / n + var(h_y) / m

which is V1, of the standard error given: conservative near equality, where a second-order term is counted twice. With
z the mean squared doubly centred kernel that term is V2 = 2 z_xx / (n (n - 1)) + 2 z_yy / (m (m - 1)) + 4 z_xy / (n m),
and V1 - V2, at least V2, is nearly unbiased unless the distributions are equal: ``details.standard_error_less_noise``.
Products are float32, sums float64; only one block of the kernel matrix exists at a time, on an accelerator if there is
one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from ganeval.errors import InputError, NotEnoughSamplesError
from ganeval.metrics.build_result import build_result
from ganeval.metrics.classes import Entry, OneClass, classes_of_both, lacking_classes
from ganeval.metrics.intervals import ESTIMAND, variance_of_mean
from ganeval.metrics.types import MetricInputs
from ganeval.results import MetricResult
from ganeval.statistics.pair_sums import Kernel, pair_sums

Rows = TypeVar("Rows", np.ndarray, Tensor)
RBF_SIGMA = 10.0
PEER_SEED = 2020  # torch-fidelity's, of its subsets
TOO_LARGE = 1e12  # of |x|^2 / d: its cube nears the end of float32
LARGE_PRODUCT = 1e3  # of |x.y| / d: its cube drowns everything else


@dataclass(frozen=True, slots=True)
class KernelDistance:
    """A squared discrepancy and the influence of each row: ``value``'s variance is the sum of their variances of means.

    Attributes:
        influence_real: (m,), mean 0.
        influence_fake: (n,), mean 0.
        noise: V2, the part of the variance that is of second order.
        noise_given_real: the same where the reals are the target itself.
        largest: the largest |x.y| / d that was met.
        within_real: mean kernel of two different reals.
        within_fake: mean kernel of two different fakes.
        shortfall: what ``value`` lacks where the reals are the target itself: of them two draws may be the same row.
    """

    value: float
    influence_real: np.ndarray
    influence_fake: np.ndarray
    noise: float
    noise_given_real: float
    largest: float
    within_real: float
    within_fake: float
    shortfall: float

    def variance(self, reference: str = "sample") -> float:
        """V1; ``population``: the reals are the target itself."""
        real = variance_of_mean(self.influence_real) if reference == "sample" else 0.0
        return variance_of_mean(self.influence_fake) + real

    def variance_less_noise(self, reference: str = "sample") -> float:
        """V1 - V2, at least V2."""
        noise = self.noise if reference == "sample" else self.noise_given_real
        return max(self.variance(reference) - noise, noise)


def polynomial(x: Rows, y: Rows) -> Rows:
    """(x.y / d + 1)^3 for all pairs of rows."""
    k: Rows = x @ y.T
    k *= 1.0 / x.shape[1]
    k += 1.0
    cube: Rows = k * k * k
    return cube


def rbf(x: Rows, y: Rows, sigma: float = RBF_SIGMA) -> Rows:
    """exp(-|x - y|^2 / (2 sigma^2)) for all pairs of rows."""
    exponents = _exponents(x, y, sigma)
    result: Rows = exponents.exp() if isinstance(exponents, Tensor) else np.exp(exponents)
    return result


def rbf_minus_one(x: Rows, y: Rows, sigma: float = RBF_SIGMA) -> Rows:
    """``rbf`` less 1: a constant cancels in every discrepancy, and near 1 what is left keeps its digits."""
    exponents = _exponents(x, y, sigma)
    result: Rows = exponents.expm1() if isinstance(exponents, Tensor) else np.expm1(exponents)
    return result


def _exponents(x: Rows, y: Rows, sigma: float) -> Rows:
    distances = (x * x).sum(1)[:, None] + (y * y).sum(1)[None, :] - 2 * (x @ y.T)
    result: Rows = distances.clip(0.0) * (-0.5 / sigma**2)
    return result


KERNELS: Mapping[str, Kernel] = {"polynomial": polynomial, "rbf": rbf}


def kernel_distance(
    real: np.ndarray, fake: np.ndarray, *, kernel: Kernel = polynomial, device: torch.device | None = None
) -> KernelDistance:
    """The unbiased squared discrepancy over all pairs.

    Args:
        device: an accelerator that computes the kernel; None or a CPU: here.

    Shape:
        (m, d), (n, d) float32 or float64; time O((m + n)^2 d / 2), memory O(block (m + n)).

    Raises:
        NotEnoughSamplesError: fewer than two rows on a side.
        InputError: features so large that their cube leaves float32.
    """
    m, n = len(real), len(fake)
    if min(m, n) < 2:
        raise NotEnoughSamplesError(f"a kernel distance needs at least 2 images on each side; found {m} and {n}.")
    norms = [float(np.einsum("ij,ij->i", x, x, dtype=np.float64).max()) for x in (real, fake)]
    largest = max(norms) / real.shape[1]
    if kernel is polynomial and largest > TOO_LARGE:
        raise InputError(
            f"features are too large for the cube of their products (|x|^2 / d up to {largest:.3g}): scale what the "
            "network gives, or take --kid-kernel rbf."
        )
    sums = pair_sums(real, fake, kernel, device)
    within_real, within_fake, level = sums.first.sums, sums.second.sums, sums.level
    squares_real, squares_fake = sums.first.squares, sums.second.squares
    real_fake, fake_real = sums.by_first, sums.by_second
    mean_fake, mean_real = within_fake.sum() / (n * (n - 1)), within_real.sum() / (m * (m - 1))
    value = mean_fake + mean_real - 2 * fake_real.sum() / (n * m)
    influence_fake = 2 * (within_fake / (n - 1) - fake_real / m)
    influence_real = 2 * (within_real / (m - 1) - real_fake / n)
    z_x, z_y = (
        max(0.0, squares / (size * (size - 1)) - 2 * float(np.mean(means**2)) + float(means.mean()) ** 2)
        for means, squares, size in (
            (within_fake / (n - 1) - level, squares_fake, n),
            (within_real / (m - 1) - level, squares_real, m),
        )
    )
    by_fake, by_real = fake_real / m - level, real_fake / n - level
    z_xy = sums.squares / (n * m) - float(np.mean(by_fake**2) + np.mean(by_real**2)) + float(by_fake.mean()) ** 2
    noise_fake = 2 * z_x / (n * (n - 1))
    noise = noise_fake + 2 * z_y / (m * (m - 1)) + 4 * max(0.0, z_xy) / (n * m)
    return KernelDistance(
        float(value),
        influence_real - influence_real.mean(),
        influence_fake - influence_fake.mean(),
        noise,
        noise_fake,
        largest,
        float(mean_real),
        float(mean_fake),
        float(sums.first.own - mean_real) / m,
    )


def subset_distances(
    real: np.ndarray,
    fake: np.ndarray,
    *,
    subsets: int,
    size: int,
    kernel: Kernel = polynomial,
    seed: int = PEER_SEED,
    device: torch.device | None = None,
) -> np.ndarray:
    """The distance between ``subsets`` pairs of random subsets of ``size`` rows: the form that papers print.

    Mean and deviation (ddof 0) equal torch-fidelity's with the fakes as its first input to 1e-6 relative: its seed, its
    generator, its order of draws. The deviation is the spread of a small-sample distance, not a standard error.

    Raises:
        NotEnoughSamplesError: a side has fewer than ``size`` rows.
    """
    if min(len(real), len(fake)) < size:
        raise NotEnoughSamplesError(
            f"subsets of {size} need {size} images on each side; found {len(real)} real and {len(fake)} fake. "
            "Ask for smaller subsets."
        )
    random = np.random.RandomState(seed)
    values = []
    for _ in range(subsets):
        x = fake[random.choice(len(fake), size, replace=False)]
        y = real[random.choice(len(real), size, replace=False)]
        values.append(kernel_distance(y, x, kernel=kernel, device=device).value)
    return np.array(values)


def measure(inputs: MetricInputs) -> dict[str, MetricResult]:
    """KID over all pairs, with its Hajek standard error; the subset form in ``details.subsets`` if asked for.

    Where REAL is the target itself, ``corrected`` is the distance from it: pairs of a real with itself count.
    """
    result = _distance(inputs, inputs.real_rows().to_array(), inputs.fake_rows().to_array())
    if inputs.settings.per_class:
        details, warnings = lacking_classes(inputs)
        details["per_class"] = {one.name: _class_entry(one, inputs) for one in classes_of_both(inputs)}
        result = replace(result, details={**result.details, **details}, warnings=(*result.warnings, *warnings))
    return {"kid": result}


def _distance(inputs: MetricInputs, real: np.ndarray, fake: np.ndarray) -> MetricResult:
    kernel = KERNELS[inputs.settings.kid_kernel]
    found = kernel_distance(real, fake, kernel=kernel, device=inputs.device)
    less_noise = found.variance_less_noise(inputs.reference)
    bias = -found.shortfall if inputs.reference == "population" else 0.0
    details: dict[str, object] = {
        "kernel": inputs.settings.kid_kernel,
        "reference": inputs.reference,
        "standard_error_less_noise": float(np.sqrt(less_noise)),
    }
    if inputs.settings.kid_subsets is not None:
        subsets, size = inputs.settings.kid_subsets
        parts = subset_distances(real, fake, subsets=subsets, size=size, kernel=kernel, device=inputs.device)
        details["subsets"] = {
            "mean": float(parts.mean()),
            "std": float(parts.std()),
            "subsets": subsets,
            "size": size,
            "seed": PEER_SEED,
            "ddof": 0,
        }
    warnings: tuple[str, ...] = ()
    if found.largest > LARGE_PRODUCT and inputs.settings.kid_kernel == "polynomial":
        warnings = (f"features are large (|x|^2 / d up to {found.largest:.3g}): the cube of a few products rules KID",)
    return build_result(
        inputs,
        "kid",
        found.value,
        standard_error=float(np.sqrt(found.variance(inputs.reference))),
        bias=bias,
        method="hajek",
        estimand=ESTIMAND[inputs.reference],
        reason=inputs.overlap(),
        settings={"kernel": inputs.settings.kid_kernel},
        details=details,
        warnings=warnings,
        per_image={"kid_influence_fake": found.influence_fake, "kid_influence_real": found.influence_real},
    )


def _class_entry(one: OneClass, inputs: MetricInputs) -> Entry:
    """KID within one class, with its interval or the reason for none."""
    if one.too_few is not None:
        return one.entry(None, reason=one.too_few)
    found = _distance(one.alone(inputs), one.real, one.fake)
    return one.entry(found.value, found.corrected, found.interval, found.reason)
