"""FID, or the Frechet distance on another network: from statistics to a result."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ganeval.errors import NotEnoughSamplesError
from ganeval.metrics.frechet import MAX_SHARED_ROWS, FrechetValue, frechet_distance, frechet_inference
from ganeval.metrics.registry import METRICS
from ganeval.protocol import Protocol
from ganeval.results import MetricResult
from ganeval.statistics.moments import Gaussian, Moments
from ganeval.statistics.rows import FeatureRows

NO_ROWS = "the features of the {} images are not at hand (a statistics file without rows), only their moments"


def fid(
    real: Gaussian,
    fake: Gaussian,
    *,
    protocol: Protocol,
    n_real: int | None,
    n_fake: int | None,
    real_rows: FeatureRows | None = None,
    fake_rows: FeatureRows | None = None,
    reference: str = "sample",
    trace: str = "auto",
    level: float = 0.95,
    reference_digest: str | None = None,
    shared_images: int = 0,
    warnings: tuple[str, ...] = (),
    details: Mapping[str, object] | None = None,
) -> MetricResult:
    """D = |mu - nu|^2 + tr S + tr W - 2 tr (W^1/2 S W^1/2)^1/2 (Heusel et al. 2017, eq. 6), in features squared.

    The error bar is the influence-function one of ``ganeval.metrics.frechet``; it needs the rows of the fakes, and of
    the reals too unless ``reference`` is ``population``. Equals pytorch-fid's, torch-fidelity's, clean-fid's and
    torchmetrics' value under the protocol of that name to 1e-5 relative.

    Args:
        shared_images: images that are in both sets, as their digests tell, even where the rows of the reals are gone.
    """
    metric = METRICS["fid"]
    value: FrechetValue = frechet_distance(real, fake, trace=trace)
    reason: str | None = None
    if fake_rows is None:
        reason = NO_ROWS.format("fake")
    elif reference == "sample" and real_rows is None:
        reason = NO_ROWS.format("real") + "; --reference population takes the reference as the target itself"
    fields: dict[str, object] = {}
    per_image: dict[str, np.ndarray] = {}
    if reason is None and fake_rows is not None:
        inference = frechet_inference(real, fake, real_rows, fake_rows, reference=reference)
        reason = inference.reason
        if reason is None and shared_images > MAX_SHARED_ROWS * min(n_real or len(fake_rows), len(fake_rows)):
            reason = f"{shared_images} images are in both sets: they are not independent samples"
        if inference.influence_fake is not None:
            per_image["fid_influence_fake"] = inference.influence_fake
        if inference.influence_real is not None:
            per_image["fid_influence_real"] = inference.influence_real
        if reason is None and inference.bias is not None:
            fields = {
                "standard_error": inference.standard_error,
                "bias": inference.bias,
                "corrected": value.value - inference.bias,
                "interval": inference.interval(level),
            }
    return MetricResult(
        name=metric.name,
        label=protocol.label(metric.acronym),
        value=value.value,
        higher_is_better=metric.higher_is_better,
        n_real=n_real,
        n_fake=n_fake,
        protocol=protocol,
        reason=reason,
        reference=reference_digest,
        warnings=(*warnings, *value.warnings),
        details={
            "trace": value.method,
            "mean_term": value.mean_term,
            "trace_real": value.trace_real,
            "trace_fake": value.trace_fake,
            "trace_sqrt": value.trace_sqrt,
            "reference": reference,
            **(details or {}),
        },
        per_image=per_image,
        **fields,  # type: ignore[arg-type]
    )


def floor(rows: FeatureRows, *, seed: int, trace: str = "auto") -> dict[str, object]:
    """The distance between two random halves of the real images: what a perfect generator would score at n / 2.

    Raises:
        NotEnoughSamplesError: fewer than four images.
    """
    if len(rows) < 4:
        raise NotEnoughSamplesError(f"--floor needs at least 4 real images, two in each half; there are {len(rows)}.")
    first = np.random.default_rng(seed).permutation(len(rows)) < len(rows) // 2
    halves, start = (Moments(rows.dimension), Moments(rows.dimension)), 0
    for block in rows.blocks():
        chosen = first[start : start + len(block)]
        halves[0].update(block[chosen])
        halves[1].update(block[~chosen])
        start += len(block)
    one, other = (half.finish() for half in halves)
    return {"value": frechet_distance(one, other, trace=trace).value, "n": [one.n, other.n]}
