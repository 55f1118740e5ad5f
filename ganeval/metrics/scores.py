"""One number per image that another program made: its mean or proportion, with interval and quantiles."""

from __future__ import annotations

import numpy as np

from ganeval.metrics.build_result import NO_REFERENCE
from ganeval.metrics.sample_mean import is_proportion, mean_result, sample_mean
from ganeval.protocol import scores_protocol
from ganeval.results import MetricResult

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def measure(
    name: str,
    values: np.ndarray,
    *,
    higher_is_better: bool | None = None,
    level: float = 0.95,
    groups: np.ndarray | None = None,
) -> MetricResult:
    """The mean of a column of scores; of zeros and ones their proportion, with Wilson's interval.

    Args:
        name: of the column.
        values: (n,) finite numbers.
        higher_is_better: None: not known.
        level: confidence level.
        groups: (n,) ids of rows that belong together and count as one.

    Returns:
        The result under the protocol ``scores``, which says nothing of what program made the numbers: the name of the
        column does. ``details.quantiles`` has the quantiles of the single scores (linear interpolation).
    """
    proportion = is_proportion(values)
    found = sample_mean(values, level=level, groups=groups, proportion=proportion)
    quantiles = {f"{q:g}": float(x) for q, x in zip(QUANTILES, np.quantile(values, QUANTILES), strict=True)}
    details = {
        "unit": "scores",
        "kind": "proportion" if proportion else "mean",
        "quantiles": quantiles,
        "standard_deviation": float(np.std(values, ddof=1)) if len(values) > 1 else None,
        "groups": None if groups is None else int(np.unique(groups).size),
        "effective_n": found.effective_n,
    }
    return mean_result(
        name,
        found,
        values,
        label=name,
        higher_is_better=higher_is_better,
        n_real=None,
        n_fake=len(values),
        protocol=scores_protocol(),
        reference=NO_REFERENCE,
        details=details,
    )
