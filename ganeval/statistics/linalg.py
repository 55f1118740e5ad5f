"""The trace of (S W)^1/2 for two covariances, by four methods, and the factors that inference needs.

With S = F F^T and W = G G^T for any factors, tr (W^1/2 S W^1/2)^1/2 is the sum of the singular values of G^T F. A
method that takes square roots of computed eigenvalues turns a rounding error e into sqrt(e) in every direction of zero
variance. Singular values of a product of factors have an error of e times the largest one. No method here adds a
multiple of the identity: adding 1e-6 of it changes an FID by 1e-3 to 5e-2. Only numpy and scipy are needed.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.linalg
from scipy.linalg.blas import dsyrk, dtrmm
from scipy.linalg.lapack import dpocon, dpstrf, dsygst

from ganeval.errors import InputError
from ganeval.parsing.arguments import option

TraceMethod = Literal["auto", "sqrtm", "svd", "eigvals"]
TRACE_METHODS: tuple[TraceMethod, ...] = ("auto", "sqrtm", "svd", "eigvals")

_EPS = float(np.finfo(np.float64).eps)
_ASYMMETRY = 1e-10  # of the largest entry
_IMAGINARY = 1e-3  # of the diagonal of a square root, in features squared, as the peers take it
_REGULAR = 100.0  # times d eps: the reciprocal condition number that rounding alone cannot reach
_RESIDUAL = 1e-3  # of a square root that is no garbage; a good one is below 1e-9
# Bound, relative to the trace, on what square roots of eigenvalues cost; past it singular values take over, at twice
# the time. The true cost was 100 to 1e5 times smaller wherever it was measured (d = 64 to 1024).
_EIGENVALUE_BOUND = 1e-10
_LOW_RANK = 0.75  # of d: below it, eigenvectors come from a pivoted Cholesky factor in a fraction of the time
_CAUCHY_TOLERANCE = 1e-15  # of the largest entry


@dataclass(frozen=True, slots=True)
class TraceSqrt:
    """The value of tr (S W)^1/2, and how it was computed.

    Attributes:
        value: in features squared, at least 0 for ``auto`` and ``svd``.
        method: what computed it: ``cholesky-eigvalsh``, ``cholesky-eigh`` (with vectors, for inference),
            ``cholesky-svd``, ``eigh-svd``, ``sqrtm`` or ``eigvals``.
        warnings: everything that a reader of the number should know.
    """

    value: float
    method: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Factor:
    """A factor F of full column rank with F F^T = covariance.

    Attributes:
        matrix: (d, rank) float64.
        method: ``cholesky`` or ``eigh``.
    """

    matrix: np.ndarray
    method: str

    @property
    def rank(self) -> int:
        return int(self.matrix.shape[1])


def trace_sqrt(real_cov: np.ndarray, fake_cov: np.ndarray, *, method: str = "auto") -> TraceSqrt:
    """Compute tr (W^1/2 S W^1/2)^1/2 for W = ``real_cov`` and S = ``fake_cov``, symmetric in the two.

    ``auto``: Cholesky factors where both matrices are regular, then eigenvalues of L^T S L (or, where their spread
    would cost digits, singular values of the factors' product); eigenvector factors truncated at the numerical rank,
    then singular values, otherwise. ``svd``: always the latter. ``eigvals``: the sum of Re sqrt of the eigenvalues of
    S W, as torch-fidelity and torchmetrics do. ``sqrtm``: scipy's matrix square root of S W, as pytorch-fid,
    clean-fid and the original do, without their regularisation; if it fails, ``svd`` and a warning. All agree to 1e-8
    relative for regular matrices; ``auto`` and ``svd`` keep 1e-10 for singular ones, where the other two warn.

    Args:
        real_cov: (d, d).
        fake_cov: (d, d).
        method: one of ``TRACE_METHODS``.

    Raises:
        InputError: an unknown method, shapes that differ, NaN or infinity.
    """
    if method not in TRACE_METHODS:
        raise InputError(f"the trace is computed by one of {', '.join(TRACE_METHODS)}; got {method!r}.")
    if np.shape(real_cov) != np.shape(fake_cov):
        raise InputError(f"the covariances differ in shape: {np.shape(real_cov)} real, {np.shape(fake_cov)} fake.")
    w, notes_w = _symmetric(real_cov, "real")
    s, notes_s = _symmetric(fake_cov, "fake")
    notes = notes_w + notes_s
    if method == "sqrtm":
        result = _by_sqrtm(w, s)
    elif method == "eigvals":
        result = _by_eigvals(w, s)
    elif method == "svd":
        result = _by_svd(_eigen_factor(w), _eigen_factor(s), "eigh-svd")
    else:
        result = _by_factors(w, s)
    return TraceSqrt(result.value, result.method, (*notes, *result.warnings))


def covariance_factor(covariance: np.ndarray) -> Factor:
    """Compute a factor of full column rank: Cholesky where the matrix is regular, truncated eigenvectors otherwise.

    Cholesky succeeds on some exactly singular matrices; it is accepted only if every squared pivot exceeds d eps
    max(diagonal) and the reciprocal condition number exceeds 100 d eps. Eigenvectors are dropped at eigenvalues <= d
    eps lambda_max.

    Args:
        covariance: (d, d), symmetric, positive semi-definite.

    Raises:
        InputError: NaN or infinity.
    """
    return _factor(_symmetric(covariance, "given")[0])


def _factor(matrix: np.ndarray) -> Factor:
    return _cholesky_factor(matrix) or _eigen_factor(matrix)


def thin_svd(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """U, s, V with matrix = U diag(s) V^T; singular values that are zero to rounding are dropped."""
    if 0 in matrix.shape:
        return np.zeros((matrix.shape[0], 0)), np.zeros(0), np.zeros((matrix.shape[1], 0))
    try:
        u, s, vt = scipy.linalg.svd(matrix, full_matrices=False, check_finite=False)
    except np.linalg.LinAlgError:  # divide and conquer gives up on a few matrices; the older algorithm does not
        u, s, vt = scipy.linalg.svd(matrix, full_matrices=False, check_finite=False, lapack_driver="gesvd")
    keep = s > max(matrix.shape) * _EPS * s[0]
    return u[:, keep], s[keep], vt[keep].T


def eigh_in_place(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute eigenvalues and eigenvectors of a symmetric matrix from its lower triangle, in its memory."""
    eigenvalues, vectors = scipy.linalg.eigh(matrix, driver="evd", overwrite_a=True, check_finite=False)
    return eigenvalues, vectors


@dataclass(frozen=True, slots=True, eq=False)
class Coupling:
    """S = F F^T, W = G G^T, G^T F = U diag(s) V^T: the optimal transport between two Gaussians.

    Attributes:
        factor_real: G, (d, rank W).
        factor_fake: F, (d, rank S).
        left: U, (rank W, r).
        s: (r,), decreasing and positive; their sum is tr (W^1/2 S W^1/2)^1/2.
        right: V, (rank S, r).
        method: ``cholesky-eigh``, ``cholesky-svd`` or ``eigh-svd``.
        warnings: those of ``TraceSqrt``.
    """

    factor_real: np.ndarray
    factor_fake: np.ndarray
    left: np.ndarray
    s: np.ndarray
    right: np.ndarray
    method: str
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        real_cov: np.ndarray,
        fake_cov: np.ndarray,
        *,
        eigh: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]] = eigh_in_place,
    ) -> Coupling:
        """Of two regular matrices, by eigenvectors of G^T S G where their spread costs no digits: 2.5 times faster.

        Args:
            eigh: finds those, of a symmetric matrix of which the lower triangle is given.
        """
        w, notes_w = _symmetric(real_cov, "real")
        s, notes_s = _symmetric(fake_cov, "fake")
        g, f = _factor(w), _factor(s)
        regular = g.method == f.method == "cholesky"
        product = dtrmm(1.0, g.matrix.T, f.matrix) if regular else g.matrix.T @ f.matrix
        parts = _by_eigenvectors(product, eigh) if regular else None
        method = "cholesky-svd" if regular else "eigh-svd"
        if parts is not None:
            method = "cholesky-eigh"
        return cls(g.matrix, f.matrix, *(parts or thin_svd(product)), method, notes_w + notes_s)

    @property
    def trace(self) -> TraceSqrt:
        return TraceSqrt(float(self.s.sum()), self.method, self.warnings)

    @property
    def rank_real(self) -> int:
        return int(self.factor_real.shape[1])

    @property
    def rank_fake(self) -> int:
        return int(self.factor_fake.shape[1])

    @property
    def to_real(self) -> np.ndarray:
        """K = G U s^-1/2, (d, r); K K^T S K K^T = W where both have full rank."""
        return self._scaled(self.factor_real, self.left)

    @property
    def to_fake(self) -> np.ndarray:
        """K' = F V s^-1/2, (d, r): the map back."""
        return self._scaled(self.factor_fake, self.right)

    def _scaled(self, factor: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        vectors = vectors / np.sqrt(self.s)
        if self.method == "eigh-svd":
            return np.asarray(factor @ vectors)
        return np.asarray(dtrmm(1.0, factor.T, vectors, lower=0, trans_a=1))  # the factors are triangular


def cauchy_root(s: np.ndarray) -> np.ndarray:
    """L, (r, k), with L L^T = 1 / (s_i + s_j) to 1e-12 of every entry's scale 1 / sqrt(s_i s_j).

    The matrix is positive definite, and its eigenvalues fall off exponentially: a Cholesky factor with pivoting, of
    the matrix scaled to a constant diagonal, ends after k columns: 40 where s spans five powers of ten, 120 at twelve.

    Args:
        s: (r,), positive.
    """
    if not s.size:
        return np.zeros((0, 0))
    roots = np.sqrt(s)
    scaled = np.outer(roots, roots) / np.add.outer(s, s)
    return np.asarray(_pivoted_cholesky(scaled, _CAUCHY_TOLERANCE) / roots[:, None])


def _pivoted_cholesky(matrix: np.ndarray, tolerance: float) -> np.ndarray:
    """F, (d, k), whose F F^T leaves no diagonal entry above ``tolerance``."""
    packed, pivots, rank, _ = dpstrf(matrix, tol=tolerance, lower=1)
    factor = np.zeros((len(matrix), rank))
    factor[pivots - 1] = np.tril(packed[:, :rank])
    return factor


def _symmetric(matrix: np.ndarray, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the symmetric part in float64, and a warning if the matrix was not symmetric beyond rounding."""
    matrix = np.asarray(matrix, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.size == 0:
        raise InputError(f"the {name} covariance must be a square matrix; got shape {matrix.shape}.")
    if not np.isfinite(matrix).all():
        raise InputError(f"the {name} covariance has NaN or infinite entries; look for such rows among the features.")
    if np.array_equal(matrix, matrix.T):
        return matrix, ()
    asymmetry, largest = float(np.abs(matrix - matrix.T).max()), float(np.abs(matrix).max())
    notes: tuple[str, ...] = ()
    if asymmetry > _ASYMMETRY * largest:
        notes = (f"the {name} covariance is not symmetric, by {asymmetry / largest:.1g} of its maximum: averaged",)
    return (matrix + matrix.T) / 2, notes


def _cholesky_factor(matrix: np.ndarray) -> Factor | None:
    """The lower Cholesky factor, or None if the matrix is singular to rounding."""
    try:
        lower = np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        return None
    pivots = np.square(np.diagonal(lower))
    if pivots.min() <= len(matrix) * _EPS * np.diagonal(matrix).max():
        return None
    # The smallest eigenvalue can lie far below the smallest pivot; the estimate of the condition number sees that.
    reciprocal, _ = dpocon(lower.T, np.linalg.norm(matrix, 1))
    return Factor(lower, "cholesky") if reciprocal > _REGULAR * len(matrix) * _EPS else None


def _eigen_factor(matrix: np.ndarray) -> Factor:
    """Compute eigenvectors times square roots of eigenvalues, without the eigenvalues that are zero up to rounding.

    A matrix of low rank is first written as F F^T with few columns: the eigenvectors of F^T F, times F, are the same.
    """
    least = len(matrix) * _EPS
    rounding = least * float(np.diagonal(matrix).max())
    narrow = _pivoted_cholesky(matrix, rounding)
    if 0 < narrow.shape[1] < _LOW_RANK * len(matrix) and np.abs(matrix - narrow @ narrow.T).max() <= 2.0 * rounding:
        eigenvalues, vectors = np.linalg.eigh(narrow.T @ narrow)
        return Factor(narrow @ vectors[:, eigenvalues > least * eigenvalues[-1]], "eigh")
    eigenvalues, vectors = np.linalg.eigh(matrix)
    keep = eigenvalues > least * max(float(eigenvalues[-1]), 0.0)
    return Factor(vectors[:, keep] * np.sqrt(eigenvalues[keep]), "eigh")


def _roots(eigenvalues: np.ndarray) -> np.ndarray | None:
    """Square roots of eigenvalues; None if errors of eps lambda_max change their sum by more than the bound."""
    if not eigenvalues[0] > 0.0:
        return None
    roots = np.sqrt(eigenvalues)
    bound = _EPS * eigenvalues[-1] * (0.5 / roots).sum()
    return roots if bound <= _EIGENVALUE_BOUND * roots.sum() else None


def _by_eigenvectors(
    product: np.ndarray, eigh: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """``thin_svd`` of a square M by eigenvectors of M M^T, or None where that would cost digits.

    An error e of an eigenvalue s^2 is one of e / 2s in the root and in all that is made of its vectors.
    """
    try:
        eigenvalues, vectors = eigh(dsyrk(1.0, product, lower=1))
    except np.linalg.LinAlgError:  # it gives up on a few matrices
        return None
    roots = _roots(eigenvalues)
    if roots is None:
        return None
    left, s = np.ascontiguousarray(vectors[:, ::-1]), roots[::-1]
    del vectors  # 34 MB at 2048 features, like every matrix here
    right = product.T @ left
    right /= s
    return left, s, right


def _by_factors(w: np.ndarray, s: np.ndarray) -> TraceSqrt:
    factor_w, factor_s = _cholesky_factor(w), _cholesky_factor(s)
    if factor_w is None or factor_s is None:
        return _by_svd(factor_w or _eigen_factor(w), factor_s or _eigen_factor(s), "eigh-svd")
    inner, _ = dsygst(s.T, factor_w.matrix.T, itype=3, lower=0)  # L^T S L, a quarter of two general products
    roots = _roots(np.linalg.eigvalsh(inner.T))
    if roots is not None:
        return TraceSqrt(float(roots.sum()), "cholesky-eigvalsh")
    return _by_svd(factor_w, factor_s, "cholesky-svd")


def _by_svd(factor_w: Factor, factor_s: Factor, method: str) -> TraceSqrt:
    product = factor_w.matrix.T @ factor_s.matrix
    if product.size == 0:
        return TraceSqrt(0.0, method)
    try:
        values = scipy.linalg.svdvals(product, check_finite=False)
    except np.linalg.LinAlgError:
        values = thin_svd(product)[1]
    return TraceSqrt(float(values.sum()), method)


def _by_eigvals(w: np.ndarray, s: np.ndarray) -> TraceSqrt:
    eigenvalues = scipy.linalg.eigvals(s @ w, check_finite=False).astype(np.complex128)
    value = float(np.sqrt(eigenvalues).real.sum())
    notes = _rank_warning("eigvals", w, s)
    if not np.isfinite(value):
        return _after_failure("eigvals", "it is not finite", notes, w, s)
    return TraceSqrt(value, "eigvals", notes)


def _by_sqrtm(w: np.ndarray, s: np.ndarray) -> TraceSqrt:
    product = s @ w
    notes = _rank_warning("sqrtm", w, s)
    # scipy up to 1.15 prints its failures on stdout; scipy from 1.16 on warns; from 1.18 on it takes no keyword.
    with warnings.catch_warnings(record=True) as caught, contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("always")
        try:
            root = np.asarray(scipy.linalg.sqrtm(product))
        except (np.linalg.LinAlgError, ValueError) as error:
            return _after_failure("sqrtm", str(error), notes, w, s)
    notes += tuple(dict.fromkeys(f"scipy.linalg.sqrtm: {c.message}" for c in caught))
    if root.shape != product.shape:
        return _after_failure("sqrtm", f"its shape is {root.shape}", notes, w, s)
    if not np.isfinite(root).all():
        return _after_failure("sqrtm", "it has NaN or infinite entries", notes, w, s)
    diagonal = np.diagonal(root)
    if np.iscomplexobj(root) and float(np.abs(diagonal.imag).max()) >= _IMAGINARY:
        return _after_failure("sqrtm", f"its diagonal is complex, by {np.abs(diagonal.imag).max():.2g}", notes, w, s)
    with np.errstate(all="ignore"):  # garbage may overflow; then the comparison is false
        residual = float(np.linalg.norm(root @ root - product))
    if not residual <= _RESIDUAL * float(np.linalg.norm(product)):
        return _after_failure("sqrtm", "its square is not the matrix", notes, w, s)
    return TraceSqrt(float(diagonal.real.sum()), "sqrtm", notes)


def _after_failure(method: str, reason: str, notes: tuple[str, ...], w: np.ndarray, s: np.ndarray) -> TraceSqrt:
    result = _by_svd(_eigen_factor(w), _eigen_factor(s), "eigh-svd")
    note = f"the square root by {method} is unusable ({reason}): singular values were used instead"
    return TraceSqrt(result.value, result.method, (*notes, note))


def _rank_warning(method: str, w: np.ndarray, s: np.ndarray) -> tuple[str, ...]:
    deficient = []
    for name, matrix in (("real", w), ("fake", s)):
        if _cholesky_factor(matrix) is None:
            deficient.append(f"{name} rank {_eigen_factor(matrix).rank} of {len(matrix)}")
    if not deficient:
        return ()
    return (
        f"the covariances are rank deficient ({', '.join(deficient)}), where {option('trace', method)} loses half of "
        f"the digits: {option('trace', 'auto')} does not",
    )
