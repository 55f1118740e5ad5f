"""The gate in somebody's own test-suite, which is run here as they would run it."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import nullcontext
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from support.gates import record, result

from ganeval.errors import ConfigError
from ganeval.pytest_plugin import hold
from ganeval.result_files import write_record

RULES = '[gate]\nprotocol = "compact"\n[gate.rules.fid]\nmax = 12.0\nmax-regression = {{ abs = {margin} }}\n'

SUITE = """
import pytest

@pytest.mark.ganeval_gate(config="rules.toml", baseline="base.json")
class TestModel:
    def test_good(self, ganeval_gate):
        verdict = ganeval_gate(results="good.json")
        assert verdict.outcome == "pass"

    def test_bad(self, ganeval_gate):
        ganeval_gate(results="bad.json")

    @pytest.mark.ganeval_gate(on_inconclusive="pass")
    def test_unsure_may_pass(self, ganeval_gate):
        ganeval_gate(results="unsure.json")

    def test_unsure(self, ganeval_gate):
        ganeval_gate(results="unsure.json")

    def test_rules_in_the_call(self, ganeval_gate):
        ganeval_gate(results="bad.json", rules={"fid": {"max": 99.0}}, protocol="compact")
"""

CONFTEST = """
import sys

def pytest_collection_finish(session):
    heavy = {"torch", "torchvision", "scipy", "faiss", "ganeval.api", "ganeval.gate.verdict"} & set(sys.modules)
    assert not heavy, heavy
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, value in {"base": 10.0, "good": 10.1, "bad": 30.0, "unsure": 11.95}.items():
        write_record(record(result(value, 0.1)).evaluation, tmp_path / f"{name}.json")
    (tmp_path / "rules.toml").write_text(RULES.format(margin=5.0), encoding="utf-8")
    return tmp_path


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """pytest as the user starts it; where ganeval was not installed with its entry point, the plugin is named."""
    installed = any(e.value == "ganeval.pytest_plugin" for e in entry_points(group="pytest11"))
    named = [] if installed else ["-p", "ganeval.pytest_plugin"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *named, *arguments],
        cwd=folder, env=dict(os.environ), capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_suite_that_holds_a_gate(folder: Path) -> None:
    (folder / "test_model.py").write_text(SUITE, encoding="utf-8")
    (folder / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    done = run(folder, "-q", "--strict-markers", "--junitxml=report.xml", "-W", "error")
    assert "INTERNALERROR" not in done.stdout + done.stderr
    cases = {case.get("name"): case for case in ET.parse(folder / "report.xml").iter("testcase")}
    failed = {name for name, case in cases.items() if case.find("failure") is not None}
    assert failed == {"test_bad", "test_unsure"}, done.stdout
    assert len(cases) == 5
    assert not [case for case in cases.values() if case.find("error") is not None]
    assert "FAIL  FID[compact-v1] max: at most 12: value 30.00, limit 12.00" in done.stdout
    assert "????  FID[compact-v1] max" in done.stdout
    assert "Traceback" not in done.stdout
    told = {p.get("name") for p in cases["test_good"].iter("property")}
    assert told == {"ganeval fid max", "ganeval fid max-regression"}


def test_marker_and_fixture_are_documented(folder: Path) -> None:
    assert "ganeval_gate(config=None" in run(folder, "--markers").stdout
    assert "ganeval_gate" in run(folder, "--fixtures").stdout


def test_entry_point_is_declared() -> None:
    import tomllib

    project = tomllib.loads((Path(__file__).resolve().parent.parent / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["entry-points"]["pytest11"] == {"ganeval": "ganeval.pytest_plugin"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rules": {"fid": {"max": float("nan")}}, "protocol": "compact"}, "finite"),
        ({"rules": {"fid": {"max": 1.0}}}, "one protocol"),
        ({"config": "nowhere.toml"}, "configuration file not found"),
        ({}, "there are no rules"),
        ({"rules": {"fid": {"max": 1.0}}, "protocol": "compact", "results": None}, "Pass one of the two"),
    ],
)
def test_hold_iv(options: dict[str, Any], message: str, folder: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        hold(**{"results": folder / "good.json", "root": folder, **options})


def test_hold_measures(tmp_path: Path) -> None:
    """With images in place of a file, and the options of ``evaluate``."""
    verdict = hold(
        "dataset:shapes@1", "dataset:shapes-striped@2", rules={"kid": {"max": 1e9}}, protocol="compact",
        num_samples=60, device="cpu", root=tmp_path,
    )  # fmt: skip
    assert verdict.outcome == "pass"
    assert verdict.checks[0].n_fake == 60


@pytest.mark.parametrize(
    ("text", "message"),
    [("[gate]\nprotocol = 5\n", "protocol"), ("[gate]\nstrict = 'no'\n", "strict"), ("gate = 3\n", "expected")],
)
def test_values_of_a_file_are_of_their_kind(text: str, message: str, tmp_path: Path) -> None:
    rules = "" if text.startswith("gate") else "[gate.rules.kid]\nmax = 1\n"
    (tmp_path / "ganeval.toml").write_text(text + rules)
    with pytest.raises(ConfigError, match=rf"ganeval\.toml, table \[gate\]: .*{message}"):
        hold("a", "b", root=tmp_path)


def test_the_schema_of_a_file_is_checked(folder: Path) -> None:
    rules = (folder / "rules.toml").read_text()
    for name, found in (("urn:ganeval:schema:config:1", None), ("urn:other", "is 'urn:other'; expected")):
        (folder / "rules.toml").write_text(f'"$schema" = "{name}"\n{rules}')
        with nullcontext() if found is None else pytest.raises(ConfigError, match=found):
            hold(results=folder / "good.json", baseline=folder / "base.json", config=folder / "rules.toml")
