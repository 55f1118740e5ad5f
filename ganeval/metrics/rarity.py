"""Rarity of single images: in how sparse a region of the reals each fake lies (Han et al. 2023).

    rarity(x) = min_i r_k(y_i)      over the reals y_i with |x - y_i| <= r_k(y_i), their k-th neighbour's distance

The smallest ball around a real that holds the image: large where reals are few. An image in no ball has no rarity.
"""

from __future__ import annotations

import numpy as np
import torch

from ganeval.metrics.intervals import variance_of_mean
from ganeval.statistics.depth import smallest_ball


def rarity(
    real: np.ndarray, fake: np.ndarray, *, squared_radii: np.ndarray, device: torch.device | None = None
) -> np.ndarray:
    """One number a fake, in (0, inf), in the units of the features; NaN for an image in no ball.

    Equals the minimum over all pairs of float64 distances exactly.

    Args:
        squared_radii: (m,) of the reals.
        device: an accelerator that does the products; None or a CPU: here.

    Shape:
        (m, d), (n, d) float32 -> (n,) float64.
    """
    found: np.ndarray = np.sqrt(smallest_ball(real, squared_radii, fake, device=device))
    return found


def summary(values: np.ndarray) -> dict[str, object]:
    """Mean over the images in a ball with its standard error, their median, and the share of them."""
    known = values[~np.isnan(values)]
    return {
        "mean": float(known.mean()) if len(known) else None,
        "standard_error": float(np.sqrt(variance_of_mean(known))) if len(known) > 1 else None,
        "median": float(np.median(known)) if len(known) else None,
        "share_inside": len(known) / len(values),
    }
