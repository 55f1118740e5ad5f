"""JSON Schemas (2020-12) of the documents that other programs read or write, from their declarations."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click
import msgspec

from ganeval.cli.variables import children, parameters
from ganeval.gate.rules import GateTable
from ganeval.gate.verdict import UnmeasuredDocument, VerdictDocument
from ganeval.parsing.layout import SCHEMA, SCHEMA_IDS
from ganeval.parsing.result_document import FailureDocument, RunDocument

_DRAFT = "https://json-schema.org/draft/2020-12/schema"


def result_schema() -> dict[str, Any]:
    """The schema of ``ganeval/1``: a run with results, with or without the verdict of a gate, or a failure.

    The verdict is alone where nothing could be measured.
    """
    kinds = (RunDocument, VerdictDocument, UnmeasuredDocument, FailureDocument)
    parts, definitions = msgspec.json.schema_components(kinds, ref_template="#/$defs/{name}")
    run, verdict, unmeasured, failure = parts
    judged = {"type": "object", "properties": {"gate": verdict}}
    alone = {"not": {"required": ["results"]}}
    return {
        "$schema": _DRAFT,
        "$id": SCHEMA_IDS["result"],
        "title": SCHEMA,
        "oneOf": [{"allOf": [run, judged]}, {"allOf": [unmeasured, alone]}, failure],
        "$defs": definitions,
    }


def gate_schema() -> dict[str, Any]:
    """The schema of the table ``[gate]`` of ganeval.toml, ``[tool.ganeval.gate]`` of pyproject.toml."""
    return {"$schema": _DRAFT, "title": "gate", **msgspec.json.schema(GateTable)}


def config_schema(group: click.Group) -> dict[str, Any]:
    """The schema of ganeval.toml, ``[tool.ganeval]`` of pyproject.toml.

    Keys are the options of all commands, and a table for each command. A value may always be the text that the command
    line takes.

    Args:
        group: of all commands.
    """
    tables: dict[str, Any] = {}
    everyone: dict[str, list[dict[str, Any]]] = {}
    for name, command in children(group).items():
        options = _options(parameters(command))
        tables[name] = {"type": "object", "properties": options, "additionalProperties": False}
        for key, kind in options.items():
            kinds = everyone.setdefault(key, [])
            kinds += [kind] if kind not in kinds else []
    definitions = gate_schema()["$defs"]
    tables["gate"]["properties"] |= definitions.pop("GateTable")["properties"]
    for name, table in tables.items():
        everyone.setdefault(name, []).append(table)
    return {
        "$schema": _DRAFT,
        "$id": SCHEMA_IDS["config"],
        "title": "ganeval.toml",
        "type": "object",
        "properties": {"$schema": {"const": SCHEMA_IDS["config"]}}
        | {key: kinds[0] if len(kinds) == 1 else {"anyOf": kinds} for key, kinds in everyone.items()},
        "additionalProperties": False,
        "$defs": definitions,
    }


def _options(declared: Iterable[click.Parameter]) -> dict[str, dict[str, Any]]:
    """The schema of each option by its long name."""
    return {
        name.removeprefix("--"): _value(one)
        for one in declared
        if isinstance(one, click.Option)
        for name in one.opts
        if name.startswith("--") and name not in ("--help", "--version", "--config")
    }


def _value(one: click.Option) -> dict[str, Any]:
    kind = _of_type(one.type)
    if one.multiple:
        kind = {"anyOf": [kind, {"type": "array", "items": kind}]}
    return {"description": one.help, **kind} if one.help else kind


def _of_type(kind: click.ParamType[Any]) -> dict[str, Any]:
    """What a file may hold: the value itself, or its text; of a choice only the text."""
    if isinstance(kind, click.Choice):
        return {"enum": list(map(str, kind.choices))}
    if isinstance(kind, click.types.BoolParamType):
        return {"type": ["boolean", "string"]}
    if isinstance(kind, click.types.IntParamType):
        least = getattr(kind, "min", None)
        return {"type": ["integer", "string"], **({} if least is None else {"minimum": least})}
    if isinstance(kind, click.types.FloatParamType):
        return {"type": ["number", "string"]}
    if hasattr(kind, "takes"):  # a size, a range, a list: also as a number or an array
        return {"type": ["string", "number", "array"]}
    return {"type": "string"}
