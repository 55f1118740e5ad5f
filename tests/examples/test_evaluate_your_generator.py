"""The example runs, tells its generators apart, and does from the command line what it says."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

from ganeval.cli.main import main

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def test_example(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    example = importlib.import_module("evaluate_your_generator")
    results = example.main(60)
    assert results["perfect"].value < results["module"].value < results["function"].value
    assert all(result.n_fake == 60 for result in results.values())
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0].strip() for line in lines] == list(results)
    arguments = ["dataset:shapes", "gen:evaluate_your_generator:blobs", "--num-samples", "60", "--protocol", "compact"]
    assert main(["fid", *arguments, "--json"]) == 0
    measured = json.loads(capsys.readouterr().out)["results"]["fid"]["value"]
    assert measured == pytest.approx(results["module"].value, rel=1e-9)
