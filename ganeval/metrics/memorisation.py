"""AuthPct and C_T: does the generator copy its training images? For both, REAL is the training set.

With t*(x) the training row nearest to x, and L(x) = |x - t*(x)|

    x is authentic if L(x) > |t* - its nearest other training row|        (Alaa et al. 2022)
    AuthPct = 100 mean_j 1[x_j is authentic]                              copies give 0

    C_T = sum_c w_c Z_c / sum_c w_c                                       (Meehan, Chaudhuri & Dasgupta 2020)
    Z_c = (U_c - n'p' / 2 + 1/2) / sqrt(n'p' (n' + p' + 1) / 12)
    U_c = #{(q, p) in cell c: L(fake q) > L(test p)}, a tie counts one half

The sum is over the cells c of a k-means partition of the training set. Only cells with more than 20 fakes count. A cell
holds n' fakes and p' held-out reals; its weight w_c is its share of all held-out reals.

AuthPct has no universal expected value without copying. It is 33, 38 and 41 for uniform distributions in 1, 2 and 3
dimensions, and over 80 in 64 dimensions. Compare it with the AuthPct of held-out reals. The expected value of C_T is 0.
C_T grows with the square root of the numbers of images. The effect size sum w_c U_c / n'p' does not; it is one half if
fakes and held-out reals are alike. All errors are those of drawing fakes and held-out reals, with the training set
fixed. The error of C_T comes from the influence of each image on the ranks, the numbers and the weights of its cell.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import eigh
from scipy.stats import beta, norm, rankdata

from ganeval.arithmetic import first_line
from ganeval.errors import InputError, NotEnoughSamplesError, number_of
from ganeval.metrics.build_result import build_result
from ganeval.metrics.intervals import quantile
from ganeval.metrics.types import MetricInputs
from ganeval.parsing.arguments import option
from ganeval.results import MetricResult, Reason
from ganeval.statistics.moments import Moments
from ganeval.statistics.neighbours import nearest
from ganeval.statistics.searches import ProcessGroup

CELLS = 3
LEAST_FAKES = 20  # in a cell: tau = 20 / n of the paper's code
PROJECTED = 64  # principal components, where there are more features
_SEED = 0  # of the partition: part of the estimator
_RESTARTS = 10
_BLOCK = 1024


def authenticity(
    train: np.ndarray, queries: np.ndarray, *, device: torch.device | None = None, group: ProcessGroup | None = None
) -> np.ndarray:
    """Compute, for each query, L(x) over the distance of t* from its own nearest neighbour; authentic above 1.

    The ratio is 0 for a copy. It is inf for an image that is not a copy, if t* has a copy in the training set. If
    several training rows are equally near, the first one is t*. The share above 1, in percent, equals dgm-eval's
    AuthPct.

    Shape:
        (m, d), (n, d) float32 -> (n,) float64 in [0, inf].
    """
    found = nearest(train, queries, device=device, group=group)
    closest, distance = found.indices[:, 0], found.distances[:, 0]
    own = nearest(train, device=device, group=group).distances[closest, 0]
    # both are squared and exact in float64: a copy of a twin is 0 / 0, and no less a copy
    ratio: np.ndarray = np.full(len(queries), np.inf)
    np.divide(distance, own, out=ratio, where=own > 0)
    ratio[distance == 0] = 0.0
    np.sqrt(ratio, out=ratio)
    return ratio


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of the partition: numbers of images, and the share of pairs in which the fake is farther away."""

    n_train: int
    n_fake: int
    n_test: int
    effect: float | None = None
    z: float | None = None


