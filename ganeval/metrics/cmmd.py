"""CMMD (Jayasumana et al. 2024): the discrepancy of CLIP embeddings under a Gaussian kernel, times 1000.

    CMMD = 1000 [mean k(x, x') + mean k(y, y') - 2 mean k(x, y)],   k(x, y) = exp(-|x - y|^2 / (2 sigma^2)),  sigma = 10

of rows scaled to length 1, over all pairs, those of a row with itself included: the published, biased form. On such
rows k = exp(-1 / sigma^2) exp(x.y / sigma^2), so with the moments M_j = mean of the j-th tensor power of the rows

    CMMD = 1000 exp(-1 / sigma^2) sum_{j >= 1} |M_j(x) - M_j(y)|^2 / (j! sigma^(2j))

All terms are positive, and at sigma = 10 the first, the distance between the two means, is nearly everything: the value
says little about variety. Its share is in the details.
"""

from __future__ import annotations

import functools

import numpy as np
import torch

from ganeval.errors import InputError
from ganeval.metrics.build_result import build_result
from ganeval.metrics.intervals import ESTIMAND
from ganeval.metrics.kernel import KernelDistance, kernel_distance, rbf_minus_one
from ganeval.metrics.types import MetricInputs
from ganeval.results import MetricResult

SCALE = 1000.0
_ROUNDING = 1e-13  # of a value that is 0


def unit_rows(x: np.ndarray, side: str) -> np.ndarray:
    """Every row divided by its length, in float64.

    Raises:
        InputError: a row has no direction.
    """
    rows: np.ndarray = x.astype(np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if not lengths.all():
        raise InputError(f"CMMD: the embedding of {side} image {int(np.argmin(lengths))} is 0 and has no direction.")
    rows /= lengths
    return rows


def cmmd(
    real: np.ndarray, fake: np.ndarray, *, sigma: float, device: torch.device | None = None
) -> tuple[float, KernelDistance]:
    """The published form, and the unbiased discrepancy with the influence of each row; neither times 1000.

    The published form equals cmmd-pytorch's on the same embeddings to 1e-9 (of it in float64; the peer's own float32
    leaves it about 1e-4 from there).

    Args:
        device: an accelerator that computes the kernel; None or a CPU: here.

    Shape:
        (m, d), (n, d) unit rows; time O((m + n)^2 d / 2), memory O(block (m + n)).
    """
    found = kernel_distance(real, fake, kernel=functools.partial(rbf_minus_one, sigma=sigma), device=device)
    # of a row with itself the kernel is 1, and 0 here, where 1 is taken off
    biased = found.value - found.within_real / len(real) - found.within_fake / len(fake)
    return float(biased), found


def mean_term(real: np.ndarray, fake: np.ndarray, *, sigma: float) -> float:
    """The part of the published form that is the distance between the means of the unit rows; not times 1000."""
    difference = real.mean(axis=0) - fake.mean(axis=0)
    return float(np.exp(-1 / sigma**2) / sigma**2 * (difference @ difference))


def measure(inputs: MetricInputs) -> dict[str, MetricResult]:
    """CMMD as published, its bias, and the Hajek standard error of the unbiased form, as that of KID."""
    sigma = inputs.settings.cmmd_sigma
    real = unit_rows(inputs.real_rows().to_array(), "real")
    fake = unit_rows(inputs.fake_rows().to_array(), "fake")
    value, found = cmmd(real, fake, sigma=sigma, device=inputs.device)
    # where REAL is the target itself, the kernel of its rows with themselves is no bias
    bias = value - found.value
    if inputs.reference == "population":
        bias -= found.shortfall
    share = mean_term(real, fake, sigma=sigma) / value if value > _ROUNDING else None
    details: dict[str, object] = {
        "sigma": sigma,
        "unbiased": SCALE * found.value,
        "mean_term_share": share,
        "reference": inputs.reference,
        "standard_error_less_noise": SCALE * float(np.sqrt(found.variance_less_noise(inputs.reference))),
    }
    error = SCALE * float(np.sqrt(found.variance(inputs.reference)))
    influences = {"fake": SCALE * found.influence_fake, "real": SCALE * found.influence_real}
    result = build_result(
        inputs,
        "cmmd",
        SCALE * value,
        standard_error=error,
        bias=SCALE * bias,
        method="hajek",
        estimand=ESTIMAND[inputs.reference],
        reason=inputs.overlap(),
        settings={"sigma": sigma},
        details=details,
        per_image={f"cmmd_influence_{side}": influence for side, influence in influences.items()},
    )
    return {"cmmd": result}
