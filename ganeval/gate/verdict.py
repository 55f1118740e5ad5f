"""The verdict: whether a run meets the rules. Text, JSON, JUnit, Markdown and exit code all derive from it."""

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
    check_of,
    kinds_of,
    open_check,
    unjudged,
)
from ganeval.gate.decide import POWER, holm, p_value, planned_fakes, status
from ganeval.gate.rules import Gate
from ganeval.gate.sanity import sanity_warnings
from ganeval.metrics.intervals import one_sided_quantile
from ganeval.parsing.layout import decimals, format_number
from ganeval.parsing.result_document import Document
from ganeval.result_files import Record

EXIT_CODES = {PASS: 0, FAIL: 1, INCONCLUSIVE: 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """All checks, and the outcome of the gate."""

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
        """0 passed, 1 failed, 3 could not be judged; a failure has priority over a check that could not be judged."""
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
    """The key ``gate`` of a document: an earlier verdict, for a page."""

    checks: list[Check]
    verdict: Literal["pass", "fail", "inconclusive"] = "pass"
    exit_code: int = 0
    warnings: list[str] = []

    def __post_init__(self) -> None:
        for i, check in enumerate(self.checks):
            if check.outcome not in EXIT_CODES or check.status not in EXIT_CODES:
                known = ", ".join(EXIT_CODES)
                raise ValueError(
                    f"checks[{i}] has status {check.status!r} and outcome {check.outcome!r}; expected {known}"
                )


class UnmeasuredDocument(Document, frozen=True, kw_only=True):
    """A gate for which nothing could be measured: its verdict alone."""

    gate: VerdictDocument


def judge(gate: Gate, record: Record, baseline: Record | None = None, *, accept: bool = False) -> Verdict:
    """Check a run against the rules.

    Args:
        gate: the rules.
        record: the run.
        baseline: the run that ``max-regression`` refers to.
        accept: the run becomes the baseline: regressions are reported and do not count.

    Raises:
        ConfigError: a rule needs a baseline, and none was passed.
    """
    require_baseline(gate, baseline, accept=accept)
    opened = [
        open_check(rule, kind, gate, record, baseline, accept=accept) for rule in gate.rules for kind in kinds_of(rule)
    ]
    checks = _decided(opened, gate)
    if accept:
        checks = [replace(c, accepted=True) if c.judged and c.kind == "max-regression" else c for c in checks]
    warnings = (*record.evaluation.warnings, *sanity_warnings(gate, record, baseline))
    return Verdict(
        checks=tuple(checks), warnings=tuple(dict.fromkeys(warnings)), elapsed_seconds=record.evaluation.elapsed_seconds
    )


def unmeasured(gate: Gate, why: str) -> Verdict:
    """The verdict where nothing could be measured: no check is judged, and each has the reason."""
    return Verdict(checks=tuple(unjudged(rule, kind, why) for rule in gate.rules for kind in kinds_of(rule)))


def require_baseline(gate: Gate, baseline: object, *, accept: bool = False) -> None:
    """Raise ConfigError if a rule needs a baseline and there is none."""
    if baseline is None and not accept and gate.needs_baseline:
        names = ", ".join(rule.metric for rule in gate.rules if rule.max_regression is not None)
        raise ConfigError(
            f"max-regression of {names} needs a baseline. Name a file that ganeval wrote with --output: "
            "--baseline FILE.json. Write the first one with --update-baseline."
        )


# --- from excesses to decisions -----------------------------------------------------------------------------------


def _decided(opened: Sequence[Check | Excess], gate: Gate) -> list[Check]:
    """Decide all checks together: Holm's correction is over them all."""
    excesses = [one for one in opened if isinstance(one, Excess)]
    ps = [_p_value(one) for one in excesses]
    tested = iter(zip(ps, holm(ps), strict=True))
    return [one if isinstance(one, Check) else _decide(one, *next(tested), gate) for one in opened]


def _p_value(e: Excess) -> float:
    if e.bounds is not None:
        return e.bounds.p_value()
    return 1.0 if e.standard_error is None else p_value(e.value, e.standard_error, e.freedom)


def _decide(e: Excess, p: float, adjusted: float, gate: Gate) -> Check:
    level, bound = e.rule.level, None
    if e.standard_error is not None and e.bounds is None:
        bound = e.measured + e.sign * one_sided_quantile(level, e.freedom) * e.standard_error
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
    copied = ("baseline", "measured", "limit", "standard_error", "pairing", "pairing_note")
    fields = {name: getattr(e, name) for name in copied} | {"status": found, "outcome": outcome, "needed": needed}
    if e.standard_error is not None:
        fields |= {"p_value": p, "adjusted_p": adjusted}
    check = check_of(e.rule, e.kind, e.result, reason="", judged=True, bound=bound, **fields)
    return replace(check, reason=_reason(e, check, gate, assumed))


def _needed(e: Excess) -> tuple[int | None, str]:
    """How many fakes would decide it, more than there are, and under which assumption."""
    n = e.result.n_fake
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
    if e.bounds is not None:
        known = e.bounds.text(e.rule.level)
        sentence = f"the distance itself is {known} (one-sided {100 * e.rule.level:g} % bounds), limit {e.limit:.4g}"
        if check.status == INCONCLUSIVE:
            sentence += f"; {check.n_fake} images do not decide it"
            if check.needed is not None:
                sentence += f': {check.needed} give an interval; compare = "value" judges the value of {check.n_fake}'
        return sentence + _p_text(check)
    scale = e.standard_error if e.standard_error else abs(e.limit) / 100
    digits, sign = decimals(scale) if scale else 4, ""
    what = "bias-corrected value" if e.rule.compare == "corrected" and e.measured != e.result.value else "value"
    if e.baseline is not None:
        sign = "+"
        what = "bias-corrected value" if e.rule.compare == "corrected" and not e.rule.scores else "value"
        now, before = (format_number(x, e.standard_error) for x in (e.baseline + e.measured, e.baseline))
        what = f"{what} {now}, baseline {before}: change"
    sentence = f"{what} {e.measured:{sign}.{digits}f}, limit {e.limit:{sign}.{max(digits, 2)}f}"
    if check.bound is not None:
        side = "upper" if e.sign > 0 else "lower"
        sentence += f"; one-sided {100 * e.rule.level:g} % {side} bound {check.bound:{sign}.{digits}f}"
    if gate.strict:
        sentence += "; the point value decides (strict)"
    elif check.status == INCONCLUSIVE:
        sentence += "; too few samples to decide"
        if check.needed is not None:
            each = " of each model" if check.pairing else ""
            unit = "scores" if e.rule.scores else "fakes"
            sentence += f": about {check.needed} {unit}{each} would decide it with {100 * POWER:g} % power {assumed}"
        elif e.real_variance > 0:
            sentence += ": no number of fakes would decide it; take more real images, pair the runs, or widen the limit"
    else:
        sentence += _p_text(check)
    return sentence + (f" ({check.pairing})" if check.pairing else "")


def _p_text(check: Check) -> str:
    return f"; p = {check.adjusted_p:.2g}" if check.status == FAIL and check.adjusted_p is not None else ""
