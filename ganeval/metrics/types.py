"""What a metric is given: the contract between the engine and every metric.

A metric's module has pure functions on arrays, and one ``measure(inputs) -> {name: MetricResult}`` that the registry
names. The engine calls each distinct ``measure`` once, with the features of the layer that the metric asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from ganeval.errors import InputError, NotEnoughSamplesError
from ganeval.metrics.registry import METRICS
from ganeval.metrics.settings import Settings
from ganeval.protocol import Protocol
from ganeval.results import Reason
from ganeval.statistics.moments import Gaussian
from ganeval.statistics.rows import FeatureRows
from ganeval.statistics.searches import ProcessGroup

MAX_SHARED = 0.01  # of the smaller set


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSet:
    """One set of images, under one layer of one network.

    Attributes:
        gaussian: mean and covariance; None where the layer has none (logits).
        rows: (n, d) float32 features; None where only moments are available.
        row_sample: features of some of the images, where a statistics file has those; ``rows`` then is None.
        digest: of the set of images, independent of their order; None where it is not known.
        image_digests: (n,) uint64, one an image in order; empty where they are not known.
        labels: (n,) class names, where the images are in class folders or a generator was given labels.
        groups: (n,) uint64, ids of what belongs together and counts as one in every error; None: each image by itself.
    """

    n: int | None
    gaussian: Gaussian | None = None
    rows: FeatureRows | None = None
    row_sample: FeatureRows | None = None
    digest: str | None = None
    image_digests: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint64))
    labels: np.ndarray | None = None
    groups: np.ndarray | None = None

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
        heldout: real images of which the distance is the unit (``relative_to``).
        reference: ``sample``: both sides are samples; ``population``: REAL is the target itself.
        level: of the intervals.
        shared_images: images that are in both sets, as their digests tell.
        device: where large products are computed.
        group: the processes that share the searches; None: this process alone.
        memo: ``memo(name, kind, compute)`` gives the ``kind`` that ``compute()`` gave before for this reference and
            protocol.
    """

    wanted: frozenset[str]
    protocol: Protocol
    fake: FeatureSet
    real: FeatureSet | None = None
    test: FeatureSet | None = None
    heldout: FeatureSet | None = None
    settings: Settings = field(default_factory=Settings)
    reference: str = "sample"
    level: float = 0.95
    shared_images: int = 0
    device: torch.device | None = None
    group: ProcessGroup | None = None
    warnings: tuple[str, ...] = ()
    memo: Memo = nothing_is_kept

    def fake_rows(self) -> FeatureRows:
        """The fakes' features.

        Raises:
            InputError: only their moments are available.
            NotEnoughSamplesError: there are fewer than the metric needs.
        """
        return self._rows("fake", self.fake)

    def real_rows(self) -> FeatureRows:
        """The reals' features; errors as ``fake_rows``."""
        return self._rows("real", self.real)

    def test_rows(self) -> FeatureRows | None:
        """The held-out reals' features; None where there are no held-out reals."""
        return None if self.test is None else self._rows("test", self.test)

    def drawn(self) -> dict[str, FeatureSet]:
        """The sets that are samples, by name."""
        real = self.real if self.reference == "sample" else None
        return {name: one for name, one in (("real", real), ("fake", self.fake)) if one is not None}

    @property
    def grouped(self) -> bool:
        """Whether images of a drawn set belong together."""
        return any(one.groups is not None for one in self.drawn().values())

    def _rows(self, side: str, features: FeatureSet | None) -> FeatureRows:
        names = ", ".join(sorted(self.wanted))
        if features is None or features.rows is None:
            raise InputError(
                f"{names} expected the features of the single {side} images; found only their moments (a statistics "
                "file without rows). Pass the images, or build the file with `ganeval stats build --rows`."
            )
        minimum = max(METRICS[name].minimum for name in self.wanted)
        if len(features.rows) < minimum:
            raise NotEnoughSamplesError(
                f"{names} {'need' if len(self.wanted) > 1 else 'needs'} at least {minimum} {side} images; found "
                f"{len(features.rows)}. Give more images."
            )
        return features.rows

    def overlap(self) -> Reason | None:
        """Why there is no interval, where more than one per cent of the smaller set is in both."""
        if self.real is None:
            return None
        smaller = min(n for n in (self.real.n, self.fake.n) if n is not None)
        if self.shared_images <= MAX_SHARED * smaller:
            return None
        return Reason("shared_images", n=self.shared_images)

    def test_overlap(self) -> Reason | None:
        """Why nothing follows from the held-out reals, where more than one per cent of them are in REAL."""
        if self.real is None or self.test is None:
            return None
        shared = int(np.intersect1d(self.real.image_digests, self.test.image_digests).size)
        if shared <= MAX_SHARED * len(self.test.image_digests):
            return None
        return Reason("shared_test_images", n=shared)
