"""The throughput benchmarks run as they stand, at tiny size, and write what they found."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.mark.parametrize("model", ["dcgan", "cyclegan"])
def test_throughput(model: str, tmp_path: Path) -> None:
    written = tmp_path / "figures.json"
    tiny = ["--width", "2", "--batch-size", "2", "--steps", "1", "--rounds", "2", "--threads", "1", "-o", str(written)]
    run = subprocess.run(
        [sys.executable, str(BENCHMARKS / f"{model}_throughput.py"), *tiny], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert "more time than bare" in run.stdout
    found = json.loads(written.read_text())
    assert [len(found["ms_a_step"][name]) for name in ("bare", "ours")] == [2, 2]
    assert min(found["ms_a_step"]["bare"]) > 0


@pytest.mark.parametrize("model", ["dcgan", "cyclegan"])
def test_kept_figures_hold_the_promise(model: str) -> None:
    """At full width, the median round is at most 10 % slower than the bare loop."""
    kept = json.loads((BENCHMARKS / "results" / f"{model}_throughput.json").read_text())
    assert kept["slower_by"]["median"] <= 0.10
    assert kept["settings"]["width"] >= 64
