"""Deterministic mutations of documents and of bytes, and a driver that holds a reader to its promise.

Every file that a user can name may hold anything. The promise is the same for each reader: a value, or one
GanEvalError; no other exception, no hang, no memory beyond a bound. The tests of JSON and TOML documents
(``tests/parsing/test_documents_mutated.py``) use this module, and so may those of any other reader: give ``drive``
cases of bytes (``mutated_bytes`` makes them of any file, ``mutated_json`` and ``mutated_toml`` of documents) and a
function that takes a path. Case ``i`` of a name is the same on every machine.

    failures = drive("npy", cases("npy", 200, lambda rng: mutated_bytes(original, rng)), tmp_path / "x.npy", read)
    assert not failures, failures
"""

from __future__ import annotations

import json
import random
import resource
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from ganeval.errors import GanEvalError

SECONDS = 10.0
MEMORY = 2 * 2**30  # bytes, of the whole process
_DEEP = 100_000


class Raw(str):
    """A piece of a document that is written as it is: what no library would write."""


class Again(str):
    """A key that stands beside its equal in a dictionary, and so twice in the document."""

    __slots__ = ()
    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other


_SCALARS: tuple[object, ...] = (
    None, True, False, 0, 1, -1, 5, 2**53 + 1, 2**63, 2**64, -(2**63) - 1, 10**19, 10**400, 0.0, -0.0, 0.5, -1.5,
    5e-324, 1e-300, 1e-70, 1e15, 1e70, -1e70, 1e308, -1e308, "", "text", "NaN", "1", "\x00", "a" * 5000, "\u202e",
    "../../x", "[0]",
)  # fmt: skip
_CONTAINERS: tuple[object, ...] = ([], {}, [[]], [None], [0], ["text"], {"": None}, {"a": 1}, {"n": 1}, [{}, 1, "x"])
_JSON_ONLY = tuple(
    map(
        Raw,
        (
            "NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1e-999", "1" * 5000, "01", '"\\ud800"', '"\\udc00x"',
            "[" * _DEEP + "]" * _DEEP, '{"a":' * _DEEP + "1" + "}" * _DEEP, "[" * 900 + "]" * 900, "", "nul", "'a'",
        ),
    )
)  # fmt: skip
_TOML_ONLY = tuple(
    map(
        Raw,
        (
            "nan", "inf", "-inf", "1e999", "1" * 5000, "[" * _DEEP + "]" * _DEEP, "[" * 400 + "]" * 400,
            "{a=" * 400 + "1" + "}" * 400, "1979-05-27", "07:32:00", "1979-05-27T07:32:00Z", "0x" + "f" * 500, "",
            "'a'",
        ),
    )
)  # fmt: skip


def cases(name: str, count: int, make: Callable[[random.Random], bytes], *, start: int = 0) -> Iterator[bytes]:
    """``count`` mutations, each of a random generator that only its name and number seed."""
    for i in range(start, start + count):
        yield make(random.Random(f"{name}:{i}"))


def mutated_json(tree: object, rng: random.Random) -> bytes:
    """One to three mutations of the values, sometimes of the bytes too."""
    text = _json(mutated_tree(tree, rng, _JSON_ONLY)).encode("utf-8", "surrogatepass")
    return mutated_bytes(text, rng) if rng.random() < 0.15 else text


def mutated_toml(table: dict[str, Any], rng: random.Random) -> bytes:
    """Likewise of a TOML document, whose tables are written inline."""
    changed = mutated_tree(table, rng, _TOML_ONLY)
    if not isinstance(changed, dict):
        changed = {"value": changed}
    text = "".join(f"{json.dumps(str(k))} = {_toml(v)}\n" for k, v in changed.items()).encode("utf-8", "surrogatepass")
    return mutated_bytes(text, rng) if rng.random() < 0.15 else text


def mutated_tree(tree: object, rng: random.Random, extra: tuple[object, ...] = ()) -> Any:
    """A copy with one to three changes: a value replaced, removed, renamed, doubled, wrapped, moved or repeated."""
    changed: Any = deepcopy(tree)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        places = list(_places(changed))
        if not places:
            return rng.choice(_SCALARS)
        holder, key = rng.choice(places)
        if rng.random() < 0.01:
            return rng.choice(_SCALARS + _CONTAINERS + extra)
        rng.choice(_CHANGES)(holder, key, places, rng, extra)
    return changed


def mutated_bytes(data: bytes, rng: random.Random) -> bytes:
    """A file cut, lengthened, overwritten or shuffled in a few places."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at, length = rng.randrange(len(changed) + 1), min(len(changed), rng.choice((1, 1, 2, 4, 16, 256)))
        pieces = (b"", b"\x00", b"\xff" * length, rng.randbytes(length), bytes(changed[:length]), b"\xef\xbb\xbf")
        piece = rng.choice(pieces)
        kind = rng.randrange(6)
        if kind == 0:
            del changed[at:]
        elif kind == 1:
            del changed[at : at + length]
        elif kind == 2:
            changed[at:at] = piece
        elif kind == 3:
            changed[at : at + length] = piece
        elif kind == 4 and at < len(changed):
            changed[at] ^= 1 << rng.randrange(8)
        else:
            changed += changed[at : at + 4096]
    return bytes(changed)


@dataclass(frozen=True, slots=True)
class Failure:
    """A case that broke the promise; ``kind`` is the exception's class, ``hang``, ``memory`` or ``exit N``."""

    name: str
    number: int
    kind: str
    told: str
    data: bytes


