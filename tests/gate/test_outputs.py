"""JUnit, annotations, Markdown and text: one verdict, and nothing that a hostile name could break out of."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import junitparser
import pytest
from support.gates import gate, record, result

from ganeval.errors import InputError
from ganeval.gate.github import MOST_BYTES, command, commands, write_summary
from ganeval.gate.junit import junit
from ganeval.gate.verdict import Verdict, judge
from ganeval.gate.words import markdown, text
from ganeval.parsing.layout import escaped

HOSTILE = "a|b\n::error::x\r\n## h <script>alert('&')</script> ]]> \x00\x1b[31m % `c` [l](u) ☃ \U0001f600"


def verdict(source: str = "a paper", label: str = "FID") -> Verdict:
    rules = {"fid": {"max": 8.0, "source": source}, "kid": {"max": 1.0}, "is": {"min": 1.0}, "mind": {"max": 10.5}}
    found = record(
        replace(result(10.0, 0.1), label=label), result(5.0, 0.1, name="is", n_real=None), result(10.0, name="mind")
    )
    return judge(gate(rules), found, record(replace(result(100.0, 0.1), label=label)))


def test_junit_against_junitparser(tmp_path: Path) -> None:
    path = tmp_path / "gate.xml"
    path.write_text(junit(verdict()), encoding="utf-8")
    suites = junitparser.JUnitXml.fromfile(str(path))
    assert (suites.tests, suites.failures, suites.errors) == (4, 1, 2)
    (suite,) = suites
    cases = {case.name: case for case in suite}
    assert list(cases) == ["fid max", "kid max", "is min", "mind max"]
    kinds = {name: [type(r).__name__ for r in case.result] for name, case in cases.items()}
    assert kinds == {"fid max": ["Failure"], "kid max": ["Error"], "is min": [], "mind max": ["Error"]}
    assert "bias-corrected" not in cases["fid max"].result[0].message  # the value has no bias here
    assert "value 10.00, limit 8.00" in cases["fid max"].result[0].message
    properties = {p.name: p.value for p in cases["fid max"].child(junitparser.Properties)}
    assert properties["value"] == "10.0"
    assert properties["limit"] == "8.0"
    assert properties["n_fake"] == "1000"
    assert properties["protocol"] == "compact"
    assert properties["source"] == "a paper"
    assert "implausibly good" in ET.parse(path).findtext(".//system-err", "")


def test_junit_of_hostile_names_is_xml(tmp_path: Path) -> None:
    document = junit(verdict(HOSTILE, HOSTILE))
    root = ET.fromstring(document.encode())
    labels = [p.get("value") or "" for p in root.iter("property") if p.get("name") == "label"]
    assert "<script>alert('&')</script> ]]>" in labels[0]
    assert "\x00" not in document
    assert "\x1b" not in document
    path = tmp_path / "gate.xml"
    path.write_text(document, encoding="utf-8")
    assert junitparser.JUnitXml.fromfile(str(path)).tests == 4


def test_annotations_escape() -> None:
    assert command("error", "a,b:c", "100 %\r\nnext") == "::error title=a%2Cb%3Ac::100 %25%0D%0Anext"
    lines = commands(verdict(HOSTILE, HOSTILE)).splitlines()
    assert len(lines) == 4  # three checks that do not pass, one warning; no line more
    assert all(re.match(r"::(error|warning) title=[^:,\r\n]*::", line) for line in lines)
    assert sum(line.startswith("::error") for line in lines) == 3
    assert "\x1b" not in command("error", HOSTILE, "").split("::")[1]


def test_a_verdict_that_passes_has_no_annotations() -> None:
    assert commands(judge(gate({"fid": {"max": 99.0}}), record(result()))) == ""


def test_markdown_stays_a_table() -> None:
    lines = markdown(verdict(HOSTILE, HOSTILE)).splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert len(rows) == 2 + 4
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 7 for row in rows)
    assert "<script" not in "\n".join(lines)
    assert not any(line.startswith("#") for line in lines)
    assert escaped("x < 3 & y") == "x &lt; 3 &amp; y"


def test_text_is_one_line_a_check() -> None:
    told = text(verdict(HOSTILE, HOSTILE))
    assert len(told.splitlines()) == 5
    assert "\x1b" not in told
    assert told.splitlines()[0].startswith("FAIL  ")
    assert told.endswith("gate: fail (1 failed, 2 could not be judged, 1 passed)")


def test_summary_is_appended_and_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    assert write_summary(verdict()) is None
    path = tmp_path / "summary.md"
    path.write_text("before\n", encoding="utf-8")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    write_summary(verdict())
    assert path.read_text(encoding="utf-8").startswith("before\n**gate: fail")
    path.write_text("x" * (MOST_BYTES - 300), encoding="utf-8")
    write_summary(verdict("☃" * 5000))
    assert path.stat().st_size <= MOST_BYTES
    assert path.read_text(encoding="utf-8").endswith("at most 1 MiB)\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "no" / "folder"))
    with pytest.raises(InputError, match="GITHUB_STEP_SUMMARY"):
        write_summary(verdict())
