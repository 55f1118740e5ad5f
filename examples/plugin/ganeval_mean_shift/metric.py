"""The squared distance of the two means of the features: the first term of the Frechet distance.

By the influence of single images its variance is Var(2 (m - w).x) / n + Var(2 (m - w).y) / k for n fakes x with mean m
and k reals y with mean w, and its bias is the trace of both covariances of the means.
"""

from __future__ import annotations

import numpy as np

from ganeval.metrics.build_result import build_result
from ganeval.metrics.intervals import ESTIMAND, variance_of_mean
from ganeval.metrics.types import MetricInputs
from ganeval.results import MetricResult


def measure(inputs: MetricInputs) -> dict[str, MetricResult]:
    """The metric, from the features of both sets."""
    real, fake = (rows.to_array().astype(np.float64) for rows in (inputs.real_rows(), inputs.fake_rows()))
    shift = fake.mean(axis=0) - real.mean(axis=0)
    influences = {"fake": 2 * (fake - fake.mean(axis=0)) @ shift}
    bias = fake.var(axis=0, ddof=1).sum() / len(fake)
    if inputs.reference == "sample":  # otherwise REAL is the target itself, and has no error
        influences["real"] = -2 * (real - real.mean(axis=0)) @ shift
        bias += real.var(axis=0, ddof=1).sum() / len(real)
    result = build_result(
        inputs,
        "mean-shift",
        float(shift @ shift),
        standard_error=sum(variance_of_mean(values) for values in influences.values()) ** 0.5,
        bias=bias,
        method="influence",
        estimand=ESTIMAND[inputs.reference],
        reason=inputs.overlap(),
        per_image={f"mean-shift_influence_{side}": values for side, values in influences.items()},
    )
    return {"mean-shift": result}