@dataclass(frozen=True, slots=True)
class Copying:
    """The value of C_T and its parts.

    Attributes:
        value: C_T; below 0 if the fakes are nearer to the training set than held-out images are.
        standard_error: from the influence of every fake and held-out image.
        z: sum w_c Z_c / sqrt(sum w_c^2); standard normal if fakes and held-out images are alike. C_T itself is not.
        effect: share of pairs in which the fake is farther from the training set; 1/2 if they are alike.
        effect_error: standard error of ``effect``; 0 if all distances of one kind are below those of the other.
        cells: cells of the partition after merging. A cell with too few fakes has no effect.
        merged: number of cells without a held-out image; each was merged with the nearest other cell.
        margin_fake: (n,) L of each fake.
        margin_test: (p,) L of each held-out image.
    """

    value: float
    standard_error: float
    z: float
    effect: float
    effect_error: float
    cells: tuple[Cell, ...]
    merged: int
    margin_fake: np.ndarray
    margin_test: np.ndarray


def copying(
    train: np.ndarray,
    fake: np.ndarray,
    test: np.ndarray,
    *,
    cells: int = CELLS,
    device: torch.device | None = None,
    group: ProcessGroup | None = None,
) -> Copying:
    """Compute C_T of the fakes against held-out images, on 64 principal components if d is larger.

    For equal distributions and one cell, C_T has mean 0 and standard deviation 1. The partition is faiss's k-means with
    a fixed seed, the best of ten starts.

    Shape:
        (m, d), (n, d), (p, d) float32.

    Raises:
        NotEnoughSamplesError: fewer training images than cells, or no cell with more than 20 fakes.
    """
    if len(train) < cells:
        raise NotEnoughSamplesError(f"C_T cuts the training set into {cells} cells; found {len(train)} images.")
    train, fake, test = _projected(train, fake, test)
    distances = [np.sqrt(nearest(train, x, device=device, group=group).distances[:, 0]) for x in (fake, test)]
    centres = _partition(train, cells)
    of_train, of_fake, of_test = (nearest(centres, x, k=1).indices[:, 0] for x in (train, fake, test))
    renamed, merged = _without_empty(centres, of_test)
    of_train, of_fake, of_test = (renamed[of] for of in (of_train, of_fake, of_test))
    found: list[Cell] = []
    used: list[_Used] = []
    for name in np.unique(renamed):
        q, p = np.flatnonzero(of_fake == name), np.flatnonzero(of_test == name)
        n_train = int((of_train == name).sum())
        if len(q) <= LEAST_FAKES:
            found.append(Cell(n_train, len(q), len(p)))
            continue
        one = _Used.of(q, p, *distances)
        used.append(one)
        found.append(Cell(n_train, len(q), len(p), one.effect, one.z))
    if not used:
        most = max(cell.n_fake for cell in found)
        raise NotEnoughSamplesError(
            f"C_T needs more than {LEAST_FAKES} fake images in a cell of the training set; found at most {most}. "
            "Give more fake images."
        )
    weights = np.array([len(one.p) for one in used], dtype=np.float64)
    weights /= weights.sum()
    value = float(sum(w * one.z for w, one in zip(weights, used, strict=True)))
    effect = float(sum(w * one.effect for w, one in zip(weights, used, strict=True)))
    influence = [np.zeros((2, len(d))) for d in distances]  # of every fake and held-out image on value and effect
    for w, one in zip(weights, used, strict=True):
        counts = 1 / (len(one.q) + len(one.p) + 1)
        for into, rows, placed in ((influence[0], one.q, one.of_q), (influence[1], one.p, one.of_p)):
            own = w * (placed - one.effect) / len(rows)
            into[:, rows] = one.slope * own + w * one.z * (1 / len(rows) - counts) / 2, own
        total = sum(len(other.p) for other in used)
        influence[1][:, one.p] += np.array([[one.z - value], [one.effect - effect]]) / total  # through the weight
    errors = [float(np.sqrt(sum(x.shape[1] * x[i].var(ddof=1) for x in influence))) for i in (0, 1)]
    return Copying(
        value, errors[0], value / float(np.sqrt(weights @ weights)), effect, errors[1], tuple(found), merged, *distances
    )


