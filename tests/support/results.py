"""A made-up result."""

from __future__ import annotations

from ganeval.protocol import Protocol
from ganeval.results import Interval, MetricResult

EXAMPLE = MetricResult(
    name="fid",
    label="FD[compact-v1]",
    value=12.34,
    higher_is_better=False,
    n_real=50000,
    n_fake=50000,
    protocol=Protocol(
        name="compact",
        extractor="compact-v1",
        layer="256",
        resize="torch-bilinear-antialias",
        size=32,
        scale="(x-127.5)/127.5",
    ),
    standard_error=0.21,
    bias=0.82,
    corrected=11.52,
    interval=Interval(low=11.1, high=11.94, level=0.95, method="influence", estimand="population"),
)
