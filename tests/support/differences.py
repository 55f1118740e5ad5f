"""The difference of two models that were measured on the same real features."""

from __future__ import annotations

from math import sqrt

import numpy as np

from ganeval.metrics.difference import variance_of_difference
from ganeval.metrics.frechet import FrechetInference


def frechet_difference(a: FrechetInference, b: FrechetInference, *, paired: bool) -> tuple[float, float]:
    """b - a, bias-corrected, and its standard error; ``paired``: image i of both fake sets is made of one latent."""
    assert a.corrected is not None
    assert b.corrected is not None
    assert a.influence_fake is not None
    assert b.influence_fake is not None
    ids = np.arange(len(a.influence_fake)) if paired else None
    variance = variance_of_difference(a.influence_fake, b.influence_fake, ids, ids)[0]
    if a.influence_real is not None and b.influence_real is not None:
        rows = np.arange(len(a.influence_real))
        variance += variance_of_difference(a.influence_real, b.influence_real, rows, rows)[0]
    return b.corrected - a.corrected, sqrt(variance)
