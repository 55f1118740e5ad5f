"""Sanity checks: numbers that are implausibly good change no verdict; the verdict has a warning of each.

Images that are in both sets, and copies among the fakes, are among the warnings of the run itself.
"""

from __future__ import annotations

import numpy as np

from ganeval.gate.rules import Gate
from ganeval.metrics.registry import higher_is_better
from ganeval.result_files import Record
from ganeval.results import MetricResult

FAR = 0.5  # share of the baseline's distance: a smaller one is implausible
SURELY = 3.0  # standard errors


def sanity_warnings(gate: Gate, record: Record, baseline: Record | None) -> tuple[str, ...]:
    """What a reader should check before believing a pass."""
    warnings = []
    for rule in gate.rules:
        result = record.result(rule.metric)
        before = None if baseline is None else baseline.result(rule.metric)
        if result is None:
            continue
        rises = higher_is_better(result)
        if rises is None:
            continue
        if not rises and not rule.scores and result.interval is not None and result.interval.high < 0:
            warnings.append(
                f"the whole interval of {result.label} is below 0: the fakes are closer to the real images than the "
                "real images are to each other"
            )
        if before is not None and (warning := _leap(before, result, falls=not rises)) is not None:
            warnings.append(warning)
    digest = record.evaluation.fake.get("digest")
    if baseline is not None and digest is not None and digest == baseline.evaluation.fake.get("digest"):
        warnings.append("the fakes are those of the baseline, bit for bit: was the new model measured?")
    return tuple(warnings)


def _leap(before: MetricResult, result: MetricResult, *, falls: bool) -> str | None:
    """A warning where a result is far better than the baseline, and not by chance."""
    if None in (before.standard_error, result.standard_error) or before.protocol.key() != result.protocol.key():
        return None
    a, b = (x.value if x.corrected is None else x.corrected for x in (before, result))
    noise = SURELY * float(np.hypot(before.standard_error or 0.0, result.standard_error or 0.0))
    if a <= 0 or abs(b - a) <= noise or not (b < a * FAR if falls else b > a / FAR):
        return None
    return f"{result.label} changed from {a:.4g} to {b:.4g}, which is implausibly good: look at the images"
