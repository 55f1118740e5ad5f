"""The Frechet distance at infinitely many fakes, as papers extrapolate it (Chong & Forsyth 2020).

The plug-in value of N fakes exceeds that of infinitely many by about b / N. Ordinary least squares of D(N) on 1/N over
15 sizes, each a fresh random subset of the fakes against all reals, has the estimate as its intercept:

    FID-inf = sum_k a_k D(N_k),    a = first row of (X^T X)^-1 X^T,    X_k = (1, 1 / N_k),    sum a_k = 1

What the reals' own finite number adds stays in it, and is corrected for by the analytic bias. To first order
D(N_k) = D + the mean influence of the rows in subset k + b / N_k, so that row i enters with the weight
v_i = sum_k a_k 1[i in subset k] / N_k and

    Var FID-inf = Var IF_fake sum_i v_i^2 + Var IF_real / m

With too few images for that, the estimand is what these numbers of images give on average, and row i has the influence
sum_k a_k n p_ik / N_k, where p_ik is its pseudo-value of the exact leave-one-out jackknife of subset k.

``fid`` has a correction of its own that needs one distance in place of 15 and has the smaller
error: it is in the details.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ganeval.metrics.build_result import build_result
from ganeval.metrics.frechet import frechet_distance, frechet_inference
from ganeval.metrics.intervals import ESTIMAND, PROTOCOL_ESTIMAND, variance_of_mean
from ganeval.metrics.leave_one_out import LEAST, leave_one_out
from ganeval.metrics.types import MetricInputs
from ganeval.results import LEAVE_ONE_OUT, MetricResult, Reason
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
        weights: a_k of each subset.
        chosen: (sizes, n), which rows each subset has.
    """

    value: float
    slope: float
    sizes: tuple[int, ...]
    distances: tuple[float, ...]
    spread: float
    weights: np.ndarray
    chosen: np.ndarray


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
        subset = Moments(rows.dimension)
        for block in _blocks(rows, chosen[k]):
            subset.update(block)
        distances.append(frechet_distance(real, subset.finish(ddof=ddof), trace=trace).value)
    design = np.stack([np.ones(len(sizes)), 1 / np.array(sizes)], axis=1)
    solve = np.linalg.pinv(design)
    value, slope = solve @ np.array(distances)
    weights = (solve[0] / np.array(sizes)) @ chosen
    return Extrapolation(
        float(value), float(slope), sizes, tuple(distances), float(weights @ weights), solve[0], chosen
    )


def _blocks(rows: FeatureRows, chosen: np.ndarray) -> Iterator[np.ndarray]:
    """The chosen rows, in order, some at a time."""
    start = 0
    for block in rows.blocks():
        yield block[chosen[start : start + len(block)]]
        start += len(block)


def influences(
    real: Gaussian, rows: FeatureRows, real_rows: FeatureRows | None, line: Extrapolation, *, ddof: int = 1
) -> tuple[np.ndarray, np.ndarray | None]:
    """What each row adds to the intercept, by the exact leave-one-out jackknife of every subset; means 0.

    Args:
        real_rows: None where the reference is the target itself.

    Raises:
        InputError: fewer than 10 rows of the smallest subset, or of the reals.
    """
    of_fakes, of_reals = np.zeros(len(rows)), None if real_rows is None else np.zeros(len(real_rows))
    for weight, chosen, size in zip(line.weights, line.chosen, line.sizes, strict=True):
        moments, subset = Moments(rows.dimension), FeatureRows(rows.dimension)
        with subset:
            for block in _blocks(rows, chosen):
                moments.update(block)
                subset.append(block)
            found = leave_one_out(real, moments.finish(ddof=ddof), subset, real_rows)
        of_fakes[chosen] += weight * len(rows) / size * found.pseudo_fake
        if of_reals is not None and found.pseudo_real is not None:
            of_reals += weight * found.pseudo_real
    return of_fakes - of_fakes.mean(), of_reals


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
    bar: dict[str, Any] = {}
    reason: Reason | None = Reason("no_real_rows")
    if inputs.reference == "population" or real_rows is not None:
        inference = frechet_inference(
            real, fake, real_rows, fake_rows, reference=inputs.reference, device=inputs.device
        )
        reason = inference.reason or inputs.overlap()
        details["analytic"] = {"corrected": inference.corrected, "standard_error": inference.standard_error}
        short = line.sizes[0] <= STRAIGHT * inference.rank_fake
        if (reason is None and short) or (reason is not None and reason.code == "too_few_for_rank"):
            reason, bar = _below_the_rule(inputs, line, real, fake_rows)
        elif reason is None:
            assert inference.influence_fake is not None
            assert inference.se_real is not None
            error = float(np.sqrt(inference.influence_fake.var(ddof=1) * line.spread + inference.se_real**2))
            bar = {"standard_error": error, "bias": inference.bias_real}
    warnings: tuple[str, ...] = ()
    if line.sizes[0] != SMALLEST:
        warnings = (f"FID-inf begins at {line.sizes[0]} fakes; papers begin at {SMALLEST}, and need more than that",)
    result = build_result(
        inputs,
        "fid-inf",
        line.value,
        reason=reason,
        warnings=warnings,
        details=details,
        settings={"sizes": list(line.sizes), "seed": _SEED},
        **({"method": "influence", "estimand": ESTIMAND[inputs.reference]} | bar),
    )
    return {"fid-inf": result}


def _below_the_rule(
    inputs: MetricInputs, line: Extrapolation, real: Gaussian, fake_rows: FeatureRows
) -> tuple[Reason | None, dict[str, Any]]:
    """The error bar of what these numbers of images give on average, as ``build_result`` takes it."""
    drawn = {name: one.rows for name, one in inputs.drawn().items() if one.rows is not None}
    least = {"real": len(drawn["real"])} if "real" in drawn else {}
    few = min({"fake": line.sizes[0], **least}.items(), key=lambda item: item[1])
    if few[1] < LEAST:
        return Reason("too_few_images", n=few[1], image_set=few[0], needed=LEAST), {}
    of_fakes, of_reals = influences(real, fake_rows, drawn.get("real"), line, ddof=inputs.protocol.ddof)
    variance = variance_of_mean(of_fakes) + (0.0 if of_reals is None else variance_of_mean(of_reals))
    per_image = {"fid-inf_influence_fake": of_fakes, "fid-inf_influence_real": of_reals}
    return inputs.overlap(), {
        "standard_error": float(np.sqrt(variance)),
        "method": LEAVE_ONE_OUT,
        "estimand": PROTOCOL_ESTIMAND[ESTIMAND[inputs.reference]],
        "degrees_of_freedom": min(len(rows) for rows in drawn.values()) - 1,
        "per_image": {name: array for name, array in per_image.items() if array is not None},
    }
