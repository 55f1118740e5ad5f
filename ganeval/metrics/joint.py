"""FJD: the Frechet distance of images together with their classes, for conditional generators (DeVries et al. 2019).

    the Frechet distance between the rows [f(x), alpha h(y)],   alpha = mean |f(x)| / mean |h(y)| over the reals

with f the features of an image and h(y) the one-hot vector of its class, of length 1. Beyond FID it sees images of the
wrong class and classes of other frequencies, in one number.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ganeval.errors import ConfigError
from ganeval.metrics import fid
from ganeval.metrics.classes import moments_and_rows
from ganeval.metrics.types import FeatureSet, MetricInputs
from ganeval.results import MetricResult

NAME = "fjd"


def measure(inputs: MetricInputs) -> dict[str, MetricResult]:
    """FJD, in [0, inf), units of features squared, with the error bar of a Frechet distance on these rows.

    Equals its definition, computed in float64, to 1e-6 relative. alpha is taken as known in the error. ``details``:
    ``alpha``, and ``classes``, how many both sets have together.

    Raises:
        ConfigError: a set has no classes.
        InputError: only moments are available.
        NotEnoughSamplesError: fewer than two images of a set.
    """
    assert inputs.real is not None
    real, fake = inputs.real_rows().to_array(), inputs.fake_rows().to_array()
    names = np.union1d(_labels("REAL", inputs.real), _labels("FAKE", inputs.fake))
    alpha = float(np.sqrt(np.einsum("ij,ij->i", real, real, dtype=np.float64)).mean())
    ddof = inputs.protocol.ddof
    found = fid.measure(
        replace(
            inputs,
            real=_joint(inputs.real, real, names, alpha, ddof),
            fake=_joint(inputs.fake, fake, names, alpha, ddof),
            heldout=None,
            settings=replace(inputs.settings, floor=False, per_class=False),
        )
    )["fid"]
    result = replace(
        found,
        name=NAME,
        label=inputs.protocol.label("FJD"),
        settings={"classes": [str(name) for name in names]},
        details={**found.details, "alpha": alpha, "classes": len(names)},
        per_image={name.replace("fid_", f"{NAME}_", 1): array for name, array in found.per_image.items()},
    )
    return {NAME: result}


def _labels(name: str, side: FeatureSet) -> np.ndarray:
    if side.labels is None:
        raise ConfigError(
            f"{NAME} needs the class of every image, from class folders, the labels of a data set or a conditional "
            f"generator, on both sides; {name} has none."
        )
    return side.labels


def _joint(side: FeatureSet, features: np.ndarray, names: np.ndarray, alpha: float, ddof: int) -> FeatureSet:
    """The set with its classes as further features."""
    rows = np.zeros((len(features), features.shape[1] + len(names)), np.float32)
    rows[:, : features.shape[1]] = features
    rows[np.arange(len(rows)), features.shape[1] + np.searchsorted(names, _labels("", side))] = alpha
    moments, kept = moments_and_rows(rows)
    return replace(side, gaussian=moments.finish(ddof=ddof), rows=kept, row_sample=None)
