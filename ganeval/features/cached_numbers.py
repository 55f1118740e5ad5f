"""Numbers that take long and depend only on a reference, stored in the cache's folder next to the features."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import msgspec

from ganeval.errors import InputError
from ganeval.files import written_whole
from ganeval.parsing.documents import DocumentError, read_json_tree, typed

FOLDER = "numbers"
T = TypeVar("T")


def remembered(folder: Path, key: Mapping[str, object], kind: type[T], compute: Callable[[], T]) -> T:
    """The stored result of ``compute()`` for this key, or a new one.

    A folder that cannot be written to costs time, and never a run. A file that is not a ``kind`` is computed again.

    Args:
        kind: a dataclass of numbers and strings.
    """
    name = hashlib.blake2b(json.dumps(dict(key), sort_keys=True).encode(), digest_size=16).hexdigest()
    path = folder / FOLDER / f"{name}.json"
    with suppress(OSError, InputError, DocumentError):
        return typed(read_json_tree(path, what="kept number", advice=""), kind)
    found = compute()
    with suppress(OSError, InputError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as temporary:
            temporary.write_text(json.dumps(msgspec.to_builtins(found), sort_keys=True), encoding="utf-8")
    return found


def forget(folder: Path) -> None:
    """Remove all of them."""
    with suppress(OSError):
        for path in (folder / FOLDER).glob("*.json"):
            path.unlink(missing_ok=True)
        (folder / FOLDER).rmdir()
