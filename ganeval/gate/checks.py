"""The checks of a gate before they are decided: which number is compared with which limit, or why none can be."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from ganeval.errors import IncomparableError
from ganeval.features.registry import DISTANCES, get_network
from ganeval.gate.decide import p_value
from ganeval.gate.rules import Gate, Rule
from ganeval.metrics.difference import GIVEN, Measurement, UndecidedError, difference
from ganeval.metrics.intervals import one_sided_quantile
from ganeval.metrics.registry import METRICS, higher_is_better
from ganeval.parsing.documents import MAX_NUMBER
from ganeval.protocol import FEATURES, SCORES, WAVELETS, get_protocol, routed
from ganeval.result_files import Record
from ganeval.results import MetricResult, Reason

PASS, FAIL, INCONCLUSIVE = "pass", "fail", "inconclusive"
MEASURED = "at the measured value"
MAX_SHARE = 1e25  # largest relative limit: its product with a value stays finite
FIDS_ROWS = 2.5  # distinct images for each feature, below which the Frechet distance has no interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One limit of one rule, and the number that is compared with it.

    Attributes:
        metric, kind: which limit: ``max``, ``min`` or ``max-regression``.
        requirement: the requirement, in words.
        status: what the numbers show: ``pass``, ``fail`` or ``inconclusive``.
        outcome: what that counts as, under ``on-inconclusive``.
        reason: one sentence on why.
        judged: False where nothing could be decided (a value is missing or NaN, too few images, another protocol, no
            interval): such a check never passes, whatever ``on-inconclusive`` says.
        measured: the number that is compared with the limit: a value, or its difference from the baseline.
        limit: the largest (smallest, for ``min``) value or difference that is allowed.
        bound: end of the one-sided interval of ``measured`` on the bad side; it decides.
        standard_error, level, p_value, adjusted_p: of the decision; ``adjusted_p`` is Holm's.
        pairing: what the error of a difference takes account of; ``pairing_note``: why not of more.
        needed: number of fakes that would decide the check; None where it is decided or no number would.
        accepted: the check does not count, since the baseline is being replaced.
    """

    metric: str
    kind: str
    requirement: str
    status: str
    outcome: str
    reason: str
    judged: bool
    label: str | None = None
    value: float | None = None
    baseline: float | None = None
    measured: float | None = None
    limit: float | None = None
    bound: float | None = None
    standard_error: float | None = None
    level: float | None = None
    p_value: float | None = None
    adjusted_p: float | None = None
    n_real: int | None = None
    n_fake: int | None = None
    protocol: str | None = None
    protocol_key: str | None = None
    pairing: str | None = None
    pairing_note: str | None = None
    needed: int | None = None
    source: str | None = None
    accepted: bool = False

    @property
    def name(self) -> str:
        return f"{self.metric} {self.kind}"


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bounds of a number that is not known itself: the estimate and the standard error of each end.

    The number is surely within the limit where the end on the bad side is, and surely beyond the limit where the end on
    the good side is.

    Attributes:
        lower: None: there is no lower bound.
        sign: 1.0 where the number must not be above the limit, -1.0 where it must not be below.
    """

    lower: tuple[float, float] | None
    upper: tuple[float, float]
    limit: float
    sign: float

    def p_value(self) -> float:
        good = self.lower if self.sign > 0 else self.upper
        return 1.0 if good is None else p_value(self.sign * (good[0] - self.limit), good[1])

    def status(self, adjusted_p: float, level: float) -> str:
        bad, good = (self.upper, self.lower) if self.sign > 0 else (self.lower, self.upper)
        if bad is not None and self.sign * (bad[0] - self.limit) + one_sided_quantile(level) * bad[1] <= 0:
            return PASS
        beyond = good is not None and self.sign * (good[0] - self.limit) > 0
        return FAIL if beyond and adjusted_p <= 1 - level else INCONCLUSIVE

    def text(self, level: float) -> str:
        """The one-sided bounds of this level."""
        z = one_sided_quantile(level)
        upper = f"at most {self.upper[0] + z * self.upper[1]:.4g}"
        return upper if self.lower is None else f"at least {self.lower[0] - z * self.lower[1]:.4g} and {upper}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Excess:
    """A number that is compared with a limit: it is on the wrong side of the limit by ``value``.

    Attributes:
        measured, limit, baseline, pairing, pairing_note, standard_error: as in ``Check``.
        freedom: degrees of freedom of the standard error; None: many.
        fake_variance, real_variance: what fakes and reals add to its square.
        gap: assumed distance of the true value from the limit, for planning; ``assumed``: the assumption, in words.
        bounds: they decide, where the number itself has no error.
        needed: number of images that would decide it, where that is known.
    """

    rule: Rule
    kind: str
    result: MetricResult
    measured: float
    limit: float
    value: float
    standard_error: float | None
    freedom: float | None = None
    fake_variance: float = 0.0
    real_variance: float = 0.0
    gap: float = 0.0
    assumed: str = MEASURED
    baseline: float | None = None
    pairing: str | None = None
    pairing_note: str | None = None
    bounds: Bounds | None = None
    needed: int | None = None

    @property
    def sign(self) -> float:
        """1.0 where large numbers are bad, -1.0 where small ones are."""
        falls = self.kind == "max-regression" and higher_is_better(self.result)
        return -1.0 if self.kind == "min" or falls else 1.0


def open_check(
    rule: Rule, kind: str, gate: Gate, record: Record, baseline: Record | None, *, accept: bool
) -> Check | Excess:
    """Compare a number with a rule's limit of this kind: an excess to decide, or a check that cannot be judged."""
    result = _result(rule, record)
    usable = False
    try:
        if result is None:
            raise UndecidedError(_missing(rule.metric, record, f"the results of {record.name}"))
        _require_usable(rule, gate, result)
        usable = True
        measured = Measurement(result=result, arrays=record.arrays, missing=record.missing)
        if kind != "max-regression":
            return _value_excess(rule, kind, gate, measured)
        if baseline is None:
            assert accept
            raise UndecidedError("there is no baseline yet")
        return _regression_excess(rule, gate, measured, baseline)
    except (IncomparableError, UndecidedError) as error:
        check = unjudged(rule, kind, str(error), result, getattr(error, "reason", None))
        return replace(check, accepted=accept and usable and kind == "max-regression")


