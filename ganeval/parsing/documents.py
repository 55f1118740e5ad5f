"""Documents from outside: JSON and TOML, parsed strictly, then checked against the type that declares them.

A type is a ``msgspec.Struct`` or a dataclass: its annotations declare each key, and its ``__post_init__`` checks the
relations between keys (``ValueError`` with a clause on the cause). A caller gets a value of that type, or one error
with the file, the place in it, the value and the expectation; no caller checks types again.

Strict: UTF-8, at most ``MAX_BYTES``, at most ``MAX_DEPTH`` levels, no NaN, no number beyond float64, no whole number
beyond 64 bits, no key twice in one object.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import msgspec.inspect

from ganeval.errors import GanEvalError, InputError, did_you_mean

MAX_BYTES = 16 * 2**20  # far above what ganeval writes; parsing hostile text takes thirty times its size
MAX_DEPTH = 64
MAX_INTEGER = 2**64 - 1
MAX_NUMBER = 1e50  # largest measured number: the fourth powers in the error of a difference then fit a float64

T = TypeVar("T")
Number = Annotated[float, msgspec.Meta(ge=-MAX_NUMBER, le=MAX_NUMBER)]
Positive = Annotated[float, msgspec.Meta(gt=0, le=MAX_NUMBER)]
NotNegative = Annotated[float, msgspec.Meta(ge=0, le=MAX_NUMBER)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]

Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-fA-F]{64}$")]

_SHOWN = 60  # characters of a value in a message
_PLACE = re.compile(r"(?s)(.*) - at (?:`key` in )?`\$(.*)`")
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")
_TYPES = {
    "float": "a number",
    "int": "a whole number",
    "str": "text",
    "bool": "true or false",
    "null": "null",
    "object": "an object",
    "array": "a list",
}


class DocumentError(ValueError):
    """A document that cannot be used: ``place`` in it (empty: all of it), what is ``wrong`` there."""

    def __init__(self, place: str, wrong: str) -> None:
        super().__init__(f"{place}: {wrong}" if place else wrong)
        self.place, self.wrong = place, wrong


def read_json(path: Path, kind: type[T], *, what: str, advice: str, error: type[GanEvalError] = InputError) -> T:
    """The document of a JSON file.

    Args:
        kind: the type that declares it.
        what: the kind of file for messages, such as ``model card``.
        advice: one sentence: what to do about a file that is not valid.
        error: raised instead of InputError.

    Raises:
        InputError: no such file, or its content is not valid.
    """
    return _read(path, lambda data: typed(parse_json(data), kind), what, advice, error)


def read_json_tree(path: Path, *, what: str, advice: str, error: type[GanEvalError] = InputError) -> Any:
    """The values of a JSON file, without a type."""
    return _read(path, parse_json, what, advice, error)


def read_toml_tree(path: Path, *, what: str, advice: str, error: type[GanEvalError] = InputError) -> dict[str, Any]:
    """The table of a TOML file. TOML allows nan and inf; the types of a table can forbid them.

    Raises:
        InputError: no such file, or its content is not valid.
    """
    return _read(path, parse_toml, what, advice, error)


def _read(path: Path, parse: Callable[[bytes], T], what: str, advice: str, error: type[GanEvalError]) -> T:
    try:
        return parse(read_bytes(path, what=what, advice=advice, error=error))
    except DocumentError as found:
        raise error(f"{path} is not a valid {what}: {found}. {advice}") from found


def read_bytes(path: Path, *, what: str, advice: str, error: type[GanEvalError] = InputError) -> bytes:
    """The bytes of a file, at most ``MAX_BYTES``.

    Raises:
        InputError: no such file, a larger one, or one that cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError as missing:
        raise error(f"{path} does not exist: expected a {what}. {advice}") from missing
    except (OSError, ValueError) as failure:  # a name with a null byte is a ValueError
        raise error(f"{path} cannot be read: {getattr(failure, 'strerror', None) or failure}. {advice}") from failure
    if len(data) > MAX_BYTES:
        raise error(f"{path} is too large for a {what}: more than {MAX_BYTES >> 20} MB. {advice}")
    return data


def parse_json(data: bytes | str, *, not_finite: bool = False) -> Any:
    """The values of strict JSON.

    Args:
        not_finite: allow NaN, Infinity and numbers that overflow to it, as floats; the caller checks them.

    Raises:
        DocumentError: the text is not valid.
    """
    try:
        tree = json.loads(_text(data), object_pairs_hook=_without_doubles)
    except RecursionError as error:
        raise DocumentError("", f"it is nested more than {MAX_DEPTH} levels deep") from error
    except DocumentError:
        raise
    except ValueError as error:  # also of a whole number with thousands of digits
        raise DocumentError("", f"it is not JSON: {_reason(error)}") from error
    require_sound(tree, not_finite=not_finite)
    return tree


