"""MiFID: a Frechet distance that is made larger where the fakes are copies of real images.

    MiFID = D / m,   m = mean_j min_i (1 - |cos(y_j, x_i)|)   if that is below a threshold, else 1

with D the Frechet distance, over the features of the reals y_j and of the fakes x_i (Bai et al. 2021). A generator that
repeats its training images has a small D; dividing by a small m makes the value large again.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ganeval.metrics import fid
from ganeval.metrics.types import FeatureSet, MetricInputs
from ganeval.results import MetricResult, Reason
from ganeval.statistics.moments import Moments
from ganeval.statistics.rows import FeatureRows

NAME, TITLE = "mifid", "MiFID"
LEAST_DISTANCE = 1e-8  # of the Frechet distance: below it the value is 0
_ADDED = 1e-14  # to m, as torchmetrics adds it
_BLOCK = 1024


def measure(inputs: MetricInputs) -> dict[str, MetricResult]:
    """MiFID, in [0, inf), units of features squared.

    Equals torchmetrics' value under the protocol ``torchmetrics`` to 1e-5 relative. Where the images are not copied,
    m = 1: the value and its error bar are those of FID. Where they are, no standard error is known.

    ``details``: ``frechet_distance`` (D), ``nearest_distance`` (m before the threshold), ``threshold``, ``memorises``.

    Raises:
        InputError: only moments are available.
        NotEnoughSamplesError: fewer than two images of a set.
    """
    assert inputs.real is not None
    real, fake = inputs.real_rows(), inputs.fake_rows()
    threshold, ddof = inputs.settings.mifid_threshold, inputs.protocol.ddof
    plain = fid.measure(
        replace(
            inputs,
            real=_with_moments(inputs.real, real, ddof),
            fake=_with_moments(inputs.fake, fake, ddof),
            heldout=None,
            settings=replace(inputs.settings, floor=False, per_class=False),
        )
    )["fid"]
    nearest = nearest_cosine_distance(real.to_array(), fake.to_array())
    memorises = nearest < threshold
    value = plain.value / ((nearest if memorises else 1.0) + _ADDED) if plain.value > LEAST_DISTANCE else 0.0
    own: dict[str, object] = {
        "frechet_distance": plain.value,
        "nearest_distance": nearest,
        "threshold": threshold,
        "memorises": memorises,
    }
    result = replace(
        plain,
        name=NAME,
        label=inputs.protocol.label(TITLE),
        value=value,
        settings={"threshold": threshold},
        details={**plain.details, **own},
        per_image={name.replace("fid_", f"{NAME}_", 1): array for name, array in plain.per_image.items()},
    )
    if memorises:
        nothing = {"standard_error": None, "bias": None, "corrected": None, "interval": None}
        reason = Reason("no_standard_error", metric=TITLE)
        result = replace(result, **nothing, reason=reason, details={"trace": plain.details["trace"], **own})  # type: ignore[arg-type]
    return {NAME: result}


def nearest_cosine_distance(real: np.ndarray, fake: np.ndarray) -> float:
    """mean_j min_i (1 - |cos(y_j, x_i)|), in [0, 1]: how far the reals are from their nearest fakes.

    Rows of zeros have no direction, and are left out; 1 where a set has no others.

    Shape:
        (m, d), (n, d) float32.
    """
    y, x = _directions(real), _directions(fake)
    if not len(y) or not len(x):
        return 1.0
    blocks = (y[start : start + _BLOCK] for start in range(0, len(y), _BLOCK))
    cosines = np.concatenate([np.abs(block @ x.T).max(axis=1) for block in blocks]).astype(np.float64)
    return float(np.mean(1.0 - np.minimum(cosines, 1.0)))


def _directions(rows: np.ndarray) -> np.ndarray:
    """The rows that are not zero, at length 1."""
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    some = lengths > 0.0
    found: np.ndarray = rows[some] / lengths[some, None].astype(np.float32)
    return found


def _with_moments(side: FeatureSet, rows: FeatureRows, ddof: int) -> FeatureSet:
    if side.gaussian is not None:
        return side
    moments = Moments(rows.dimension)
    for block in rows.blocks(_BLOCK):
        moments.update(block)
    return replace(side, gaussian=moments.finish(ddof=ddof))
