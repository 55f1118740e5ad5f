"""Libraries that only some sources need."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ganeval.errors import ConfigError


def optional_library(module: str, reads: str, extra: str) -> Any:
    """Import a module of a library that the extra installs.

    Args:
        reads: what it is needed to read, for the message.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise missing_library(module.partition(".")[0], reads, extra) from error


def missing_library(name: str, reads: str, extra: str) -> ConfigError:
    """The error where a library is not installed; arguments as for ``optional_library``."""
    return ConfigError(f"{name} is needed to read {reads}: pip install 'ganeval[{extra}]'.")
