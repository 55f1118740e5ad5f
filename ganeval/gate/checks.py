"""The checks of a gate before they are decided: which number meets which limit, and why where none can."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from ganeval.errors import IncomparableError
from ganeval.gate.decide import p_value
from ganeval.gate.rules import Gate, Rule
from ganeval.metrics.difference import GIVEN, Difference, Measurement, UndecidedError, difference
from ganeval.metrics.intervals import one_sided_quantile
from ganeval.metrics.registry import METRICS
from ganeval.parsing.documents import MAX_NUMBER
from ganeval.protocol import COMPACT, get_protocol, routed
from ganeval.result_files import Record
from ganeval.results import MetricResult, Reason

PASS, FAIL, INCONCLUSIVE = "pass", "fail", "inconclusive"
MEASURED = "if the truth is where it was measured"
MAX_SHARE = 1e25  # of a baseline's value, likewise beyond all others
FIDS_ROWS = 2.5  # distinct images for each feature, below which the Frechet distance has no interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One limit of one rule, held against one number.

    Attributes:
        metric, kind: which limit: ``max``, ``min`` or ``max-regression``.
        requirement: what must hold, in words.
        status: what the numbers allow to be said: ``pass``, ``fail`` or ``inconclusive``.
        outcome: what that counts as, under ``on-inconclusive``.
        reason: one sentence on why.
        judged: False where there was nothing to decide by (a value missing or NaN, too few images, another protocol, no
            interval): such a check never passes, whatever ``on-inconclusive`` says.
        measured: the number that was held against the limit: a value, or its difference from the baseline.
        limit: the largest (smallest, for ``min``) value or difference that is allowed.
        bound: end of the one-sided interval of ``measured`` on the bad side; it decides.
        standard_error, level, p_value, adjusted_p: of the decision; ``adjusted_p`` is Holm's.
        pairing: what the error of a difference takes account of, and ``pairing_note`` why not of more.
        needed: number of fakes that would settle it; None where it is settled or no number would.
        accepted: it was to decide nothing, since the baseline is being replaced.
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
    """Of a number that is not known itself, held against a limit: estimate and standard error of each end.

    It is surely within the limit where the end on the bad side is, and surely beyond where the end on the good side is.

    Attributes:
        lower: None: there is none.
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

    def told(self, level: float) -> str:
        """Where the number is, with one-sided ends of this level."""
        z = one_sided_quantile(level)
        most = f"at most {self.upper[0] + z * self.upper[1]:.4g}"
        return most if self.lower is None else f"at least {self.lower[0] - z * self.lower[1]:.4g} and {most}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Excess:
    """A check before it is decided: ``measured`` is on the wrong side by ``value``."""

    check: Check
    rule: Rule
    value: float
    standard_error: float | None
    freedom: float | None
    fake_variance: float
    real_variance: float
    gap: float  # from the limit, if the truth is what the planner assumes
    assumed: str
    bounds: Bounds | None = None  # which decide, where the number itself has no error
    needed: int | None = None  # images that would settle it, where that is known

    @property
    def sign(self) -> float:
        return -1.0 if self.check.kind == "min" or self._falls else 1.0

    @property
    def _falls(self) -> bool:
        return self.check.kind == "max-regression" and METRICS[self.rule.metric].higher_is_better


def open_check(
    rule: Rule, kind: str, gate: Gate, record: Record, baseline: Record | None, *, accept: bool
) -> Check | Excess:
    """What a rule's limit of this kind comes to: an excess to decide, or a check that cannot be judged."""
    result, obstacle = usable(rule, gate, record)
    if obstacle is not None or result is None:
        return unjudged(rule, kind, obstacle or "", result)
    found: Check | Excess
    try:
        found = _opened(rule, kind, gate, _measurement(record, result), baseline, accept=accept)
    except (IncomparableError, UndecidedError) as error:
        found = unjudged(rule, kind, str(error), result, getattr(error, "reason", None))
    if not accept or kind != "max-regression":
        return found
    if isinstance(found, Check):
        return replace(found, accepted=True)
    return replace(found, check=replace(found.check, accepted=True))


def kinds_of(rule: Rule) -> Iterable[str]:
    values = {"max": rule.max, "min": rule.min, "max-regression": rule.max_regression}
    return (kind for kind, value in values.items() if value is not None)


def _measurement(record: Record, result: MetricResult) -> Measurement:
    return Measurement(result=result, arrays=record.arrays, missing=record.missing)