def parse_toml(data: bytes | str) -> dict[str, Any]:
    """The table of strict TOML.

    Raises:
        DocumentError: the text is not valid.
    """
    text = _text(data)
    try:
        table = tomllib.loads(text)
    except RecursionError as error:
        raise DocumentError("", f"it is nested more than {MAX_DEPTH} levels deep") from error
    except ValueError as error:
        raise DocumentError("", f"it is not TOML: {_reason(error)}") from error
    require_sound(table, not_finite=True)
    return table


def typed(tree: object, kind: type[T]) -> T:
    """Convert parsed values to the type that declares a document.

    Raises:
        DocumentError: with the first place that the type does not allow.
    """
    try:
        return msgspec.convert(tree, kind)
    except msgspec.ValidationError as error:
        raise _located(tree, kind, error) from error
    except RecursionError as error:
        raise DocumentError("", f"it is nested more than {MAX_DEPTH} levels deep") from error
    except UnicodeEncodeError as error:  # file names can have such characters, keys and numbers cannot
        typed(_encodable(tree), kind)
        raise DocumentError("", f"it holds text that is not Unicode: {shown(error.object)}") from error


def plain(value: object, *, not_finite: bool = False) -> Any:
    """The values as ``parse_json`` returns them: mappings, sequences and numbers of Python's own classes.

    Args:
        not_finite: as in ``parse_json``.

    Raises:
        DocumentError: a value that JSON cannot represent.
    """
    copied = _plain(value, 0)
    require_sound(copied, not_finite=not_finite)
    return copied


# --- strictness -------------------------------------------------------------------------------------------------------


def _text(data: bytes | str) -> str:
    if isinstance(data, str):
        return data
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DocumentError("", f"it is not UTF-8 text (byte {error.start})") from error


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise DocumentError("", f"the key {shown(twice)} is there twice in one object")
    return found


def require_sound(tree: object, *, not_finite: bool = False) -> None:
    """Depth and numbers of everything inside.

    Raises:
        DocumentError: the first number that is not allowed, or too many levels.
    """
    place: list[str | int] = []

    def look(inside: dict[str, Any] | list[Any]) -> None:
        if len(place) >= MAX_DEPTH:
            raise DocumentError("", f"it is nested more than {MAX_DEPTH} levels deep")
        for step, value in inside.items() if isinstance(inside, dict) else enumerate(inside):
            kind = type(value)
            if kind is dict or kind is list:
                place.append(step)
                look(value)
                place.pop()
            elif kind is float:
                if not not_finite and not math.isfinite(value):
                    raise DocumentError(dotted((*place, step)), f"found {value}, expected a finite number")
            elif kind is int and not -(2**63) <= value <= MAX_INTEGER:
                told = "found a whole number of more than 64 bits, expected a smaller one"
                raise DocumentError(dotted((*place, step)), told)

    look([tree] if not isinstance(tree, dict | list) else tree)


