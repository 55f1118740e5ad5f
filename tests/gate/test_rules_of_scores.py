"""Rules in ``[gate.scores.COLUMN]`` on results of ``ganeval scores``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ganeval
from ganeval.errors import ConfigError
from ganeval.gate.rules import Gate, parse_gate
from ganeval.gate.run import run_gate
from ganeval.gate.suggest import suggest, toml
from ganeval.result_files import Record, write_record


def measured(folder: Path, *, shift: float = 0.0, share: float = 0.9, seed: int = 0, **options: Any) -> Record:
    rng = np.random.default_rng(seed)
    path = folder / f"{seed}-{shift}.csv"
    rows = [f"{i},{rng.normal(1 + shift, 0.5):.5f},{int(rng.random() < share)}" for i in range(400)]
    path.write_text("id,fid,hit\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return Record.of(ganeval.scores(path, id="id", **options), path.name)


def gate(**scores: Any) -> Gate:
    return Gate(rules=parse_gate({"scores": scores}, "ganeval.toml"))


def test_limits(tmp_path: Path) -> None:
    record = measured(tmp_path)
    just_above = record.evaluation["fid"].value + 0.01
    checks = run_gate(gate(fid={"min": 0.8, "max": just_above}, hit={"min": 0.95}), results=record).verdict.checks
    assert [(c.name, c.status) for c in checks] == [
        ("fid max", "inconclusive"),
        ("fid min", "pass"),
        ("hit min", "fail"),
    ]
    assert "scores would decide it" in checks[0].reason


def test_wilson_decides_where_every_row_is_a_hit(tmp_path: Path) -> None:
    """Of 400 hits, the share is above 0.99 at 95 % (score test: 1 / (1 + z^2 / 400) = 0.9933), not above 0.995."""
    record = measured(tmp_path, share=1.0)
    statuses = [run_gate(gate(hit={"min": limit}), results=record).verdict.outcome for limit in (0.99, 0.995)]
    assert statuses == ["pass", "inconclusive"]


def test_regression_takes_the_direction_of_the_result(tmp_path: Path) -> None:
    """A column may have the name of a metric: it is not one."""
    options = {"higher_is_better": ("fid", "hit")}
    before, after = measured(tmp_path, **options), measured(tmp_path, shift=0.3, seed=1, **options)
    baseline = tmp_path / "baseline.json"
    rule = gate(fid={"max-regression": {"abs": 0.05}})
    write_record(before.evaluation, baseline, arrays=before.arrays)
    assert run_gate(rule, results=after, baseline=baseline).verdict.outcome == "pass"
    write_record(after.evaluation, baseline, arrays=after.arrays)
    assert run_gate(rule, results=before, baseline=baseline).verdict.outcome == "fail"


def test_regression_without_a_direction_is_not_judged(tmp_path: Path) -> None:
    record = measured(tmp_path)
    baseline = tmp_path / "baseline.json"
    write_record(record.evaluation, baseline, arrays=record.arrays)
    (check,) = run_gate(gate(fid={"max-regression": {"abs": 1.0}}), results=record, baseline=baseline).verdict.checks
    assert not check.judged
    assert "no direction is known" in check.reason


def test_rules_of_the_other_kind_are_named(tmp_path: Path) -> None:
    record = measured(tmp_path)
    table = {"rules": {"kid": {"max-regression": {"abs": 1.0}}}, "scores": {"hit": {"min": 0.5}}}
    verdict = run_gate(Gate(rules=parse_gate(table, "here")), results=record).verdict
    assert [check.name for check in verdict.checks] == ["hit min"]
    assert "the rules of kid are of images and were not checked" in verdict.warnings


def test_iv(tmp_path: Path) -> None:
    record = measured(tmp_path)
    with pytest.raises(ConfigError, match=r"no rules in \[gate.scores\]"):
        run_gate(Gate(rules=parse_gate({"rules": {"kid": {"max": 1.0}}}, "here"), protocol="compact"), results=record)
    with pytest.raises(ConfigError, match=r"this run is of images, and there are no rules in \[gate.rules\]"):
        run_gate(gate(hit={"min": 0.5}), "dataset:shapes", "dataset:shapes")
    with pytest.raises(ConfigError, match="scores.hit"):
        gate(hit={"minimum": 0.5})


def test_suggest(tmp_path: Path) -> None:
    records = [measured(tmp_path, seed=seed, higher_is_better="hit") for seed in range(3)]
    found, notes = suggest(records)
    assert [(one.metric, one.kind) for one in found] == [("hit", "min")]
    assert "fid: no direction is known" in notes[0]
    assert '[gate.scores."hit"]' in toml(found)
    assert "protocol" not in toml(found)
