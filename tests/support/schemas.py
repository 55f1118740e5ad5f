"""The JSON Schema that a document names, and whether it is valid under it."""

from __future__ import annotations

from typing import Any

import jsonschema

from ganeval.cli.main import ganeval_command
from ganeval.cli.schemas import config_schema, result_schema


def require_valid(document: dict[str, Any]) -> None:
    """Raise unless ``$schema``, the first key, names a schema that ``ganeval schema`` prints and that allows this."""
    schemas = {schema["$id"]: schema for schema in (result_schema(), config_schema(ganeval_command))}
    assert next(iter(document)) == "$schema"
    jsonschema.Draft202012Validator(schemas[document["$schema"]]).validate(document)
