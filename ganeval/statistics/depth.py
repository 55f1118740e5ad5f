"""How deep points lie among others: balls of their own set that hold them, the largest ratio of radius to distance.

As in ``neighbours``, float32 decides only where float64 would say the same.
"""

from __future__ import annotations

import numpy as np
import torch

from ganeval.statistics.neighbours import Family, Reach, count_pairs, rounding_band, squared_pairs
from ganeval.statistics.tiles import lifted, promising_pairs
from ganeval.statistics.tiles_torch import accelerates, promising_pairs_torch


def held_by_others(reach: Reach, squared: np.ndarray, blocks: np.ndarray | None = None) -> np.ndarray:
    """(n,): how many balls around other rows (of the same block) hold each row, the border included.

    Args:
        squared: (n,) float64 squared radii, exact. Those up to the k-th neighbour cost no search.
    """
    found, ids, same = reach.near(blocks)
    low = np.nextafter((squared - reach.band).astype(np.float32), np.float32(-np.inf))[:, None]
    high = np.nextafter((squared + reach.band).astype(np.float32), np.float32(np.inf))[:, None]
    inside = same & (found < low)
    row, place = np.nonzero(same & ~inside & (found <= high))
    inside[row, place] = squared_pairs(reach.points, reach.points, row, ids[row, place]) <= squared[row]
    # balls that may hold more than the neighbours that are known
    short = (found[:, -1:] <= high).ravel() & (found.shape[1] < len(squared) - 1)
    inside[short] = False
    counts: np.ndarray = np.bincount(ids[inside], minlength=len(squared))
    if short.any():
        both = None if blocks is None else (blocks[short], blocks)
        balls = (Family(squared[short], None, blocks=both),)
        counts += count_pairs(reach.points[short], reach.points, balls, device=reach.device, group=reach.group)[
            0
        ].within
        counts[short] -= 1  # each is in its own
    return counts


def largest_ratio(
    centres: np.ndarray,
    squared_radii: np.ndarray,
    queries: np.ndarray,
    *,
    epsilon: float = 0.0,
    device: torch.device | None = None,
) -> np.ndarray:
    """(n,) float64: for each query the largest r_i^2 / (|x - y_i|^2 + epsilon) over the centres.

    Infinity where a query equals a centre (and ``epsilon`` is 0), for any radius: it could not be nearer.

    Args:
        device: an accelerator that does the products; None or a CPU: here.

    Shape:
        centres (m, d), squared radii (m,) float64, queries (n, d).
    """
    centre = centres.mean(axis=0, dtype=np.float64)
    a, b = lifted(queries, centre), lifted(centres, centre)
    question = a, b, squared_radii.astype(np.float32), rounding_band(a, b), epsilon
    pairs = promising_pairs_torch(*question, device) if accelerates(device) else promising_pairs(*question)
    best = np.zeros(len(queries))
    for i, j in pairs:
        exact = squared_pairs(queries, centres, i, j) + epsilon
        truth = np.full(len(exact), np.inf)
        np.divide(squared_radii[j], exact, out=truth, where=exact > 0)
        np.maximum.at(best, i, truth)
    return best
