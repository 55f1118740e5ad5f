"""Comparison of two runs: which numbers differ beyond noise, and which are not comparable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from ganeval.errors import GanEvalError
from ganeval.gate.decide import holm, p_value
from ganeval.metrics.difference import Measurement, difference
from ganeval.metrics.intervals import quantile
from ganeval.metrics.registry import get_metric, higher_is_better
from ganeval.parsing.layout import decimals, fixed
from ganeval.result_files import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One metric in both runs.

    Attributes:
        a, b: the bias-corrected values where the bias is known, else the plain values.
        difference: b - a.
        low, high: ends of the two-sided interval of the difference.
        p_value: of no difference, two-sided, after Holm's correction over all metrics.
        higher_is_better: direction of the metric; None: not known.
        better: ``A``, ``B``, or None: no difference beyond noise, or a score without a direction.
        pairing: what the error takes account of; ``note``: why not of more.
        reason: why the metric was not compared.
    """

    metric: str
    label: str
    a: float | None = None
    b: float | None = None
    difference: float | None = None
    standard_error: float | None = None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    higher_is_better: bool | None = None
    better: str | None = None
    pairing: str | None = None
    note: str | None = None
    reason: str | None = None

    def differs(self, level: float) -> bool:
        """Whether the difference is beyond noise, also where no direction says which run is better."""
        return self.p_value is not None and self.p_value <= 1 - level

    def texts(self) -> tuple[str, str, str, str, str]:
        """Both values, their difference and the ends of its interval, with the digits that its error supports."""
        digits = decimals(self.standard_error or 0.0)
        values = (fixed(x or 0.0, digits) for x in (self.a, self.b))
        changes = (f"{x:+.{digits}f}" for x in (self.difference, self.low, self.high))
        return (*values, *changes)  # type: ignore[return-value]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    rows: tuple[Compared, ...]
    level: float
    names: tuple[str, str]

    @property
    def judged(self) -> bool:
        """Whether every metric could be compared."""
        return bool(self.rows) and all(row.reason is None for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        return {
            "a": self.names[0],
            "b": self.names[1],
            "level": self.level,
            "judged": self.judged,
            "metrics": {row.metric: {k: v for k, v in asdict(row).items() if k != "metric"} for row in self.rows},
        }


def compare(a: Record, b: Record, *, metrics: Sequence[str] | None = None, level: float = 0.95) -> Comparison:
    """Compare the metrics of two runs; each difference has its error, paired where pairing can be proven.

    Args:
        metrics: names; None for every metric of either run.

    Raises:
        ConfigError: an unknown metric.
    """
    available = [r for record in (a, b) for r in (*record.evaluation.results, *record.unusable)]
    for name in metrics or ():
        if name not in available:
            get_metric(name)
    rows = [_row(name, a, b, level) for name in dict.fromkeys(metrics if metrics is not None else available)]
    tested = [i for i, row in enumerate(rows) if row.p_value is not None]
    for i, p in zip(tested, holm([rows[i].p_value or 0.0 for i in tested]), strict=True):
        better = None
        if p <= 1 - level:
            rises = (rows[i].difference or 0.0) > 0
            direction = rows[i].higher_is_better
            better = None if direction is None else "B" if rises == direction else "A"
        rows[i] = replace(rows[i], p_value=p, better=better)
    return Comparison(rows=tuple(rows), level=level, names=(a.name, b.name))


def _row(name: str, a: Record, b: Record, level: float) -> Compared:
    measured = []
    for record in (a, b):
        if name in record.unusable:
            return Compared(metric=name, label=name, reason=f"{record.name}: {record.unusable[name]}")
        result = record.result(name)
        if result is None:
            return Compared(metric=name, label=name, reason=f"{name} is not among the results of {record.name}")
        measured.append(Measurement(result=result, arrays=record.arrays, missing=record.missing))
    one, other = measured
    label = one.result.label
    try:
        found = difference(one, other)
    except GanEvalError as error:
        return Compared(metric=name, label=label, a=one.centre, b=other.centre, reason=str(error))
    half = quantile(level, found.degrees_of_freedom) * found.standard_error
    p = min(1.0, 2 * p_value(abs(found.value), found.standard_error, found.degrees_of_freedom))
    numbers = {"a": found.before, "b": found.after, "difference": found.value, "p_value": p}
    errors = {"standard_error": found.standard_error, "low": found.value - half, "high": found.value + half}
    fields: dict[str, Any] = {**numbers, **errors}
    direction = higher_is_better(other.result)
    return Compared(metric=name, label=label, **fields, higher_is_better=direction, pairing=found.how, note=found.note)
