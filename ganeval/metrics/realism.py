"""Realism of single images: how deep each fake lies among the reals (Kynkaanniemi et al. 2019).

    realism(x) = max_i r_k(y_i) / |x - y_i|      over the reals whose radius is at most the median radius

From 1 on the image is inside a ball that was kept; one that equals a real image has infinity. The authors' code works
with squared distances and so gives the square of this ratio, with 1e-5 added to the denominator: ``squared``.
"""

from __future__ import annotations

import numpy as np
import torch

from ganeval.metrics.intervals import variance_of_mean
from ganeval.statistics.depth import largest_ratio
from ganeval.statistics.neighbours import nearest

PEER_EPSILON = 1e-5


def realism(
    real: np.ndarray,
    fake: np.ndarray,
    *,
    k: int = 3,
    squared: bool = False,
    squared_radii: np.ndarray | None = None,
    device: torch.device | None = None,
) -> np.ndarray:
    """One number a fake, in [0, inf].

    Args:
        squared: the square of the ratio, with the authors' epsilon: equals their code's numbers for float64 distances.
        squared_radii: (m,) of the reals, where they are known already.
        device: an accelerator that does the products; None or a CPU: here.

    Shape:
        (m, d), (n, d) float32 -> (n,) float64.

    Raises:
        NotEnoughSamplesError: not more than ``k`` reals.
    """
    around = nearest(real, k=k, device=device).distances[:, -1] if squared_radii is None else squared_radii
    kept = around <= np.median(around)
    ratios = largest_ratio(real[kept], around[kept], fake, epsilon=PEER_EPSILON if squared else 0.0, device=device)
    return ratios if squared else np.sqrt(ratios)


def summary(values: np.ndarray) -> dict[str, object]:
    """Mean with its standard error, median, share inside, copies; no mean where copies make it infinite."""
    copies = int(np.isinf(values).sum())
    median = float(np.median(values))
    return {
        "convention": "ratio of distances, radii up to the median",
        "mean": None if copies else float(values.mean()),
        "standard_error": None if copies or len(values) < 2 else float(np.sqrt(variance_of_mean(values))),
        "median": median if np.isfinite(median) else None,
        "share_inside": float((values >= 1).mean()),
        "copies": copies,
    }
