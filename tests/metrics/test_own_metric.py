"""A metric that is registered is one like all others."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
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
    registry._METRICS.pop("widest", None)


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
        with pytest.raises(ConfigError, match=f"there is a metric '{name}' already"):
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
