"""Options: what each one may be, what it is converted to, and what it means, declared once.

A whole number may be an ``int``, a numpy integer, a tensor or array without axes, or a float without a fraction
(``5e3``); a path may be anything with ``__fspath__``; a device a ``torch.device``. Everything else is a ConfigError
that names the option. Limits that depend on more than the value are checked where the value is used.

An option is a field of a frozen dataclass, made by ``declare``. The keyword arguments of the Python interface, the
options of the command line, the keys of ``ganeval.toml`` and the tables of the documentation come from there.
"""

from __future__ import annotations

import math
import numbers
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import Field, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from ganeval.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    import torch

Device: TypeAlias = "str | torch.device | None"
T = TypeVar("T")
_SHOWN = 80  # characters of a value in a message


@dataclass(frozen=True, slots=True)
class Kind:
    """What a value may be.

    Attributes:
        name: which click type stands for it on the command line; see ``ganeval.cli.options``.
        expected: in words, for the message.
        convert: gives the value that the program uses; raises TypeError, ValueError or OverflowError for anything else.
        optional: None is allowed, and stays None.
        least: smallest allowed value; ``above`` and ``below`` exclude the limit itself.
        choices: the allowed values of a text.
    """

    name: str
    expected: str
    convert: Callable[[Any], Any]
    optional: bool = False
    least: int | None = None
    above: float | None = None
    below: float | None = None
    choices: tuple[str, ...] = ()

    def __call__(self, name: str, value: Any) -> Any:
        """The converted value.

        Raises:
            ConfigError: it is of another kind, or outside the limits.
        """
        if value is None and self.optional:
            return None
        try:
            value = self.convert(_scalar(value))
        except (TypeError, ValueError, OverflowError):
            raise ConfigError(
                f"{name} must be {self.expected}{' or None' if self.optional else ''}; got {_shown(value)}."
            ) from None
        if self.choices and value not in self.choices:
            raise ConfigError(f"{option(name)} must be one of {', '.join(self.choices)}; got {value!r}.")
        if self.least is not None and value < self.least:
            raise ConfigError(f"{option(name)} must be at least {self.least}; got {value}.")
        low, high = self.above, self.below
        if (low is not None and not value > low) or (high is not None and not value < high):
            if low is None or high is None:
                limits = f"below {high:g}" if low is None else f"above {low:g}"
            else:
                limits = f"between {low:g} and {high:g}"
            raise ConfigError(f"{option(name)} must be a number {limits}; got {value}.")
        if low is not None and not math.isfinite(value):
            raise ConfigError(f"{option(name)} must be finite; got {value}.")
        return value

    def or_none(self) -> Kind:
        return replace(self, optional=True)

    def from_(self, least: int) -> Kind:
        """The same, of at least this number."""
        return replace(self, least=least)

    def between(self, above: float, below: float | None = None) -> Kind:
        """The same, above one number and below another, ends excluded."""
        return replace(self, above=above, below=below)


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One declared option.

    Attributes:
        group: the commands that have it, see ``ganeval.cli.options``; empty for Python alone.
        help: one sentence, for the command line and the documentation.
        default: as Python has it.
        kind: None takes any value.
        annotation: the type, for editors.
        default_text: what None means, for the help.
    """

    name: str
    group: str
    help: str
    default: Any
    kind: Kind | None
    annotation: str
    default_text: str = ""


def declare(default: Any, kind: Kind | None, group: str, help: str, *, default_text: str = "") -> Any:
    """A field of a frozen dataclass that is an option; see ``Option``."""
    return field(default=default, metadata={"kind": kind, "group": group, "help": help, "default_text": default_text})


def options_of(declaration: type[Any]) -> dict[str, Option]:
    """The options that a dataclass declares, those of its bases first."""
    return {one.name: _option_of(one) for one in fields(declaration) if "help" in one.metadata}


def _option_of(one: Field[Any]) -> Option:
    return Option(name=one.name, default=one.default, annotation=str(one.type), **one.metadata)


def option(name: str, value: object = None) -> str:
    """An option in both forms, for messages that users of the command line and of Python see.

    >>> option("num_samples")
    '--num-samples (num_samples=)'
    >>> option("on_error", "skip")
    "--on-error skip (on_error='skip')"
    >>> option("assume_protocol", True)
    '--assume-protocol (assume_protocol=True)'
    """
    shown = "" if value is None or value is True else f" {value}"
    return f"--{name.replace('_', '-')}{shown} ({name}={'' if value is None else repr(value)})"


def require_known(given: Iterable[str], known: Iterable[str]) -> None:
    """Raises ConfigError for the first argument that is not among the known ones."""
    names = list(known)
    for name in given:
        if name not in names:
            hint = did_you_mean(name, names, shown="{}") or f" Available: {', '.join(names)}."
            raise ConfigError(f"unknown argument {name!r}.{hint}")


def convert_fields(record: Any) -> None:
    """Convert and check the declared fields of a frozen dataclass; for its ``__post_init__``.

    Raises:
        ConfigError: a value of another kind, or outside its limits.
    """
    for one in fields(record):
        if (kind := one.metadata.get("kind")) is not None:
            before = getattr(record, one.name)
            if (after := kind(one.name, before)) is not before:
                object.__setattr__(record, one.name, after)


# --- conversions ---------------------------------------------------------------------------------------------------


def _scalar(value: Any) -> Any:
    """A number of numpy or torch as a number of Python; everything else as it is."""
    return value.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else value


def _shown(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def _whole(value: Any) -> int:
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    raise TypeError


def _number(value: Any) -> float:
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        return float(value)
    raise TypeError


def _instance(kind: type[T]) -> Callable[[Any], T]:
    def convert(value: Any) -> T:
        if isinstance(value, kind):
            return value
        raise TypeError

    return convert


_text = _instance(str)


def _path(value: Any) -> Any:
    """A ``str`` or a ``Path`` as it is, another path-like as ``str``."""
    if isinstance(path := os.fspath(value), str):
        return value if isinstance(value, str) or hasattr(value, "joinpath") else path
    raise TypeError


def _paths(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_text(name): _path(path) for name, path in value.items()}
    return _path(value)


def _items(value: Any) -> list[Any]:
    """The items of a list, a tuple, an array or a tensor."""
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise TypeError
    return [_scalar(item) for item in value]


def _names(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [name.strip() for name in value.split(",")]
    return tuple(_text(name) for name in _items(value))


def _whole_pair(allowed: Callable[[int, int], bool]) -> Callable[[Any], tuple[int, int]]:
    def convert(value: Any) -> tuple[int, int]:
        one, other = (_whole(number) for number in _items(value))
        if not allowed(one, other):
            raise ValueError
        return one, other

    return convert


def _range(value: Any) -> tuple[float, float]:
    low, high = (_number(number) for number in _items(value))
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError
    return low, high


def _latent(value: Any) -> int | tuple[int, ...]:
    if isinstance(value, Iterable):
        sizes = tuple(_whole(size) for size in _items(value))
        if not sizes:
            raise ValueError
    else:
        sizes = (_whole(value),)
    if min(sizes) < 1:
        raise ValueError
    return sizes if isinstance(value, Iterable) else sizes[0]


def _device(value: Any) -> str:
    """The name of a device; there is one CPU and one device of Apple's, with or without its index."""
    if value is None:
        return "auto"
    is_device = type(value).__module__ == "torch" and type(value).__name__ == "device"  # torch is not imported here
    name = str(value) if is_device else _text(value).strip().lower()
    return {"cpu:0": "cpu", "mps:0": "mps"}.get(name, name)


