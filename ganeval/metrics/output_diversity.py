"""Diversity of the outputs of a model for one input, by a perceptual distance.

With outputs x_i1 ... x_iK of input i (Zhu et al. 2017, BicycleGAN; Huang et al. 2018, MUNIT; distance of Zhang et al.)

    D = 1/n sum_i D_i,      D_i = mean of d(x_ik, x_il) over the pairs k < l of input i, or over some of them

All pairs of 10 outputs are the diversity of StarGAN v2, 19 pairs of each of 100 inputs that of BicycleGAN. Inputs are
independent, the pairs of one input are not, so the error is that of a mean over n inputs.
"""

from __future__ import annotations

import numpy as np

from ganeval.metrics.build_result import NO_REFERENCE
from ganeval.metrics.registry import METRICS
from ganeval.metrics.sample_mean import mean_result, sample_mean
from ganeval.protocol import Protocol
from ganeval.results import MetricResult


def result(
    values: np.ndarray,
    n_outputs: int,
    inputs: np.ndarray,
    *,
    pairs: int | None,
    seed: int,
    label: str,
    protocol: Protocol,
    level: float = 0.95,
    warnings: tuple[str, ...] = (),
) -> MetricResult:
    """The mean over inputs, with its standard error.

    Args:
        values: (n,) the mean distance of each input.
        n_outputs: images of all inputs together.
        inputs: (n,) uint64, an id of each input: by these two models are paired.
        pairs, seed: how many pairs of each input were drawn, and by which seed; part of the comparison key.
    """
    metric = METRICS["diversity"]
    found = sample_mean(values, level=level, within=metric.range, what="input")
    return mean_result(
        metric.name,
        found,
        values,
        label=label,
        higher_is_better=metric.higher_is_better,
        n_real=None,
        n_fake=n_outputs,
        protocol=protocol,
        reference=NO_REFERENCE,
        settings={} if pairs is None else {"pairs": pairs, "seed": seed},
        details={"kind": "mean", "inputs": len(values)},
        per_image={f"{metric.name}_latent_digests": inputs},
        warnings=warnings,
    )