def measure_authenticity(inputs: MetricInputs) -> dict[str, MetricResult]:
    """Compute AuthPct, in percent of all fakes; with held-out images also theirs, and the difference."""
    train, fake = inputs.real_rows().to_array(), inputs.fake_rows().to_array()
    ratios = authenticity(train, fake, device=inputs.device, group=inputs.group)
    value, error = _percent(ratios)
    low, high = _clopper_pearson(int((ratios > 1).sum()), len(ratios), inputs.level)
    copies = int((ratios == 0).sum())
    details: dict[str, object] = {
        "convention": "percent of all fakes",
        "exact_interval": [low, high],
        "copies": copies,
        "test": None,
        "difference": None,
    }
    warnings = []
    if copies:
        warnings.append(
            f"{number_of(copies, 'fake image has', 'fake images have')} the very features of a training image: copies"
        )
    if (test := inputs.test_rows()) is not None:
        held_out, held_out_error = _percent(
            authenticity(train, test.to_array(), device=inputs.device, group=inputs.group)
        )
        details["test"] = {"value": held_out, "standard_error": held_out_error, "n": len(test)}
        spread = float(np.hypot(error, held_out_error))
        half, overlap = quantile(inputs.level) * spread, inputs.test_overlap()
        difference = value - held_out
        details["difference"] = {
            "value": difference,
            "standard_error": spread,
            "interval": [difference - half, difference + half] if spread and not overlap else None,
            "reason": None if overlap is None else str(overlap),
        }
    else:
        warnings.append("AuthPct has no expected value: pass held-out reals with --test to get theirs for comparison")
    reason = None
    if not error:
        reason = Reason("none_authentic" if value == 0 else "all_authentic", n=len(ratios))
    result = build_result(
        inputs,
        "authpct",
        value,
        standard_error=error,
        method="binomial",
        estimand="population-given-reference",
        reason=reason,
        details=details,
        per_image={"authenticity_fake": ratios},
        warnings=tuple(warnings),
    )
    return {"authpct": result}


def measure_copying(inputs: MetricInputs) -> dict[str, MetricResult]:
    """Compute C_T, its effect size, and a z-score that is standard normal without copying."""
    train, fake, rows = inputs.real_rows().to_array(), inputs.fake_rows().to_array(), inputs.test_rows()
    if rows is None:
        raise NotEnoughSamplesError("C_T compares the fakes with held-out real images; give them with --test.")
    found = copying(train, fake, rows.to_array(), device=inputs.device, group=inputs.group)
    used = [cell for cell in found.cells if cell.z is not None]
    warnings = []
    if found.merged:
        warnings.append(f"C_T: {number_of(found.merged, 'cell')} without held-out images merged with the nearest cell")
    if left_out := len(found.cells) - len(used):
        fakes = sum(cell.n_fake for cell in found.cells if cell.z is None)
        cells = f"{number_of(left_out, 'cell')} with {number_of(fakes, 'fake')}"
        warnings.append(f"C_T: {cells}, {LEAST_FAKES} or fewer in each, left out")
    reason = inputs.test_overlap()
    if not found.effect_error:
        reason = reason or Reason("all_nearer" if found.value < 0 else "all_farther")
    details = {
        "effect": found.effect,
        "effect_standard_error": found.effect_error,
        "z": found.z,
        "p_value_copying": float(norm.cdf(found.z)),
        "n_test": len(rows),
        "cells": [
            {"n_train": c.n_train, "n_fake": c.n_fake, "n_test": c.n_test, "effect": c.effect, "z": c.z}
            for c in found.cells
        ],
    }
    result = build_result(
        inputs,
        "ct",
        found.value,
        standard_error=found.standard_error,
        method="influence",
        estimand="protocol",
        reason=reason,
        details=details,
        warnings=tuple(warnings),
        settings={"cells": CELLS, "components": PROJECTED, "test": inputs.test.digest if inputs.test else None},
        per_image={"distance_to_training_fake": found.margin_fake, "distance_to_training_test": found.margin_test},
    )
    return {"ct": result}


# --- the parts ---------------------------------------------------------------------------------------------------