def kinds_of(rule: Rule) -> list[str]:
    values = {"max": rule.max, "min": rule.min, "max-regression": rule.max_regression}
    return [kind for kind, value in values.items() if value is not None]


def check_of(rule: Rule, kind: str, result: MetricResult | None, **fields: Any) -> Check:
    """A check with the fields that follow from the rule and the result, and those that are passed."""
    if result is not None:
        fields |= {name: getattr(result, name) for name in ("label", "value", "n_real", "n_fake")}
        fields |= {"protocol": result.protocol.name, "protocol_key": result.protocol.key()}
    if kind == "max-regression":
        assert rule.max_regression is not None
        amount = rule.max_regression.amount
        budget = f"{100 * amount:.6g} %" if rule.max_regression.relative else f"{amount:.6g}"
        requirement = f"at most {budget} worse than the baseline"
    else:
        requirement = f"at most {rule.max:.6g}" if kind == "max" else f"at least {rule.min:.6g}"
    return Check(metric=rule.metric, kind=kind, requirement=requirement, level=rule.level, source=rule.source, **fields)


def unjudged(
    rule: Rule, kind: str, why: str, result: MetricResult | None = None, reason: Reason | None = None
) -> Check:
    """A check without a verdict.

    Args:
        why: the sentence.
        reason: why a result has no interval, where that is the cause.
    """
    needed = reason.numbers.get("needed") if reason is not None and reason.code == "too_few_for_rank" else None
    fields = {"status": INCONCLUSIVE, "outcome": INCONCLUSIVE, "judged": False, "reason": why}
    return check_of(rule, kind, result, needed=needed if isinstance(needed, int) else None, **fields)