def _shared(value: Any) -> Any:
    return value if isinstance(value, bool) else _path(value)


WHOLE, NUMBER = Kind("whole", "a whole number", _whole), Kind("number", "a number", _number)
FLAG, TEXT = Kind("flag", "True or False", _instance(bool)), Kind("text", "a string", _text)
PATH, FOLDER = Kind("path", "a path", _path), Kind("folder", "a path", _path)
SIZE = Kind("size", "a whole number", _whole)
CALLABLE = Kind("function", "a function", _instance(Callable))  # type: ignore[arg-type]
DEVICE = Kind("device", "'auto', 'cpu', 'cuda', 'cuda:0', 'mps', a torch.device or None", _device)
PROTOCOL = Kind("text", "the name of a protocol, a Protocol or a CustomNetwork", _text)
DISTANCE = Kind("text", "the name of a distance or a PerceptualDistance", _text)
CACHE = Kind("cache", "True, False, a folder, a FeatureCache", _shared, optional=True)
NAMES = Kind("names", "names of metrics, in a list or separated by commas,", _names)
PATHS = Kind("paths", "a path, or paths by network,", _paths)
RANGE = Kind("range", "two finite numbers in order, such as (-1, 1)", _range)
LATENT = Kind("latent", "a positive whole number, or several,", _latent)
_SHARES = "two whole numbers, the share (from 1 on) and the number of shares,"
SHARD = Kind("shard", _SHARES, _whole_pair(lambda number, of: 1 <= number <= of))
_SUBSETS = "two whole numbers, of subsets (from 1 on) and of images in each (from 2 on),"
SUBSETS = Kind("subsets", _SUBSETS, _whole_pair(lambda number, size: number >= 1 and size >= 2))


def choice(*choices: str) -> Kind:
    """One of a few texts."""
    return replace(TEXT, name="choice", choices=choices)
