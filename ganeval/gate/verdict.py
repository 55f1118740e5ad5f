"""One verdict: whether the rules hold of a run. Text, JSON, JUnit, Markdown and the exit code all come from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import msgspec

from ganeval.errors import ConfigError
from ganeval.gate.checks import (
    FAIL,
    INCONCLUSIVE,
    MEASURED,
    PASS,
    Check,
    Excess,
    kinds_of,
    open_check,
    unjudged,
)
from ganeval.gate.decide import holm, p_value, planned_fakes, status
from ganeval.gate.rules import Gate
from ganeval.gate.suspicion import suspicions
from ganeval.metrics.intervals import one_sided_quantile
from ganeval.result_files import Record
from ganeval.results import decimals, format_number

EXIT_CODES = {PASS: 0, FAIL: 1, INCONCLUSIVE: 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """All checks, and what follows from them."""

    checks: tuple[Check, ...]
    warnings: tuple[str, ...] = ()
    elapsed_seconds: float = 0.0
    outcome: str = field(init=False)

    def __post_init__(self) -> None:
        found = {check.outcome for check in self.checks if not check.accepted}
        worst = next((kind for kind in (FAIL, INCONCLUSIVE) if kind in found), PASS)
        object.__setattr__(self, "outcome", worst)

    @property
    def exit_code(self) -> int:
        """0 passed, 1 failed, 3 could not be judged: a failure goes before what could not be judged."""
        return EXIT_CODES[self.outcome]

    def count(self, outcome: str) -> int:
        return sum(check.outcome == outcome for check in self.checks if not check.accepted)

    def to_dict(self) -> dict[str, Any]:
        return {
            "verdict": self.outcome,
            "exit_code": self.exit_code,
            "checks": [asdict(check) for check in self.checks],
            "warnings": list(self.warnings),
        }


class VerdictDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The key ``gate`` of a document: what a page shows of a verdict that was written before."""

    checks: list[Check]
    verdict: Literal["pass", "fail", "inconclusive"] = "pass"
    exit_code: int = 0
    warnings: list[str] = []

    def __post_init__(self) -> None:
        for i, check in enumerate(self.checks):
            if check.outcome not in EXIT_CODES or check.status not in EXIT_CODES:
                known = ", ".join(EXIT_CODES)
                raise ValueError(f"status and outcome of checks[{i}] are each one of {known}; got {check.outcome!r}")


def judge(gate: Gate, record: Record, baseline: Record | None = None, *, accept: bool = False) -> Verdict:
    """Hold the rules against a run.

    Args:
        gate: what must hold.
        record: the run.
        baseline: what ``max-regression`` refers to.
        accept: the run is to become the baseline: regressions are told and decide nothing.

    Raises:
        ConfigError: a rule needs a baseline, and there is none.
    """
    require_baseline(gate, baseline, accept=accept)
    opened = [
        open_check(rule, kind, gate, record, baseline, accept=accept) for rule in gate.rules for kind in kinds_of(rule)
    ]
    checks = _decided(opened, gate)
    said = (*record.evaluation.warnings, *suspicions(gate, record, baseline))
    return Verdict(
        checks=tuple(checks),
        warnings=tuple(dict.fromkeys(said)),
        elapsed_seconds=record.evaluation.elapsed_seconds,
    )


def unmeasured(gate: Gate, why: str) -> Verdict:
    """The verdict where nothing could be measured: no check is judged, each says why."""
    return Verdict(checks=tuple(unjudged(rule, kind, why, None) for rule in gate.rules for kind in kinds_of(rule)))


def require_baseline(gate: Gate, baseline: object, *, accept: bool = False) -> None:
    """Raises ConfigError if a rule needs a baseline that is not there."""
    if baseline is None and not accept and gate.needs_baseline:
        names = ", ".join(rule.metric for rule in gate.rules if rule.max_regression is not None)
        raise ConfigError(
            f"max-regression of {names} needs a baseline: --baseline FILE.json, a file that ganeval wrote with "
            "--output. Make the first one with --update-baseline."
        )


# --- from excesses to decisions -----------------------------------------------------------------------------------


def _decided(opened: Sequence[Check | Excess], gate: Gate) -> list[Check]:
    """All checks together, since Holm's correction is over them all."""
    excesses = [one for one in opened if isinstance(one, Excess)]
    ps = [_p_value(one) for one in excesses]
    adjusted = dict(zip(map(id, excesses), zip(ps, holm(ps), strict=True), strict=True))
    return [one if isinstance(one, Check) else _one(one, *adjusted[id(one)], gate) for one in opened]


