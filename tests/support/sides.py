"""Two arrays of features as a metric is given them."""

from __future__ import annotations

import numpy as np

from ganeval.metrics.settings import Settings
from ganeval.metrics.types import FeatureSet, MetricInputs
from ganeval.protocol import get_protocol
from ganeval.statistics.rows import FeatureRows


def metric_inputs(
    real: np.ndarray, fake: np.ndarray, *wanted: str, test: np.ndarray | None = None, **settings: object
) -> MetricInputs:
    sides = []
    for array in (real, fake, *([] if test is None else [test])):
        rows = FeatureRows(array.shape[1])
        rows.append(array)
        sides.append(FeatureSet(n=len(array), rows=rows, digest=f"{array.sum():.9f}"))
    return MetricInputs(
        wanted=frozenset(wanted), protocol=get_protocol("compact"), real=sides[0], fake=sides[1],
        test=sides[2] if test is not None else None,
        settings=Settings(**settings),  # type: ignore[arg-type]
    )  # fmt: skip
