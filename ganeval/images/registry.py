"""Kinds of image sources that other packages add: a prefix of specs, and the objects that a predicate accepts."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ganeval.errors import ConfigError
from ganeval.images.specs import REMOTE
from ganeval.parsing.plugins import Registry

if TYPE_CHECKING:
    from ganeval.images.options import OpenOptions
    from ganeval.images.types import Images, ImageSource

BUILTIN_PREFIXES = ("gen", "dataset", "stats", *REMOTE)
_PREFIX = re.compile(r"[a-z][a-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class SourceKind:
    """One registered kind; see ``register`` for the fields."""

    prefix: str
    opener: Callable[[Any, OpenOptions], ImageSource | Images] | str
    accepts: Callable[[object], bool] | None = None

    def open(self, given: Any, options: OpenOptions) -> ImageSource | Images:
        """Open the text after the prefix, or an accepted object."""
        opener = self.opener
        if isinstance(opener, str):
            module, _, name = opener.partition(":")
            opener = getattr(importlib.import_module(module), name)
        return opener(given, options)


def _is_hub_dataset(given: object) -> bool:
    """Whether an object is a data set of Hugging Face's library whose items are as they are stored."""
    kind = type(given)
    if kind.__module__.split(".")[0] != "datasets" or kind.__name__ != "Dataset":
        return False
    return getattr(given, "format", {}).get("type", "") is None  # a format or transform of the user decodes it


KINDS: Registry[SourceKind] = Registry(
    "sources",
    {
        "medical": SourceKind("medical", "ganeval.images.medical:open_medical"),
        "hf": SourceKind("hf", "ganeval.images.hub:open_hub", _is_hub_dataset),
    },
    SourceKind,
    lambda kind: register(kind.prefix, kind.opener, accepts=kind.accepts),
)


def register(
    prefix: str,
    opener: Callable[[Any, OpenOptions], ImageSource | Images] | str,
    *,
    accepts: Callable[[object], bool] | None = None,
) -> None:
    """Register a kind of image source in this process: ``PREFIX:TEXT`` then names images wherever a spec does.

    Args:
        prefix: what specs of this kind begin with, before the colon: lower-case letters, digits, "-" and "_".
        opener: ``opener(text, options)`` returns an ``ImageSource`` or ``Images`` for the text after the prefix.
            ``"module:function"`` is imported at the first use.
        accepts: whether ``opener`` also opens this Python object. It is asked before the built-in kinds of objects.

    Raises:
        ConfigError: the prefix is taken, or is not a prefix.
    """
    if not _PREFIX.fullmatch(prefix):
        raise ConfigError(
            f"{prefix!r} is not a prefix of specs. Expected two or more lower-case letters, digits, - or _."
        )
    if prefix in KINDS.data or prefix in BUILTIN_PREFIXES:
        raise ConfigError(f"The prefix {prefix!r} is taken by another kind of image source. Choose another prefix.")
    KINDS[prefix] = SourceKind(prefix, opener, accepts)


def kind_of(given: object) -> SourceKind | None:
    """The first registered kind that accepts a Python object."""
    return next((kind for kind in KINDS.values() if kind.accepts is not None and kind.accepts(given)), None)