def _p_value(e: Excess) -> float:
    if e.bounds is not None:
        return e.bounds.p_value()
    return 1.0 if e.standard_error is None else p_value(e.value, e.standard_error, e.freedom)


def _one(e: Excess, p: float, adjusted: float, gate: Gate) -> Check:
    check, level = e.check, e.rule.level
    bound = None
    if e.standard_error is not None and check.measured is not None and e.bounds is None:
        bound = check.measured + e.sign * one_sided_quantile(level, e.freedom) * e.standard_error
    if e.bounds is not None:
        found = e.bounds.status(adjusted, level)
    elif gate.strict or e.standard_error is None:
        found = FAIL if e.value > 0 else PASS
    else:
        found = status(e.value, e.standard_error, adjusted, level, e.freedom)
    outcome = found
    if found == INCONCLUSIVE:
        outcome = {"error": INCONCLUSIVE, "fail": FAIL, "pass": PASS}[gate.on_inconclusive]
    needed, assumed = _needed(e) if found == INCONCLUSIVE else (None, "")
    check = replace(
        check,
        status=found,
        outcome=outcome,
        bound=bound,
        needed=needed,
        p_value=None if e.standard_error is None else p,
        adjusted_p=None if e.standard_error is None else adjusted,
    )
    return replace(check, reason=_reason(e, check, gate, assumed))


def _needed(e: Excess) -> tuple[int | None, str]:
    """How many fakes would settle it, more than there are, and under which assumption."""
    n = e.check.n_fake
    if n is None or e.bounds is not None:
        return e.needed, ""
    for gap, assumed in ((e.gap, e.assumed), (abs(e.value), MEASURED)):
        planned = planned_fakes(
            gap, e.fake_variance * n, e.real_variance, level=e.rule.level, degrees_of_freedom=e.freedom
        )
        if planned is not None and planned > n:
            return planned, assumed
    return None, ""


def _reason(e: Excess, check: Check, gate: Gate, assumed: str) -> str:
    assert check.measured is not None
    assert check.limit is not None
    if e.bounds is not None:
        return _reason_by_bounds(e, check)
    scale = e.standard_error if e.standard_error else abs(check.limit) / 100
    digits = decimals(scale) if scale else 4
    at, limit = f"{check.measured:.{digits}f}", f"{check.limit:.{max(digits, 2)}f}"
    what = {"corrected": "bias-corrected", "value": "value"}[e.rule.compare]
    if e.rule.compare == "corrected" and check.measured == check.value:
        what = "value"
    if check.kind == "max-regression":
        assert check.baseline is not None
        what = f"{what} {format_number(check.baseline + check.measured, e.standard_error)}, baseline "
        what += f"{format_number(check.baseline, e.standard_error)}: change"
        at, limit = f"{check.measured:+.{digits}f}", f"{check.limit:+.{digits}f}"
    sentence = f"{what} {at} against {limit}"
    if check.bound is not None:
        sign = "+" if check.kind == "max-regression" else ""
        side = "up to" if e.sign > 0 else "down to"
        sentence += f"; {100 * e.rule.level:g} % sure that it is {side} {check.bound:{sign}.{digits}f}"
    if gate.strict:
        sentence += "; the point value decides (strict)"
    elif check.status == INCONCLUSIVE:
        sentence += "; not enough samples to tell"
        if check.needed is not None:
            each = " of each model" if check.pairing else ""
            sentence += f": {check.needed} fakes{each} would settle it 9 times in 10, {assumed}"
        elif e.real_variance > 0:
            sentence += ": no number of fakes would settle it; take more real images, pair the runs, or widen the limit"
    elif check.status == FAIL and check.adjusted_p is not None:
        sentence += f"; p = {check.adjusted_p:.2g}"
    if check.pairing:
        sentence += f" ({check.pairing})"
    return sentence


def _reason_by_bounds(e: Excess, check: Check) -> str:
    assert e.bounds is not None
    known = e.bounds.told(e.rule.level)
    sentence = f"the distance itself is {known} ({100 * e.rule.level:g} %, one-sided), the limit {check.limit:.4g}"
    if check.status == INCONCLUSIVE:
        sentence += f"; {check.n_fake} images do not tell more"
        if check.needed is not None:
            sentence += f': {check.needed} give its interval; compare = "value" judges what {check.n_fake} give'
    elif check.status == FAIL and check.adjusted_p is not None:
        sentence += f"; p = {check.adjusted_p:.2g}"
    return sentence