def usable(rule: Rule, gate: Gate, record: Record) -> tuple[MetricResult | None, str | Reason | None]:
    """The result that a rule speaks of, or why it cannot be judged by it."""
    name = rule.metric
    if name in record.unusable:
        return None, f"{name} of {record.name} is no number: {record.unusable[name]}"
    result = record.result(name)
    if result is None:
        there = ", ".join(record.evaluation.results) or "nothing"
        return None, f"{name} is not among the results of {record.name}, which hold {there}"
    given = result.interval is not None and result.interval.estimand in GIVEN
    counts = {"fake": result.n_fake} | ({} if given else {"real": result.n_real})
    for side, n in counts.items():
        if n is not None and n < rule.min_samples:
            return result, f"n_{side} = {n}, and the rule asks for min-samples = {rule.min_samples}"
    if result.standard_error is None and not gate.strict:
        return result, result.reason or Reason("unknown", sentence="not known")
    return result, _other_protocol(gate, result)


def _other_protocol(gate: Gate, result: MetricResult) -> str | None:
    if gate.protocol is None:
        return None
    metric = METRICS[result.name]
    asked = routed(get_protocol(gate.protocol), metric.name, metric.protocol)
    if metric.generator:
        from ganeval.metrics.path_length import LPIPS_VGG  # imports torch, which judging results needs for nothing else

        # a distance between images, not features: its network is all that the protocol chooses
        network = COMPACT if asked.extractor == COMPACT else LPIPS_VGG
        differing = [] if result.protocol.extractor == network else [f"{result.protocol.extractor}, not {network}"]
    else:
        asked = asked.at(metric.layer) if asked.has(metric.layer) else asked
        differing = replace(asked, weights=result.protocol.weights).difference(result.protocol)
    if differing:
        return f"it was measured under another protocol than {gate.protocol} ({'; '.join(differing)})"
    weights = result.protocol.weights or ""
    if gate.weights_sha256 is not None:
        if not weights.startswith(gate.weights_sha256):
            return f"its network has the weights {weights[:16]}..., and the gate asks for {gate.weights_sha256}"
    elif not result.protocol.verified:
        return (
            f"its network does not have the published weights, but {weights[:8] or 'unknown ones'}; if they are the "
            "ones that the limits were made with, say weights-sha256 in [gate]"
        )
    return None


def _described(rule: Rule, result: MetricResult | None) -> dict[str, Any]:
    if result is None:
        return {"metric": rule.metric, "level": rule.level, "source": rule.source}
    return {
        "metric": rule.metric, "level": rule.level, "source": rule.source, "label": result.label,
        "value": result.value, "n_real": result.n_real, "n_fake": result.n_fake, "protocol": result.protocol.name,
        "protocol_key": result.protocol.key(),
    }  # fmt: skip


def unjudged(
    rule: Rule, kind: str, why: str | Reason, result: MetricResult | None, reason: Reason | None = None
) -> Check:
    """A check without a verdict.

    Args:
        why: the sentence, or why the result has no interval.
        reason: why the result that it is compared with has no interval.
    """
    if isinstance(why, Reason):
        reason = why
        why = f"it has no interval: {why}"
    return Check(
        **_described(rule, result), kind=kind, requirement=_requirement(rule, kind), status=INCONCLUSIVE,
        outcome=INCONCLUSIVE, reason=why, judged=False, needed=_enough(reason),
    )  # fmt: skip


def _requirement(rule: Rule, kind: str) -> str:
    if kind != "max-regression":
        return f"at {'most' if kind == 'max' else 'least'} {rule.max if kind == 'max' else rule.min:.6g}"
    assert rule.max_regression is not None
    amount = rule.max_regression.amount
    budget = f"{100 * amount:.6g} %" if rule.max_regression.relative else f"{amount:.6g}"
    return f"at most {budget} worse than the baseline"


def _enough(reason: Reason | None) -> int | None:
    """How many images give the Frechet distance an interval, where too few are why it has none."""
    needed = reason.numbers.get("needed") if reason is not None and reason.code == "too_few_for_rank" else None
    return needed if isinstance(needed, int) else None


# --- from a number and a limit to an excess -----------------------------------------------------------------------


def _opened(
    rule: Rule, kind: str, gate: Gate, measured: Measurement, baseline: Record | None, *, accept: bool
) -> Check | Excess:
    if kind == "max-regression":
        return _regression(rule, gate, measured, baseline, accept=accept)
    result = measured.result
    number = result.value if rule.compare == "value" else measured.centre
    limit = rule.max if kind == "max" else rule.min
    assert limit is not None
    limit = max(-MAX_NUMBER, min(MAX_NUMBER, limit))  # no value lies beyond, and arithmetic stays finite
    if measured.is_small and rule.compare == "corrected" and not gate.strict:
        return _by_bounds(rule, kind, measured, limit)
    excess = number - limit if kind == "max" else limit - number
    fakes, reals = (0.0, 0.0) if result.standard_error is None else measured.shares()
    check = Check(
        **_described(rule, result), kind=kind, requirement=_requirement(rule, kind), status="", outcome="", reason="",
        judged=True, measured=number, limit=limit, standard_error=result.standard_error,
    )  # fmt: skip
    return Excess(
        check=check, rule=rule, value=excess, standard_error=result.standard_error, freedom=measured.freedom,
        fake_variance=fakes, real_variance=reals, gap=abs(excess), assumed=MEASURED,
    )  # fmt: skip


