"""Environment variables, read by one rule: empty is unset, and a text that is no value of its kind is an error."""

from __future__ import annotations

import os
import re

from ganeval.errors import ConfigError

_YES = ("1", "true", "t", "yes", "y", "on")
_NO = ("0", "false", "f", "no", "n", "off")


def says_yes(text: str) -> bool:
    return text.strip().lower() in _YES


def flag(name: str, *, default: bool = False) -> bool:
    """Whether a variable says yes.

    Raises:
        ConfigError: it says neither yes nor no.
    """
    text = os.environ.get(name, "").strip().lower()
    if not text:
        return default
    if text in (*_YES, *_NO):
        return text in _YES
    raise ConfigError(f"{name} is {text!r}; expected yes or no: one of {', '.join((*_YES, *_NO))}. Or unset it.")


def count(name: str, *, default: int, least: int = 0) -> int:
    """A whole number.

    Raises:
        ConfigError: the variable holds something else, or a number below ``least``.
    """
    text = os.environ.get(name, "").strip()
    if not text:
        return default
    number = int(text) if re.fullmatch(r"[+-]?[0-9]{1,18}", text) else None
    if number is None or number < least:
        raise ConfigError(f"{name} is {text!r}; expected a whole number from {least} on. Correct it, or unset it.")
    return number


def rank_and_size() -> tuple[int, int]:
    """The number of this process and how many there are, as a launcher such as torchrun says it; (0, 1) without one.

    Every variable of a launcher that is a number is checked here. Ranks need all of ``WORLD_SIZE``, ``RANK`` and
    ``MASTER_ADDR`` to find each other; a process without one of them is alone.

    Raises:
        ConfigError: they are no numbers, or the rank is not below the size.
    """
    for name, least in (("LOCAL_RANK", 0), ("LOCAL_WORLD_SIZE", 1), ("MASTER_PORT", 0)):
        count(name, default=least, least=least)
    size = count("WORLD_SIZE", default=1, least=1)
    rank = count("RANK", default=0)
    if size > 1 and rank >= size:
        raise ConfigError(f"RANK is {rank} of WORLD_SIZE {size}: ranks count from 0. Correct them, or unset both.")
    found = all(os.environ.get(name, "").strip() for name in ("RANK", "MASTER_ADDR"))
    return (rank, size) if size > 1 and found else (0, 1)
