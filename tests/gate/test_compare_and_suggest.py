"""Two runs side by side, and limits from several."""

from __future__ import annotations

import tomllib
from dataclasses import replace

import numpy as np
import pytest
from support.gates import COMPACT, gate, record, result

from ganeval.errors import ConfigError, IncomparableError, InputError
from ganeval.gate.compare import compare
from ganeval.gate.rules import parse_rules
from ganeval.gate.suggest import suggest, toml
from ganeval.gate.verdict import judge


def test_who_is_better_follows_the_direction() -> None:
    a = record(result(10.0, 0.1), result(5.0, 0.1, name="is"), result(3.0, 1.0, name="kid"))
    b = record(result(12.0, 0.1), result(6.0, 0.1, name="is"), result(3.5, 1.0, name="kid"))
    found = compare(a, b)
    rows = {row.metric: row for row in found.rows}
    assert found.judged
    assert [rows[n].better for n in ("fid", "is", "kid")] == ["A", "B", None]
    half = 1.959964 * np.hypot(0.1, 0.1)
    assert (rows["fid"].low, rows["fid"].high) == pytest.approx((2.0 - half, 2.0 + half))
    assert rows["fid"].pairing == "independent"
    assert rows["fid"].note == "R.json was not written with --output"


def test_many_metrics_are_held_to_more() -> None:
    """2.2 standard errors apart is beyond noise for one metric, not for one among four."""
    step = 2.2 * np.hypot(1.0, 1.0)
    alone = compare(record(result(10.0)), record(result(10.0 + step)))
    assert alone.rows[0].better == "A"
    others = [result(1.0, 1.0, name=name) for name in ("kid", "mind", "rke")]
    among = compare(record(result(10.0), *others), record(result(10.0 + step), *others))
    assert among.rows[0].better is None


@pytest.mark.parametrize(
    ("b", "why"),
    [
        (record(), "fid is not among the results"),
        (record(unusable={"fid": "its value is nan"}), "its value is nan"),
        (
            record(result(protocol=replace(COMPACT, resize="pil-bicubic-float"))),
            "resize: torch-bilinear-antialias against",
        ),
        (record(result(reference="other")), "reference"),
        (record(result(10.0, None)), "no interval"),
    ],
)
def test_what_is_not_compared(b: object, why: str) -> None:
    found = compare(record(result()), b)  # type: ignore[arg-type]
    assert not found.judged
    assert why in str(found.rows[0].reason)
    assert found.rows[0].difference is None


def test_only_named_metrics() -> None:
    a, b = record(result(), result(1.0, 1.0, name="kid")), record(result())
    assert not compare(a, b).judged
    assert compare(a, b, metrics=["fid"]).judged
    with pytest.raises(ConfigError, match="Unknown metric 'fdi'"):
        compare(a, b, metrics=["fdi"])
    assert not compare(record(), record()).judged


VALUES = (10.0, 10.4, 9.7, 10.1, 10.2)


def test_suggested_limits_are_rules_that_the_runs_pass() -> None:
    runs = [record(result(v, 0.01), result(v / 2, 0.01, name="is", n_real=None)) for v in VALUES]
    found, notes = suggest(runs)
    assert notes == []
    by_name = {s.metric: s for s in found}
    spread = np.std(VALUES, ddof=1)
    assert by_name["fid"].limit == pytest.approx(10.1 + 3 * spread, abs=spread / 50)
    assert by_name["is"].limit == pytest.approx((10.1 - 3 * spread) / 2, abs=spread / 50)
    assert by_name["fid"].regression == pytest.approx(3 * np.sqrt(2) * spread, abs=spread / 50)
    table = tomllib.loads(toml(found))["gate"]
    rules = parse_rules(table["rules"])
    assert [(r.max is None, r.min is None) for r in rules] == [(False, True), (True, False)]
    assert rules[0].min_samples == 1000
    assert "5 seeds" in str(rules[0].source)
    for run in runs:
        assert judge(gate(table["rules"], protocol=table["protocol"]), run).exit_code == 0


def test_limits_are_no_closer_than_the_error_of_a_run() -> None:
    found, _ = suggest([record(result(v, 1.0)) for v in (10.0, 10.1, 10.2)])
    assert found[0].limit == pytest.approx(10.1 + 3 * 1.0)


def test_suggest_iv() -> None:
    runs = [record(result(v)) for v in VALUES]
    with pytest.raises(InputError, match="found 2 files; expected results of at least 3 runs"):
        suggest(runs[:2])
    with pytest.raises(InputError, match="all runs have the same value"):
        suggest([runs[0]] * 3)
    with pytest.raises(InputError, match="no common metric"):
        suggest([runs[0], runs[1], record(result(1.0, name="kid"))])
    with pytest.raises(IncomparableError, match="n_fake"):
        suggest([runs[0], runs[1], record(result(10.0, n=500))])
