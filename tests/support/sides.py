"""Two arrays of features as a metric is given them."""

from __future__ import annotations

import numpy as np

from ganeval.metrics.settings import Settings
from ganeval.metrics.types import FeatureSet, MetricInputs
from ganeval.protocol import get_protocol
from ganeval.statistics.moments import Moments
from ganeval.statistics.rows import FeatureRows


def metric_inputs(
    real: np.ndarray,
    fake: np.ndarray,
    *wanted: str,
    test: np.ndarray | None = None,
    labels: tuple[np.ndarray, np.ndarray] | None = None,
    **settings: object,
) -> MetricInputs:
    """Args: labels: class names of the reals and of the fakes."""
    sides = [
        feature_set(array, labels[i] if labels is not None and i < 2 else None)
        for i, array in enumerate((real, fake, *([] if test is None else [test])))
    ]
    return MetricInputs(
        wanted=frozenset(wanted), protocol=get_protocol("compact"), real=sides[0], fake=sides[1],
        test=sides[2] if test is not None else None,
        settings=Settings(**settings),  # type: ignore[arg-type]
    )  # fmt: skip


def feature_set(array: np.ndarray, labels: np.ndarray | None = None) -> FeatureSet:
    """The rows of one set, with their moments."""
    rows, moments = FeatureRows(array.shape[1]), Moments(array.shape[1])
    rows.append(array)
    moments.update(rows.to_array())
    gaussian = moments.finish() if len(array) > 1 else None
    return FeatureSet(n=len(array), gaussian=gaussian, rows=rows, digest=f"{array.sum():.9f}", labels=labels)
