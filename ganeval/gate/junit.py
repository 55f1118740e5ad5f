"""The verdict as JUnit XML, with one test case per check."""

from __future__ import annotations

import re
from dataclasses import asdict
from xml.etree import ElementTree as ET

from ganeval.gate.checks import FAIL, INCONCLUSIVE, Check
from ganeval.gate.verdict import Verdict

# characters that XML 1.0 cannot contain, even escaped
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ELSEWHERE = {"metric", "kind", "requirement", "status", "outcome", "reason", "judged", "pairing_note", "accepted"}


def junit(verdict: Verdict) -> str:
    """A document with one suite: a failed check is a ``failure``, a check that could not be judged an ``error``."""
    counts = {
        "tests": str(len(verdict.checks)),
        "failures": str(verdict.count(FAIL)),
        "errors": str(verdict.count(INCONCLUSIVE)),
        "skipped": "0",
        "time": f"{verdict.elapsed_seconds:.3f}",
    }
    suites = ET.Element("testsuites", {"name": "ganeval", **counts})
    suite = ET.SubElement(suites, "testsuite", {"name": "ganeval gate", **counts})
    for check in verdict.checks:
        _case(suite, check)
    if verdict.warnings:
        ET.SubElement(suite, "system-err").text = _clean("\n".join(f"warning: {w}" for w in verdict.warnings))
    ET.indent(suites)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(suites, encoding="unicode") + "\n"


def _case(suite: ET.Element, check: Check) -> None:
    case = ET.SubElement(
        suite, "testcase", {"classname": f"ganeval.gate.{check.metric}", "name": check.name, "time": "0"}
    )
    properties = ET.SubElement(case, "properties")
    for name, value in asdict(check).items():
        if value is not None and name not in _ELSEWHERE:
            ET.SubElement(properties, "property", {"name": name, "value": _clean(str(value))})
    message = _clean(f"{check.requirement}: {check.reason}")
    tag = None if check.accepted else {FAIL: "failure", INCONCLUSIVE: "error"}.get(check.outcome)
    facts = {} if tag is None else {"message": message, "type": check.kind}
    ET.SubElement(case, tag or "system-out", facts).text = message


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)