class HangError(BaseException):
    """Not an Exception, so that nothing on the way takes it for a damaged file."""


def drive(
    name: str,
    documents: Iterable[bytes],
    path: Path,
    read: Callable[[Path], object],
    *,
    codes: tuple[int, ...] | None = None,
    seconds: float = SECONDS,
    memory: int = MEMORY,
    start: int = 0,
) -> list[Failure]:
    """Write each document to ``path`` and read it.

    Args:
        read: returns anything, or raises GanEvalError; with ``codes`` it returns an exit code.
        codes: exit codes that keep the promise.
        memory: of the process, at its highest; the first case above it is the failure.

    Returns:
        The cases that broke the promise.
    """
    failures = []
    reported = peak_memory() > memory
    for number, data in enumerate(documents, start):
        path.write_bytes(data)
        kind = told = None
        try:
            with _at_most(seconds):
                code = read(path)
            if codes is not None and code not in codes:
                kind, told = f"exit {code}", ""
        except GanEvalError as error:
            if not str(error).strip():
                kind, told = "empty message", repr(error)
        except HangError:
            kind, told = "hang", f"more than {seconds} s"
        except Exception as error:
            kind, told = type(error).__name__, str(error)[:300]
        if kind is None and not reported and peak_memory() > memory:
            reported, kind, told = True, "memory", f"{peak_memory() / 2**30:.1f} GB"
        if kind is not None:
            failures.append(Failure(name, number, kind, told or "", data))
    return failures


def peak_memory() -> int:
    """Bytes that this process has held at most."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    def stop(signum: int, frame: FrameType | None) -> None:
        raise HangError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# --- changes of a tree ------------------------------------------------------------------------------------------------

Places = list[tuple[Any, Any]]


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """(holder, key or index) of every value inside."""
    for key in list(tree) if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ():
        yield tree, key
        yield from _places(tree[key])


def _replace(holder: Any, key: Any, places: Places, rng: random.Random, extra: tuple[object, ...]) -> None:
    pool = rng.choice((_SCALARS, _SCALARS, _CONTAINERS, extra or _SCALARS))
    holder[key] = deepcopy(rng.choice(pool))


def _near(holder: Any, key: Any, places: Places, rng: random.Random, extra: tuple[object, ...]) -> None:
    """Another value of the same type: a wrong one is then not found by its type."""
    value = holder[key]
    if isinstance(value, bool) or value is None:
        holder[key] = not value
    elif isinstance(value, int | float):
        holder[key] = rng.choice(
            (-value, 0, value * 10**6, value * 1e60, value + 1, float(value), 1e308, 5e-324, 1e-70, -1)
        )
    elif isinstance(value, str):
        holder[key] = rng.choice((value[:-1], value * 50, value.upper(), value + "\n", value[::-1], ""))
    else:
        _remove(holder, key, places, rng, extra)


def _remove(holder: Any, key: Any, places: Places, rng: random.Random, extra: tuple[object, ...]) -> None:
    del holder[key]


def _rename(holder: Any, key: Any, places: Places, rng: random.Random, extra: tuple[object, ...]) -> None:
    if isinstance(holder, dict):
        holder[rng.choice(("", "x", f"{key}s", str(key).upper(), "\ud800", "a.b", "__class__"))] = holder.pop(key)
    else:
        holder.insert(key, None)


def _double(holder: Any, key: Any, places: Places, rng: random.Random, extra: tuple[object, ...]) -> None:
    """The same key twice in one object, or the same element twice."""
    if isinstance(holder, dict):
        holder[Again(key)] = deepcopy(rng.choice(_SCALARS + _CONTAINERS)) if rng.random() < 0.5 else holder[key]
    else:
        holder.insert(key, deepcopy(holder[key]))


def _wrap(holder: Any, key: Any, places: Places, rng: random.Random, extra: tuple[object, ...]) -> None:
    value = holder[key]
    for _ in range(rng.choice((1, 1, 2, 30, 60, 100))):
        value = [value] if rng.random() < 0.5 else {"a": value}
    holder[key] = value


def _move(holder: Any, key: Any, places: Places, rng: random.Random, extra: tuple[object, ...]) -> None:
    other, place = rng.choice(places)
    holder[key] = deepcopy(other[place])


def _repeat(holder: Any, key: Any, places: Places, rng: random.Random, extra: tuple[object, ...]) -> None:
    value = holder[key]
    many = rng.choice((2, 50, 1000))
    if isinstance(value, list) and len(str(value)) * many < 10**6:
        holder[key] = value * many
    elif isinstance(holder, dict) and len(str(value)) * many < 10**6:
        for i in range(many):
            holder[f"{key}{i}"] = value


def _text(holder: Any, key: Any, places: Places, rng: random.Random, extra: tuple[object, ...]) -> None:
    holder[key] = str(holder[key])[:1000]


_CHANGES = (_replace, _replace, _replace, _near, _near, _remove, _rename, _double, _wrap, _move, _repeat, _text)


# --- writing what no library would write ------------------------------------------------------------------------------


def _json(value: Any) -> str:
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(str(k))}: {_json(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_json, value)) + "]"
    return json.dumps(value)


def _toml(value: Any) -> str:
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(str(k))} = {_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return '"none"' if value is None else json.dumps(value)
