"""CLIPScore: how well each image matches its caption, by the cosine of their embeddings under CLIP.

With the embeddings e_i of image i and c_i of its caption, both of length 1 (Hessel et al. 2021, section 3)

    score_i = w max(e_i . c_i, 0)

The paper has w = 2.5 and puts "A photo depicts " before each caption; most programs print w = 100 without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ganeval.metrics.build_result import NO_REFERENCE
from ganeval.metrics.registry import METRICS
from ganeval.metrics.sample_mean import mean_result, sample_mean
from ganeval.protocol import Protocol
from ganeval.results import MetricResult

NAME = "clip-score"


@dataclass(frozen=True, slots=True)
class Scaling:
    """How a score is made of a cosine.

    Attributes:
        formula: as labels have it.
        factor: w.
        clipped: negative cosines count as 0.
        prefix: text before each caption.
    """

    formula: str
    factor: float
    clipped: bool
    prefix: str = ""

    @property
    def range(self) -> tuple[float, float]:
        return (0.0 if self.clipped else -self.factor, self.factor)

    @property
    def described(self) -> str:
        """The formula, with the prefix where there is one."""
        return f"{self.formula}, with {self.prefix.strip()!r} before each caption" if self.prefix else self.formula

    def __call__(self, cosines: np.ndarray) -> np.ndarray:
        """The scores of cosines, in float64, of the same shape."""
        scaled: np.ndarray = self.factor * cosines.astype(np.float64)
        return np.maximum(scaled, 0.0) if self.clipped else scaled


SCALINGS: Mapping[str, Scaling] = {
    "100": Scaling("100 max(cos, 0)", 100.0, True),
    "2.5": Scaling("2.5 max(cos, 0)", 2.5, True, "A photo depicts "),
    "cosine": Scaling("cos", 1.0, False),
}


def measure(
    cosines: np.ndarray,
    scaling: Scaling,
    *,
    protocol: Protocol,
    level: float = 0.95,
    groups: np.ndarray | None = None,
    warnings: tuple[str, ...] = (),
    details: Mapping[str, object] | None = None,
) -> MetricResult:
    """The mean score over images, with its standard error.

    Equals the CLIPScore of torchmetrics to 1e-5 under ``SCALINGS["100"]``, where no cosine is negative: torchmetrics
    clips the mean, not each score.

    Args:
        cosines: (n,) of each image and its caption.
        protocol: of the image features.
        groups: (n,) ids of images that count as one.
        warnings: on the captions and the network.
        details: facts on the captions.
    """
    values = scaling(cosines)
    found = sample_mean(values, level=level, groups=groups, within=scaling.range, what="captioned")
    n = len(values)
    return mean_result(
        NAME,
        found,
        values,
        label=f"{protocol.label(METRICS[NAME].acronym)[:-1]}, {scaling.formula}]",
        higher_is_better=True,
        n_real=None,
        n_fake=n,
        protocol=protocol,
        reference=NO_REFERENCE,
        settings={"scaling": scaling.formula, "prefix": scaling.prefix},
        details={
            "kind": "mean",
            "negative": int((cosines < 0).sum()) if scaling.clipped else None,
            "standard_deviation": float(np.std(values, ddof=min(1, n - 1))),
            **(details or {}),
        },
        warnings=warnings,
    )
