"""The images of each class, and the Frechet distance within each class.

Classes are compared one at a time: of a thousand classes the covariances alone would fill the memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ganeval.errors import ConfigError
from ganeval.metrics.frechet_result import Distance, distance
from ganeval.metrics.types import FeatureSet, MetricInputs
from ganeval.results import Interval, Reason
from ganeval.statistics.moments import Moments
from ganeval.statistics.rows import FeatureRows

PER_CLASS = "per_class (--per-class)"
LEAST = 2  # images of a class, on each side

_BLOCK = 1024
_NAMED = 5  # classes that a message names

Entry = dict[str, object]


@dataclass(frozen=True, slots=True, eq=False)
class OneClass:
    """The images of one class.

    Attributes:
        real, fake: (m_c, d) and (n_c, d) float32 features.
        of_real, of_fake: (m,) and (n,) bool, which images of the whole sets these are.
    """

    name: str
    real: np.ndarray
    fake: np.ndarray
    of_real: np.ndarray
    of_fake: np.ndarray

    @property
    def too_few(self) -> Reason | None:
        """Why there is no value."""
        if min(len(self.real), len(self.fake)) >= LEAST:
            return None
        return Reason("too_few_in_class", needed=LEAST, n_real=len(self.real), n_fake=len(self.fake))

    def alone(self, inputs: MetricInputs) -> MetricInputs:
        """What a metric of this class alone is given: no further numbers on request."""
        assert inputs.real is not None
        sides = []
        for array, whole, of in (
            (self.real, inputs.real, self.of_real),
            (self.fake, inputs.fake, self.of_fake),
        ):
            rows = FeatureRows(array.shape[1], memory_limit=array.nbytes)
            rows.append(array)
            groups = None if whole.groups is None else whole.groups[of]
            sides.append(FeatureSet(n=len(array), rows=rows, groups=groups))
        plain = replace(inputs.settings, per_class=False, floor=False, kid_subsets=None)
        return replace(inputs, real=sides[0], fake=sides[1], shared_images=0, warnings=(), settings=plain)

    def entry(
        self,
        value: float | None,
        corrected: float | None = None,
        interval: Interval | None = None,
        reason: Reason | None = None,
    ) -> Entry:
        """The entry of ``details.per_class``."""
        return {
            "n_real": len(self.real),
            "n_fake": len(self.fake),
            "value": value,
            "corrected": None if interval is None else corrected,
            "interval": None if interval is None else [interval.low, interval.high],
            "estimand": None if interval is None else interval.estimand,
            "reason": None if reason is None else str(reason),
        }


def classes_of_both(inputs: MetricInputs, wanted_by: str = PER_CLASS) -> Iterator[OneClass]:
    """Each class that both sets have, sorted by name.

    Args:
        wanted_by: what needs the classes, for messages.

    Raises:
        ConfigError: a set has no classes, or there is no class that both have.
    """
    assert inputs.real is not None
    sides = {"REAL": inputs.real, "FAKE": inputs.fake}
    for name, side in sides.items():
        if side.labels is None or side.rows is None:
            raise ConfigError(
                f"{wanted_by} needs the class of every image, from class folders, the labels of a data set "
                f"or a conditional generator, on both sides; {name} has none."
            )
    common = sorted(set(_names(inputs.real)) & set(_names(inputs.fake)))
    if not common:
        lacking = one_sided_classes(inputs)
        raise ConfigError(
            f"{wanted_by} found no class on both sides: {_listed(lacking['real'])} in REAL, "
            f"{_listed(lacking['fake'])} in FAKE.{_case_hint(lacking)} Give both sides the same names."
        )
    real, fake = (side.rows.to_array() for side in sides.values())  # type: ignore[union-attr]
    for name in common:
        of_real, of_fake = (np.asarray(side.labels == name) for side in sides.values())
        yield OneClass(name, real[of_real], fake[of_fake], of_real, of_fake)


def class_distances(inputs: MetricInputs, wanted_by: str = PER_CLASS) -> Iterator[tuple[OneClass, Distance | None]]:
    """The Frechet distance within each class that both sets have; None where a set has fewer than two images of it.

    Raises:
        ConfigError: as ``classes_of_both``.
    """
    ddof, trace = inputs.protocol.ddof, inputs.settings.trace
    for one in classes_of_both(inputs, wanted_by):
        found = None
        if one.too_few is None:
            (real, real_rows), (fake, fake_rows) = (moments_and_rows(array) for array in (one.real, one.fake))
            found = distance(
                real.finish(ddof=ddof),
                fake.finish(ddof=ddof),
                real_rows,
                fake_rows,
                reference=inputs.reference,
                trace=trace,
                level=inputs.level,
                details=False,
            )
        yield one, found


def distance_entry(one: OneClass, found: Distance | None, inputs: MetricInputs) -> Entry:
    """The entry of ``details.per_class`` for a Frechet distance, with its interval or the reason for none."""
    if found is None:
        return one.entry(None, reason=one.too_few)
    if inputs.grouped:
        return one.entry(found.value, reason=Reason("not_by_group", metric="a class"))
    return one.entry(found.value, found.corrected, found.interval(inputs.level), found.reason)


def lacking_classes(inputs: MetricInputs) -> tuple[dict[str, object], tuple[str, ...]]:
    """The classes that only one set has, for the details of a result, and a warning on them."""
    lacking = one_sided_classes(inputs)
    return {f"classes_only_in_{side}": names for side, names in lacking.items() if names}, _warned_of(lacking)


def one_sided_classes(inputs: MetricInputs) -> dict[str, list[str]]:
    """The classes that only REAL and only FAKE have, sorted, under ``real`` and ``fake``."""
    reals, fakes = set(_names(inputs.real)), set(_names(inputs.fake))
    return {"real": sorted(reals - fakes), "fake": sorted(fakes - reals)}


def moments_and_rows(features: np.ndarray) -> tuple[Moments, FeatureRows]:
    """Both forms in which ``distance`` takes features (n, d)."""
    moments, rows = Moments(features.shape[1]), FeatureRows(features.shape[1], memory_limit=features.nbytes)
    for start in range(0, len(features), _BLOCK):
        moments.update(features[start : start + _BLOCK])
        rows.append(features[start : start + _BLOCK])
    return moments, rows


def _names(side: FeatureSet | None) -> list[str]:
    return [] if side is None or side.labels is None else [str(name) for name in np.unique(side.labels)]


def _warned_of(lacking: Mapping[str, list[str]]) -> tuple[str, ...]:
    parts = []
    for side, names in lacking.items():
        if names:
            other = {"real": "fake", "fake": "real"}[side]
            many = "1 class has" if len(names) == 1 else f"{len(names)} classes have"
            parts.append(f"{many} {side} images and no {other} ones: {_listed(names)}")
    if not parts:
        return ()
    return (f"per class: {'; '.join(parts)}. They are left out of the distances by class.{_case_hint(lacking)}",)


def _case_hint(lacking: Mapping[str, list[str]]) -> str:
    """Names of both sides that are the same but for their letter case or the spaces around them."""
    folded = {name.strip().casefold(): name for name in lacking["fake"]}
    alike = [(name, folded[key]) for name in lacking["real"] if (key := name.strip().casefold()) in folded]
    if not alike:
        return ""
    pairs = ", ".join(f"{real!r} and {fake!r}" for real, fake in alike[:_NAMED])
    return f" Only letter case or spaces distinguish {pairs}{', ...' if len(alike) > _NAMED else ''}: rename one side."


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
