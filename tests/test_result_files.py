"""Documents in files: what is written comes back, and what does not belong to it is not taken."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.documents import write_run
from support.gates import gate, record, result

from ganeval.errors import InputError
from ganeval.gate.compare import compare
from ganeval.gate.suggest import suggest
from ganeval.gate.verdict import judge
from ganeval.result_files import read_record, write_record

ARRAYS = {"fid_influence_fake": np.arange(5.0), "fake_input_digests": np.arange(5, dtype=np.uint64)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    target = tmp_path / "R.json"
    write_record(record(result()).evaluation, target, arrays=ARRAYS)
    return target


def test_round_trip(path: Path) -> None:
    again = read_record(path)
    assert again.evaluation["fid"] == result()
    assert again.missing is None
    assert {k: v.tolist() for k, v in again.arrays.items()} == {k: v.tolist() for k, v in ARRAYS.items()}
    assert sorted(p.name for p in path.parent.iterdir()) == ["R.json", "R.samples.npz"]


def test_arrays_that_are_not_its_own_are_not_taken(path: Path) -> None:
    beside = path.with_name("R.samples.npz")
    np.savez(beside, fid_influence_fake=np.zeros(5))
    again = read_record(path)
    assert dict(again.arrays) == {}
    assert "its hash differs" in str(again.missing)
    beside.unlink()
    assert "is not in the folder of R.json" in str(read_record(path).missing)


@pytest.mark.parametrize("file", ["../R.samples.npz", "/etc/passwd", ""])
def test_arrays_elsewhere_are_not_opened(file: object, path: Path) -> None:
    document = json.loads(path.read_text())
    document["samples"]["file"] = file
    path.write_text(json.dumps(document))
    assert "names no file" in str(read_record(path).missing)


def test_a_json_from_stdout_has_none(tmp_path: Path) -> None:
    path = tmp_path / "R.json"
    write_record(record(result()).evaluation, path, arrays={})
    assert "was not written with --output" in str(read_record(path).missing)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"value": float("nan")}, "its value is nan"),
        ({"value": None}, "it has no value"),
        ({"standard_error": float("inf")}, "its standard error is inf"),
        ({"interval": {"low": float("nan"), "high": 1.0}}, "its interval's low is nan"),
    ],
)
def test_entries_that_are_no_numbers_do_not_hide_the_others(change: dict[str, object], why: str, path: Path) -> None:
    document = json.loads(path.read_text())
    document["results"]["kid"] = {**document["results"]["fid"], **change}
    path.write_text(json.dumps(document))
    again = read_record(path)
    assert list(again.evaluation.results) == ["fid"]
    assert dict(again.unusable) == {"kid": why}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "it is not JSON"),
        ("[1]", r"found \[1\], expected an object of schema ganeval/1"),
        ("{}", 'schema: found null, expected "ganeval/1"'),
        ('{"schema": "ganeval/1", "error": {}}', "holds no results: it is another command's output"),
        ('{"schema": "ganeval/1", "error": {"kind": "input", "message": "no"}}', r"it reports a failure \(no\)"),
        ('{"schema": "ganeval/1", "results": []}', r"results: found \[\], expected an object"),
        ('{"schema": "ganeval/1", "results": {"fid": 3}}', "results.fid: found 3, expected an object"),
        (
            '{"$schema": "urn:x", "schema": "ganeval/1"}',
            r'\$schema: found "urn:x", expected "urn:ganeval:schema:result:1"',
        ),
        ('{"$schema": null, "schema": "ganeval/1"}', r"\$schema: found null"),
        ('{"schema": "ganeval/1", "results": {}}', "the key 'real' is missing"),
    ],
)
def test_read_iv(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "R.json"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_record(path)


def test_read_iv_without_a_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"R\.json does not exist"):
        read_record(tmp_path / "R.json")
    (tmp_path / "latin.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="it is not UTF-8 text"):
        read_record(tmp_path / "latin.json")


@pytest.mark.parametrize(
    ("place", "text", "message"),
    [
        (("results", "fid", "protocol"), "null", "results.fid.protocol: found null, expected an object"),
        (("results", "fid", "protocol", "ddof"), "7", "results.fid.protocol: a protocol has a ddof of 0 or 1"),
        (("results", "fid", "bias"), "1" + "0" * 400, "results.fid.bias: found a whole number of more than 64 bits"),
        (("results", "fid", "bias"), "1e60", r"results.fid.bias: found 1e\+60, expected a number of at most 1e\+50"),
        (("results", "fid", "details", "floor"), '{"value": NaN, "n": [2, 2]}', "details.floor.value: found nan"),
        (("results", "kid", "details", "sigma"), "1e999", "results.kid.details.sigma: found inf, expected a finite"),
        (("results", "kid", "settings"), "[]", r"results.kid.settings: found \[\], expected an object"),
        (
            ("results", "fid", "interval"),
            '"1 to 2"',
            "results.fid.interval: found .1 to 2., expected an object or null",
        ),
        (
            ("results", "fid", "interval", "low"),
            "1e9",
            "results.fid.interval: an interval needs finite ends, low < high",
        ),
        (("results", "fid", "interval", "level"), "95", "results.fid.interval: the level of an interval lies between"),
        (("results", "fid", "standard_error"), "0", "results.fid.standard_error: found 0, expected a number above 0"),
        (("results", "fid", "n_fake"), "-1", "results.fid.n_fake: found -1, expected a whole number of at least 0"),
        (("results", "fid", "details", "by_size"), '[{"n": 0, "value": 1}]', r"by_size\[0\].n: found 0"),
        (("results", "fid", "details", "per_class", "cat", "estimand"), "5", "cat.estimand: found 5, expected"),
        (("notes",), "5", "notes: found 5, expected a list"),
        (("fake", "source"), "[]", r"fake.source: found \[\], expected an object or null"),
        (("fake", "latents"), "[9000000, 9000000]", "fake: latents of shape"),
        (("environment", "x"), "[" * 100_000 + "]" * 100_000, "nested more than 64 levels deep"),
        (("samples", "file"), "3", "samples.file: found 3, expected text"),
    ],
)
def test_a_wrong_value_deep_inside_is_named(place: tuple[str, ...], text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "R.json"
    tree: Any = write_run(path)
    holder = tree
    for step in place[:-1]:
        holder = holder[step]
    holder[place[-1]] = "@"
    path.write_text(json.dumps(tree).replace('"@"', text))
    with pytest.raises(InputError, match=rf"R\.json is not a valid result document: .*{message}"):
        read_record(path)


def test_a_document_of_another_version_is_read(tmp_path: Path) -> None:
    """Keys of a later one are left alone, and what an earlier one did not have yet may be missing."""
    path = tmp_path / "R.json"
    tree: Any = write_run(path)
    tree["output_errors"] = [{"path": "a", "message": "b"}]
    tree["later"] = {"x": [1, None]}
    entry = tree["results"]["fid"]
    entry["reason_code"], entry["details"]["later"] = {"code": "too_few", "n": 3}, "x"
    for key in ("settings", "reference", "warnings"):
        del tree["results"]["kid"][key]
    for key in ("notes", "protocols"):
        del tree[key]
    path.write_text(json.dumps(tree))
    again = read_record(path).evaluation
    assert again["fid"].details["later"] == "x"
    assert again["kid"].warnings == again.notes == ()


def rewritten(path: Path, **arrays: Any) -> None:
    """The file of single images with other arrays, under its hash."""
    beside = path.with_name("R.samples.npz")
    with np.load(beside) as archive:
        np.savez(beside, **{**archive, **arrays})
    document = json.loads(path.read_text())
    document["samples"]["sha256"] = hashlib.sha256(beside.read_bytes()).hexdigest()
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("arrays", "why"),
    [
        ({"fid_influence_fake": np.full(40, 1e308)}, "fid_influence_fake is not finite"),
        ({"fid_influence_fake": np.full(40, np.nan)}, "fid_influence_fake is not finite"),
        ({"fid_influence_fake": np.zeros((40, 2))}, r"fid_influence_fake is of shape \(40, 2\)"),
        ({"fake_input_digests": np.zeros(40)}, "fake_input_digests is of shape .*float64; expected one unsigned"),
        ({"realism_fake": np.array(["x"] * 40)}, "realism_fake is of shape .*<U1; expected one number"),
        ({"realism_fake": np.zeros(50)}, "the arrays of fake images differ in length"),
        ({"nearest_real_fake": np.full(40, 99)}, "nearest_real_fake has values outside 0 to 39"),
        ({"x": np.array([{}])}, "cannot be read: the member 'x'"),
    ],
)
def test_arrays_that_are_something_else_are_not_taken(arrays: dict[str, Any], why: str, tmp_path: Path) -> None:
    path = tmp_path / "R.json"
    write_run(path)
    rewritten(path, realism_fake=np.full(40, np.inf))  # a fake with all the features of a real
    assert read_record(path).missing is None
    rewritten(path, **arrays)
    again = read_record(path)
    assert dict(again.arrays) == {}
    assert re.search(why, str(again.missing))


def test_metrics_that_are_not_known_here_are_compared_by_what_their_results_say() -> None:
    runs = [record(result(value, 0.1, name="fid")) for value in (1.0, 2.0, 4.0)]
    for run in runs:
        (entry,) = run.evaluation.results.values()
        object.__setattr__(entry, "name", "later")
        object.__setattr__(run.evaluation, "results", {"later": entry})
    assert compare(runs[0], runs[2]).rows[0].better == "A"
    assert suggest(runs)[0][0].kind == "max"


@pytest.mark.parametrize("limit", [1e300, -1e300])
def test_limits_beyond_all_values(limit: float) -> None:
    """Any finite limit is accepted, and arithmetic on it stays finite."""
    run, before = record(result(10.0, 1.0)), record(result(9.0, 1.0))
    for rule in ({"max": limit}, {"max-regression": {"abs": limit}}, {"max-regression": {"rel": limit}}):
        verdict = judge(gate({"fid": rule}), run, before)
        assert verdict.outcome == ("pass" if limit > 0 else "fail")
        json.dumps(verdict.to_dict(), allow_nan=False)
