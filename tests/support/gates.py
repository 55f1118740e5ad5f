"""Results, runs and gates for tests, without measuring anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ganeval.gate.rules import Gate, parse_rules
from ganeval.metrics.registry import METRICS
from ganeval.protocol import Protocol, get_protocol
from ganeval.result_files import Record
from ganeval.results import Evaluation, Interval, MetricResult, Reason

TOO_FEW = Reason("too_few_for_rank", n=5, image_set="fake", distinct=5, rank=256, needed=641)
COMPACT = replace(get_protocol("compact"), weights="8ab8d13c" + "0" * 56, verified=True)


def result(
    value: float = 10.0,
    error: float | None = 1.0,
    *,
    name: str = "fid",
    bias: float | None = 0.0,
    protocol: Protocol | None = None,
    estimand: str = "population",
    reason: Reason = TOO_FEW,
    n: int = 1000,
    **more: Any,
) -> MetricResult:
    """``value`` with a symmetric interval, or without one."""
    interval = None
    if error is not None:
        centre = value - (bias or 0.0)
        interval = Interval(
            low=centre - 1.96 * error, high=centre + 1.96 * error, level=0.95, method="test", estimand=estimand
        )
    fields: dict[str, Any] = {
        "name": name, "label": f"{METRICS[name].acronym}[compact-v1]", "value": value,
        "higher_is_better": METRICS[name].higher_is_better, "n_real": n, "n_fake": n,
        "protocol": protocol or COMPACT.at(METRICS[name].layer),
        "standard_error": error, "bias": None if error is None else bias, "interval": interval,
        "corrected": None if error is None or bias is None else value - bias,
        "reason": None if error is not None else reason, "reference": "r1",
    }  # fmt: skip
    return MetricResult(**{**fields, **more})


def record(*results: MetricResult, arrays: Mapping[str, np.ndarray] | None = None, **more: Any) -> Record:
    evaluation = Evaluation(
        results={r.name: r for r in results}, real={"spec": "real/", "digest": "r1"},
        fake={"spec": "fake/", "digest": None}, environment={"device": "cpu"},
    )  # fmt: skip
    missing = None if arrays else "R.json was not written with --output"
    return Record(**{"name": "R.json", "evaluation": evaluation, "arrays": arrays or {}, "missing": missing, **more})


def gate(rules: Mapping[str, Any], **options: Any) -> Gate:
    return Gate(rules=parse_rules(rules), **{"protocol": "compact", **options})


def run_of(name: str, value: float, fake: np.ndarray, real: np.ndarray | None, **more: Any) -> MetricResult:
    """A result whose error is that of these influences."""
    variance = np.var(fake, ddof=1) / len(fake) + (0.0 if real is None else np.var(real, ddof=1) / len(real))
    estimand = "population" if real is not None else "population-given-reference"
    counts = {"n_fake": len(fake), "n_real": 10_000 if real is None else len(real)}
    return result(value, float(np.sqrt(variance)), name=name, estimand=estimand, **{**counts, **more})
