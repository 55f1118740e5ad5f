"""Frechet wavelet distance: how far two sets of images are from each other in each of their frequency bands.

    FWD = (1/B) sum_b D_b          (Veeramacheneni et al. 2025, eq. 9), in squared pixel values of 0 to 1

with D_b the Frechet distance between the coefficients of wavelet packet b: see ``ganeval.features.wavelets`` for the
packets, ``ganeval.metrics.frechet`` for the distance. There is no network: every band of every pixel counts, and the
images are taken at their own size. The bands are of the same images, so that one image has one influence,

    IF(x) = (1/B) sum_b IF_b(x),    Var FWD = Var IF_fake / n + Var IF_real / m

Above 2.5 distinct images for each number in a band the influences are those of ``frechet_inference``, with its bias;
below, the pseudo-values of ``leave_one_out``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import sqrt

import numpy as np
import scipy.linalg
import torch

from ganeval.errors import InputError
from ganeval.metrics.build_result import build_result
from ganeval.metrics.frechet import MIN_ROWS_PER_RANK, assembled, checked_reference, frechet_inference, shared_rows
from ganeval.metrics.intervals import ESTIMAND, PROTOCOL_ESTIMAND, one_sided_quantile, repeats, variance_of_mean
from ganeval.metrics.leave_one_out import LEAST, LeaveOneOut, leave_one_out, singular_values
from ganeval.metrics.types import MetricInputs
from ganeval.results import LEAVE_ONE_OUT, MetricResult, Reason
from ganeval.statistics.linalg import Coupling
from ganeval.statistics.linalg_torch import eigh_for
from ganeval.statistics.moments import Gaussian
from ganeval.statistics.rows import FeatureRows

_GROUP_BYTES = 256 * 2**20  # of the bands of both sets that are in memory at once
_BLOCK_BYTES = 32 * 2**20  # of whole rows that are read at once


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class BandDistances:
    """The Frechet distance in every band, and what each image contributes to their mean.

    Attributes:
        values: (B,), in features squared.
        errors: (B,), the standard error of each.
        influence_fake: (n,), mean zero: of each fake on the mean over the bands.
        influence_real: (m,), the same of the reals; None where the reference is the population.
        bias: of the mean over the bands; None below the rule.
        method: ``influence``, or ``leave-one-out`` below the rule.
        standard_error: of the mean over the bands.
        degrees_of_freedom: of Student's quantile; None: the normal one.
        upper: below the rule, a number that the distance of the distributions does not exceed on average, and its
            standard error; None above it.
    """

    values: np.ndarray
    errors: np.ndarray
    influence_fake: np.ndarray
    influence_real: np.ndarray | None
    bias: float | None
    method: str
    standard_error: float
    degrees_of_freedom: int | None
    upper: tuple[float, float] | None

    @property
    def value(self) -> float:
        return float(self.values.mean())


def band_distances(
    real: FeatureRows,
    fake: FeatureRows,
    bands: int,
    *,
    reference: str = "sample",
    device: torch.device | None = None,
) -> BandDistances:
    """Compute the Frechet distance of every band, with the standard error of their mean.

    The mean equals the value of pytorchfwd to 1e-5 relative where the covariances are regular. A few bands are
    read at a time, 0.5 GB in addition to the matrices of one band, which have min(d, n + m) numbers a side.

    Args:
        real: rows of all bands, one band after another: (m, B d).
        fake: (n, B d).
        bands: B, all of one width d.
        reference: ``sample``, or ``population``: the reals have no sampling error.
        device: an accelerator for the decompositions, where it is fast at float64.

    Raises:
        InputError: rows of different widths, or of a width that is no multiple of the bands; fewer than 10 of a set.
    """
    if real.dimension != fake.dimension or real.dimension % bands:
        raise InputError(
            f"expected rows of {bands} bands; found {real.dimension} real and {fake.dimension} fake numbers."
        )
    drawn = [real, fake] if checked_reference(reference) == "sample" else [fake]
    width = real.dimension // bands
    few = any(rows.distinct() <= MIN_ROWS_PER_RANK * width or repeats(rows.distinct(), len(rows)) for rows in drawn)
    compute = _below_the_rule if few else _above_the_rule
    values, errors, bias = np.empty(bands), np.empty(bands), 0.0
    mean, upper = (_Mean(fake, real if len(drawn) == 2 else None) for _ in range(2))
    for band, (one, other) in enumerate(_bands(real, fake, bands)):
        gaussians = _gaussian(one), _gaussian(other)
        found = compute(gaussians, (one, other), reference, device)
        values[band], errors[band] = found.value, found.standard_error
        bias += found.bias / bands
        mean.add(found.value, found.fake, found.real, bands)
        if found.upper is not None:
            upper.add(found.upper.value, found.upper.pseudo_fake, found.upper.pseudo_real, bands)
    whole = mean.whole
    return BandDistances(
        values=values,
        errors=errors,
        influence_fake=whole.pseudo_fake,
        influence_real=whole.pseudo_real,
        bias=None if few else bias,
        method=LEAVE_ONE_OUT if few else "influence",
        standard_error=whole.standard_error,
        degrees_of_freedom=whole.degrees_of_freedom if few else None,
        upper=(upper.whole.value, upper.whole.standard_error) if few else None,
    )


class _Mean:
    """The mean over bands of a distance and of the influences of its images.

    Args:
        real: None where the reference is the population.
    """

    def __init__(self, fake: FeatureRows, real: FeatureRows | None) -> None:
        nothing, of_real = np.zeros(len(fake)), None if real is None else np.zeros(len(real))
        self.whole = LeaveOneOut(0.0, nothing, of_real, _copies(fake), None if real is None else _copies(real))

    def add(self, value: float, fake: np.ndarray, real: np.ndarray | None, bands: int) -> None:
        """Add one of the bands."""
        self.whole = replace(self.whole, value=self.whole.value + value / bands)
        for total, influence in ((self.whole.pseudo_fake, fake), (self.whole.pseudo_real, real)):
            if total is not None and influence is not None:
                total += influence / bands


def measure(inputs: MetricInputs) -> dict[str, MetricResult]:
    """FWD, in [0, inf), in squared pixel values of 0 to 1; 0 for equal images.

    ``details``: ``bands`` and ``bands_se``, (2^level, 2^level) each, the distance in band (p, q) of p changes of sign
    downwards and q to the right; ``wavelet``, ``wavelet_level``, ``features`` in a band, ``reference``.
    """
    assert inputs.real is not None
    real, fake = inputs.real_rows(), inputs.fake_rows()
    level = int(inputs.protocol.layer)
    least, fewest = min((rows.distinct(), name) for name, rows in (("real", real), ("fake", fake)))
    if least < LEAST:
        return {"fwd": _without_error(inputs, real, fake, level, least, fewest)}
    found = band_distances(real, fake, 4**level, reference=inputs.reference, device=inputs.device)
    population = ESTIMAND[inputs.reference]
    per_image = {"fwd_influence_fake": found.influence_fake}
    if found.influence_real is not None:
        per_image["fwd_influence_real"] = found.influence_real
    result = build_result(
        inputs,
        "fwd",
        found.value,
        standard_error=found.standard_error,
        bias=found.bias,
        method=found.method,
        estimand=population if found.bias is not None else PROTOCOL_ESTIMAND[population],
        degrees_of_freedom=found.degrees_of_freedom,
        reason=inputs.overlap() or shared_rows(real if inputs.reference == "sample" else None, fake),
        details=_details(level, real, inputs.reference)
        | {"bands": _square(found.values), "bands_se": _square(found.errors)}
        | ({} if found.upper is None else {"bounds": _bounds(*found.upper, inputs.level)}),
        per_image=per_image,
    )
    return {"fwd": result}


def _without_error(
    inputs: MetricInputs, real: FeatureRows, fake: FeatureRows, level: int, least: int, fewest: str
) -> MetricResult:
    """The value alone, of fewer images than any error needs."""
    values: np.ndarray = np.array(
        [
            assembled(*(sides := (_gaussian(one), _gaussian(other))), _coupling(*sides).trace.value, "svd")[0]
            for one, other in _bands(real, fake, 4**level)
        ]
    )
    return build_result(
        inputs,
        "fwd",
        float(values.mean()),
        reason=Reason("too_few_distinct", n=least, image_set=fewest, needed=LEAST),
        details=_details(level, real, inputs.reference) | {"bands": _square(values)},
    )


def _bounds(upper: float, error: float, level: float) -> dict[str, object]:
    """As those of ``ganeval.metrics.frechet_result``, without a lower one."""
    return {
        "lower": None,
        "upper": upper + one_sided_quantile(0.5 + level / 2) * error,
        "level": level,
        "lower_estimate": None,
        "lower_se": None,
        "upper_estimate": upper,
        "upper_se": error,
    }


def _details(level: int, rows: FeatureRows, reference: str) -> dict[str, object]:
    features = rows.dimension // 4**level
    return {"wavelet": "haar", "wavelet_level": level, "features": features, "reference": reference}


def _square(values: np.ndarray) -> list[list[float]]:
    side = int(sqrt(len(values)))
    return values.reshape(side, side).tolist()


@dataclass(frozen=True, slots=True, eq=False)
class _Band:
    """One band: its distance, and the influence of each image on that."""

    value: float
    bias: float
    fake: np.ndarray
    real: np.ndarray | None
    upper: LeaveOneOut | None = None

    @property
    def standard_error(self) -> float:
        return sqrt(sum(variance_of_mean(one) for one in (self.fake, self.real) if one is not None))


_Pair = tuple[FeatureRows, FeatureRows]  # real, fake


def _above_the_rule(
    gaussians: tuple[Gaussian, Gaussian], rows: _Pair, reference: str, device: torch.device | None
) -> _Band:
    plan = _coupling(*gaussians, device)
    found = frechet_inference(*gaussians, *rows, reference=reference, plan=plan, device=device)
    assert found.influence_fake is not None
    value, _ = assembled(*gaussians, plan.trace.value, plan.method)
    return _Band(value, (found.bias_real or 0.0) + found.bias_fake, found.influence_fake, found.influence_real)


def _below_the_rule(gaussians: tuple[Gaussian, Gaussian], rows: _Pair, reference: str, _: torch.device | None) -> _Band:
    sets = *gaussians, rows[1], rows[0] if reference == "sample" else None
    parts = singular_values(*sets)
    found, upper = leave_one_out(*sets, parts=parts), leave_one_out(*sets, kappa=1.0, parts=parts)
    value = max(found.value, 0.0)  # below zero by rounding alone
    return _Band(value, 0.0, found.pseudo_fake, found.pseudo_real, upper)


def _coupling(real: Gaussian, fake: Gaussian, device: torch.device | None = None) -> Coupling:
    return Coupling.of(real.covariance, fake.covariance, eigh=eigh_for(device))


def _gaussian(rows: FeatureRows) -> Gaussian:
    array = rows.to_array().astype(np.float64)
    mean = array.mean(axis=0)
    array -= mean
    return Gaussian(len(array), mean, array.T @ array / (len(array) - 1))


def _copies(rows: FeatureRows) -> np.ndarray | None:
    """Ids of what is independent, where that is not the single row."""
    return rows.hashes if rows.distinct() > 1 and repeats(rows.distinct(), len(rows)) else None


def _bands(real: FeatureRows, fake: FeatureRows, bands: int) -> Iterator[_Pair]:
    """The rows of every band, in order; equal images have equal hashes in all of them.

    Rows are coordinates in the space that both sets span, where that is smaller than a band.
    """
    width = real.dimension // bands
    group = max(1, _GROUP_BYTES // (4 * width * (len(real) + len(fake))))
    hashes = real.hashes, fake.hashes
    for start in range(0, bands, group):
        columns = slice(start * width, min(start + group, bands) * width)
        parts = [_columns(rows, columns) for rows in (real, fake)]
        for at in range(0, parts[0].shape[1], width):
            arrays = [part[:, at : at + width] for part in parts]
            if len(real) + len(fake) < width:
                arrays = _in_their_span(*arrays)
            one, other = (
                FeatureRows.of(np.ascontiguousarray(array), known) for array, known in zip(arrays, hashes, strict=True)
            )
            yield one, other


def _in_their_span(real: np.ndarray, fake: np.ndarray) -> list[np.ndarray]:
    """Coordinates of the rows, (m, n + m) and (n, n + m), less a common shift.

    They have the distances and the products of the rows themselves, and so has every covariance; matrices of n + m
    numbers a side stand for those of d.
    """
    rows = np.concatenate([real, fake]).astype(np.float64)
    rows -= rows.mean(axis=0)
    (triangle,) = scipy.linalg.qr(rows.T, mode="r", overwrite_a=True, check_finite=False)
    coordinates: np.ndarray = triangle[: len(rows)].T.astype(np.float32)
    return [coordinates[: len(real)], coordinates[len(real) :]]


def _columns(rows: FeatureRows, columns: slice) -> np.ndarray:
    """(n, k) float32: some columns of all rows."""
    found = np.empty((len(rows), columns.stop - columns.start), np.float32)
    start = 0
    for block in rows.blocks(max(1, _BLOCK_BYTES // (4 * rows.dimension))):
        found[start : start + len(block)] = block[:, columns]
        start += len(block)
    return found
