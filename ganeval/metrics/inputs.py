"""What a metric is given, and how it answers: the one contract between the engine and every metric.

A metric's module has pure functions on arrays, and one ``measure(inputs) -> {name: MetricResult}`` that the registry
names. The engine calls each distinct ``measure`` once, with the features of the layer that the metric asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch

from ganeval.errors import ConfigError, InputError, NotEnoughSamplesError, number_of
from ganeval.metrics.intervals import quantile, repeats, symmetric_interval
from ganeval.metrics.registry import METRICS
from ganeval.parsing.arguments import convert_fields
from ganeval.protocol import Protocol
from ganeval.results import Interval, MetricResult
from ganeval.statistics.moments import Gaussian
from ganeval.statistics.rows import FeatureRows

NO_ROWS = "the features of the {} images are not at hand (a statistics file without rows), only their moments"
MAX_SHARED = 0.01  # of the smaller set
NO_REFERENCE = "none: of the fakes alone"
LEAST = 10  # images of a side from which the spread over all is told
_ROUNDING = 1e-12  # of the value: an error so small is one of arithmetic
NO_SPREAD = "there is no spread, between images or blocks of them, from which an error could be told"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Choices of single estimators; options of the commands and arguments of ``evaluate`` have the same names.

    Attributes:
        trace: how the trace of the matrix square root is computed: ``auto``, ``sqrtm``, ``svd`` or ``eigvals``.
        floor: also the distance between two halves of REAL.
        splits: parts of the Inception Score, as papers take it; None: 10, or the protocol's own rule.
        kid_kernel: ``polynomial`` or ``rbf``.
        kid_subsets: number and size of subsets, as papers take KID over them, for instance (100, 1000).
        neighbours: k of the nearest-neighbour balls; None: 3 for precision and recall, 5 for density and coverage.
        strict: leave out the border of balls (True) or not (False); None: each metric's own rule.
        radius: fixed, of all balls, in place of the k-th neighbour.
        directions: random projections of MIND.
        per_class: also the distance within each class, where both sides have class folders or labels.
        cmmd_sigma: width of CMMD's kernel, in lengths of an embedding.
    """

    trace: str = "auto"
    floor: bool = False
    splits: int | None = None
    kid_kernel: str = "polynomial"
    kid_subsets: tuple[int, int] | None = None
    neighbours: int | None = None
    strict: bool | None = None
    radius: float | None = None
    directions: int = 1000
    per_class: bool = False
    cmmd_sigma: float = 10.0

    def __post_init__(self) -> None:
        convert_fields(self)
        choices = {"trace": ("auto", "sqrtm", "svd", "eigvals"), "kid_kernel": ("polynomial", "rbf")}
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ConfigError(f"{name} is one of {', '.join(allowed)}; got {getattr(self, name)!r}.")
        for name, least in (("splits", 1), ("neighbours", 1), ("directions", 1)):
            if (value := getattr(self, name)) is not None and value < least:
                raise ConfigError(f"{name} is a number from {least} on; got {value}.")
        if not 0 < self.cmmd_sigma < math.inf:
            raise ConfigError(f"cmmd_sigma is a width above 0; got {self.cmmd_sigma}.")
        if self.radius is not None and not self.radius > 0:
            raise ConfigError(f"radius is a distance above 0; got {self.radius}.")
        if self.kid_subsets is not None and (self.kid_subsets[0] < 1 or self.kid_subsets[1] < 2):
            raise ConfigError(f"kid_subsets is a number from 1 on and a size from 2 on; got {self.kid_subsets}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSet:
    """One set of images, under one layer of one network.

    Attributes:
        gaussian: mean and covariance; None where the layer has none (logits).
        rows: (n, d) float32 features; None where only moments are at hand.
        row_sample: features of some of the images, where a statistics file has those; ``rows`` then is None.
        digest: stands for the set of images, whatever their order; None where it is not known.
        image_digests: (n,) uint64, one an image in order; empty where they are not known.
        labels: (n,) class names, where the images are in class folders or a generator was given labels.
    """

    n: int | None
    gaussian: Gaussian | None = None
    rows: FeatureRows | None = None
    row_sample: FeatureRows | None = None
    digest: str | None = None
    image_digests: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint64))
    labels: np.ndarray | None = None

    def distinct(self) -> int | None:
        """How many of the images differ, by their features or else by their pixels; None where neither is known."""
        if self.rows is not None:
            return self.rows.distinct()
        return int(np.unique(self.image_digests).size) if len(self.image_digests) else None