def _result(rule: Rule, record: Record) -> MetricResult | None:
    """What a run has under the name of the rule, if it is of the rule's kind: a metric, or a column of scores."""
    result = None if rule.metric in record.unusable else record.result(rule.metric)
    return None if result is None or (result.protocol.extractor == SCORES) != rule.scores else result


def _missing(metric: str, record: Record, what: str) -> str:
    """Why a run has no number for a metric."""
    if metric in record.unusable:
        return f"{metric} is not a number in {what}: {record.unusable[metric]}"
    return f"{metric} is not among {what}; available: {', '.join(record.evaluation.results) or 'none'}"


def _require_usable(rule: Rule, gate: Gate, result: MetricResult) -> None:
    """Raises UndecidedError where a rule cannot be judged by this result."""
    given = result.interval is not None and result.interval.estimand in GIVEN
    counts = {"fake": result.n_fake} | ({} if given else {"real": result.n_real})
    for image_set, n in counts.items():
        if n is not None and n < rule.min_samples:
            raise UndecidedError(f"n_{image_set} = {n}, expected at least min-samples = {rule.min_samples}")
    if result.interval is None and not gate.strict:
        raise UndecidedError(f"it has no interval: {result.reason or 'the reason is unknown'}", result.reason)
    if (other := _other_protocol(gate, result)) is not None:
        raise UndecidedError(other)


def _other_protocol(gate: Gate, result: MetricResult) -> str | None:
    metric = METRICS.get(result.name)
    if result.protocol.extractor == SCORES or metric is None or not metric.of_sets or metric.protocol == WAVELETS:
        # no protocol of features
        return None
    if gate.protocol is None or gate.protocol == result.protocol.name == FEATURES:
        return None
    expected = routed(get_protocol(gate.protocol), metric.name, metric.protocol)
    if metric.generator:
        # The metric is a distance between images, not features: the protocol chooses only its network.
        network = DISTANCES[get_network(expected.extractor).distance].network
        differing = [] if result.protocol.extractor == network else [f"{result.protocol.extractor}, not {network}"]
    else:
        expected = expected.at(metric.layer) if expected.has(metric.layer) else expected
        own = result.protocol
        differing = replace(expected, weights=own.weights, prepare=own.prepare).difference(own)
    if differing:
        return f"it was measured under another protocol than {gate.protocol} ({'; '.join(differing)})"
    weights = result.protocol.weights or ""
    if gate.weights_sha256 is not None:
        if not weights.startswith(gate.weights_sha256):
            return f"its network has the weights {weights[:16]}..., expected {gate.weights_sha256}"
    elif not result.protocol.verified:
        return (
            f"its network does not have the published weights, but {weights[:8] or 'unknown ones'}; if the limits were "
            "made with these weights, set weights-sha256 in [gate]"
        )
    return None


def _value_excess(rule: Rule, kind: str, gate: Gate, measured: Measurement) -> Excess:
    result = measured.result
    limit = rule.max if kind == "max" else rule.min
    assert limit is not None
    limit = max(-MAX_NUMBER, min(MAX_NUMBER, limit))  # no value is beyond, and arithmetic stays finite
    sign = 1.0 if kind == "max" else -1.0
    if measured.is_small and rule.compare == "corrected" and not gate.strict:
        number = result.value
        fields = _bounds(result, limit, sign)
    else:
        number = result.value if rule.compare == "value" else measured.centre
        fakes, reals = (0.0, 0.0) if result.standard_error is None else measured.shares()
        variances = {"fake_variance": fakes, "real_variance": reals, "gap": abs(number - limit)}
        error = result.standard_error if (n := _effective_n(result)) is None else _score_error(limit, n)
        fields = {"standard_error": error, "freedom": measured.freedom, **variances}
    value = sign * (number - limit)
    return Excess(rule=rule, kind=kind, result=result, measured=number, limit=limit, value=value, **fields)


