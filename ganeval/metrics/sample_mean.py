"""Mean of one number per unit, or the share of units that have something, with its error bar.

    mean         x = sum_i x_i / n,   SE^2 = s^2 / n,   interval x +- t_{n-1} SE
    proportion   Wilson 1927: all p that a score test does not reject, |p^ - p| <= z sqrt(p (1 - p) / n)

Units that belong together (several outputs of one input, frames of one film) are one cluster: SE^2 is then that of
``variance_of_mean`` over C clusters, t has C - 1 degrees of freedom, and n in Wilson's interval is the effective number
p^ (1 - p^) / SE^2, at most the number of units (the design effect of survey statistics).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ganeval.metrics.build_result import LEAST
from ganeval.metrics.intervals import quantile, symmetric_interval, variance_of_mean
from ganeval.protocol import Protocol
from ganeval.results import Interval, MetricResult, Reason

MEAN, WILSON = "mean", "wilson"
_ROUNDING = 1e-12  # of the largest value: a deviation so small is one of arithmetic


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleMean:
    """A mean or a proportion.

    Attributes:
        standard_error: None where there is no interval, and for a proportion of 0 or 1.
        influence: (n,) ``x_i`` minus the mean: by these, two runs are paired.
        effective_n: independent units that would give this error; of a proportion only.
        reason: why there is no interval.
    """

    value: float
    influence: np.ndarray
    standard_error: float | None = None
    interval: Interval | None = None
    degrees_of_freedom: float | None = None
    effective_n: float | None = None
    reason: Reason | None = None


def is_proportion(values: np.ndarray) -> bool:
    """Whether every value is 0 or 1.

    >>> is_proportion(np.array([0.0, 1.0, 1.0])), is_proportion(np.array([0.0, 0.5]))
    (True, False)
    """
    return bool(np.isin(values, (0.0, 1.0)).all())


def sample_mean(
    values: np.ndarray,
    *,
    level: float = 0.95,
    groups: np.ndarray | None = None,
    within: tuple[float, float] = (-math.inf, math.inf),
    what: str = "scored",
    proportion: bool = False,
) -> SampleMean:
    """The mean of numbers with its interval.

    Args:
        values: one finite number per unit.
        level: confidence level.
        groups: ids of the units that belong together and count as one; None: each unit by itself.
        within: range of the values, to which the interval is cut.
        what: kind of image, for the reason why there is no interval.
        proportion: the values are zeros and ones: the interval is Wilson's.

    Shape:
        values (n,), groups (n,).
    """
    mean = float(values.mean())
    influence = values - mean
    clusters = None if groups is None else int(np.unique(groups).size)
    if clusters is not None and clusters < LEAST:
        reason = Reason("too_few_groups", n=clusters, image_set=what, needed=LEAST)
        return SampleMean(value=mean, influence=influence, reason=reason)
    if len(values) < LEAST:
        reason = Reason("too_few_images", n=len(values), image_set=what, needed=LEAST)
        return SampleMean(value=mean, influence=influence, reason=reason)
    error = math.sqrt(variance_of_mean(values, groups))
    freedom = float((len(values) if clusters is None else clusters) - 1)
    suffix = "" if groups is None else ", by group"
    if proportion:
        effective = float(len(values))
        if clusters is not None:
            effective = min(effective, mean * (1 - mean) / error**2) if error > 0 else float(clusters)
        q = quantile(level, None if clusters is None else freedom)
        interval = wilson(mean, effective, q, level, WILSON + suffix)
        return SampleMean(
            value=mean,
            influence=influence,
            standard_error=error or None,
            interval=interval,
            degrees_of_freedom=None if clusters is None else freedom,
            effective_n=effective,
        )
    around = None
    if error > _ROUNDING * float(np.abs(values).max()):
        half = quantile(level, freedom) * error
        around = symmetric_interval(mean, half, level, MEAN + suffix, "population", within=within)
    if around is None:
        return SampleMean(value=mean, influence=influence, reason=Reason("no_spread"))
    return SampleMean(
        value=mean, influence=influence, standard_error=error, interval=around, degrees_of_freedom=freedom
    )


def mean_result(
    name: str,
    found: SampleMean,
    scores: np.ndarray,
    *,
    label: str,
    higher_is_better: bool | None,
    n_real: int | None,
    n_fake: int,
    protocol: Protocol,
    reference: str,
    details: Mapping[str, object],
    settings: Mapping[str, object] | None = None,
    per_image: Mapping[str, np.ndarray] | None = None,
    warnings: tuple[str, ...] = (),
) -> MetricResult:
    """The result of a mean, which has no bias.

    Args:
        scores: of all units, those included that are not in the mean.
        details: what is None is left out.
        settings: choices that change the value, for the comparison key.
        per_image: arrays in addition to influences and scores.
    """
    known = found.interval is not None
    details = {**details, "degrees_of_freedom": found.degrees_of_freedom}
    return MetricResult(
        name=name,
        label=label,
        value=found.value,
        higher_is_better=higher_is_better,
        n_real=n_real,
        n_fake=n_fake,
        protocol=protocol,
        standard_error=found.standard_error,
        bias=0.0 if known else None,
        corrected=found.value if known else None,
        interval=found.interval,
        reason=found.reason,
        warnings=warnings,
        reference=reference,
        settings=settings or {},
        details={key: value for key, value in details.items() if value is not None},
        per_image={f"{name}_influence_fake": found.influence, f"{name}_score_fake": scores, **(per_image or {})},
    )


def wilson(share: float, n: float, q: float, level: float, method: str) -> Interval:
    """Wilson's interval of a proportion.

    Args:
        share: the observed proportion.
        n: number of independent units.
        q: quantile of the level.

    >>> interval = wilson(0.0, 20, 1.959964, 0.95, "wilson")
    >>> (interval.low, round(interval.high, 4))
    (0.0, 0.1611)
    """
    scale = 1 + q**2 / n
    centre = (share + q**2 / (2 * n)) / scale
    half = q * math.sqrt(share * (1 - share) / n + q**2 / (4 * n**2)) / scale
    low = 0.0 if share == 0 else max(0.0, centre - half)
    high = 1.0 if share == 1 else min(1.0, centre + half)
    return Interval(low=low, high=high, level=level, method=method, estimand="population")