def _by_bounds(rule: Rule, kind: str, measured: Measurement, limit: float) -> Check | Excess:
    """The distance itself against a limit, where only bounds of it are known: each decides one way.

    It is surely below a limit where its upper bound is, and surely above where its lower bound is. Without a lower
    bound, which a drawn reference has none of, no such rule can fail.
    """
    result = measured.result
    bounds = result.details.get("bounds")
    found = bounds if isinstance(bounds, dict) else {}
    upper, upper_se, lower, lower_se = (
        float(number) if isinstance(number, int | float) and not isinstance(number, bool) else None
        for number in map(found.get, ("upper_estimate", "upper_se", "lower_estimate", "lower_se"))
    )
    if upper is None or upper_se is None:
        raise UndecidedError(f'{result.n_fake} images tell no bounds of the distance itself; use compare = "value"')
    sign = 1.0 if kind == "max" else -1.0
    low = None if lower is None or lower_se is None else (lower, lower_se)
    check = Check(
        **_described(rule, result), kind=kind, requirement=_requirement(rule, kind), status="", outcome="", reason="",
        judged=True, measured=result.value, limit=limit, standard_error=upper_se,
    )  # fmt: skip
    features = result.details.get("features")
    return Excess(
        check=check, rule=rule, value=sign * (result.value - limit), standard_error=upper_se, freedom=None,
        fake_variance=0.0, real_variance=0.0, gap=0.0, assumed=MEASURED,
        bounds=Bounds(low, (upper, upper_se), limit, sign),
        needed=int(FIDS_ROWS * features) + 1 if isinstance(features, int) else None,
    )  # fmt: skip


def _regression(
    rule: Rule, gate: Gate, measured: Measurement, baseline: Record | None, *, accept: bool
) -> Check | Excess:
    """Excess over the margin, s (B - c A) - d: s = 1 and c = 1 + r for lower-is-better, -1 and 1 - r otherwise."""
    assert rule.max_regression is not None
    result, regression = measured.result, rule.max_regression
    if baseline is None:
        assert accept
        return unjudged(rule, "max-regression", "there is no baseline yet", result)
    before = baseline.result(rule.metric)
    if rule.metric in baseline.unusable:
        raise UndecidedError(f"it is no number in the baseline: {baseline.unusable[rule.metric]}")
    if before is None:
        raise UndecidedError(f"{rule.metric} is not among the results of the baseline {baseline.name}")
    sign = -1.0 if METRICS[rule.metric].higher_is_better else 1.0
    most = MAX_SHARE if regression.relative else MAX_NUMBER
    amount = max(-most, min(most, regression.amount))
    scale = 1.0 + sign * amount if regression.relative else 1.0
    one = _measurement(baseline, before)
    found = _strict_difference(one, measured, scale) if gate.strict else None
    found = found or difference(one, measured, scale=scale, compare=rule.compare)
    plain, old = found.after - found.before, found.before
    if regression.relative and old <= 0:
        raise UndecidedError(
            f"a share of the baseline's {old:.4g} says nothing, since it is not above 0: use max-regression with abs"
        )
    margin = amount * old if regression.relative else amount
    excess = sign * found.value - (0.0 if regression.relative else amount)
    has_error = found.how != "point value"
    check = Check(
        **_described(rule, result), kind="max-regression", requirement=_requirement(rule, "max-regression"), status="",
        outcome="", reason="", judged=True, baseline=old, measured=plain, limit=sign * margin,
        standard_error=found.standard_error if has_error else None, pairing=found.how, pairing_note=found.note,
    )  # fmt: skip
    return Excess(
        check=check, rule=rule, value=excess, standard_error=found.standard_error if has_error else None,
        freedom=found.degrees_of_freedom, fake_variance=found.fake_variance, real_variance=found.real_variance,
        gap=abs(margin), assumed="if the two models are equally good",
    )  # fmt: skip


def _strict_difference(a: Measurement, b: Measurement, scale: float) -> Difference | None:
    """Where one has no interval, the difference of the plain values, at equal numbers of images."""
    if a.result.standard_error is not None and b.result.standard_error is not None:
        return None
    a.result.require_comparable(b.result)
    return Difference(
        before=a.result.value, after=b.result.value, scale=scale, standard_error=0.0,
        degrees_of_freedom=None, how="point value", fake_variance=0.0, real_variance=0.0,
    )  # fmt: skip
