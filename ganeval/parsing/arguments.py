"""Arguments of the Python interface: what each one may be, declared once, and what it is converted to.

A whole number may be an ``int``, a numpy integer, a tensor or array without axes, or a float without a fraction
(``5e3``); a path may be anything with ``__fspath__``; a device a ``torch.device``. Everything else is a ConfigError
that names the argument. Limits that depend on more than the value are checked where the value is used.
"""

from __future__ import annotations

import functools
import inspect
import numbers
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, ParamSpec, TypeAlias, TypeVar

from ganeval.errors import ConfigError

if TYPE_CHECKING:
    import torch

Device: TypeAlias = "str | torch.device | None"
P = ParamSpec("P")
R = TypeVar("R")
_SHOWN = 80  # characters of a value in a message


@dataclass(frozen=True, slots=True)
class Kind:
    """What an argument may be.

    Attributes:
        expected: in words, for the message.
        convert: gives the value that the program uses; raises TypeError, ValueError or OverflowError for anything else.
        optional: None is allowed, and stays None.
    """

    expected: str
    convert: Callable[[Any], Any]
    optional: bool = False

    def __call__(self, name: str, value: Any) -> Any:
        """The converted value.

        Raises:
            ConfigError: it is of another kind.
        """
        if value is None and self.optional:
            return None
        try:
            return self.convert(_scalar(value))
        except (TypeError, ValueError, OverflowError):
            raise ConfigError(
                f"{name} must be {self.expected}{' or None' if self.optional else ''}; got {_shown(value)}."
            ) from None

    def or_none(self) -> Kind:
        return Kind(self.expected, self.convert, optional=True)


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


def argument(name: str, value: object) -> Any:
    """The value of the argument ``name``, converted as ``ARGUMENTS`` declares it."""
    kind = ARGUMENTS.get(name)
    return value if kind is None else kind(name, value)


def converted(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function whose keyword-only arguments are those of ``ARGUMENTS``: it receives them converted."""
    parameters = inspect.signature(function).parameters.values()
    names = frozenset(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)

    @functools.wraps(function)
    def called(*args: P.args, **given: P.kwargs) -> R:
        for name in names & given.keys():
            given[name] = argument(name, given[name])
        return function(*args, **given)

    return called


def require_known(given: Iterable[str], known: Iterable[str]) -> None:
    """Raises ConfigError for the first argument that is not among the known ones."""
    names = list(known)
    for name in given:
        if name not in names:
            close = get_close_matches(name, names, n=1)
            hint = f"Did you mean {close[0]}?" if close else f"Available: {', '.join(names)}."
            raise ConfigError(f"unknown argument {name!r}. {hint}")


def convert_fields(record: Any) -> None:
    """Convert the fields of a frozen dataclass that ``ARGUMENTS`` declares; for its ``__post_init__``.

    But ``device``: a record holds the device itself, which it chose from what the argument names.
    """
    for field in fields(record):
        if field.name == "device":
            continue
        before = getattr(record, field.name)
        if (after := argument(field.name, before)) is not before:
            object.__setattr__(record, field.name, after)


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


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise TypeError


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise TypeError


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


def _whole_pair(value: Any) -> tuple[int, int]:
    one, other = (_whole(number) for number in _items(value))
    return one, other


def _range(value: Any) -> tuple[float, float]:
    low, high = (_number(number) for number in _items(value))
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


def _callable(value: Any) -> Any:
    if callable(value):
        return value
    raise TypeError


def _shared(value: Any) -> Any:
    return value if isinstance(value, bool) else _path(value)


WHOLE, NUMBER = Kind("a whole number", _whole), Kind("a number", _number)
FLAG, TEXT = Kind("True or False", _flag), Kind("a string", _text)
PATH = Kind("a path", _path)
CALLABLE = Kind("a function", _callable)
DEVICE = Kind("'auto', 'cpu', 'cuda', 'cuda:0', 'mps', a torch.device or None", _device)
PROTOCOL = Kind("the name of a protocol, a Protocol or a CustomNetwork", _text)
DISTANCE = Kind("the name of a distance or a PerceptualDistance", _text)
CACHE = Kind("True, False, a folder, a FeatureCache", _shared, optional=True)

ARGUMENTS: Mapping[str, Kind] = {
    "device": DEVICE,
    "metrics": Kind("names of metrics, in a list or separated by commas,", _names, optional=True),
    "weights": Kind("a path, or paths by network,", _paths, optional=True),
    "value_range": Kind("two numbers such as (-1, 1)", _range, optional=True),
    "latent_dim": Kind("a positive whole number, or several,", _latent, optional=True),
    "shard": Kind("two whole numbers, the share and the number of shares,", _whole_pair, optional=True),
    "kid_subsets": Kind("two whole numbers, of subsets and of images in each,", _whole_pair, optional=True),
    **dict.fromkeys(("level", "epsilon", "cmmd_sigma"), NUMBER),
    **dict.fromkeys(("timeout", "radius"), NUMBER.or_none()),
    **dict.fromkeys(("seed", "feature_memory", "max_image_bytes", "pairs", "directions"), WHOLE),
    **dict.fromkeys(
        ("num", "num_real", "num_fake", "num_samples", "num_classes", "batch_size", "workers", "resize", "splits",
         "sample_rows", "neighbours"),
        WHOLE.or_none(),
    ),
    **dict.fromkeys(
        ("compile", "assume_protocol", "download", "sync", "single_images", "keep_on_device", "keep_mode", "any_suffix",
         "rows", "crop", "trim", "unit", "floor", "per_class"),
        FLAG,
    ),
    "strict": FLAG.or_none(),
    **dict.fromkeys(("on_error", "space", "sampling", "trace", "kid_kernel"), TEXT),
    **dict.fromkeys(
        ("precision", "note", "reference", "reference_as", "image_column"), TEXT.or_none()
    ),
    "data_root": PATH.or_none(),
    **dict.fromkeys(("progress", "log"), CALLABLE.or_none()),
}  # fmt: skip
