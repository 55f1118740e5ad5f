"""The sampling error of a Frechet distance at any number of images: the exact leave-one-out jackknife, in closed form.

With n fake rows (mean mu, covariance S = F F^T) and m real rows (mean nu, covariance W = G G^T), singular values
G^T F = U diag(s) V^T and N = sum s:

    D = |mu - nu|^2 + tr S + tr W - 2 N

Writing the root as an integral of resolvents, tr M^1/2 = (1/pi) int t^-1/2 tr M (M + t)^-1 dt, turns the deletion of
row i into a factor of a determinant. With t = u^2, and the mean taken anew without row i,

    t a_i(t) = sum_k V_ik^2 t / (s_k^2 + t) + (1 - 1/n - sum_k V_ik^2)
    N - N_i  = -(1/pi) int_0^inf log( n/(n-1) t a_i(t) ) du
    D_i      = |mu_i - nu|^2 + tr S_i + tr W - 2 sqrt((n-1)/(n-2)) N_i
    p_i      = (n-1) (mean D_. - D_i)                       the pseudo-value of row i, less their mean
    Var D    = Var p / n + Var q / m                        q: the same of the real rows

The expectation of this variance is never below the true one (Efron & Stein 1981), for any rank, n / d and
distributions; for equal distributions it is up to twice as large. It is the error of what n and m images give on
average, not of the distance between the distributions: below n = 2.5 d that error cannot be estimated.

``kappa`` gives the calibrated value instead, D with N / kappa in place of N and without the bias of the mean term:
``ganeval.metrics.calibration`` says why. At kappa = 1 that is an upper bound of the population's distance in the mean.

Arrays and plain numbers only.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log, pi, sqrt

import numpy as np
import scipy.linalg

from ganeval.errors import InputError
from ganeval.metrics.frechet import require_comparable
from ganeval.metrics.intervals import quantile, repeats, variance_of_mean
from ganeval.statistics.linalg import Coupling
from ganeval.statistics.moments import Gaussian
from ganeval.statistics.rows import FeatureRows

LEAST = 10  # images of each drawn set
_STEP = 0.5  # of log u: the trapezoid rule errs by exp(-pi^2 / step) = 3e-9
_REACH = 18.0  # of log u beyond the singular values: the ends err by exp(-18) = 2e-8 of the smallest
_LOWERS_RANK = 1e-9  # of a null part: leaving the row out lowers the rank
_BLOCK = 1024
_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, slots=True, eq=False)
class SingularValues:
    """s of G^T F, and how the rows of each set lie along the singular vectors.

    Attributes:
        s: (r,), decreasing and positive; their sum is tr (W^1/2 S W^1/2)^1/2.
        fake: (n, r) V_ik^2, or the map (d, r) that gives them: V_ik^2 = (c_i K)_k^2 / ((n - ddof) s_k).
        real: (m, r) U_jk^2, or the map; None where the reference is fixed.
        method: ``gram``, or how the ``Coupling`` was made.
    """

    s: np.ndarray
    fake: _Along
    real: _Along | None
    method: str

    @property
    def total(self) -> float:
        """N = tr (W^1/2 S W^1/2)^1/2."""
        return float(self.s.sum())


@dataclass(frozen=True, slots=True, eq=False)
class _Along:
    """Squares of the rows' entries in the singular vectors: known, or from the transport map."""

    squares: np.ndarray | None = None
    transport: np.ndarray | None = None

    def of(self, centred: np.ndarray, part: slice, s: np.ndarray, degrees: int) -> np.ndarray:
        if self.squares is not None:
            return self.squares[part]
        assert self.transport is not None
        found: np.ndarray = np.square(centred @ self.transport) / (degrees * s)
        return found


