"""How far two models differ, with the error of the difference: far smaller than that of either, where they share.

With influence values IF_a, IF_b of the single images (mean 0; see ``ganeval.metrics.frechet``) and Delta = B - c A

    Var Delta = Var_j [IF_real,b(y_j) - c IF_real,a(y_j)] / m  +  Var IF_b / n_b + c^2 Var IF_a / n_a
    paired:     the last two become Var_i [IF_b(x_i) - c IF_a(x_i')] / n

The first term needs the same reference images, which their digests tell. The second needs image i of both models to be
made of the same latent and label (or, by a translator, of the same image), which the digests of those tell, or to be
the same image; rows whose partner is missing are counted alone. c is 1, or 1 + r where a limit is "at most the share r
worse than A", which is an estimate too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil, sqrt

import numpy as np

from ganeval.errors import GanEvalError, IncomparableError
from ganeval.metrics.intervals import variance_of_mean
from ganeval.protocol import SCORES
from ganeval.results import LEAVE_ONE_OUT, MetricResult, Reason

GIVEN = ("population-given-reference", "protocol-given-reference")
LEAST_SHARE = 0.1  # images a feature: below it no difference was tested
SAME = 1e-6  # relative: a standard error that the influences do not give to this was made in another way

PAIRED, SHARED, INDEPENDENT = "paired", "shared reference", "independent"


class UndecidedError(GanEvalError):
    """Two numbers that may meet, of which one has no error bar."""

    kind = "undecided"

    def __init__(self, message: str, reason: Reason | None = None) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """A result, and one value per image where available."""

    result: MetricResult
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False)
    missing: str | None = None  # why there are no arrays

    @property
    def centre(self) -> float:
        """The value without its bias, where that is known."""
        return self.result.value if self.result.corrected is None else self.result.corrected

    @property
    def is_small(self) -> bool:
        """Whether it is a Frechet distance of too few images for the distance itself."""
        return self.result.interval is not None and self.result.interval.method.startswith(LEAVE_ONE_OUT)

    @property
    def is_grouped(self) -> bool:
        """Whether images that belong together count as one in its error."""
        return any(len(self.arrays.get(f"{kind}_groups", ())) for kind in ("real", "fake"))

    def calibrated(self) -> Measurement | None:
        """The same with the calibrated value in place of the plain one; None where there is none."""
        name, details = self.result.name, self.result.details
        value, error = details.get("calibrated"), details.get("calibrated_se")
        if not isinstance(value, float) or not isinstance(error, float) or not error > 0:
            return None
        arrays = {
            f"{name}_influence_{side}": self.arrays[f"{name}_calibrated_{side}"]
            for side in ("fake", "real")
            if f"{name}_calibrated_{side}" in self.arrays
        }
        result = replace(self.result, value=value, standard_error=error)
        return replace(self, result=result, arrays={**self.arrays, **arrays})

    def influences(self) -> tuple[np.ndarray, np.ndarray | None] | None:
        """Of the fakes, and of the reals where they have a part in the error; None unless they give the error."""
        name, result = self.result.name, self.result
        fake, real = (self.arrays.get(f"{name}_influence_{side}") for side in ("fake", "real"))
        if result.interval is not None and result.interval.estimand in GIVEN:
            real = None
        if fake is None or result.standard_error is None or min(len(x) for x in (fake, real) if x is not None) < 2:
            return None
        variance = variance_of_mean(fake, self.groups("fake", fake))
        variance += 0.0 if real is None else variance_of_mean(real, self.groups("real", real))
        return (fake, real) if abs(sqrt(variance) / result.standard_error - 1) <= SAME else None

    def digests(self, name: str, influence: np.ndarray) -> np.ndarray | None:
        """One of the image behind each value, if available."""
        found = self.arrays.get(name)
        return found if found is not None and len(found) == len(influence) else None

    def groups(self, kind: str, influence: np.ndarray) -> np.ndarray | None:
        """Ids of the images that count as one, where images of this set belong together."""
        return self.digests(f"{kind}_groups", influence)

    def inputs(self, influence: np.ndarray) -> np.ndarray | None:
        """Digests of what each fake was made of; a metric that draws latents of its own has those."""
        own = f"{self.result.name}_latent_digests"
        return self.digests(own if own in self.arrays else "fake_input_digests", influence)

    @property
    def freedom(self) -> float | None:
        """Degrees of freedom of the standard error; None: many."""
        freedom = self.result.details.get("degrees_of_freedom")
        return float(freedom) if isinstance(freedom, int | float) and not isinstance(freedom, bool) else None

    def shares(self) -> tuple[float, float]:
        """The squared standard error: what the fakes add, and what the reals add."""
        assert self.result.standard_error is not None
        both = self.result.standard_error**2
        found = self.influences()
        real = 0.0 if found is None or found[1] is None else variance_of_mean(found[1], self.groups("real", found[1]))
        return both - real, real


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """B - c A.

    Attributes:
        before, after: A and B: the corrected values where both have one, else the plain ones.
        standard_error: of it; 0 where both are one model on the same latents.
        degrees_of_freedom: of the standard error; None: many.
        how: ``paired``, ``shared reference`` or ``independent``: what the error takes account of.
        fake_variance: what the fakes add to the squared error, which falls with their number.
        real_variance: what the reals add.
        note: why it could not be paired.
    """

    before: float
    after: float
    scale: float
    standard_error: float
    degrees_of_freedom: float | None
    how: str
    fake_variance: float
    real_variance: float
    note: str | None = None

    @property
    def value(self) -> float:
        return self.after - self.scale * self.before


def difference(a: Measurement, b: Measurement, *, scale: float = 1.0, compare: str = "corrected") -> Difference:
    """B - ``scale`` A, for two results of one metric under one protocol, against one reference.

    Args:
        compare: ``corrected``: without their biases, also across numbers of fakes; where a bias is not known, or the
            estimand is that of the protocol, the plain values, at equal numbers. ``value``: the plain values.

    Raises:
        IncomparableError: another protocol, reference, setting or, for plain values, number of images.
        UndecidedError: one of them has no error bar; the message has its reason.
    """
    a, b, before, after, remark = _comparable(a, b, compare)
    one, other = a.influences(), b.influences()
    if one is None or other is None:
        missing = a.missing or b.missing or "the error of this metric is not made of values of single images"
        errors = [(m.result.standard_error or 0.0, factor, m) for m, factor in ((a, scale), (b, 1.0))]
        variances = [(factor * error) ** 2 for error, factor, _ in errors]
        reals = sum(factor**2 * m.shares()[1] for _, factor, m in errors)
        return Difference(
            before=before,
            after=after,
            scale=scale,
            standard_error=sqrt(sum(variances)),
            degrees_of_freedom=pooled_freedom([(variances[0], a.freedom), (variances[1], b.freedom)]),
            how=INDEPENDENT,
            fake_variance=sum(variances) - reals,
            real_variance=reals,
            note=_joined(missing, remark),
        )
    ids = a.inputs(one[0]), b.inputs(other[0])
    same_images = ids
    if ids[0] is None or ids[1] is None:  # an image that is in both runs, bit for bit, is one draw too
        same_images = a.digests("fake_image_digests", one[0]), b.digests("fake_image_digests", other[0])
    groups = a.groups("fake", one[0]), b.groups("fake", other[0])
    fakes, matched = variance_of_difference(one[0], other[0], *same_images, scale=scale, groups=groups)
    reals, shared = 0.0, _estimand(b.result) in GIVEN
    if one[1] is not None and other[1] is not None:
        real_ids = a.digests("real_image_digests", one[1]), b.digests("real_image_digests", other[1])
        groups = a.groups("real", one[1]), b.groups("real", other[1])
        reals, same = variance_of_difference(one[1], other[1], *real_ids, scale=scale, groups=groups)
        shared = same == len(one[1]) == len(other[1])
    note = None
    if not matched:
        note = _why(a, b, ids)
    elif matched < max(len(one[0]), len(other[0])):
        note = f"{matched} fakes of both runs are pairs; the others count alone"
    small = [m.freedom for m in (a, b) if (m.is_small or m.is_grouped) and m.freedom is not None]
    return Difference(
        before=before,
        after=after,
        scale=scale,
        standard_error=sqrt(fakes + reals),
        degrees_of_freedom=min(small, default=None),
        how=PAIRED if matched else SHARED if shared else INDEPENDENT,
        fake_variance=fakes,
        real_variance=reals,
        note=_joined(note, remark),
    )


def _comparable(
    a: Measurement, b: Measurement, compare: str
) -> tuple[Measurement, Measurement, float, float, str | None]:
    """Both, calibrated where that is needed, the two numbers to compare, and what a reader should know of them."""
    a.result.protocol.require_same(b.result.protocol, f"the {b.result.label} compared with this {a.result.label}")
    for which, result in (("the first", a.result), ("the second", b.result)):
        if result.standard_error is None:
            missing = "standard error: all its values are equal"
            if result.interval is None:
                missing = f"interval: {result.reason}"
            raise UndecidedError(f"{which} has no {missing}", result.reason)
    estimands = _estimand(a.result), _estimand(b.result)
    corrected = compare == "corrected" and all(
        m.result.corrected is not None and estimand is not None and not estimand.startswith("protocol")
        for m, estimand in zip((a, b), estimands, strict=True)
    )
    a.result.require_comparable(b.result, corrected=corrected)
    if corrected:
        return a, b, a.centre, b.centre, None
    if estimands[0] != estimands[1]:
        raise IncomparableError(
            f"the intervals are of different things, {estimands[0]} and {estimands[1]}: measure both under one "
            "--reference."
        )
    remark = None
    if a.is_small and b.is_small and compare == "corrected":
        a, b, remark = _calibrated(a, b)
    return a, b, a.result.value, b.result.value, remark


def _joined(*notes: str | None) -> str | None:
    return "; ".join(note for note in notes if note) or None


def _calibrated(a: Measurement, b: Measurement) -> tuple[Measurement, Measurement, str]:
    """Both with their calibrated values where the reference allows it, and what a reader should know of it.

    Raises:
        UndecidedError: fewer than a tenth of an image a feature, or values that were calibrated by different kappas.
    """
    n, features = b.result.n_fake or 0, b.result.details.get("features")
    if isinstance(features, int) and n < LEAST_SHARE * features:
        raise UndecidedError(
            f"{n} images for {features} features are too few for a verdict on a difference: take at least "
            f"{ceil(LEAST_SHARE * features)}"
        )
    one, other = a.calibrated(), b.calibrated()
    if one is None or other is None:
        known = f" of {features} features" if isinstance(features, int) else ""
        advice = "; a fixed reference, or ten times as many reals, gives a calibrated one"
        if "bands" in b.result.details:  # of which none is calibrated
            advice = ""
        return a, b, f"at {n} images{known} the plain difference rewards too little diversity{advice}"
    kappas = [(m.result.details.get("kappa"), m.result.details.get("kappa_source")) for m in (one, other)]
    if kappas[0] != kappas[1]:
        raise UndecidedError(
            f"the two values were calibrated differently (kappa {kappas[0][0]} from {kappas[0][1]} and {kappas[1][0]} "
            f"from {kappas[1][1]}): measure both against one reference file or set"
        )
    source = "" if kappas[1][1] == "rows" else ", from moments alone"
    return (
        one,
        other,
        (f"calibrated at {n} images (kappa {kappas[1][0]:.3f}{source}): added noise looks worse in it than it is"),
    )


def variance_of_difference(
    a: np.ndarray,
    b: np.ndarray,
    a_ids: np.ndarray | None,
    b_ids: np.ndarray | None,
    *,
    scale: float = 1.0,
    groups: tuple[np.ndarray | None, np.ndarray | None] = (None, None),
) -> tuple[float, int]:
    """Var [mean b - scale mean a], where values with equal ids belong to one draw, and how many such pairs there are.

    Every draw is a unit: a pair adds (b_i / n_b - scale a_i / n_a)^2, a value alone its own square. All paired, that is
    the variance of the mean of the differences; none paired, the sum of the variances of both means.

    Args:
        groups: ids of the values that belong together, of each of both; a group of this id is one unit in both.

    Shape:
        a (n_a,), b (n_b,), ids uint64 of the same lengths, or None: nothing is paired.
    """
    a_part = -scale * (a - a.mean()) / len(a)
    b_part = (b - b.mean()) / len(b)
    left = right = np.empty(0, np.intp)
    if a_ids is not None and b_ids is not None:
        _, left, right = np.intersect1d(_unique(a_ids), _unique(b_ids), assume_unique=True, return_indices=True)
    if groups[0] is not None and groups[1] is not None:
        _, unit = np.unique(np.concatenate([groups[0], groups[1]]), return_inverse=True)
        sums = np.bincount(unit, np.concatenate([a_part, b_part]))
        fewest = min(np.unique(ids).size for ids in groups if ids is not None)
        return float(sums @ sums) * fewest / (fewest - 1), len(left)
    if not len(left):
        return scale**2 * variance_of_mean(a, groups[0]) + variance_of_mean(b, groups[1]), 0
    pairs = a_part[left] + b_part[right]
    alone = np.concatenate([np.delete(a_part, left), np.delete(b_part, right)])
    fewest = min(len(a), len(b))
    return float(pairs @ pairs + alone @ alone) * fewest / (fewest - 1), len(left)


def pooled_freedom(parts: Sequence[tuple[float, float | None]]) -> float | None:
    """Degrees of freedom of a sum of independent variances (Welch 1947, Satterthwaite 1946); None: many.

    Args:
        parts: each variance with its own degrees of freedom.
    """
    total = sum(variance for variance, _ in parts)
    spread = sum(variance**2 / freedom for variance, freedom in parts if freedom is not None)
    return total**2 / spread if spread > 0 else None


def _unique(ids: np.ndarray) -> np.ndarray:
    """Ids of which the second, third, ... of one kind are made distinct, in order: copies are paired with copies."""
    order = np.argsort(ids, kind="stable")
    ordered = ids[order]
    first = np.concatenate([[True], ordered[1:] != ordered[:-1]])
    start = np.maximum.accumulate(np.where(first, np.arange(len(ids)), 0))
    occurrence = np.empty(len(ids), dtype=np.uint64)
    occurrence[order] = np.arange(len(ids)) - start
    told_apart: np.ndarray = ids.astype(np.uint64) + occurrence * np.uint64(0x9E3779B97F4A7C15)
    return told_apart


def _estimand(result: MetricResult) -> str | None:
    return None if result.interval is None else result.interval.estimand


def _why(a: Measurement, b: Measurement, ids: tuple[np.ndarray | None, np.ndarray | None]) -> str:
    if a.missing or b.missing:
        return str(a.missing or b.missing)
    if a.result.protocol.extractor == SCORES:
        known = ids[0] is not None and ids[1] is not None
        return "no id is in both files" if known else "the rows have no ids: --id COLUMN pairs them"
    if ids[0] is None or ids[1] is None:
        return "what the single fakes were made of is not known: only generators and translators tell it"
    return "the fakes are made of other latents: the same --seed would pair them"
