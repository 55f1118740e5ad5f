"""A misspelt variable is said; one that something reads is not."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

import ganeval
from ganeval.cli.main import ganeval_command, main
from ganeval.cli.variables import OTHERS, _of_options

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in [name for name in os.environ if name.startswith("GANEVAL_")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("GANEVAL_PROTOCOLL", " Did you mean 'GANEVAL_PROTOCOL'?"),
        ("GANEVAL_BATCHSIZE", " Did you mean 'GANEVAL_BATCH_SIZE'?"),
        ("GANEVAL_OFLINE", " Did you mean 'GANEVAL_OFFLINE'?"),
        ("GANEVAL_ZZZZZZZZZZ", ""),
    ],
)
def test_unknown_ones_are_named_once(name: str, advice: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "1")
    assert main(["cite", "fid"]) == 0
    out, err = capsys.readouterr()
    assert "@inproceedings" in out
    assert err.splitlines() == [f"warning: unknown environment variable {name}: nothing reads it.{advice}"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GANEVAL_BATCH_SIZE", "8"),  # of other commands than this one
        ("GANEVAL_OFFLINE", "1"),
        ("GANEVAL_TEST_DATA", "somewhere"),
        ("OTHER_PROTOCOLL", "1"),
    ],
)
def test_known_ones_are_not(name: str, value: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    assert main(["cite", "fid"]) == 0
    assert capsys.readouterr().err == ""


def test_every_variable_that_the_package_reads_is_known() -> None:
    assert isinstance(ganeval_command, click.Group)
    known = {*OTHERS, *_of_options(ganeval_command)}
    assert {"GANEVAL_PROTOCOL", "GANEVAL_GATE_STRICT", "GANEVAL_SHARD", "GANEVAL_JSON"} <= known  # groups' commands too
    package = Path(str(ganeval.__file__)).parent
    read = {
        name
        for path in package.rglob("*.py")
        for name in re.findall(r"[\"']GANEVAL_([A-Z][A-Z_]*)[\"']", path.read_text(encoding="utf-8"))
    }
    assert "RANK_TIMEOUT" in read
    assert {f"GANEVAL_{name}" for name in read} <= known
