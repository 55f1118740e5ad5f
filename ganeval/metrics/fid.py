"""FID, or the Frechet distance on another network: from statistics to a result."""

from __future__ import annotations

import numpy as np

from ganeval.errors import ConfigError, NotEnoughSamplesError, number_of
from ganeval.metrics.build_result import build_result
from ganeval.metrics.classes import class_distances, distance_entry, lacking_classes, moments_and_rows
from ganeval.metrics.frechet import frechet_distance, require_comparable
from ganeval.metrics.frechet_result import distance
from ganeval.metrics.relative import relative_distance
from ganeval.metrics.types import FeatureSet, MetricInputs
from ganeval.protocol import Protocol
from ganeval.results import MetricResult, Reason
from ganeval.statistics.moments import Gaussian
from ganeval.statistics.rows import FeatureRows


def measure(inputs: MetricInputs) -> dict[str, MetricResult]:
    """D = |mu - nu|^2 + tr S + tr W - 2 tr (W^1/2 S W^1/2)^1/2 (Heusel et al. 2017, eq. 6), in features squared.

    The error bar is that of ``ganeval.metrics.frechet_result``; it needs the rows of the fakes, and of the reals too
    unless the reference is the population. Equals pytorch-fid's, torch-fidelity's, clean-fid's and
    torchmetrics' value under the protocol of that name to 1e-5 relative.
    """
    return {"fid": _distance("fid", inputs)}


def measure_spatial(inputs: MetricInputs) -> dict[str, MetricResult]:
    """sFID: the same distance on a layer that keeps places (Nash et al. 2021): layout moves it, which pooling hides.

    Of Inception this is ``mixed_6/conv``: the first 7 channels of Mixed_6d's 1 x 1 branch after ReLU, 17 x 17,
    flattened in the order height, width, channel to d = 2023, as the ADM evaluator has it. Another definition is in
    use under the same name (7 channels of Mixed_6e, dgm-eval's ``sinception``); the two are not comparable.
    """
    return {"sfid": _distance("sfid", inputs)}


def _distance(name: str, inputs: MetricInputs) -> MetricResult:
    assert inputs.real is not None
    assert inputs.real.gaussian is not None
    assert inputs.fake.gaussian is not None
    real, fake = inputs.real.gaussian, inputs.fake.gaussian
    real_rows, fake_rows, trace = inputs.real.rows, inputs.fake.rows, inputs.settings.trace
    require_comparable(real, fake)
    reason: Reason | None = None
    if fake_rows is None:
        reason = Reason("no_fake_rows")
    elif inputs.reference == "sample" and real_rows is None:
        reason = Reason("no_real_rows")
    found = None
    if fake_rows is not None and reason is None:
        found = distance(
            real,
            fake,
            real_rows,
            fake_rows,
            reference=inputs.reference,
            trace=trace,
            level=inputs.level,
            details=not inputs.grouped,
            kappa_rows=real_rows or inputs.real.row_sample,
            memo=inputs.memo,
            device=inputs.device,
        )
        reason = found.reason or inputs.overlap()
    value = frechet_distance(real, fake, trace=trace) if found is None else found.parts
    details: dict[str, object] = {
        "trace": value.method,
        "mean_term": value.mean_term,
        "trace_real": value.trace_real,
        "trace_fake": value.trace_fake,
        "trace_sqrt": value.trace_sqrt,
        "reference": inputs.reference,
    }
    if name == "sfid":
        details["tap"] = _tap(inputs.protocol)
    more, class_warnings = _on_request(inputs, inputs.real)
    details |= more | ({} if found is None else found.small)
    if inputs.heldout is not None:
        details["relative_to"] = relative_distance(inputs, found)
    return build_result(
        inputs,
        name,
        value.value,
        reason=reason,
        details=details,
        per_image={} if found is None else found.per_image(name),
        warnings=(*value.warnings, *class_warnings, *_few_for_features(real, fake, inputs.protocol)),
        **({} if found is None else found.error_bar()),
    )


def _on_request(inputs: MetricInputs, real: FeatureSet) -> tuple[dict[str, object], tuple[str, ...]]:
    """The details that a setting asks for, floor and distances by class, and the warnings of the latter."""
    details: dict[str, object] = {}
    chosen = inputs.settings
    if chosen.floor:
        if real.rows is None:
            raise ConfigError("--floor needs real images, or statistics with rows: it measures between their halves.")
        details["floor"] = floor(real.rows, trace=chosen.trace, ddof=inputs.protocol.ddof, level=inputs.level)
    if not chosen.per_class:
        return details, ()
    lacking, warnings = lacking_classes(inputs)
    details["per_class"] = {one.name: distance_entry(one, found, inputs) for one, found in class_distances(inputs)}
    return details | lacking, warnings


def _tap(protocol: Protocol) -> str:
    """What the layer is, in the words of the graph that papers use."""
    return {"sfid": "mixed_6/conv[:7], height-width-channel"}.get(protocol.layer, protocol.layer)


def _few_for_features(real: Gaussian, fake: Gaussian, protocol: Protocol) -> tuple[str, ...]:
    """A covariance of as many features as images has directions of which no image holds any information."""
    few = [
        number_of(g.n or 0, f"{side} image")
        for side, g in (("real", real), ("fake", fake))
        if (g.n or np.inf) <= g.dimension
    ]
    if not few:
        return ()
    advice = "kid" if protocol.network is not None and protocol.network.shipped else "--protocol compact, kid"
    return (
        f"{' and '.join(few)} for {fake.dimension} features: the value is mostly the excess of a small sample. Take "
        f"more images, or a network or metric for few ({advice})",
    )


def floor(
    rows: FeatureRows, *, seed: int = 0, trace: str = "auto", ddof: int = 1, level: float = 0.95
) -> dict[str, object]:
    """The distance between two random halves of the real images: what a perfect generator would score at n / 2.

    Its interval is of what that number of images gives on average, and null where the halves are too small for one.

    Raises:
        NotEnoughSamplesError: fewer than four images.
    """
    if len(rows) < 4:
        raise NotEnoughSamplesError(f"--floor needs at least 4 real images, two in each half; there are {len(rows)}.")
    first = np.random.default_rng(seed).permutation(len(rows)) < len(rows) // 2
    array = rows.to_array()
    (one, one_rows), (other, other_rows) = (moments_and_rows(array[chosen]) for chosen in (first, ~first))
    y, x = one.finish(ddof=ddof), other.finish(ddof=ddof)
    found = distance(y, x, one_rows, other_rows, trace=trace, details=False)
    interval = found.interval(level)
    return {
        "value": found.value,
        "n": [y.n, x.n],
        "interval": None if interval is None else [interval.low, interval.high],
        "estimand": None if interval is None else interval.estimand,
    }