def _plain(value: object, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise DocumentError("", f"it is nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, Mapping):
        return {key if isinstance(key, str) else str(key): _plain(inner, depth + 1) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner, depth + 1) for inner in value]
    if value is None or type(value) in (bool, int, float, str):
        return value
    for kind in (bool, int, float, str):  # numpy's float64 is a float
        if isinstance(value, kind):
            return kind(value)
    if callable(item := getattr(value, "item", None)) and getattr(value, "shape", None) == ():
        return _plain(item(), depth + 1)
    raise DocumentError("", f"found a {type(value).__name__}, which JSON cannot represent")


def _encodable(value: Any) -> Any:
    if isinstance(value, dict):
        return {_encodable(key): _encodable(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_encodable(inner) for inner in value]
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


# --- places and words -------------------------------------------------------------------------------------------------


def dotted(place: tuple[str | int, ...]) -> str:
    """A place in dotted notation.

    >>> dotted(("results", "fid", "interval", "low")), dotted(("checks", 0, "a b"))
    ('results.fid.interval.low', 'checks[0]."a b"')
    """
    text = ""
    for step in place:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            name = step if re.fullmatch(r"[\w-]+", step) else shown(step)
            text += f".{name}" if text else name
    return text


def shown(value: object) -> str:
    """A value as JSON, shortened."""
    try:
        text = json.dumps(value, ensure_ascii=True)
    except (TypeError, ValueError, RecursionError):
        text = repr(type(value).__name__)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def _located(tree: object, kind: Any, error: msgspec.ValidationError) -> DocumentError:
    """The error with its place. msgspec writes ``[...]`` for a key of a mapping; trials find which one."""
    match = _PLACE.fullmatch(str(error))
    if match is None:
        return DocumentError("", _words(str(error), tree, kind, ()))
    told, path = match.groups()
    place: list[str | int] = []
    value: Any = tree
    for name, index in _STEP.findall(path):
        step: str | int = name
        if index == "...":
            step, tree = _failing_key(tree, tuple(place), kind)
        elif index:
            step = int(index)
        try:
            value = _at(tree, (*place, step))
        except (KeyError, IndexError, TypeError):
            break
        place.append(step)
    return DocumentError(dotted(tuple(place)), _words(told, value, kind, tuple(place)))


def _failing_key(tree: Any, place: tuple[str | int, ...], kind: Any) -> tuple[str, Any]:
    """The first key at ``place`` whose value is refused, and the tree without the other keys."""
    keys = list(_at(tree, place))
    while len(keys) > 1:
        half = keys[: len(keys) // 2]
        trial = _with_keys(tree, place, half)
        try:
            msgspec.convert(trial, kind)
            keys = keys[len(half) :]
        except (msgspec.ValidationError, UnicodeEncodeError):
            keys = half
    return keys[0], _with_keys(tree, place, keys)


def _with_keys(tree: Any, place: tuple[str | int, ...], keys: list[str]) -> Any:
    if not place:
        return {key: tree[key] for key in keys}
    copy: Any = tree.copy()
    copy[place[0]] = _with_keys(tree[place[0]], place[1:], keys)
    return copy


def _at(tree: Any, place: tuple[str | int, ...]) -> Any:
    for step in place:
        tree = tree[step]
    return tree


def _words(told: str, value: object, kind: Any, place: tuple[str | int, ...]) -> str:
    """The message of msgspec in the form of this package: the value found, and the expectation."""
    if match := re.fullmatch(r"Object missing required field `(.*)`", told):
        return f"the key {match[1]!r} is missing"
    if match := re.fullmatch(r"Object contains unknown field `(.*)`", told):
        return _unknown(match[1], msgspec.inspect.type_info(kind), place)
    if isinstance(value, float) and not math.isfinite(value):
        return f"found {value}, expected a finite number"
    if match := re.fullmatch(r"Expected `(.*?)`(?:, got `.*`)?( .*)?", told):
        kinds = [_TYPES.get(name.strip(), name.strip()) for name in match[1].split("|")]
        bound = (
            (match[2] or "")
            .replace(" >= ", " of at least ")
            .replace(" <= ", " of at most ")
            .replace(" < ", " below ")
            .replace(" > ", " above ")
        )
        return f"found {shown(value)}, expected {' or '.join(kinds)}{bound}"
    if told.startswith("Number out of range"):
        return f"found {shown(value)}, expected a number that a float can hold"
    if told.startswith("Invalid enum value"):
        allowed = _declared(msgspec.inspect.type_info(kind), place, msgspec.inspect.LiteralType)
        names = ", ".join(str(name) for one in allowed for name in one.values)
        return f"found {shown(value)}, expected one of {names}"
    return told


def _unknown(key: str, info: msgspec.inspect.Type, place: tuple[str | int, ...]) -> str:
    structs = _declared(info, place, msgspec.inspect.StructType)
    known = [field.encode_name for one in structs for field in one.fields]
    return f"there is no key {key!r}; available: {', '.join(known)}.{did_you_mean(key, known)}"


Declared = TypeVar("Declared", bound=msgspec.inspect.Type)


def _declared(info: msgspec.inspect.Type, place: tuple[str | int, ...], kind: type[Declared]) -> list[Declared]:
    """The types of this kind that a type declares at a place."""
    if isinstance(info, msgspec.inspect.Metadata):
        return _declared(info.type, place, kind)
    if isinstance(info, msgspec.inspect.UnionType):
        return [found for one in info.types for found in _declared(one, place, kind)]
    if not place:
        return [info] if isinstance(info, kind) else []
    step, rest = place[0], place[1:]
    if isinstance(info, msgspec.inspect.StructType | msgspec.inspect.DataclassType):
        return [found for f in info.fields if f.encode_name == step for found in _declared(f.type, rest, kind)]
    if isinstance(info, msgspec.inspect.DictType):
        return _declared(info.value_type, rest, kind)
    if isinstance(info, msgspec.inspect.ListType | msgspec.inspect.VarTupleType):
        return _declared(info.item_type, rest, kind)
    if isinstance(info, msgspec.inspect.TupleType) and isinstance(step, int):
        return _declared(info.item_types[step], rest, kind)
    return []


def _reason(error: ValueError) -> str:
    text = " ".join(str(error).split()).rstrip(".")
    if "integer string conversion" in text:
        return "a whole number has thousands of digits"
    return text if len(text) <= 200 else f"{text[:200]}..."
