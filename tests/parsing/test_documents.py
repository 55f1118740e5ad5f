"""The strict reader of documents: what it refuses, and how it says where."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import pytest

from ganeval.errors import InputError, WeightsError
from ganeval.parsing.documents import (
    MAX_BYTES,
    MAX_DEPTH,
    Count,
    DocumentError,
    Number,
    parse_json,
    parse_toml,
    plain,
    read_json,
    typed,
)


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    low: Number
    n: Count | None = None
    kind: Literal["one", "two"] = "one"
    ends: tuple[Count, Count] | None = None
    table: dict[str, float] = {}

    def __post_init__(self) -> None:
        if self.n == 13:
            raise ValueError("n is 13, expected luck")


class Outer(msgspec.Struct):
    results: dict[str, Inner]


@pytest.mark.parametrize(
    ("inner", "message"),
    [
        ({"low": "x"}, 'results."b.c".low: found "x", expected a number'),
        ({"low": True}, 'results."b.c".low: found true, expected a number'),
        ({"low": 1e80}, 'results."b.c".low: found 1e+80, expected a number of at most 1e+50'),
        ({"low": 10**400}, "expected a number that a float can hold"),
        ({"low": 1, "n": 1.5}, 'results."b.c".n: found 1.5, expected a whole number or null'),
        ({"low": 1, "n": -1}, 'results."b.c".n: found -1, expected a whole number of at least 0'),
        ({"low": 1, "n": 13}, 'results."b.c": n is 13, expected luck'),
        ({"low": 1, "kind": "three"}, 'results."b.c".kind: found "three", expected one of one, two'),
        ({"low": 1, "ends": [1, "x"]}, 'results."b.c".ends[1]: found "x", expected a whole number'),
        ({"low": 1, "table": {"a b": 1, "z": None}}, 'results."b.c".table.z: found null, expected a number'),
        ({"low": 1, "lo": 1}, "there is no key 'lo'; available: low, n, kind, ends, table. Did you mean 'low'?"),
        ({}, "results.\"b.c\": the key 'low' is missing"),
        (3, 'results."b.c": found 3, expected an object'),
    ],
)
def test_a_wrong_type_is_found_at_its_place_among_good_ones(inner: object, message: str) -> None:
    good = {"low": 1}
    with pytest.raises(DocumentError) as found:
        typed({"results": {"a": good, "b.c": inner, "d": good}}, Outer)
    assert message in str(found.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'{"a": NaN}', "a: found nan, expected a finite number"),
        (b'{"a": [0, 1e999]}', r"a\[1\]: found inf, expected a finite number"),
        (b'{"a": -Infinity}', "a: found -inf"),
        (b'{"a": {"b": ' + b"1" * 30 + b"}}", "a.b: found a whole number of more than 64 bits"),
        (b"1" * 5000, "a whole number has thousands of digits"),
        (b"[" * 100_000 + b"]" * 100_000, "nested more than 64 levels deep"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested more than 64 levels deep"),
        (b"[" * (MAX_DEPTH + 2) + b"]" * (MAX_DEPTH + 2), "nested more than 64 levels deep"),
        (b'{"a": 1, "a": 2}', 'the key "a" is there twice in one object'),
        (b'{"a": "\xff"}', r"not UTF-8 text \(byte 7\)"),
        (b"", "it is not JSON"),
        (b"{'a': 1}", "it is not JSON"),
    ],
)
def test_json_iv(text: bytes, message: str) -> None:
    with pytest.raises(DocumentError, match=message):
        parse_json(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"a = " + b"[" * 100_000 + b"]" * 100_000, "nested more than 64 levels deep"),
        (b"a = " + b"[" * 80 + b"]" * 80, "nested more than 64 levels deep"),
        (b".".join([b"a"] * 5000) + b" = 1", "nested more than 64 levels deep"),
        (b"a = " + b"1" * 5000, "thousands of digits"),
        (b"a = 0x" + b"f" * 50, "more than 64 bits"),
        (b"a = 1\na = 2", "it is not TOML"),
        (b"a = '\xff'", "not UTF-8 text"),
    ],
)
def test_toml_iv(text: bytes, message: str) -> None:
    with pytest.raises(DocumentError, match=message):
        parse_toml(text)


def test_what_is_sound_comes_through(tmp_path: Path) -> None:
    assert parse_json(b'\xef\xbb\xbf{"a": [1, -2.5, null, "\\ud83d\\ude00"]}') == {"a": [1, -2.5, None, "\U0001f600"]}
    deepest = b"[" * MAX_DEPTH + b"]" * MAX_DEPTH
    assert parse_json(deepest) is not None
    assert parse_toml(b"a = nan\n")["a"] != parse_toml(b"a = 1\n")["a"]
    path = tmp_path / "x.json"
    path.write_text('{"results": {"a": {"low": 1}}, "later": [1]}')  # a key of a later version
    assert read_json(path, Outer, what="x", advice="") == Outer({"a": Inner(1.0)})


def test_text_that_is_not_unicode() -> None:
    """Names of files may hold it, keys may not."""
    with pytest.raises(DocumentError, match=r'it holds text that is not Unicode: "\\ud800"'):
        typed({"results": {}, "\ud800": 1}, Outer)
    with pytest.raises(DocumentError, match="results.a.low: found null, expected a number"):
        typed({"results": {"a": {"low": None}}, "\ud800": 1}, Outer)


def test_files_iv(tmp_path: Path) -> None:
    def read(path: Path) -> object:
        return read_json(path, Outer, what="model card", advice="Copy it again.", error=WeightsError)

    with pytest.raises(WeightsError, match=r"none\.json does not exist: expected a model card\. Copy it again\."):
        read(tmp_path / "none.json")
    with pytest.raises(WeightsError, match="cannot be read: Is a directory"):
        read(tmp_path)
    with pytest.raises(WeightsError, match="cannot be read"):
        read(tmp_path / "a\x00b")
    path = tmp_path / "x.json"
    path.write_text('{"results": {"a": {}}}')
    with pytest.raises(WeightsError, match="is not a valid model card: results.a: the key 'low' is missing. Copy it"):
        read(path)
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(WeightsError, match="too large for a model card: more than 16 MB"):
        read(path)


def test_plain_values_of_python() -> None:
    found = plain({"a": (np.float64(1.5), np.int64(2), np.bool_(True)), 3: np.float32(0.5)})
    assert found == {"a": [1.5, 2, True], "3": 0.5}
    assert [type(x) for x in found["a"]] == [float, int, bool]
    with pytest.raises(DocumentError, match="ndarray, which JSON cannot represent"):
        plain({"a": np.zeros(3)})
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(DocumentError, match="levels deep"):
        plain(loop)


def test_input_error_is_the_usual_one(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        read_json(tmp_path / "x", Outer, what="x", advice="")
