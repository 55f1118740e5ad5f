"""The tests marked ``gpu``, each with its outcome."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as tree
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

from benchmarks.accelerator.bench import Bench, Found
from benchmarks.runs import ROOT

MARKER = "mark.gpu"


def files_with(marker: str) -> list[str]:
    """Files of the tests in which the marker stands: collecting all others would cost most of the time."""
    tests = ROOT / "tests"
    return sorted(str(path.relative_to(ROOT)) for path in tests.rglob("test_*.py") if marker in path.read_text("utf-8"))


def outcomes(report: Path) -> dict[str, list[str]]:
    """By test: ``passed``, ``failure``, ``error`` or ``skipped``, and why."""
    found = {}
    for case in tree.parse(report).getroot().iter("testcase"):
        state, why = "passed", ""
        for kind in ("failure", "error", "skipped"):
            if (inner := case.find(kind)) is not None:
                state, why = kind, " ".join((inner.get("message") or "").split())[:400]
        found[f"{case.get('file')}::{case.get('name')}"] = [state, why]
    return found


def marked(bench: Bench) -> Found:
    files = files_with(MARKER)
    if bench.quick:
        files = [name for name in files if name.endswith("test_on_device.py")]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [
            sys.executable, "-m", "pytest", "-m", "gpu", "-q", "-p", "no:cacheprovider", "-p", "no:benchmark",
            "--continue-on-collection-errors", "-o", "junit_family=xunit1", f"--junitxml={report}",
        ]  # fmt: skip
        if find_spec("xdist") is not None and not bench.quick:
            command += ["-n", str(min(6, len(os.sched_getaffinity(0))))]
        done = subprocess.run(
            [*command, *files], cwd=ROOT, capture_output=True, text=True, timeout=max(20.0, bench.left() - 3)
        )
        tests = outcomes(report) if report.exists() else {}
    counts = Counter(state for state, _ in tests.values())
    found: Found = {"exit": done.returncode, "files": len(files)}
    found |= {f"tests {state}": n for state, n in counts.items()}
    found["failed"] = counts["failure"] + counts["error"] + (not tests)
    found["not passed"] = {name: why for name, (state, why) in tests.items() if state != "passed"}
    return found if tests else found | {"said": (done.stdout + done.stderr)[-1500:]}


CHECKS = {"marked gpu": marked}