Memo = Callable[[str, type[Any], Callable[[], Any]], Any]


def nothing_is_kept(_: str, __: type[Any], compute: Callable[[], Any]) -> Any:
    """The memo that computes every time."""
    return compute()


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricInputs:
    """Both sides under one layer, and what else a metric needs to answer.

    Attributes:
        wanted: names of the results that were asked for; a ``measure`` may give fewer, never others.
        protocol: with the layer that these features are of.
        real: None for metrics of the fakes alone.
        test: held-out real images, for metrics of memorisation.
        reference: ``sample``: both sides are samples; ``population``: REAL is the target itself.
        level: of the intervals.
        shared_images: images that are in both sets, as their digests tell.
        device: where large products are computed.
        memo: ``memo(name, kind, compute)`` gives the ``kind`` that ``compute()`` gave before for this reference and
            protocol.
    """

    wanted: frozenset[str]
    protocol: Protocol
    fake: FeatureSet
    real: FeatureSet | None = None
    test: FeatureSet | None = None
    settings: Settings = field(default_factory=Settings)
    reference: str = "sample"
    level: float = 0.95
    shared_images: int = 0
    device: torch.device | None = None
    warnings: tuple[str, ...] = ()
    memo: Memo = nothing_is_kept

    def fake_rows(self) -> FeatureRows:
        """The fakes' features.

        Raises:
            InputError: only their moments are at hand.
            NotEnoughSamplesError: there are fewer than the metric needs.
        """
        return self._rows("fake", self.fake)

    def real_rows(self) -> FeatureRows:
        """The reals' features; errors as ``fake_rows``."""
        return self._rows("real", self.real)

    def test_rows(self) -> FeatureRows | None:
        """The held-out reals' features; None where there are no held-out reals."""
        return None if self.test is None else self._rows("test", self.test)

    def _rows(self, side: str, features: FeatureSet | None) -> FeatureRows:
        names = ", ".join(sorted(self.wanted))
        if features is None or features.rows is None:
            raise InputError(
                f"{names}: {NO_ROWS.format(side)}. Give the images, or build the file with "
                "`ganeval stats build --rows`."
            )
        minimum = max(METRICS[name].minimum for name in self.wanted)
        if len(features.rows) < minimum:
            raise NotEnoughSamplesError(
                f"{names} {'need' if len(self.wanted) > 1 else 'needs'} at least {minimum} {side} images; found "
                f"{len(features.rows)}. Give more images."
            )
        return features.rows

    def overlap(self) -> str | None:
        """Why there is no interval, where more than one per cent of the smaller set is in both."""
        if self.real is None:
            return None
        smaller = min(n for n in (self.real.n, self.fake.n) if n is not None)
        if self.shared_images <= MAX_SHARED * smaller:
            return None
        return (
            f"{number_of(self.shared_images, 'image is', 'images are')} in both sets: they are not independent samples"
        )

    def test_overlap(self) -> str | None:
        """Why nothing follows from the held-out reals, where more than one per cent of them are in REAL."""
        if self.real is None or self.test is None:
            return None
        shared = int(np.intersect1d(self.real.image_digests, self.test.image_digests).size)
        if shared <= MAX_SHARED * len(self.test.image_digests):
            return None
        verbs = "is in REAL too: it was" if shared == 1 else "are in REAL too: they were"
        return f"{shared} of the held-out images {verbs} not held out"

    def result(
        self,
        name: str,
        value: float,
        *,
        standard_error: float | None = None,
        bias: float | None = None,
        method: str = "",
        estimand: str = "population",
        degrees_of_freedom: float | None = None,
        reason: str | None = None,
        settings: Mapping[str, object] | None = None,
        details: Mapping[str, object] | None = None,
        per_image: Mapping[str, np.ndarray] | None = None,
        warnings: tuple[str, ...] = (),
    ) -> MetricResult:
        """The result of one metric: everything that the engine knows is filled in, the interval is made here,
        and cut to the range of the metric.

        Args:
            standard_error: of ``value``; None, one that is nothing but rounding, or one that was told from fewer than
                ``LEAST`` images of a side, gives no interval.
            bias: expected excess of ``value`` over the estimand; the interval is then around ``value - bias``.
            method: how the standard error was made, for instance ``delta``.
            estimand: see ``Interval``.
            degrees_of_freedom: of the standard error, where it comes from few blocks; None: normal quantiles.
            reason: why there is no interval; standard error and bias are then dropped.
            settings: choices that change the value, for the comparison key.
        """
        metric = METRICS[name]
        interval: Interval | None = None
        corrected: float | None = None
        if reason is None and standard_error is None:
            reason = f"no standard error is known for {metric.acronym}"
        both = metric.sides == "both"
        sides = {"real": self.real if both and self.reference == "sample" else None, "fake": self.fake}
        few = [f"{side.n} {kind}" for kind, side in sides.items() if side and side.n is not None and side.n < LEAST]
        if reason is None and few:
            reason = f"{' and '.join(few)} images are too few to tell an error from; {LEAST} are needed"
        if reason is None:
            reason = _not_independent({kind: side for kind, side in sides.items() if side}, estimand)
        if reason is None and not (
            math.isfinite(error := cast(float, standard_error)) and error > _ROUNDING * abs(value)
        ):
            reason = NO_SPREAD
        if reason is None:
            corrected = None if bias is None else value - bias
            half = quantile(self.level, degrees_of_freedom) * cast(float, standard_error)
            centre = value if corrected is None else corrected
            interval = symmetric_interval(centre, half, self.level, method, estimand, within=metric.range)
            if interval is None:
                reason = "the standard error is lost in the rounding of the value"
        if interval is None:
            standard_error = bias = corrected = None
        freedom = None if interval is None else degrees_of_freedom
        return MetricResult(
            name=name,
            label=self.protocol.label(metric.acronym),
            value=float(value),
            higher_is_better=metric.higher_is_better,
            n_real=self.real.n if both and self.real is not None else None,
            n_fake=self.fake.n,
            protocol=self.protocol,
            standard_error=None if standard_error is None else float(standard_error),
            bias=None if bias is None else float(bias),
            corrected=None if corrected is None else float(corrected),
            interval=interval,
            reason=reason,
            warnings=tuple(dict.fromkeys((*self.warnings, *warnings))),
            reference=(self.real.digest if self.real is not None else None) if both else NO_REFERENCE,
            settings=settings or {},
            details={**(details or {}), **({} if freedom is None else {"degrees_of_freedom": freedom})},
            per_image=per_image or {},
        )


def _not_independent(sides: Mapping[str, FeatureSet], estimand: str) -> str | None:
    """Why the images of these drawn sets tell no error: copies count as images of their own in it, or all are one.

    An error of what these numbers of images give on average is right for a generator that repeats itself.
    """
    distinct = {kind: side.distinct() for kind, side in sides.items()}
    if all(number == 1 for number in distinct.values()):
        return NO_SPREAD
    if not estimand.startswith("population"):
        return None
    for kind, side in sides.items():
        number, n = distinct[kind], side.n
        if number is not None and n is not None and repeats(number, n):
            return f"only {number} of the {n} {kind} images are distinct: copies are not independent images"
    return None