@dataclass(frozen=True, slots=True, eq=False)
class LeaveOneOut:
    """A Frechet distance, or a calibrated one, with the pseudo-values of its rows; features squared.

    Attributes:
        value: D, or the calibrated value.
        pseudo_fake: (n,) mean zero, in order.
        pseudo_real: (m,), as ``pseudo_fake``; None where the reference is fixed.
        copies_fake, copies_real: (n,) and (m,) ids of what is independent, where that is not the single row.
    """

    value: float
    pseudo_fake: np.ndarray
    pseudo_real: np.ndarray | None
    copies_fake: np.ndarray | None = None
    copies_real: np.ndarray | None = None

    @property
    def standard_error(self) -> float:
        """Copies count as one observation, which is right for padding and too large for a generator that repeats."""
        real = 0.0 if self.pseudo_real is None else variance_of_mean(self.pseudo_real, self.copies_real)
        return sqrt(variance_of_mean(self.pseudo_fake, self.copies_fake) + real)

    @property
    def degrees_of_freedom(self) -> int:
        """Of Student's quantile: one less than the independent images of the smaller drawn set."""
        sides = ((self.pseudo_fake, self.copies_fake), (self.pseudo_real, self.copies_real))
        return min(len(p) if ids is None else np.unique(ids).size for p, ids in sides if p is not None) - 1

    def half_width(self, level: float) -> float:
        return quantile(level, self.degrees_of_freedom) * self.standard_error


def singular_values(
    real: Gaussian, fake: Gaussian, fake_rows: FeatureRows, real_rows: FeatureRows | None = None
) -> SingularValues:
    """The decomposition that the value, its error, kappa and the bounds share.

    Where a drawn set has at most d rows, the eigenvectors of its n x n matrix C W C^T / (n - ddof) give s and V without
    any factor of d x d; otherwise the ``Coupling`` of the covariances does. Both agree to 1e-9 relative.

    Args:
        real: moments of ``real_rows``, or of the reference.
        real_rows: None where the reference is fixed.
    """
    require_comparable(real, fake)
    sizes = [len(rows) for rows in (fake_rows, real_rows) if rows is not None]
    if min(sizes) > real.dimension:
        plan = Coupling.of(real.covariance, fake.covariance)
        back = None if real_rows is None else _Along(transport=plan.to_fake)
        return SingularValues(plan.s, _Along(transport=plan.to_real), back, plan.method)
    if real_rows is not None and len(real_rows) < len(fake_rows):
        s, squares, to_real = _of_gram(real, real_rows, fake.covariance)
        return SingularValues(s, _Along(transport=to_real), _Along(squares=squares), "gram")
    s, squares, to_fake = _of_gram(fake, fake_rows, real.covariance)
    back = None if real_rows is None else _Along(transport=to_fake)
    return SingularValues(s, _Along(squares=squares), back, "gram")


