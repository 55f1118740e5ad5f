"""JSON Schemas (2020-12) of the documents that other programs read or write, from their declarations."""

from __future__ import annotations

from typing import Any

import msgspec

from ganeval.gate.rules import GateTable
from ganeval.gate.verdict import VerdictDocument
from ganeval.parsing.result_document import FailureDocument, RunDocument

_DRAFT = "https://json-schema.org/draft/2020-12/schema"


def result_schema() -> dict[str, Any]:
    """The schema of ``ganeval/1``: a run with results, with or without the verdict of a gate, or a failure."""
    kinds = (RunDocument, VerdictDocument, FailureDocument)
    (run, verdict, failure), definitions = msgspec.json.schema_components(kinds, ref_template="#/$defs/{name}")
    judged = {"type": "object", "properties": {"gate": verdict}}
    return {"$schema": _DRAFT, "title": "ganeval/1", "oneOf": [{"allOf": [run, judged]}, failure], "$defs": definitions}


def gate_schema() -> dict[str, Any]:
    """The schema of the table ``[gate]`` of ganeval.toml, ``[tool.ganeval.gate]`` of pyproject.toml."""
    return {"$schema": _DRAFT, "title": "gate", **msgspec.json.schema(GateTable)}
