"""How many different images are there: the Vendi score and the Renyi kernel entropy, of one set alone.

With unit rows u_i = x_i / |x_i| and A = (1/n) sum_i u_i u_i^T, whose non-zero eigenvalues l are those of the matrix of
all similarities over n

    Vendi = exp(- sum l log l)                 (Friedman & Dieng 2023)
    Vendi of order q = (sum l^q)^(1 / (1 - q)), and 1 / max l for q = inf      (Pasarkar & Dieng 2024)
    RKE   = 1 / sum l^2 = 1 / tr A^2           (Jalali, Li & Farnia 2023)

Effective numbers between 1 and min(n, d). A needs d x d numbers and one pass; no n x n matrix is made. The delta method
gives the errors:

    IF of log Vendi at x: -u^T (log A) u - H,  H = - sum l log l;    SE(Vendi) = Vendi sd(IF) / sqrt(n)
    IF of sum l^q at x: q (u^T A^(q - 1) u - sum l^q);    IF of max l: (u^T v)^2 - max l,  v its eigenvector
    SE(RKE) = 2 sd(u^T A u) / (sqrt(n) (tr A^2)^2);    (n tr A^2 - 1) / (n - 1) estimates tr A^2 without bias
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from scipy.linalg import eigh

from ganeval.errors import InputError, NotEnoughSamplesError
from ganeval.metrics.build_result import build_result
from ganeval.metrics.types import MetricInputs
from ganeval.results import MetricResult
from ganeval.statistics.rows import FeatureRows


@dataclass(frozen=True, slots=True)
class Diversity:
    """An effective number of distinct rows.

    Attributes:
        bias: its expected excess; None where that is not known.
        influence: (n,), mean 0, of each row on ``value``.
    """

    value: float
    bias: float | None
    influence: np.ndarray

    @property
    def standard_error(self) -> float:
        return float(self.influence.std(ddof=1) / np.sqrt(len(self.influence)))


def second_moment(rows: FeatureRows) -> np.ndarray:
    """(d, d): the mean of u u^T over unit rows u.

    Raises:
        InputError: a row of zeros has no direction.
        NotEnoughSamplesError: fewer than two rows.
    """
    if len(rows) < 2:
        raise NotEnoughSamplesError(f"diversity needs at least 2 images; found {len(rows)}.")
    total = np.zeros((rows.dimension, rows.dimension))
    for block in unit_blocks(rows):
        total += block.T @ block
    return total / len(rows)


def vendi(rows: FeatureRows, moment: np.ndarray | None = None, *, order: float = 1.0) -> Diversity:
    """Vendi score under cosine similarity; equals vendi-score's of the n x n matrix of similarities to 1e-9.

    Args:
        order: q above 0; that of 2 is the value of RKE, and ``inf`` counts the largest kind of images alone.
        moment: their ``second_moment``, where it is already known.

    >>> rows = FeatureRows(4)
    >>> rows.append(np.repeat(np.eye(4, dtype=np.float32), 5, axis=0))  # four groups that share nothing
    >>> round(vendi(rows).value, 9)
    4.0
    """
    values, vectors = eigh(second_moment(rows) if moment is None else moment)
    kept = values > rows.dimension * np.finfo(np.float64).eps * values[-1]
    values, vectors = values[kept], vectors[:, kept]
    value, weights = _effective_number(values, order)
    terms = np.concatenate([(block @ vectors) ** 2 @ weights for block in unit_blocks(rows)])
    return Diversity(value, None, terms - terms.mean())


def _effective_number(values: np.ndarray, order: float) -> tuple[float, np.ndarray]:
    """The Vendi score of eigenvalues, and its derivative with respect to each of them but for a constant."""
    if order == 1.0:
        logs = np.log(values)
        value = float(np.exp(-(values @ logs)))
        return value, -value * logs
    if order == math.inf:
        weights = np.zeros(len(values))
        weights[-1] = -1 / values[-1] ** 2
        return float(1 / values[-1]), weights
    total = float((values**order).sum())
    value = total ** (1 / (1 - order))
    return value, value / (1 - order) / total * order * values ** (order - 1)


def renyi(rows: FeatureRows, moment: np.ndarray | None = None) -> Diversity:
    """RKE, the Vendi score of order 2, with the bias of its plug-in form; arguments as ``vendi``."""
    moment, n = second_moment(rows) if moment is None else moment, len(rows)
    trace = float(np.einsum("ij,ij->", moment, moment))
    unbiased = (n * trace - 1) / (n - 1)
    terms = np.concatenate([np.einsum("ij,ij->i", block @ moment, block) for block in unit_blocks(rows)])
    bias = 1 / trace - 1 / unbiased if unbiased > 0 else None
    return Diversity(1 / trace, bias, -2 * (terms - terms.mean()) / trace**2)


def measure(inputs: MetricInputs) -> dict[str, MetricResult]:
    """Compute Vendi and RKE of the fakes, and those of the reals where their features are available."""
    rows = inputs.fake_rows()
    others = inputs.real.rows if inputs.real is not None else None
    moment, others_moment = second_moment(rows), second_moment(others) if others is not None else None
    results, order = {}, inputs.settings.vendi_order
    for name, function in (("vendi", partial(vendi, order=float(order))), ("rke", renyi)):
        if name not in inputs.wanted:
            continue
        found = function(rows, moment)
        details: dict[str, object] = {}
        warnings: tuple[str, ...] = ()
        if others is not None:
            beside = function(others, others_moment)
            details["real"] = {
                "value": beside.value,
                "standard_error": beside.standard_error,
                "n": len(others),
            }
            if name == "vendi" and len(others) != len(rows):
                warnings = (
                    f"the Vendi score grows with the number of images: that of {len(rows)} fakes and the one next to "
                    f"it of {len(others)} reals are not comparable (--num-real, --num-fake)",
                )
        other_order = name == "vendi" and order != "1"
        result = build_result(
            inputs,
            name,
            found.value,
            standard_error=found.standard_error,
            bias=found.bias,
            method="delta",
            estimand="population" if name == "rke" else "protocol",
            settings={"order": order} if other_order else None,
            details=details,
            per_image={f"{name}_influence_fake": found.influence},
            warnings=warnings,
        )
        results[name] = replace(result, label=inputs.protocol.label(f"Vendi-{order}")) if other_order else result
    return results


def unit_blocks(rows: FeatureRows) -> Iterator[np.ndarray]:
    """The rows at length 1, in float64, a block at a time."""
    start = 0
    for block in rows.blocks():
        wide = block.astype(np.float64)
        norms = np.sqrt(np.einsum("ij,ij->i", wide, wide))
        if not norms.all():
            raise InputError(
                f"the features of image {start + int(np.argmin(norms))} are all zero: they have no direction, "
                "and Vendi, RKE and KEN compare directions."
            )
        yield wide / norms[:, None]
        start += len(block)
