"""A metric that is registered is one like all others."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from ganeval.api import evaluate
from ganeval.errors import ConfigError
from ganeval.gate.rules import parse_rules
from ganeval.metrics import registry
from ganeval.metrics.build_result import build_result
from ganeval.metrics.registry import METRICS, Metric, get_metric, register
from ganeval.metrics.types import MetricInputs
from ganeval.results import MetricResult, Reason

OWN = Metric(
    name="widest", title="Largest feature", acronym="widest", higher_is_better=True, minimum=2,
    measure="own_metric:measure", sides="fake", citation="@misc{widest}",
)  # fmt: skip

REASON = Reason("unknown", sentence="a maximum")


@pytest.fixture(autouse=True)
def known_here_alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def measure(inputs: MetricInputs) -> dict[str, MetricResult]:
        return {
            "widest": build_result(
                inputs,
                "widest",
                float(inputs.fake_rows().to_array().max()),
                reason=REASON,
            )
        }

    module = ModuleType("own_metric")
    module.measure = measure  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "own_metric", module)
    yield
    registry.METRICS.data.pop("widest", None)


def test_it_is_computed_under_its_name() -> None:
    register(OWN)
    assert get_metric("widest") is OWN
    run = evaluate(None, "dataset:shapes", num_samples=12, protocol="compact", metrics=("widest",), device="cpu")
    assert run["widest"].value > 0
    assert run["widest"].label == "widest[compact-v1]"
    assert run["widest"].reason == REASON
    assert run["widest"].higher_is_better


def test_a_name_that_is_taken_iv() -> None:
    for name in ("fid", "pr"):  # pr is a command
        with pytest.raises(ConfigError, match=f"metric '{name}' is already registered"):
            register(replace(OWN, name=name))
    register(OWN)
    with pytest.raises(ConfigError, match="already"):
        register(OWN)
    assert list(METRICS)[-1] == "widest"


def test_a_gate_takes_it() -> None:
    table = {"widest": {"min": 1.0}}
    with pytest.raises(ConfigError, match="widest"):
        parse_rules(table)
    register(OWN)
    assert [rule.metric for rule in parse_rules(table)] == ["widest"]


MODULE = """
import numpy as np

from ganeval.metrics.build_result import build_result
from ganeval.metrics.intervals import variance_of_mean
from ganeval.metrics.registry import Metric, register

register(
    Metric(
        name="mean-gap",
        title="Difference of the mean features of the fakes and of the reals",
        acronym="mean gap",
        higher_is_better=False,
        minimum=2,
        measure="mean_gap:measure",
        citation="@misc{mean-gap}",
    )
)


def measure(inputs):
    fake, real = (rows.to_array().mean(axis=1) for rows in (inputs.fake_rows(), inputs.real_rows()))
    error = np.sqrt(variance_of_mean(fake) + variance_of_mean(real))
    return {"mean-gap": build_result(inputs, "mean-gap", float(fake.mean() - real.mean()), standard_error=float(error))}

"""


PROGRAM = """
import mean_gap
from ganeval.cli.main import main

def run(*command):
    try:
        main([*command, "-q"])
    except SystemExit as error:
        assert not error.code, command

sets = ["dataset:shapes-plain@1", "dataset:shapes-striped@2", "--num-samples", "40"]
options = ["--protocol", "compact", "--device", "cpu"]
run("mean-gap", *sets, *options, "-o", "alone.json")
run("eval", *sets, *options, "--metrics", "mean-gap,kid", "-o", "both.json")
run("gate", "--results", "alone.json", "-o", "gate.json")
run("report", "both.json", "-o", "report.html")
run("cite", "mean-gap")
"""


def test_a_metric_from_outside_is_on_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "mean_gap.py").write_text(MODULE)
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "ganeval.toml").write_text('[gate]\nprotocol = "compact"\n[gate.rules.mean-gap]\nmax = 1000.0\n')
    program = [sys.executable, "program.py"]
    answer = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert "@misc{mean-gap}" in answer.stdout
    alone, both, gate = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("alone", "both", "gate"))
    result = alone["results"]["mean-gap"]
    assert result["label"] == "mean gap[compact-v1]"
    assert result["interval"]["low"] < result["value"] < result["interval"]["high"]
    assert both["results"]["mean-gap"]["value"] == result["value"]
    assert gate["gate"]["checks"][0]["outcome"] == "pass"
    assert "mean gap" in (tmp_path / "report.html").read_text()
