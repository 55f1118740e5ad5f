"""The verdict for people: lines of text, and a table in Markdown."""

from __future__ import annotations

import re

from ganeval.gate.checks import FAIL, INCONCLUSIVE, PASS, Check
from ganeval.gate.verdict import Verdict
from ganeval.results import one_line

_MARKS = {PASS: "PASS", FAIL: "FAIL", INCONCLUSIVE: "????"}
_SYMBOLS = {PASS: "✅", FAIL: "❌", INCONCLUSIVE: "❔"}
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|~#@&!])")


def text(verdict: Verdict) -> str:
    """One line a check, and the sum."""
    return "\n".join([*(_line(check) for check in verdict.checks), summary(verdict)])


def summary(verdict: Verdict) -> str:
    counts = ", ".join(
        f"{n} {word}"
        for outcome, word in ((FAIL, "failed"), (INCONCLUSIVE, "could not be judged"), (PASS, "passed"))
        if (n := verdict.count(outcome))
    )
    accepted = sum(check.accepted for check in verdict.checks)
    counts += f"{', ' if counts else ''}{accepted} accepted with the new baseline" if accepted else ""
    return f"gate: {verdict.outcome} ({counts})"


def markdown(verdict: Verdict) -> str:
    """A table that pastes into a pull request; whatever the names hold, it stays a table."""
    rows = ["| | metric | must be | found | images | protocol |", "|---|---|---|---|---|---|"]
    for check in verdict.checks:
        counts = ", ".join(
            f"{n} {side}" for side, n in (("real", check.n_real), ("fake", check.n_fake)) if n is not None
        )
        cells = [
            _outcome(check, _SYMBOLS), escaped(check.label or check.metric), escaped(check.requirement),
            escaped(_told(check)), counts, escaped(check.protocol or ""),
        ]  # fmt: skip
        rows.append("| " + " | ".join(cells) + " |")
    lines = [f"**{summary(verdict)}**", "", *rows]
    if verdict.warnings:
        lines += ["", *(f"- ⚠️ {escaped(warning)}" for warning in verdict.warnings)]
    return "\n".join(lines)


def escaped(text: str) -> str:
    """Text that Markdown shows as it is, in one line."""
    return _SPECIAL.sub(r"\\\1", one_line(text)).replace("\\<", "&lt;").replace("\\>", "&gt;").replace("\\&", "&amp;")


def columns(check: Check) -> tuple[str, str, str, str]:
    """Of one check: the mark of its outcome, what it is of, what must be, what was found."""
    return (
        _outcome(check, _MARKS), f"{check.label or check.metric} {check.kind}", check.requirement, _told(check)
    )  # fmt: skip


def _line(check: Check) -> str:
    mark, name, requirement, told = columns(check)
    return one_line(f"{mark}  {name}: {requirement}: {told}")


def _outcome(check: Check, marks: dict[str, str]) -> str:
    mark = marks[check.outcome]
    if check.accepted:
        return f"{mark} (accepted)"
    return mark if check.outcome == check.status else f"{mark} (inconclusive)"


def _told(check: Check) -> str:
    more = f" [limit from: {check.source}]" if check.source and check.outcome != PASS else ""
    note = f" [{check.pairing_note}]" if check.pairing_note and check.outcome != PASS else ""
    return f"{check.reason}{note}{more}"
