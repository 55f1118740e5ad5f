"""JSON Schemas follow from the declarations, and real documents and rules are valid under them."""

from __future__ import annotations

import json
import tomllib
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from support.documents import RULES, write_run
from support.gates import record, result
from support.results import EXAMPLE
from support.schemas import require_valid

from ganeval.cli.main import ganeval_command, main
from ganeval.cli.schemas import config_schema, gate_schema, result_schema
from ganeval.parsing.layout import to_json
from ganeval.parsing.result_document import Entry, RunDocument
from ganeval.results import Evaluation


def valid(document: object, schema: dict[str, Any]) -> bool:
    checker = jsonschema.Draft202012Validator(schema)
    checker.check_schema(schema)
    return checker.is_valid(document)


def test_documents_as_they_are_written(tmp_path: Path) -> None:
    schema = result_schema()
    tree = write_run(tmp_path / "A.json")
    require_valid(tree)
    jsonschema.validate({key: value for key, value in tree.items() if key != "$schema"}, schema)  # an older one
    jsonschema.validate(json.loads(to_json(record(result(error=None)).evaluation.to_dict())), schema)
    assert valid({"schema": "ganeval/1", "error": {"kind": "input", "message": "no"}}, schema)
    assert not valid({"schema": "ganeval/1"}, schema)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("results", "fid", "value"), "1"), (("results", "fid", "protocol"), None), (("results",), []),
        (("results", "fid", "interval", "low"), None), (("results", "fid", "standard_error"), 0),
        (("schema",), "other"), (("$schema",), "urn:ganeval:schema:config:1"), (("$schema",), None),
        (("results", "fid", "details", "floor"), 3), (("notes",), 5), (("gate", "checks"), {}),
    ],
)  # fmt: skip
def test_what_the_reader_refuses_is_not_valid(place: tuple[str, ...], value: object, tmp_path: Path) -> None:
    tree = deepcopy(write_run(tmp_path / "A.json"))
    holder = tree
    for step in place[:-1]:
        holder = holder[step]
    holder[place[-1]] = value
    assert not valid(tree, result_schema())


def test_every_key_that_is_written_is_declared() -> None:
    run: Evaluation = record(result()).evaluation
    assert set(run.to_dict()) <= set(RunDocument.__struct_encode_fields__)
    assert set(EXAMPLE.to_dict()) <= set(Entry.__struct_encode_fields__)


def test_rules() -> None:
    schema = gate_schema()
    table: Any = RULES["gate"]
    jsonschema.validate({**table, "device": "cpu"}, schema)  # and an option of the command
    for rule in ({"maximum": 1}, {"max": "1"}, {"max": 1, "level": 95}, {"max": 1, "min-samples": 0}):
        assert not valid({**table, "rules": {"fid": rule}}, schema)


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    return config_schema(ganeval_command)


@pytest.mark.parametrize(
    ("text", "sound"),
    [
        ('protocol = "compact"\nworkers = 2\njson = true\n', True),
        ('protocol = "compact"\n[kid]\nnum-samples = 100\nfeature-memory = "64MB"\n', True),
        ('weights = ["inception=a.pth"]\n[report]\noutput = "x.html"\n', True),
        ('report = "x.html"\n[gate]\nprotocol = "compact"\n[gate.rules.fid]\nmax = 10.0\n', True),
        ("[gate.rules.kid]\nmax-regression = { rel = 0.05 }\n[gate.scores.hps]\nmin = 0.2\n", True),
        ("protcol = 'compact'\n", False),
        ("[kid]\nnum_samples = 100\n", False),
        ("[kid]\nnum-samples = 0\n", False),
        ("workers = [1]\n", False),
        ("[gate.rules.fid]\nmaximum = 10.0\n", False),
        ("kid = 3\n", False),
        ('"$schema" = "urn:ganeval:schema:config:1"\n[gate.rules.fid]\nmax = 1.0\n', True),
        ('"$schema" = "urn:ganeval:schema:config:2"\n', False),
        ('[kid]\n"$schema" = "urn:ganeval:schema:config:1"\n', False),
    ],
)
def test_the_schema_of_the_configuration_agrees_with_its_reader(
    text: str, sound: bool, config: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert valid(tomllib.loads(text), config) is sound
    (tmp_path / "ganeval.toml").write_text(text)
    command = "gate" if "gate" in text else "kid"
    assert main([command, "absent-a", "absent-b", "--config", str(tmp_path / "ganeval.toml")]) == 2
    assert ("ganeval.toml" not in capsys.readouterr().err) is sound


def test_schemas_are_printed(capsys: pytest.CaptureFixture[str], config: dict[str, Any]) -> None:
    for name, expected in (("result", result_schema()), ("config", config)):
        assert main(["schema", name]) == 0
        assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(expected))
