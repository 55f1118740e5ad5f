"""From a value and its standard error to a result: the interval, or the reason why there is none."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import cast

import numpy as np

from ganeval.metrics.intervals import PROTOCOL_ESTIMAND, quantile, repeats, symmetric_interval, variance_of_mean
from ganeval.metrics.registry import METRICS
from ganeval.metrics.types import FeatureSet, MetricInputs
from ganeval.results import Interval, MetricResult, Reason

NO_REFERENCE = "none: of the fakes alone"
LEAST = 10  # images of a set, from which on its spread is estimated
_ROUNDING = 1e-12  # of the value: an error so small is one of arithmetic


def build_result(
    inputs: MetricInputs,
    name: str,
    value: float,
    *,
    standard_error: float | None = None,
    bias: float | None = None,
    method: str = "",
    estimand: str = "population",
    degrees_of_freedom: float | None = None,
    reason: Reason | None = None,
    settings: Mapping[str, object] | None = None,
    details: Mapping[str, object] | None = None,
    per_image: Mapping[str, np.ndarray] | None = None,
    warnings: tuple[str, ...] = (),
    by_group: bool = False,
) -> MetricResult:
    """The result of one metric: everything that the engine knows is filled in, the interval is made here,
    and cut to the range of the metric.

    Args:
        standard_error: of ``value``; None, one that is nothing but rounding, or one that was estimated from fewer than
            ``LEAST`` images of a side, gives no interval.
        bias: expected excess of ``value`` over the estimand; the interval is then around ``value - bias``.
        method: how the standard error was made, for instance ``delta``.
        estimand: see ``Interval``.
        degrees_of_freedom: of the standard error, where it comes from few blocks; None: normal quantiles.
        reason: why there is no interval; standard error and bias are then dropped.
        settings: choices that change the value, for the comparison key.
        by_group: ``standard_error`` counts groups of images as one already; otherwise, where there are groups, it is
            made again from the influences in ``per_image``.
    """
    metric = METRICS[name]
    interval: Interval | None = None
    corrected: float | None = None
    if reason is None and standard_error is None:
        reason = Reason("no_standard_error", metric=metric.acronym)
    both = metric.sides == "both"
    sides = {"real": inputs.real if both and inputs.reference == "sample" else None, "fake": inputs.fake}
    few = [(side.n, kind) for kind, side in sides.items() if side and side.n is not None and side.n < LEAST]
    if reason is None and few:
        n, kind = min(few)
        reason = Reason("too_few_images", n=n, image_set=kind, needed=LEAST)
    drawn = {kind: side for kind, side in sides.items() if side}
    grouped = {kind: side for kind, side in drawn.items() if side.groups is not None}
    if reason is None and grouped:
        bias, estimand = None, PROTOCOL_ESTIMAND.get(estimand, estimand)
        counts = {kind: independent(side) for kind, side in drawn.items()}
        kind = min(grouped, key=lambda kind: counts[kind])
        if counts[kind] < LEAST:
            reason = Reason("too_few_groups", n=counts[kind], image_set=kind, needed=LEAST)
        elif not by_group and (standard_error := _error_by_group(name, drawn, per_image or {})) is None:
            reason = Reason("not_by_group", metric=metric.acronym)
        elif not by_group:
            method, degrees_of_freedom = f"{method}, by group", min(counts.values()) - 1
    if reason is None:
        reason = _not_independent(drawn, estimand)
    if reason is None and not (math.isfinite(error := cast(float, standard_error)) and error > _ROUNDING * abs(value)):
        reason = Reason("no_spread")
    if reason is None:
        corrected = None if bias is None else value - bias
        half = quantile(inputs.level, degrees_of_freedom) * cast(float, standard_error)
        centre = value if corrected is None else corrected
        interval = symmetric_interval(centre, half, inputs.level, method, estimand, within=metric.range)
        if interval is None:
            reason = Reason("rounding")
    if interval is None:
        standard_error = bias = corrected = None
    freedom = None if interval is None else degrees_of_freedom
    return MetricResult(
        name=name,
        label=inputs.protocol.label(metric.acronym),
        value=float(value),
        higher_is_better=metric.higher_is_better,
        n_real=inputs.real.n if both and inputs.real is not None else None,
        n_fake=inputs.fake.n,
        protocol=inputs.protocol,
        standard_error=None if standard_error is None else float(standard_error),
        bias=None if bias is None else float(bias),
        corrected=None if corrected is None else float(corrected),
        interval=interval,
        reason=reason,
        warnings=tuple(dict.fromkeys((*inputs.warnings, *warnings))),
        reference=(inputs.real.digest if inputs.real is not None else None) if both else NO_REFERENCE,
        settings=settings or {},
        details={**(details or {}), **({} if freedom is None else {"degrees_of_freedom": freedom})},
        per_image=per_image or {},
    )


def independent(side: FeatureSet) -> int:
    """How many draws a set of images is: its groups, or else its images."""
    return (side.n or 0) if side.groups is None else int(np.unique(side.groups).size)


def _error_by_group(name: str, drawn: Mapping[str, FeatureSet], per_image: Mapping[str, np.ndarray]) -> float | None:
    """The standard error from the influence of every image, where those of a group are one; None: not known."""
    influences = {kind: per_image.get(f"{name}_influence_{kind}") for kind in drawn}
    if influences["fake"] is None:
        return None
    found = [(influence, drawn[kind].groups) for kind, influence in influences.items() if influence is not None]
    return math.sqrt(sum(variance_of_mean(influence, groups) for influence, groups in found))


def _not_independent(sides: Mapping[str, FeatureSet], estimand: str) -> Reason | None:
    """Why the images of these drawn sets tell no error: copies count as images of their own in it, or all are one.

    An error of what these numbers of images give on average is right for a generator that repeats itself.
    """
    distinct = {kind: side.distinct() for kind, side in sides.items()}
    if all(number == 1 for number in distinct.values()):
        return Reason("no_spread")
    if not estimand.startswith("population"):
        return None
    for kind, side in sides.items():
        number, n = distinct[kind], side.n
        if number is not None and n is not None and repeats(number, n):
            return Reason("copies", distinct=number, n=n, image_set=kind)
    return None
