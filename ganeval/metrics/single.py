"""What single images are to the other set, and how the distance falls with their number: for tables and reports.

In addition to the influences, scores and realism that the metrics give: of each image the nearest one of the other
set, of each fake how near that is in the measure of the reals,

    ratio(x) = |x - y*| / |y* - its nearest other real|,    y* the real nearest to x

(0 for a copy, below 1 what Alaa et al. 2022 call not authentic), and the Frechet distance of smaller random samples.
"""

from __future__ import annotations

import numpy as np
import torch

from ganeval.metrics.frechet_result import distance
from ganeval.metrics.types import FeatureSet
from ganeval.statistics.moments import Moments
from ganeval.statistics.neighbours import nearest
from ganeval.statistics.rows import FeatureRows
from ganeval.statistics.searches import ProcessGroup

SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2)  # of the fakes
WIDEST = 512  # features; beyond, each distance with its error takes seconds
FEW = (256, 512, 1024, 2048)  # fakes of the wide ones, where the value alone costs little
_SEED = 0


def neighbours_across(
    real: np.ndarray, fake: np.ndarray, *, device: torch.device | None = None, group: ProcessGroup | None = None
) -> dict[str, np.ndarray]:
    """Of each image the nearest of the other set.

    Distances are Euclidean, in the units of the features; indices are places in the other set.

    Shape:
        (m, d), (n, d) float32 -> ``nearest_real_fake``, ``nearest_distance_fake`` and ``nearest_ratio_fake`` (n,),
        ``nearest_fake_real`` and ``nearest_distance_real`` (m,), and ``own_distance_real`` (m,), from the nearest other
        real.
    """
    of_fake, of_real = (nearest(*sets, device=device, group=group) for sets in ((real, fake), (fake, real)))
    own = np.sqrt(nearest(real, device=device, group=group).distances[:, 0])
    closest, distance = of_fake.indices[:, 0], np.sqrt(of_fake.distances[:, 0])
    ratio: np.ndarray = np.full(len(fake), np.inf)  # not a copy, but next to a real that has one
    np.divide(distance, own[closest], out=ratio, where=own[closest] > 0)
    ratio[distance == 0] = 0.0
    return {
        "nearest_real_fake": closest,
        "nearest_distance_fake": distance,
        "nearest_ratio_fake": ratio,
        "nearest_fake_real": of_real.indices[:, 0],
        "nearest_distance_real": np.sqrt(of_real.distances[:, 0]),
        "own_distance_real": own,
    }


def distance_by_size(
    real: FeatureSet, fake: FeatureSet, *, reference: str, ddof: int, level: float = 0.95
) -> list[dict[str, object]]:
    """The Frechet distance of seeded random subsets of the fakes against all reals, each with its error bar.

    The plain value falls with the number of fakes, the corrected one stays; that is None where a subset is too small
    for it, and the interval is then of what that number of images gives on average. Of more than ``WIDEST`` features
    the reals are taken as fixed. Empty where there are no features of single images.
    """
    if fake.rows is None or real.gaussian is None:
        return []
    rows = fake.rows.to_array()
    order = np.random.default_rng(_SEED).permutation(len(rows))
    sizes, reals = [int(share * len(rows)) for share in SHARES], real.rows
    if (d := real.gaussian.dimension) > WIDEST:
        sizes, reals, reference = [n for n in FEW if n <= min(d, len(rows) - 1)], None, "population"
    found: list[dict[str, object]] = []
    for n in sizes:
        if n < 2:
            continue
        chosen = rows[np.sort(order[:n])]
        moments = Moments(rows.shape[1])
        moments.update(chosen)
        with FeatureRows(rows.shape[1], memory_limit=2**62) as kept:
            kept.append(chosen)
            one = distance(real.gaussian, moments.finish(ddof=ddof), reals, kept, reference=reference, details=False)
        interval = one.interval(level)
        found.append(
            {
                "n": n,
                "value": one.value,
                "corrected": one.corrected,
                "standard_error": one.standard_error,
                "interval": None if interval is None else [interval.low, interval.high],
                "estimand": None if interval is None else interval.estimand,
            }
        )
    return found