def _percent(ratios: np.ndarray) -> tuple[float, float]:
    share = float((ratios > 1).mean())
    return 100 * share, 100 * float(np.sqrt(share * (1 - share) / len(ratios)))


def _clopper_pearson(k: int, n: int, level: float) -> tuple[float, float]:
    """The exact binomial interval, in percent; it also exists if no image or every image counts."""
    tail = (1 - level) / 2
    low = float(beta.ppf(tail, k, n - k + 1)) if k else 0.0
    high = float(beta.ppf(1 - tail, k + 1, n - k)) if k < n else 1.0
    return 100 * low, 100 * high


@dataclass(frozen=True, slots=True)
class _Used:
    """The Mann-Whitney comparison in one cell.

    Attributes:
        q: rows of the fakes in the cell.
        p: rows of the held-out images in the cell.
        of_q: for each of ``q`` the share of ``p`` that is nearer to the training set.
        of_p: for each of ``p`` the share of ``q`` that is farther.
        effect: U / n'p', which is the mean of ``of_q`` and of ``of_p``.
        slope: derivative of z with respect to ``effect``.
    """

    q: np.ndarray
    p: np.ndarray
    of_q: np.ndarray
    of_p: np.ndarray
    effect: float
    slope: float
    z: float

    @classmethod
    def of(cls, q: np.ndarray, p: np.ndarray, fake: np.ndarray, test: np.ndarray) -> _Used:
        n, m = len(q), len(p)
        ranks = rankdata(np.concatenate([fake[q], test[p]]))
        of_q = (ranks[:n] - rankdata(fake[q])) / m
        of_p = 1 - (ranks[n:] - rankdata(test[p])) / n
        effect, slope = float(of_q.mean()), float(np.sqrt(12 * n * m / (n + m + 1)))
        return cls(q, p, of_q, of_p, effect, slope, (effect - 0.5 + 0.5 / (n * m)) * slope)


def _projected(train: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    """Project on the training set's first principal components; with few features, return the arrays unchanged."""
    if train.shape[1] <= PROJECTED:
        return [train, *others]
    d = train.shape[1]
    moments = Moments(d)
    for start in range(0, len(train), _BLOCK):
        moments.update(train[start : start + _BLOCK])
    gaussian = moments.finish()
    _, vectors = eigh(gaussian.covariance, subset_by_index=[d - PROJECTED, d - 1])
    shift = gaussian.mean @ vectors
    projected = []
    for x in (train, *others):
        out = np.empty((len(x), PROJECTED), np.float32)
        for start in range(0, len(x), _BLOCK):
            out[start : start + _BLOCK] = x[start : start + _BLOCK] @ vectors - shift
        projected.append(out)
    return projected


def _partition(train: np.ndarray, cells: int) -> np.ndarray:
    """Compute centres of the training set (cells, d) by k-means on all rows, the best of several seeded starts."""
    try:
        import faiss  # slow to import
    except (ImportError, OSError) as error:
        raise InputError(
            f"ct cuts the training set into cells by faiss, which does not import: {first_line(error)}. Install "
            f"faiss-cpu, or ask for other metrics with {option('metrics')}."
        ) from error
    kmeans = faiss.Kmeans(
        train.shape[1],
        cells,
        niter=50,
        nredo=_RESTARTS,
        seed=_SEED,
        min_points_per_centroid=1,
        max_points_per_centroid=len(train),
    )
    kmeans.train(np.ascontiguousarray(train, dtype=np.float32))
    return np.array(kmeans.centroids)


def _without_empty(centres: np.ndarray, of_test: np.ndarray) -> tuple[np.ndarray, int]:
    """Compute for each cell the cell that it is merged into: itself, or the nearest one with held-out images."""
    holds = np.bincount(of_test, minlength=len(centres)) > 0
    renamed, full = np.arange(len(centres)), np.flatnonzero(holds)
    for name in np.flatnonzero(~holds):
        renamed[name] = full[np.argmin(((centres[full] - centres[name]) ** 2).sum(axis=1))]
    return renamed, int((~holds).sum())
