"""An entry of the cache, and its file: a hash of what follows, then safetensors. Nothing is ever unpickled."""

from __future__ import annotations

import hashlib
import json
import struct
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from ganeval.images.types import Findings
from ganeval.parsing.documents import Count, parse_json, typed

_HASH_BYTES = 32
_COUNTS = ("notes", "formats", "pixels")


@dataclass(slots=True)
class Entry(Findings):
    """The cached features of a block of files, and what decoding them found.

    Attributes:
        rows: (n, d) float32, one for each file, in order.
        digests: (n,) uint64, of their pixels; see ``ganeval.images.decode.digest``.
        spec: the name of the image set when the entry was written, for people.
    """

    rows: np.ndarray
    digests: np.ndarray
    spec: str = ""


class _Head(msgspec.Struct):
    """The header of a safetensors file, as far as it is read here."""

    metadata: dict[str, str] = msgspec.field(name="__metadata__")


def packed(entry: Entry) -> bytes:
    """Encode an entry: the hash of what follows, then a safetensors file."""
    metadata = {
        **{name: json.dumps(dict(getattr(entry, name))) for name in _COUNTS},
        "spec": entry.spec.encode(errors="backslashreplace").decode(),  # a path need not be UTF-8
    }
    rows: np.ndarray = np.ascontiguousarray(entry.rows, np.float32)
    data = save({"rows": rows, "digests": np.asarray(entry.digests, np.uint64)}, metadata=metadata)
    return hashlib.blake2b(data, digest_size=_HASH_BYTES).digest() + data


def unpacked(data: bytes, files: int) -> Entry | None:
    """Decode an entry of ``files`` files; None where it is damaged."""
    view = memoryview(data)
    if hashlib.blake2b(view[_HASH_BYTES:], digest_size=_HASH_BYTES).digest() != data[:_HASH_BYTES]:
        return None
    try:
        arrays, metadata = load(data[_HASH_BYTES:]), _metadata(data[_HASH_BYTES:])
        rows, digests = arrays["rows"], arrays["digests"]
        if not len(rows) == len(digests) == files or (rows.ndim, digests.ndim) != (2, 1):
            return None
        if rows.dtype != np.float32 or digests.dtype != np.uint64:
            return None
        counts = {name: Counter(typed(parse_json(metadata.get(name, "{}")), dict[str, Count])) for name in _COUNTS}
        return Entry(np.array(rows), np.array(digests), metadata["spec"], **counts)
    except (SafetensorError, KeyError, ValueError, TypeError, struct.error):
        return None


def _metadata(data: bytes) -> dict[str, str]:
    (length,) = struct.unpack("<Q", data[:8])
    return typed(parse_json(data[8 : 8 + length]), _Head).metadata


def spec_of(path: Path) -> str | None:
    """The ``spec`` of an entry, from its header, without a check of its hash; None where it is damaged."""
    try:
        with path.open("rb") as file:
            file.seek(_HASH_BYTES)
            head = file.read(8)
            (length,) = struct.unpack("<Q", head)
            return _metadata(head + file.read(min(length, 2**20)))["spec"]
    except (OSError, ValueError, KeyError, TypeError, struct.error):
        return None
