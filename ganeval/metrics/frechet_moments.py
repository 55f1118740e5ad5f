"""Error bars of the Frechet distance from moments alone, for when the feature rows are gone.

``delete_group_jackknife`` needs moments that were kept in hashed groups; ``gaussian_moments_inference`` needs nothing
more, and takes the features as Gaussian. With rows at hand, ``ganeval.metrics.frechet.frechet_inference`` is better
than both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt

import numpy as np
from scipy.linalg.blas import dsyrk

from ganeval.errors import InputError, NotEnoughSamplesError
from ganeval.metrics.frechet import (
    FrechetInference,
    Reference,
    assembled,
    checked_reference,
    ddof_bias,
    degenerate,
    frechet_distance,
    require_comparable,
    squared,
    too_few,
)
from ganeval.metrics.intervals import ESTIMAND, quantile, symmetric_interval
from ganeval.results import Interval
from ganeval.statistics.linalg import Coupling
from ganeval.statistics.moments import Gaussian, Moments


def gaussian_moments_inference(real: Gaussian, fake: Gaussian, *, reference: str = "sample") -> FrechetInference:
    """The standard error and bias that Gaussian features of these moments would have: for when the rows are gone.

    Var IF_fake = 4 (mu - nu)^T S (mu - nu) + 2 tr [((I - T) S)^2], bracket of the bias = sum_ij s_i s_j / (s_i + s_j)
    + (1/2) sum s. On skewed, rectified features the error is 0.75 to 0.89 of the true one: never the default, and the
    result carries a warning.

    Raises:
        IncomparableError: another number of features, or another ddof.
        InputError: an unknown reference, or a set whose n is not known.
    """
    mode = checked_reference(reference)
    require_comparable(real, fake)
    if fake.n is None or (mode == "sample" and real.n is None):
        raise InputError("a standard error needs the number of images; these statistics do not say theirs.")
    plan = Coupling.of(real.covariance, fake.covariance)
    shift = fake.mean - real.mean
    value, notes = assembled(real, fake, float(plan.s.sum()), "svd")
    bracket = float(np.einsum("i,j,ij->", plan.s, plan.s, 1.0 / np.add.outer(plan.s, plan.s))) + 0.5 * plan.s.sum()

    def one_side(side: Gaussian, n: int, factor: np.ndarray, vectors: np.ndarray) -> tuple[float, float]:
        # tr [((I - T) S)^2] = |F^T F - (K^T F)^T (K^T F)|^2, and (K^T F)^T (K^T F) = V diag(s) V^T: one triangle of it
        inside = dsyrk(1.0, factor, trans=1) if factor.size else np.zeros((0, 0))  # BLAS takes no empty matrix
        if plan.s.size:
            inside = dsyrk(-1.0, vectors * np.sqrt(plan.s), beta=1.0, c=inside, overwrite_c=1)
        variance = 4.0 * squared(factor.T @ shift) + 4.0 * squared(inside) - 2.0 * squared(np.diagonal(inside))
        bias = (np.trace(side.covariance) + bracket / 2.0) / n + ddof_bias(side, n, float(plan.s.sum()))
        return float(bias), sqrt(variance / n)

    traces = float(np.trace(real.covariance) + np.trace(fake.covariance))
    bias_fake, se_fake = one_side(fake, fake.n, plan.factor_fake, plan.right)
    bias_real, se_real = 0.0, 0.0
    reason = too_few("fake", fake.n, fake.n, plan.rank_fake, plan.rank_real)
    if mode == "sample" and real.n is not None:
        bias_real, se_real = one_side(real, real.n, plan.factor_real, plan.left)
        reason = reason or too_few("real", real.n, real.n, plan.rank_real, plan.rank_fake)
    warning = "the standard error takes the features as Gaussian; on skewed features it is 10 to 25 % too small"
    return FrechetInference(
        value=value, bias_real=bias_real, bias_fake=bias_fake, se_real=se_real, se_fake=se_fake,
        influence_real=None, influence_fake=None, rank_real=plan.rank_real, rank_fake=plan.rank_fake,
        n_distinct_real=None, n_distinct_fake=None, n_shared=0, reference=mode, method="gaussian-moments",
        reason=reason or degenerate(se_real, se_fake, traces), warnings=(*notes, warning),
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class FrechetJackknife:
    """D with the bias and standard error of the delete-group jackknife; intervals by Student's t."""

    value: float
    bias: float
    standard_error: float
    degrees_of_freedom: int
    reference: Reference

    @property
    def corrected(self) -> float:
        return self.value - self.bias

    def interval(self, level: float = 0.95) -> Interval | None:
        """corrected -+ t SE; None if the error is exactly zero."""
        half_width = quantile(level, self.degrees_of_freedom) * self.standard_error
        return symmetric_interval(self.corrected, half_width, level, "group-jackknife", ESTIMAND[self.reference])


def delete_group_jackknife(real: Moments | Gaussian, fake: Moments, *, ddof: int = 1) -> FrechetJackknife:
    """Bias and error from moments in hashed groups: for when rows cannot be kept. Needs no rows and any merge order.

    theta_(g) is the value without group g; bias = (G - 1)(mean theta_(g) - theta), SE^2 = ((G - 1)/G) sum (theta_(g) -
    mean)^2, for reals and fakes apart, then added. The error itself scatters by 17 to 25 % at G = 10; measured coverage
    0.935 at d = 16, n = m = 1000.

    Args:
        real: moments with groups; a Gaussian is taken as the population.
        fake: moments with groups.
        ddof: of the covariances.

    Raises:
        NotEnoughSamplesError: fewer than two groups, or an empty one.
        IncomparableError: another number of features, or another ddof.
    """
    whole_fake = fake.finish(ddof)
    whole_real = real if isinstance(real, Gaussian) else real.finish(ddof)
    value = frechet_distance(whole_real, whole_fake).value
    parts = [[frechet_distance(whole_real, part).value for part in _without_each_group("fake", fake, ddof)]]
    if isinstance(real, Moments):
        parts.append([frechet_distance(part, whole_fake).value for part in _without_each_group("real", real, ddof)])
    bias = variance = 0.0
    for left_out in parts:
        groups = len(left_out)
        bias += (groups - 1) * (float(np.mean(left_out)) - value)
        variance += (groups - 1) * float(np.var(left_out))
    return FrechetJackknife(
        value=value, bias=bias, standard_error=sqrt(variance),
        degrees_of_freedom=sum(len(p) - 1 for p in parts),
        reference="sample" if isinstance(real, Moments) else "population",
    )  # fmt: skip


def _without_each_group(name: str, moments: Moments, ddof: int) -> Iterator[Gaussian]:
    if moments.groups < 2 or not moments.n_by_group.all():
        raise NotEnoughSamplesError(
            f"the jackknife needs two or more groups of {name} rows, none of them empty; got sizes "
            f"{moments.n_by_group.tolist()}. Use Moments(d, groups=10) and more images."
        )
    for group in range(moments.groups):
        yield moments.finish(ddof, without_group=group)
