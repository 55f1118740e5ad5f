"""Clipped density and clipped coverage: shares of good fakes that no outlier can inflate (Salvy et al. 2025).

With the balls of density and coverage (K = 5) and r~_i = min(r_K(y_i), median_i r_K(y_i))

    clipped density  = min(mean_j a_j / mean of the same over the reals themselves, 1),
                       a_j = min(#{i: |x_j - y_i| <= r~_i} / K, 1)
    clipped coverage = f^-1(c) / n,   c = mean_i min(#{j: |x_j - y_i| < r_K(y_i)}, K) / K

f(g) is the c to expect when g fakes are good and the others far away. The number J of g good fakes inside a ball is
beta-binomial for any continuous law, P(J = j) = C(g, j) B(K + j, m + g - K - j) / B(K, m - K), so that

    f(g) = 1 - (1/K) sum_{j < K} (K - j) P(J = j)

Both then fall with the share of bad fakes, from 1 to 0. f is inverted by linear interpolation; the authors invert by
rank, in steps of 1/n, and set f(g) = 0 for g < K: differences of the order of K/n.
"""

from __future__ import annotations

import numpy as np
from scipy.special import betaln, gammaln


def clipped_radii(squared_radii: np.ndarray, blocks: np.ndarray | None = None) -> np.ndarray:
    """min(r, median r), squared: balls of outliers are cut down to the usual size; the median of each block, if any."""
    clipped = squared_radii.copy()
    for block in np.unique(blocks) if blocks is not None else [None]:
        rows = slice(None) if blocks is None else blocks == block
        clipped[rows] = np.minimum(clipped[rows], np.median(clipped[rows]))
    return clipped


def clipped_density(around: np.ndarray, around_reals: np.ndarray, k: int) -> float:
    """From how many clipped balls hold each fake, and each real (its own ball left out); in [0, 1].

    At least half of the balls keep their k-th neighbour, so the reals' own share is above 0.
    """
    share, of_reals = (np.minimum(counts / k, 1).mean() for counts in (around, around_reals))
    return float(min(share / of_reals, 1.0))


def clipped_coverage(near: np.ndarray, n: int, k: int) -> float:
    """From the number of fakes in each real's ball; in [0, 1]."""
    good = np.arange(n + 1)
    curve = expected_coverage(good, len(near), k)
    return float(np.interp(np.minimum(near, k).mean() / k, curve, good) / n)


def expected_coverage(good: np.ndarray, m: int, k: int) -> np.ndarray:
    """f(g) for m reals: 0 at 0, 1/m at 1, strictly increasing.

    >>> expected_coverage(np.array([0, 1]), 300, 5).round(6).tolist()
    [0.0, 0.003333]
    """
    g = np.asarray(good, dtype=np.float64)
    missing = np.zeros(len(g))
    for j in range(k):
        possible = g >= j
        h = g[possible]
        log = gammaln(h + 1) - gammaln(j + 1) - gammaln(h - j + 1)
        log += betaln(k + j, m + h - k - j) - betaln(k, m - k)
        missing[possible] += (k - j) * np.exp(log)
    return np.maximum(1 - missing / k, 0.0)
