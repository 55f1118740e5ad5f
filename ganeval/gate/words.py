"""The verdict as text and as a table in Markdown."""

from __future__ import annotations

from collections.abc import Mapping

from ganeval.gate.checks import FAIL, INCONCLUSIVE, PASS, Check
from ganeval.gate.verdict import Verdict
from ganeval.parsing.layout import escaped, image_counts, markdown_table, one_line

OUTCOMES = {FAIL: "failed", INCONCLUSIVE: "could not be judged", PASS: "passed"}
_MARKS = {PASS: "PASS", FAIL: "FAIL", INCONCLUSIVE: "????"}
_SYMBOLS = {PASS: "✅", FAIL: "❌", INCONCLUSIVE: "❔"}


def text(verdict: Verdict) -> str:
    """One line per check, and the summary."""
    lines = []
    for check in verdict.checks:
        mark, name, requirement, found = columns(check)
        lines.append(one_line(f"{mark}  {name}: {requirement}: {found}"))
    return "\n".join([*lines, summary(verdict)])


def summary(verdict: Verdict) -> str:
    counts = ", ".join(f"{n} {word}" for outcome, word in OUTCOMES.items() if (n := verdict.count(outcome)))
    accepted = sum(check.accepted for check in verdict.checks)
    counts += f"{', ' if counts else ''}{accepted} accepted with the new baseline" if accepted else ""
    return f"gate: {verdict.outcome} ({counts})"


def markdown(verdict: Verdict) -> str:
    """The verdict as a table in Markdown, with the warnings."""
    header = ("", "metric", "requirement", "result", "images", "protocol")
    rows = []
    for check in verdict.checks:
        counts = image_counts(check.n_real, check.n_fake)
        mark, _, requirement, found = columns(check, _SYMBOLS)
        rows.append((mark, check.label or check.metric, requirement, found, counts, check.protocol or ""))
    lines = [f"**{summary(verdict)}**", "", markdown_table(header, rows)]
    if verdict.warnings:
        lines += ["", *(f"- ⚠️ {escaped(warning)}" for warning in verdict.warnings)]
    return "\n".join(lines)


def columns(check: Check, marks: Mapping[str, str] = _MARKS) -> tuple[str, str, str, str]:
    """The mark of a check's outcome, its name, the requirement, and what was found."""
    mark = marks[check.outcome]
    if check.accepted:
        mark += " (accepted)"
    elif check.outcome != check.status:
        mark += " (inconclusive)"
    found = check.reason
    if check.outcome != PASS:
        found += f" [{check.pairing_note}]" if check.pairing_note else ""
        found += f" [limit from: {check.source}]" if check.source else ""
    return mark, f"{check.label or check.metric} {check.kind}", check.requirement, found