def _of_gram(few: Gaussian, rows: FeatureRows, other: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of C other C^T / (n - ddof): s, the squares of the few rows' vectors, the transport map from the other set."""
    centred = rows.to_array().astype(np.float64) - few.mean
    centred /= sqrt(len(rows) - few.ddof)
    eigenvalues, vectors = scipy.linalg.eigh(
        (centred @ other) @ centred.T, driver="evd", overwrite_a=True, check_finite=False
    )
    keep = eigenvalues > len(rows) * _EPS * max(float(eigenvalues[-1]), 0.0)
    s, vectors = np.sqrt(eigenvalues[keep])[::-1], vectors[:, keep][:, ::-1]
    return s, np.square(vectors), centred.T @ (vectors / np.sqrt(s))


def leave_one_out(
    real: Gaussian,
    fake: Gaussian,
    fake_rows: FeatureRows,
    real_rows: FeatureRows | None = None,
    *,
    kappa: float | None = None,
    parts: SingularValues | None = None,
) -> LeaveOneOut:
    """D of these rows and the pseudo-value of each of them.

    Pseudo-values equal those of deleting rows one by one to 1e-7 of the largest; time O((n + m) r (d + 100)) after the
    decomposition, memory O(n r) where n <= d.

    Args:
        real: moments of ``real_rows``, or of the reference.
        fake: moments of ``fake_rows``.
        real_rows: None where the reference is the target itself.
        kappa: in (0, 1]: gives the calibrated value.
        parts: ``singular_values`` of the same sets, where they are already known.

    Raises:
        InputError: fewer than 10 rows of a drawn set.
    """
    for name, rows in (("fake", fake_rows), ("real", real_rows)):
        if rows is not None and len(rows) < LEAST:
            raise InputError(f"leave-one-out needs at least {LEAST} {name} rows; got {len(rows)}.")
    parts = parts or singular_values(real, fake, fake_rows, real_rows)
    shift = fake.mean - real.mean
    sides = [(fake, fake_rows, parts.fake, shift)]
    if real_rows is not None and parts.real is not None:
        sides.append((real, real_rows, parts.real, -shift))
    pseudo = [_pseudo_values(side, rows, along, parts.s, difference, kappa) for side, rows, along, difference in sides]
    traces = float(np.trace(real.covariance) + np.trace(fake.covariance))
    value = float(shift @ shift) + traces - 2.0 * parts.total / (kappa or 1.0)
    if kappa is not None:  # without tr S / n, and tr W / m where the reals are drawn: the exact bias of the mean term
        value -= sum(_unbiased_trace(side, len(rows)) / len(rows) for side, rows, _, _ in sides)
    copies = [
        rows.hashes if rows.distinct() > 1 and repeats(rows.distinct(), len(rows)) else None for _, rows, _, _ in sides
    ]
    both = len(sides) == 2
    return LeaveOneOut(value, pseudo[0], pseudo[1] if both else None, copies[0], copies[1] if both else None)


def _unbiased_trace(side: Gaussian, n: int) -> float:
    return float(np.trace(side.covariance)) * (n - side.ddof) / (n - 1)


def _pseudo_values(
    side: Gaussian, rows: FeatureRows, along: _Along, s: np.ndarray, shift: np.ndarray, kappa: float | None
) -> np.ndarray:
    """(n - 1) (mean D_. - D_i) of one set; covariances divide by n - ddof, and by n - 1 - ddof without a row."""
    n, degrees = len(rows), len(rows) - side.ddof
    trace, total = float(np.trace(side.covariance)), float(s.sum())
    without, start = np.empty(n), 0
    for block in rows.blocks(_BLOCK):
        centred = block - side.mean
        part = slice(start, start + len(block))
        drop = _drop(along.of(centred, part, s, degrees), s, n)
        lengths = np.square(centred).sum(axis=1)
        traces = (degrees * trace - n / (n - 1) * lengths) / (degrees - 1)
        distance = lengths / (n - 1) ** 2 - 2.0 * (centred @ shift) / (n - 1) + traces
        if kappa is not None:
            distance -= traces * (degrees - 1) / (n - 2) / (n - 1)
        without[part] = distance - 2.0 * sqrt(degrees / (degrees - 1)) * (total - drop) / (kappa or 1.0)
        start += len(block)
    found: np.ndarray = (n - 1) * (without.mean() - without)
    return found


def _drop(squares: np.ndarray, s: np.ndarray, n: int) -> np.ndarray:
    """N - N_i of each row, before the covariance is divided by one less."""
    if not len(s):  # one of the sets is constant
        return np.zeros(len(squares))
    null = 1.0 - 1.0 / n - squares.sum(axis=1)
    null[(null < _LOWERS_RANK) | (len(s) >= n - 1)] = 0.0
    u = np.exp(np.arange(log(s[-1]) - _REACH, log(s[0]) + _REACH, _STEP))
    t, scale = np.square(u), n / (n - 1)
    share = t / (np.square(s)[:, None] + t)
    # one number in two forms: the first keeps its digits where it is small, the second where it is near 1
    small = scale * (squares @ share + null[:, None])
    missing = scale * (squares @ (np.square(s)[:, None] / (np.square(s)[:, None] + t)))
    near_one = missing < 0.5
    logs = np.where(near_one, np.log1p(-np.where(near_one, missing, 0.0)), np.log(np.where(near_one, 1.0, small)))
    found: np.ndarray = -(_STEP / pi) * (logs @ u)
    return found
