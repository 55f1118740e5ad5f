"""How deep points lie among others: balls of their own set that hold them, the largest ratio of radius to distance.

As in ``neighbours``, float32 decides only where float64 would say the same.
"""

from __future__ import annotations

import numpy as np
import torch

from ganeval.statistics.neighbours import Family, Reach, count_pairs, rounding_band, squared_pairs
from ganeval.statistics.tiles import close_pairs, lifted, promising_pairs
from ganeval.statistics.tiles_torch import accelerates, close_pairs_torch, promising_pairs_torch


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


def smallest_ball(
    centres: np.ndarray, squared_radii: np.ndarray, queries: np.ndarray, *, device: torch.device | None = None
) -> np.ndarray:
    """(n,) float64: the squared radius of the smallest ball that holds each query, the border included; NaN: none.

    Args:
        device: an accelerator that does the products; None or a CPU: here.

    Shape:
        centres (m, d), squared radii (m,) float64, queries (n, d).
    """
    centre = centres.mean(axis=0, dtype=np.float64)
    a, b = lifted(queries, centre), lifted(centres, centre)
    band = rounding_band(a, b)
    bounds = np.nextafter((squared_radii + band).astype(np.float32), np.float32(np.inf))
    question = a, b, None, bounds
    pairs = close_pairs_torch(*question, device) if accelerates(device) else close_pairs(*question)
    best = np.full(len(queries), np.inf)
    for i, j, squared in pairs:
        smaller = squared_radii[j] < best[i]
        i, j, squared = i[smaller], j[smaller], squared[smaller].astype(np.float64)
        unsure = np.abs(squared - squared_radii[j]) <= 2 * band
        squared[unsure] = squared_pairs(queries, centres, i[unsure], j[unsure])
        inside = squared <= squared_radii[j]
        np.minimum.at(best, i[inside], squared_radii[j[inside]])
    best[np.isinf(best)] = np.nan
    return best
