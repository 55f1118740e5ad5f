"""Rules that make no sense are found before anything is measured."""

from __future__ import annotations

from typing import Any

import pytest

from ganeval.errors import ConfigError
from ganeval.gate.rules import Gate, Regression, parse_rules


def test_a_rule_with_everything() -> None:
    (rule,) = parse_rules(
        {
            "fid": {
                "max": 25, "min": 1.5, "max-regression": {"abs": 0.3}, "min-samples": 10_000, "level": 0.9,
                "compare": "value", "source": "a paper",
            }
        }
    )  # fmt: skip
    assert (rule.max, rule.min, rule.min_samples, rule.level) == (25.0, 1.5, 10_000, 0.9)
    assert rule.max_regression == Regression(abs=0.3)
    assert (rule.compare, rule.source) == ("value", "a paper")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ([], r"ganeval.toml: rules: found \[\], expected an object"),
        ({"fdi": {"max": 1}}, "Unknown metric 'fdi'.*Did you mean fid"),
        ({"fid": 25.0}, "rules.fid: found 25.0, expected an object"),
        ({"fid": {}}, "sets no limit"),
        ({"fid": {"min-samples": 5}}, "sets no limit"),
        ({"fid": {"maximum": 1}}, "no key 'maximum'.*Did you mean 'max'"),
        ({"fid": {"max": float("nan")}}, "rules.fid.max: found nan, expected a finite number"),
        ({"fid": {"max": float("inf")}}, "rules.fid.max: found inf, expected a finite number"),
        ({"fid": {"min": -float("inf")}}, "rules.fid.min: found -inf, expected a finite number"),
        ({"fid": {"max": True}}, "rules.fid.max: found true, expected a number"),
        ({"fid": {"max": "25"}}, 'rules.fid.max: found "25", expected a number'),
        ({"fid": {"max": 1, "min": 2}}, "no value lies between"),
        ({"fid": {"max-regression": 0.05}}, "rules.fid.max-regression: found 0.05, expected an object"),
        ({"fid": {"max-regression": {"abs": 1, "rel": 2}}}, "one of them"),
        (
            {"fid": {"max-regression": {"relative": 1}}},
            "max-regression: there is no key 'relative'; available: abs, rel",
        ),
        ({"fid": {"max-regression": {"rel": float("nan")}}}, "max-regression.rel: found nan, expected a finite number"),
        ({"fid": {"max": 1, "min-samples": 0}}, "min-samples: found 0, expected a whole number of at least 1"),
        ({"fid": {"max": 1, "min-samples": 2.5}}, "min-samples: found 2.5, expected a whole number"),
        ({"fid": {"max": 1, "level": 95}}, "level: found 95, expected a number below 1"),
        ({"fid": {"max": 1, "level": 0.3}}, "level: found 0.3, expected a number of at least 0.5"),
        ({"fid": {"max": 1, "level": float("nan")}}, "level: found nan, expected a finite number"),
        ({"fid": {"max": 1, "compare": "raw"}}, 'compare: found "raw", expected one of corrected, value'),
        ({"fid": {"max": 1, "source": 3}}, "source: found 3, expected text or null"),
    ],
)
def test_rules_iv(table: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_rules(table, "ganeval.toml")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rules": ()}, "there are no rules"),
        ({"protocol": None}, "a limit is valid for one protocol"),
        ({"protocol": "ttru"}, "Unknown protocol 'ttru'"),
        ({"on_inconclusive": "ignore"}, "one of error, fail, pass"),
        ({"weights_sha256": "abc"}, "8 to 64 hexadecimal"),
        ({"weights_sha256": "ABCDEF0123"}, "8 to 64 hexadecimal"),
    ],
)
def test_gates_iv(fields: dict[str, Any], message: str) -> None:
    given = {"rules": parse_rules({"fid": {"max": 1}}), "protocol": "compact", **fields}
    with pytest.raises(ConfigError, match=message):
        Gate(**given)


def test_any_finite_limit_is_accepted() -> None:
    rules = parse_rules({"kid": {"max": -1e300, "max-regression": {"abs": -0.5}}, "fid": {"max": 0}})
    assert [rule.max for rule in rules] == [-1e300, 0.0]
    Gate(rules=parse_rules({"fid": {"max-regression": {"abs": 1}}}))  # needs no protocol: the baseline has one
