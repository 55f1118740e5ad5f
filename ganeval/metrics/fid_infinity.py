"""The Frechet distance at infinitely many fakes, as papers extrapolate it (Chong & Forsyth 2020).

The plug-in value of N fakes exceeds that of infinitely many by about b / N. Ordinary least squares of D(N) on 1/N over
15 sizes, each a fresh random subset of the fakes against all reals, has the estimate as its intercept:

    FID-inf = sum_k a_k D(N_k),    a = first row of (X^T X)^-1 X^T,    X_k = (1, 1 / N_k),    sum a_k = 1

What the reals' own finite number adds stays in it, and is corrected for by the analytic bias. To first order
D(N_k) = D + the mean influence of the rows in subset k + b / N_k, so that row i enters with the weight
v_i = sum_k a_k 1[i in subset k] / N_k and

    Var FID-inf = Var IF_fake sum_i v_i^2 + Var IF_real / m

``fid`` has a correction of its own that needs one distance in place of 15 and has the smaller
error: it is in the details.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ganeval.metrics.build_result import build_result
from ganeval.metrics.frechet import frechet_distance, frechet_inference
from ganeval.metrics.intervals import ESTIMAND
from ganeval.metrics.types import MetricInputs
from ganeval.results import MetricResult, Reason
from ganeval.statistics.moments import Gaussian, Moments
from ganeval.statistics.rows import FeatureRows

POINTS = 15
SMALLEST = 5000  # images in the smallest subset
LONG = 1.2  # times that, at least: at 5001 images the error would be 25 times that of all of them
STRAIGHT = 2.4  # of the rank: below that the excess is no longer a line in 1/N
_SEED = 0  # of the subsets: part of the estimator


@dataclass(frozen=True, slots=True)
class Extrapolation:
    """The line through the distances of growing subsets.

    Attributes:
        value: the intercept.
        slope: of D in 1/N.
        sizes: of the subsets.
        distances: of each.
        spread: sum of the squared weights of single rows: the variance of the value over that of their influence.
    """

    value: float
    slope: float
    sizes: tuple[int, ...]
    distances: tuple[float, ...]
    spread: float


def subset_sizes(n: int) -> tuple[int, ...]:
    """15 sizes, evenly from 5000 to ``n``; from half of ``n`` where that would leave too short a line (n below 6000).

    >>> subset_sizes(50_000)[:3]
    (5000, 8214, 11429)
    """
    first = SMALLEST if n >= LONG * SMALLEST else n // 2
    return tuple(round(size) for size in np.linspace(first, n, POINTS).tolist())


def extrapolate(
    real: Gaussian, rows: FeatureRows, *, sizes: tuple[int, ...] | None = None, ddof: int = 1, trace: str = "auto"
) -> Extrapolation:
    """D of seeded random subsets of ``rows``, and its intercept at 1/N = 0.

    Memory d^2 and one bit a row and size; time that of as many distances as there are sizes.
    """
    n = len(rows)
    sizes = sizes or subset_sizes(n)
    random = np.random.default_rng(_SEED)
    chosen = np.zeros((len(sizes), n), dtype=bool)
    distances = []
    for k, size in enumerate(sizes):
        chosen[k, random.permutation(n)[:size]] = True
        moments, start = Moments(rows.dimension), 0
        for block in rows.blocks():
            moments.update(block[chosen[k, start : start + len(block)]])
            start += len(block)
        distances.append(frechet_distance(real, moments.finish(ddof=ddof), trace=trace).value)
    design = np.stack([np.ones(len(sizes)), 1 / np.array(sizes)], axis=1)
    solve = np.linalg.pinv(design)
    value, slope = solve @ np.array(distances)
    weights = (solve[0] / np.array(sizes)) @ chosen
    return Extrapolation(float(value), float(slope), sizes, tuple(distances), float(weights @ weights))


def measure(inputs: MetricInputs) -> dict[str, MetricResult]:
    """FID-inf with its error, the sizes in its settings, and the analytic correction in ``details.analytic``."""
    fake_rows = inputs.fake_rows()
    assert inputs.real is not None
    assert inputs.real.gaussian is not None
    assert inputs.fake.gaussian is not None
    real, fake, real_rows = inputs.real.gaussian, inputs.fake.gaussian, inputs.real.rows
    line = extrapolate(real, fake_rows, ddof=inputs.protocol.ddof, trace=inputs.settings.trace)
    details: dict[str, object] = {
        "slope": line.slope,
        "sizes": list(line.sizes),
        "distances": list(line.distances),
        "analytic": None,
        "reference": inputs.reference,
    }
    error: float | None = None
    bias: float | None = None
    if inputs.reference == "sample" and real_rows is None:
        reason: Reason | None = Reason("no_real_rows")
    else:
        inference = frechet_inference(
            real, fake, real_rows, fake_rows, reference=inputs.reference, device=inputs.device
        )
        reason = inference.reason or inputs.overlap()
        details["analytic"] = {"corrected": inference.corrected, "standard_error": inference.standard_error}
        if reason is None and line.sizes[0] <= STRAIGHT * inference.rank_fake:
            reason = Reason("too_few_in_subset", n=line.sizes[0], rank=inference.rank_fake)
        if reason is None:
            assert inference.influence_fake is not None
            assert inference.se_real is not None
            error = float(np.sqrt(inference.influence_fake.var(ddof=1) * line.spread + inference.se_real**2))
            bias = inference.bias_real
    warnings: tuple[str, ...] = ()
    if line.sizes[0] != SMALLEST:
        warnings = (f"FID-inf begins at {line.sizes[0]} fakes; papers begin at {SMALLEST}, and need more than that",)
    result = build_result(
        inputs,
        "fid-inf",
        line.value,
        standard_error=error,
        bias=bias,
        method="influence",
        reason=reason,
        warnings=warnings,
        estimand=ESTIMAND[inputs.reference],
        details=details,
        settings={"sizes": list(line.sizes), "seed": _SEED},
    )
    return {"fid-inf": result}
