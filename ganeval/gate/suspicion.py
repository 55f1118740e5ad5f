"""Numbers that are too good: they change no verdict, and are said beside it.

Images that are in both sets, and copies among the fakes, are among the warnings of the run itself.
"""

from __future__ import annotations

import numpy as np

from ganeval.gate.rules import Gate
from ganeval.metrics.registry import higher_is_better
from ganeval.result_files import Record
from ganeval.results import MetricResult

FAR = 0.5  # of the baseline's loss
SURELY = 3.0  # standard errors


def suspicions(gate: Gate, record: Record, baseline: Record | None) -> tuple[str, ...]:
    """What a reader should look at before believing a pass."""
    found = []
    for rule in gate.rules:
        result = record.result(rule.metric)
        before = baseline.result(rule.metric) if baseline is not None else None
        if result is None:
            continue
        if (said := _below_nothing(result)) is not None:
            found.append(said)
        if before is not None and (said := _leap(before, result)) is not None:
            found.append(said)
    if baseline is not None and _digest(record) is not None and _digest(record) == _digest(baseline):
        found.append("the fakes are those of the baseline, bit for bit: was the new model measured?")
    return tuple(found)


def _digest(record: Record) -> object:
    return record.evaluation.fake.get("digest")


def _below_nothing(result: MetricResult) -> str | None:
    """A distance whose whole interval lies below zero."""
    if higher_is_better(result.name, result.higher_is_better) or result.interval is None or result.interval.high >= 0:
        return None
    return f"{result.label} lies below 0 with its whole interval: closer than the real images are to each other"


def _leap(before: MetricResult, result: MetricResult) -> str | None:
    """Far better than the baseline, and not by chance."""
    if None in (before.standard_error, result.standard_error) or before.protocol.key() != result.protocol.key():
        return None
    a, b = (x.value if x.corrected is None else x.corrected for x in (before, result))
    spread = SURELY * float(np.hypot(before.standard_error or 0.0, result.standard_error or 0.0))
    if a <= 0 or abs(b - a) <= spread:
        return None
    far = b > a / FAR if higher_is_better(result.name, result.higher_is_better) else b < a * FAR
    return f"{result.label} went from {a:.4g} to {b:.4g}: implausibly good? Look at the images" if far else None
