"""Documents in files: what is written comes back, and what does not belong to it is not taken."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from support.gates import record, result

from ganeval.errors import InputError
from ganeval.records import read_record, write_record

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
    assert "its hash is another" in str(again.missing)
    beside.unlink()
    assert "is not beside R.json" in str(read_record(path).missing)


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
