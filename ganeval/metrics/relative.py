"""A Frechet distance in units of what real images score: relative to held-out reals.

    r = D(fake, real) / D(heldout, real)

of plain values at equal numbers n of fakes and of held-out reals, so that both have about the same bias (Yang et al.
2026 call it FDr). A generator that is as good as its data scores 1, under every network. Both distances are from the
same reals. With the influences of ``ganeval.metrics.frechet_result``

    Var r = [ Var IF_fake / n + r^2 Var IF_heldout / n + Var_j (IF_real,fake(y_j) - r IF_real,heldout(y_j)) / m
              - r^2 V2 ] / D(heldout, real)^2

Held-out and real images are of one distribution. The influences then count the error of D(heldout, real), which is of
second order, twice (see ``ganeval.metrics.frechet``). V2, one of the two, is half the squared error of the distance
between random parts, of n and m, of both together; at most half of the whole is taken off.

The interval is one of log r.
"""

from __future__ import annotations

from math import exp, sqrt

import numpy as np

from ganeval.errors import ConfigError
from ganeval.metrics.build_result import independent
from ganeval.metrics.classes import moments_and_rows
from ganeval.metrics.frechet_result import Distance, distance
from ganeval.metrics.intervals import ESTIMAND, PROTOCOL_ESTIMAND, quantile, repeats, variance_of_mean
from ganeval.metrics.types import FeatureSet, MetricInputs
from ganeval.results import Reason
from ganeval.statistics.rows import FeatureRows, sampled_rows


def relative_distance(inputs: MetricInputs, found: Distance | None) -> dict[str, object]:
    """The ratio, in [0, inf), with its error and interval, for ``details.relative_to``.

    The interval covers what n images give on average. Measured at 16 features, n = 30 to 200 and m = 30 to 2000: an
    interval of 95 % covers 93 to 98 %. Where REAL is the target itself, V2 is not known and the interval is too wide.

    Args:
        found: the distance of all fakes, which is not computed again where it is of n.

    Raises:
        ConfigError: the features of single images are not available for a set that needs them.
    """
    assert inputs.real is not None
    assert inputs.heldout is not None
    real, heldout = inputs.real, inputs.heldout
    fake_rows, heldout_rows = _rows("FAKE", inputs.fake), _rows("HELDOUT", heldout)
    n = min(len(fake_rows), len(heldout_rows))
    if found is not None and len(fake_rows) == n:
        of_fake, fake_groups = found, inputs.fake.groups
    else:
        of_fake, fake_groups = _distance(inputs, real, inputs.fake, n)
    of_heldout, heldout_groups = _distance(inputs, real, heldout, n)
    entry: dict[str, object] = {
        "n": n,
        "fake": of_fake.value,
        "heldout": of_heldout.value,
        "value": None,
        "standard_error": None,
        "interval": None,
        "estimand": None,
    }
    if of_heldout.value <= 0.0:
        return {**entry, "reason": str(of_heldout.reason or Reason("zero_error"))}
    ratio = of_fake.value / of_heldout.value
    entry["value"] = ratio
    if (reason := of_fake.reason or of_heldout.reason or inputs.overlap()) is not None:
        return {**entry, "reason": str(reason)}
    drawn = {"fake": inputs.fake, "heldout": heldout} | ({"real": real} if inputs.reference == "sample" else {})
    for name, one in drawn.items():
        if (distinct := one.distinct()) is not None and one.n is not None and repeats(distinct, one.n):
            return {**entry, "reason": str(Reason("copies", distinct=distinct, n=one.n, image_set=name))}
    sides = [(of_fake.influence_fake, 1.0, fake_groups), (of_heldout.influence_fake, ratio, heldout_groups)]
    variance = sum(factor**2 * variance_of_mean(values, ids) for values, factor, ids in sides if values is not None)
    if of_fake.influence_real is not None and of_heldout.influence_real is not None:
        shared = of_fake.influence_real - ratio * of_heldout.influence_real
        variance += variance_of_mean(shared, real.groups)
        if not inputs.grouped:
            variance = max(variance - ratio**2 * _counted_twice(inputs, real, heldout_rows, n), variance / 2)
    error = sqrt(variance) / of_heldout.value
    freedom = min(n, *map(independent, drawn.values())) - 1
    reach = exp(quantile(inputs.level, freedom) * error / ratio) if ratio > 0.0 else 1.0
    if not 1.0 < reach < np.inf:
        return {**entry, "reason": str(Reason("zero_error"))}
    return entry | {
        "standard_error": error,
        "interval": [ratio / reach, ratio * reach],
        "estimand": PROTOCOL_ESTIMAND[ESTIMAND[inputs.reference]],
        "reason": None,
    }


def _rows(name: str, side: FeatureSet) -> FeatureRows:
    if side.rows is None:
        raise ConfigError(
            f"relative_to (--relative-to) needs the features of the single images of {name}; found only their moments. "
            "Give images, or statistics with rows."
        )
    return side.rows


def _distance(inputs: MetricInputs, real: FeatureSet, side: FeatureSet, n: int) -> tuple[Distance, np.ndarray | None]:
    """The distance of ``n`` rows of a set from the reals, and the groups of these rows."""
    assert real.gaussian is not None
    assert side.rows is not None
    chosen = sampled_rows(len(side.rows), n)
    moments, rows = moments_and_rows(side.rows.to_array()[chosen])
    found = distance(
        real.gaussian,
        moments.finish(ddof=real.gaussian.ddof),
        real.rows,
        rows,
        reference=inputs.reference,
        trace=inputs.settings.trace,
        details=False,
        device=inputs.device,
    )
    return found, None if side.groups is None else side.groups[chosen]


def _counted_twice(inputs: MetricInputs, real: FeatureSet, heldout: FeatureRows, n: int) -> float:
    """V2: half the squared error of the distance between random parts, of n and m, of reals and held-out reals."""
    assert real.gaussian is not None
    assert real.rows is not None
    both = np.concatenate([heldout.to_array()[sampled_rows(len(heldout), n)], real.rows.to_array()])
    both = both[np.random.default_rng(0).permutation(len(both))]
    (one, one_rows), (other, other_rows) = (moments_and_rows(part) for part in (both[:n], both[n:]))
    ddof = real.gaussian.ddof
    found = distance(
        other.finish(ddof=ddof), one.finish(ddof=ddof), other_rows, one_rows, details=False, device=inputs.device
    )
    return (found.standard_error or 0.0) ** 2 / 2
