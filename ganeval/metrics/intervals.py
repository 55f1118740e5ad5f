"""The few lines of statistics that every interval is made of."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import ndtri, stdtrit

from ganeval.errors import InputError
from ganeval.results import Interval

ESTIMAND = {"sample": "population", "population": "population-given-reference"}
# what these numbers of images, or of groups of images, give on average, in place of the distributions' own value
PROTOCOL_ESTIMAND = {"population": "protocol", "population-given-reference": "protocol-given-reference"}


MAX_COPIES = 0.01  # of a set: with more, the distinct images are what counts


def repeats(distinct: int, n: int) -> bool:
    """Whether so many of n images are copies that an error of independent images would be too small."""
    return n - distinct > max(1.0, MAX_COPIES * n)


def checked_level(level: float) -> float:
    if not 0.0 < level < 1.0:
        raise InputError(f"the level of an interval lies between 0 and 1, for instance 0.95; got {level}.")
    return level


def quantile(level: float, degrees_of_freedom: float | None = None) -> float:
    """How many standard errors a two-sided interval of this level reaches to each side.

    >>> round(quantile(0.95), 3)
    1.96
    """
    return one_sided_quantile(0.5 + checked_level(level) / 2, degrees_of_freedom)


def one_sided_quantile(level: float, degrees_of_freedom: float | None = None) -> float:
    """How many standard errors a one-sided bound of this level is from the estimate; None: the normal quantile.

    >>> round(one_sided_quantile(0.95), 3)
    1.645
    """
    p = checked_level(level)
    return float(ndtri(p) if degrees_of_freedom is None else stdtrit(degrees_of_freedom, p))


def symmetric_interval(
    centre: float,
    half_width: float,
    level: float,
    method: str,
    estimand: str,
    *,
    within: tuple[float, float] = (-math.inf, math.inf),
) -> Interval | None:
    """``centre`` ± ``half_width``, cut to ``within``; None where rounding or the cut leave no width."""
    low, high = max(float(centre - half_width), within[0]), min(float(centre + half_width), within[1])
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        return None
    return Interval(low=low, high=high, level=level, method=method, estimand=estimand)


def variance_of_mean(values: np.ndarray, clusters: np.ndarray | None = None) -> float:
    """Var of the mean of independent values: their variance (ddof 1) over their number.

    Args:
        clusters: (n,) ids of what is independent, where that is not the single value; then, of C clusters g,
            C / (C - 1) * sum_g (sum_{i in g} (x_i - mean))^2 / n^2, the same where every cluster has one value.
    """
    if clusters is None:
        return float(np.var(values, ddof=1) / len(values))
    _, place = np.unique(clusters, return_inverse=True)
    sums = np.bincount(place, values - values.mean())
    return float(sums @ sums) * len(sums) / (len(sums) - 1) / len(values) ** 2
