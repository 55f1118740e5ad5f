"""Declarations by name, to which other packages add by entry points; a plugin that fails is named and left out."""

from __future__ import annotations

import logging
from collections import UserDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar

from ganeval.errors import ConfigError
from ganeval.parsing.variables import flag

T = TypeVar("T")

_logger = logging.getLogger("ganeval")
VARIABLE = "GANEVAL_PLUGINS"


@dataclass(frozen=True, slots=True)
class Plugin:
    """One entry point of an installed package.

    Attributes:
        kind: the end of its group: metrics, protocols, networks, distances or sources.
        name: of the entry point.
        package, version: of the distribution that declares it.
        fault: why it was left out; None where it is in use.
    """

    kind: str
    name: str
    package: str
    version: str
    fault: str | None


_PLUGINS: list[Plugin] = []


def plugins() -> tuple[Plugin, ...]:
    """The plugins that this process has loaded, or could not load, so far."""
    return tuple(_PLUGINS)


class Registry(UserDict[str, T]):
    """Declarations by name: those of this package, those that were registered, and those of plugins.

    Plugins are the entry points of the group ``ganeval.KIND``. They are imported at the first look at a name that is
    not known, or at all names, unless ``GANEVAL_PLUGINS`` says no. ``data`` holds what is known without them.

    Args:
        kind: the end of the name of the group.
        declared: those of this package.
        type_of: of a declaration; an entry point must lead to one.
        register: checks a declaration and adds it; raises ConfigError.
    """

    def __init__(self, kind: str, declared: Mapping[str, T], type_of: type[T], register: Callable[[T], None]) -> None:
        super().__init__(declared)
        self.kind = kind
        self._type, self._register = type_of, register
        self._loaded = False

    def __missing__(self, name: str) -> T:
        self.load()
        return self.data[name]

    def __contains__(self, name: object) -> bool:
        if name not in self.data:
            self.load()
        return name in self.data

    def __iter__(self) -> Iterator[str]:
        self.load()
        return iter(self.data)

    def __len__(self) -> int:
        self.load()
        return len(self.data)

    def load(self) -> None:
        """Import the plugins, once; each that fails is logged."""
        if self._loaded or not flag(VARIABLE, default=True):
            return
        self._loaded = True  # before the imports: they may look at this registry
        for point in entry_points(group=f"ganeval.{self.kind}"):
            plugin = self._added(point)
            _PLUGINS.append(plugin)
            if plugin.fault is not None:
                _logger.warning(
                    "the plugin %s of %s %s (%s) is left out: %s. Update or remove that package, or set %s=0.",
                    *(plugin.name, plugin.package, plugin.version, self.kind, plugin.fault, VARIABLE),
                )

    def _added(self, point: EntryPoint) -> Plugin:
        fault = None
        try:
            declaration = point.load()
            if not isinstance(declaration, self._type):
                kind = type(declaration).__name__
                raise ConfigError(f"{point.value} is of type {kind}, expected {self._type.__name__}")
            if not any(known is declaration for known in self.data.values()):  # its import may register it
                self._register(declaration)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # whatever a foreign module raises at its import, SystemExit too
            fault = f"{type(error).__name__}: {error}".rstrip(". ")
        package = point.dist
        name, version = ("an unknown package", "?") if package is None else (package.name, package.version)
        return Plugin(self.kind, point.name, name, version, fault)
