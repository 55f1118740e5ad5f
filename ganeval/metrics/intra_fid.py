"""Intra-FID: the mean of the Frechet distances within the classes, for conditional generators.

    D = (1/C) sum_c D_c          D_c the Frechet distance of the fakes of class c from the reals of class c

(Miyato & Koyama 2018). A generator that draws good images of the wrong class has a good FID and a bad Intra-FID. The
images of different classes are independent, and so are their distances:

    Var D = (1/C^2) sum_c Var D_c
"""

from __future__ import annotations

from dataclasses import replace
from math import sqrt

import numpy as np

from ganeval.errors import NotEnoughSamplesError
from ganeval.metrics.build_result import build_result
from ganeval.metrics.classes import LEAST, OneClass, class_distances, distance_entry, lacking_classes
from ganeval.metrics.difference import pooled_freedom
from ganeval.metrics.frechet_result import Distance
from ganeval.metrics.intervals import ESTIMAND, PROTOCOL_ESTIMAND
from ganeval.metrics.types import MetricInputs
from ganeval.results import LEAVE_ONE_OUT, MetricResult, Reason

NAME = "intra-fid"


def measure(inputs: MetricInputs) -> dict[str, MetricResult]:
    """Intra-FID, in [0, inf), units of features squared; equals the mean of ``fid`` over the classes to 1e-12.

    Where every class has more than 2.5 images for each direction of its covariance, the error bar is of the distances
    between the distributions (estimand ``population``). Otherwise it is of what these numbers of images give on
    average (``protocol``). A class with fewer than two images of a set has no part in the mean.

    ``details``: ``per_class``; ``classes``, how many the mean is of; ``weighted`` and ``weighted_se``, the mean
    weighted by the numbers of reals; ``worst_class``, with the largest distance, bias-corrected if all classes are.

    Raises:
        ConfigError: a set has no classes, or there is no class that both have.
        NotEnoughSamplesError: no class has two images of both sets.
    """
    assert inputs.real is not None
    table: dict[str, object] = {}
    means = _Means(inputs.real.n or 0, inputs.fake.n or 0)
    for one, found in class_distances(inputs, NAME):
        table[one.name] = distance_entry(one, found, inputs)
        if found is not None:
            means.add(one, found)
    if not means.distances:
        raise NotEnoughSamplesError(
            f"{NAME} needs a class with at least {LEAST} images of each set; found none among {len(table)} classes. "
            "Give more images of each class."
        )
    details, warnings = lacking_classes(inputs)
    if small := len(table) - len(means.distances):
        warnings += (f"intra-fid: {small} of {len(table)} classes have fewer than {LEAST} images of a set: left out",)
    estimand = ESTIMAND[inputs.reference]
    equal = np.full(len(means.distances), 1.0 / len(means.distances))
    result = build_result(
        inputs,
        NAME,
        means.value(equal),
        standard_error=means.standard_error(equal),
        bias=means.bias(equal),
        method=LEAVE_ONE_OUT if means.few else "influence",
        estimand=PROTOCOL_ESTIMAND[estimand] if means.few else estimand,
        degrees_of_freedom=means.degrees_of_freedom(equal) if means.few else None,
        reason=means.reason() or inputs.overlap(),
        settings={"classes": len(means.distances)},
        details={**means.details(grouped=inputs.grouped), "per_class": table, **details},
        warnings=warnings,
        per_image=means.influences(),
    )
    return {NAME: result}


class _Means:
    """Means over the classes, of their distances and of what is known of them.

    Args:
        m, n: images of the whole sets.
    """

    def __init__(self, m: int, n: int) -> None:
        self.names: list[str] = []
        self.distances: list[Distance] = []
        self.reals: list[int] = []
        self._influences = {"real": np.zeros(m), "fake": np.zeros(n)}

    def add(self, one: OneClass, found: Distance) -> None:
        self.names.append(one.name)
        self.reals.append(len(one.real))
        for side, places, values in (
            ("real", one.of_real, found.influence_real),
            ("fake", one.of_fake, found.influence_fake),
        ):
            if values is not None:  # scaled: the variance of their mean is then, exactly, the sum over the classes
                self._influences[side][places] = values / sqrt(len(values) * (len(values) - 1))
        self.distances.append(replace(found, influence_real=None, influence_fake=None))  # of a thousand, much memory

    @property
    def few(self) -> bool:
        """Whether a class has too few images for the distance between its distributions."""
        return any(one.method == LEAVE_ONE_OUT for one in self.distances)

    def value(self, weights: np.ndarray) -> float:
        return float(weights @ [one.value for one in self.distances])

    def bias(self, weights: np.ndarray) -> float | None:
        biases = [one.bias for one in self.distances if one.bias is not None]
        return float(weights @ biases) if len(biases) == len(weights) and not self.few else None

    def standard_error(self, weights: np.ndarray) -> float | None:
        variances = self._variances(weights)
        return None if variances is None else sqrt(sum(variances))

    def degrees_of_freedom(self, weights: np.ndarray) -> float | None:
        """Of the standard error, by Welch and Satterthwaite: each class estimates its own."""
        variances = self._variances(weights)
        if variances is None:
            return None
        return pooled_freedom(
            [(variance, one.degrees_of_freedom) for variance, one in zip(variances, self.distances, strict=True)]
        )

    def _variances(self, weights: np.ndarray) -> list[float] | None:
        errors = [one.standard_error for one in self.distances if one.standard_error is not None]
        return [float(w * e) ** 2 for w, e in zip(weights, errors, strict=True)] if self.reason() is None else None

    def reason(self) -> Reason | None:
        """Why the mean has no error: a class has none."""
        without = [name for name, one in zip(self.names, self.distances, strict=True) if one.standard_error is None]
        if not without:
            return None
        return Reason("classes_without_error", n=len(without), classes=len(self.names), first=without[0])

    def influences(self) -> dict[str, np.ndarray]:
        """One number an image, mean zero, whose variances give the standard error of the mean over the classes."""
        if self.reason() is not None:
            return {}
        return {
            f"{NAME}_influence_{side}": values * sqrt(len(values) * (len(values) - 1)) / len(self.distances)
            for side, values in self._influences.items()
            if values.any()
        }

    def details(self, *, grouped: bool) -> dict[str, object]:
        weights = np.array(self.reals) / sum(self.reals)
        corrected = [one.value - one.bias for one in self.distances if one.bias is not None]
        centres = corrected if len(corrected) == len(self.distances) else [one.value for one in self.distances]
        return {
            "classes": len(self.distances),
            "weighted": self.value(weights),
            "weighted_se": None if grouped else self.standard_error(weights),
            "worst_class": self.names[int(np.argmax(centres))],
        }
