"""Provenance inside a file of statistics: one JSON text, the member ``meta``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from ganeval.errors import InputError
from ganeval.parsing.documents import DocumentError, parse_json, plain, typed
from ganeval.parsing.result_document import ImageSet
from ganeval.protocol import Protocol

_ADVICE = "Build the file again."


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """How statistics were made."""

    protocol: Protocol | None = None
    source: ImageSet | None = None
    environment: dict[str, Any] | None = None
    warnings: list[str] = []
    note: str | None = None


def read_provenance(text: str, path: Path) -> Mapping[str, Any] | None:
    """The provenance of a file; None where the member is another tool's, which names no protocol.

    Raises:
        InputError: no JSON, or not what ``Provenance`` declares.
    """
    try:
        tree = parse_json(text)
        if not isinstance(tree, dict):
            return None
        try:
            typed(tree, Provenance)
        except DocumentError:
            if "protocol" not in tree:
                return None
            raise
    except DocumentError as error:
        raise InputError(f"{path}: its provenance cannot be read (meta: {error}). {_ADVICE}") from error
    return tree


def protocol_of(meta: Mapping[str, Any], spec: str) -> Protocol | None:
    """The protocol under which statistics were made, where their provenance names one.

    Raises:
        InputError: it is incomplete.
    """
    if meta.get("protocol") is None:
        return None
    try:
        return typed(plain(meta["protocol"]), Protocol)
    except DocumentError as error:
        raise InputError(f"the protocol in {spec} cannot be used ({error}). {_ADVICE}") from error
