"""The decisions of a gate on plain numbers: pass, fail or inconclusive, from an excess and its standard error.

The *excess* e is how far a number is on the wrong side of its limit. With standard error s and level 1 - a (one-sided):

    pass          e + z s <= 0      surely on the right side; non-inferiority, where the limit is a margin
    fail          p = 1 - Phi(e / s) is at most a after Holm's correction over all checks of the gate
    inconclusive  neither

A gate passes if all its checks pass: an intersection of tests, each at its own level, without correction (Berger 1982).
It fails if any check fails: a union, and Holm's correction keeps the probability of a false failure at most a for any
number of checks (Holm 1979).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from scipy.special import ndtr, stdtr

from ganeval.metrics.intervals import one_sided_quantile

POWER = 0.9
MOST = 10**12  # images: a larger number is reported as none
SPARE = 1.1  # factor on the variances: at the planned numbers, errors are up to 5 % larger than in the limit


def p_value(excess: float, standard_error: float, degrees_of_freedom: float | None = None) -> float:
    """The probability of an excess this large if the true value is exactly at the limit.

    With an error of 0, as of two runs of one model on the same latents, the sign of the excess decides.

    >>> p_value(1.0, 0.0), p_value(0.0, 0.0), p_value(0.0, 2.0)
    (0.0, 1.0, 0.5)
    """
    if standard_error == 0:
        return 0.0 if excess > 0 else 1.0
    t = excess / standard_error
    return float(ndtr(-t) if degrees_of_freedom is None else stdtr(degrees_of_freedom, -t))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values (Holm 1979): rejecting those up to a errs with probability at most a, under any dependence.

    In increasing order p_(1) <= ... <= p_(M), the i-th becomes max over j <= i of min(1, (M - j + 1) p_(j)).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted


def status(
    excess: float, standard_error: float, adjusted_p: float, level: float, degrees_of_freedom: float | None = None
) -> str:
    """``pass``, ``fail`` or ``inconclusive``, by the rule in the docstring of the module."""
    if excess + one_sided_quantile(level, degrees_of_freedom) * standard_error <= 0:
        return "pass"
    return "fail" if excess > 0 and adjusted_p <= 1 - level else "inconclusive"


def planned_fakes(
    gap: float,
    fake_variance: float,
    real_variance: float = 0.0,
    *,
    level: float = 0.95,
    power: float = POWER,
    degrees_of_freedom: float | None = None,
) -> int | None:
    """The number of fakes that decide a check with probability ``power``, if the true value is ``gap`` from the limit.

    n >= V_fake / [gap^2 / (z_level + z_power)^2 - V_real / m],  both V increased by a tenth

    Args:
        gap: distance of the true value from the limit, in the units of the metric.
        fake_variance: variance of the influence of one fake (of one pair, where they are paired); its part of the
            squared error decreases as 1/n.
        real_variance: the part of the reference, V_real / m, which stays.
        degrees_of_freedom: of the standard error, where it comes from few blocks.

    Returns:
        The number; None where no number of fakes is enough: more real images, pairs, or a wider margin are needed.
    """
    both = one_sided_quantile(level, degrees_of_freedom) + one_sided_quantile(power, degrees_of_freedom)
    left = (gap / both) ** 2 - SPARE * real_variance
    if not left > 0 or not math.isfinite(SPARE * fake_variance / left):
        return None
    needed = max(2, math.ceil(SPARE * fake_variance / left))
    return needed if needed <= MOST else None
