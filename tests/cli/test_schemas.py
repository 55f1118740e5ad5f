"""JSON Schemas follow from the declarations, and real documents and rules are valid under them."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from support.documents import RULES, write_run
from support.gates import record, result
from support.results import EXAMPLE

from ganeval.cli.schemas import gate_schema, result_schema
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
    jsonschema.validate(tree, schema)
    jsonschema.validate(json.loads(to_json(record(result(error=None)).evaluation.to_dict())), schema)
    assert valid({"schema": "ganeval/1", "error": {"kind": "input", "message": "no"}}, schema)
    assert not valid({"schema": "ganeval/1"}, schema)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("results", "fid", "value"), "1"), (("results", "fid", "protocol"), None), (("results",), []),
        (("results", "fid", "interval", "low"), None), (("results", "fid", "standard_error"), 0),
        (("schema",), "other"),
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
    assert set(run.to_dict()) <= set(RunDocument.__struct_fields__)
    assert set(EXAMPLE.to_dict()) <= set(Entry.__struct_fields__)


def test_rules() -> None:
    schema = gate_schema()
    table: Any = RULES["gate"]
    jsonschema.validate({**table, "device": "cpu"}, schema)  # and an option of the command
    for rule in ({"maximum": 1}, {"max": "1"}, {"max": 1, "level": 95}, {"max": 1, "min-samples": 0}):
        assert not valid({**table, "rules": {"fid": rule}}, schema)