def _effective_n(result: MetricResult) -> float | None:
    """The number of independent units of a proportion; None for any other number."""
    n = result.details.get("effective_n")
    return float(n) if isinstance(n, int | float) and result.protocol.extractor == SCORES else None


def _score_error(limit: float, n: float) -> float:
    """The standard error of a proportion if it is exactly at the limit: Wilson's interval inverts this test."""
    return math.sqrt(max(0.0, limit * (1 - limit)) / n)


def _bounds(result: MetricResult, limit: float, sign: float) -> dict[str, Any]:
    """The fields of an excess of the distance itself, where only bounds of it are known: each bound decides one way.

    The distance is surely below a limit where its upper bound is, and surely above where its lower bound is. A
    reference that is a sample gives no lower bound, so no such rule can fail.
    """
    found = result.details.get("bounds")
    if not isinstance(found, dict) or found.get("upper_estimate") is None or found.get("upper_se") is None:
        raise UndecidedError(f'{result.n_fake} images give no bounds of the distance itself; use compare = "value"')
    upper = found["upper_estimate"], found["upper_se"]
    has_lower = None not in (found.get("lower_estimate"), found.get("lower_se"))
    lower = (found["lower_estimate"], found["lower_se"]) if has_lower else None
    features = result.details.get("features")
    needed = int(FIDS_ROWS * features) + 1 if isinstance(features, int) else None
    return {"standard_error": upper[1], "bounds": Bounds(lower, upper, limit, sign), "needed": needed}


def _regression_excess(rule: Rule, gate: Gate, measured: Measurement, baseline: Record) -> Excess:
    """Excess over the margin, s (B - c A) - d: s = 1 and c = 1 + r for lower-is-better, -1 and 1 - r otherwise."""
    assert rule.max_regression is not None
    result, relative = measured.result, rule.max_regression.relative
    before = _result(rule, baseline)
    if before is None:
        raise UndecidedError(_missing(rule.metric, baseline, f"the results of the baseline {baseline.name}"))
    rises = higher_is_better(result)
    if rises is None:
        raise UndecidedError(
            f"no direction is known, so max-regression has no meaning: measure {result.label} again with "
            "--higher-is-better or --lower-is-better, or set max or min"
        )
    sign = -1.0 if rises else 1.0
    largest = MAX_SHARE if relative else MAX_NUMBER
    amount = max(-largest, min(largest, rule.max_regression.amount))
    scale = 1.0 + sign * amount if relative else 1.0
    if gate.strict and (before.standard_error is None or result.standard_error is None):
        before.require_comparable(result)  # the plain values, at equal numbers of images
        old, plain, value = before.value, result.value - before.value, result.value - scale * before.value
        errors: dict[str, Any] = {"standard_error": None, "pairing": "point value"}
    else:
        one = Measurement(result=before, arrays=baseline.arrays, missing=baseline.missing)
        found = difference(one, measured, scale=scale, compare=rule.compare)
        old, plain, value = found.before, found.after - found.before, found.value
        errors = {
            "standard_error": found.standard_error,
            "freedom": found.degrees_of_freedom,
            "fake_variance": found.fake_variance,
            "real_variance": found.real_variance,
            "pairing": found.how,
            "pairing_note": found.note,
        }
    if relative and old <= 0:
        raise UndecidedError(
            f"a share of the baseline's value {old:.4g} has no meaning, since it is not above 0: use max-regression "
            "with abs"
        )
    margin = amount * old if relative else amount
    return Excess(
        rule=rule,
        kind="max-regression",
        result=result,
        measured=plain,
        limit=sign * margin,
        value=sign * value - (0.0 if relative else amount),
        gap=abs(margin),
        assumed="if the two models are equally good",
        baseline=old,
        **errors,
    )
