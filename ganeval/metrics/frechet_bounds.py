"""Bounds of the Frechet distance between distributions that hold at any number of fakes, against a fixed reference.

Upper: (S, W) -> N is jointly concave, so by Jensen's inequality D - tr S / n is above the population's distance on
average: ``leave_one_out`` with kappa = 1.

Lower: for any positive definite T (Alberti 1983), tr (W^1/2 S W^1/2)^1/2 <= (tr T S + tr T^-1 W) / 2, so

    D >= |mu - nu|^2 + tr S + tr W - tr T S - tr T^-1 W

which is linear in S: for a T of other images it is unbiased at every n, and a mean over images, whose error is that of
a mean. T is fitted on three quarters of the images and applied to the last, four times over: the optimal transport from
S_rho = (1 - rho) S + rho c W, c = tr S / tr W, to W, in the ``LEADING`` principal directions of W, and a multiple of
the identity in all others. Of four rho the one with the largest bound is taken. The bound is near D for equal and
for shrunk distributions, and 40 to 85 % of it for others where n <= d.

Arrays and plain numbers only.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
import scipy.linalg

from ganeval.statistics.moments import Gaussian
from ganeval.statistics.rows import FeatureRows

LEADING = 256  # principal directions of the reference in which T is a full matrix
SHRINKAGES = (0.05, 0.2, 0.5, 0.8)
FOLDS = 4
SEED = 0
_LEAST_EIGENVALUE = 1e-12  # of the largest: below it a direction belongs to the others


@dataclass(frozen=True, slots=True)
class LowerBound:
    """An unbiased lower bound of the population's distance, in features squared, and its standard error."""

    value: float
    standard_error: float


@dataclass(frozen=True, slots=True, eq=False)
class _Reference:
    """W in its leading principal directions, and what is left of it.

    Attributes:
        vectors: (d, k), times the roots of their eigenvalues.
        directions: (d, k), orthonormal.
        eigenvalues: (k,).
        rest: trace of W in the other directions.
    """

    mean: np.ndarray
    vectors: np.ndarray
    directions: np.ndarray
    eigenvalues: np.ndarray
    rest: float


def lower_bound(reference: Gaussian, fake_rows: FeatureRows) -> LowerBound:
    """The cross-fitted dual bound of the distance of the fakes' distribution from this reference.

    Args:
        reference: the target itself; it has no error.
        fake_rows: at least ``FOLDS`` times 2 rows.
    """
    target = _leading(reference)
    fake = fake_rows.to_array().astype(np.float64)
    fold = np.random.default_rng(SEED).permutation(len(fake)) % FOLDS
    terms = np.zeros((len(SHRINKAGES), len(fake)))
    for number in range(FOLDS):
        held_out = fold == number
        terms[:, held_out] = _terms(target, fake[~held_out], fake[held_out])
    best = terms[terms.mean(axis=1).argmax()]
    return LowerBound(float(best.mean()), float(best.std(ddof=1) / sqrt(len(best))))


def _leading(reference: Gaussian) -> _Reference:
    d = reference.dimension
    k = min(d, LEADING)
    eigenvalues, directions = scipy.linalg.eigh(reference.covariance, subset_by_index=(d - k, d - 1))
    keep = eigenvalues > _LEAST_EIGENVALUE * max(float(eigenvalues[-1]), 0.0)
    eigenvalues, directions = eigenvalues[keep], directions[:, keep]
    rest = max(float(np.trace(reference.covariance)) - float(eigenvalues.sum()), 0.0)
    return _Reference(reference.mean, directions * np.sqrt(eigenvalues), directions, eigenvalues, rest)


def _terms(target: _Reference, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """(rho, images of the fold): the bound, image by image, with T of the other folds."""
    n = len(train)
    mean = train.mean(axis=0)
    centred, away = train - mean, test - mean
    own = n / (
        n + 1
    )  # the mean of the training rows is itself an estimate: E |x - mean|^2 is (n + 1) / n of the variance
    within = centred @ target.directions
    spread = float(np.square(centred).sum())
    others = max(spread - float(np.square(within).sum()), 0.0) / (n - 1)  # trace of S in the other directions
    tau = sqrt(target.rest / others) if others > 0.0 and target.rest > 0.0 else 1.0
    outside = np.square(away).sum(axis=1) - np.square(away @ target.directions).sum(axis=1)
    fixed = np.square(test - target.mean).sum(axis=1) + float(target.eigenvalues.sum()) + target.rest
    fixed -= tau * own * outside + target.rest / tau
    total = float(target.eigenvalues.sum())
    scale = float(np.square(within).sum()) / (n - 1) / total if total > 0.0 else 0.0
    if scale <= 0.0:
        return np.tile(fixed - own * np.square(away @ target.directions).sum(axis=1) - total, (len(SHRINKAGES), 1))
    projected = centred @ target.vectors / sqrt(n - 1)
    inner, prior = projected.T @ projected, scale * np.diag(target.eigenvalues**2)
    found = []
    for rho in SHRINKAGES:
        values, vectors = scipy.linalg.eigh((1.0 - rho) * inner + rho * prior, overwrite_a=True, check_finite=False)
        roots = np.sqrt(np.maximum(values, values[-1] * 1e-14))
        cost = np.square(away @ (target.vectors @ vectors)) @ (1.0 / roots)
        found.append(fixed - own * cost - float(roots.sum()))
    return np.array(found)
