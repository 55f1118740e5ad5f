"""Environment variables named ``GANEVAL_...`` that nothing reads: a misspelt one would have no effect."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from difflib import get_close_matches

import click

from ganeval.cli import output

PREFIX = "GANEVAL_"
# those that are no options
OTHERS = frozenset(
    PREFIX + name for name in ("OFFLINE", "WEIGHTS_DIR", "RANK_TIMEOUT", "CACHE", "CACHE_DIR", "CACHE_SIZE")
)
_OF_TESTS = PREFIX + "TEST_"


def warn_of_unknown(group: click.Group) -> None:
    """Warn of every such variable on stderr, with the closest name that is read.

    Args:
        group: of all commands; their options are read only where a variable is not known otherwise.
    """
    names = sorted(n for n in os.environ if n.startswith(PREFIX) and n not in OTHERS and not n.startswith(_OF_TESTS))
    if not names:
        return
    known = {*OTHERS, *_of_options(group)}
    for name in names:
        if name not in known:
            close = get_close_matches(
                name.removeprefix(PREFIX), [one.removeprefix(PREFIX) for one in sorted(known)], 1, 0.75
            )
            hint = f" Did you mean {PREFIX}{close[0]}?" if close else ""
            output.warning(f"unknown environment variable {name}: nothing reads it.{hint}")


def _of_options(group: click.Group) -> Iterator[str]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from _of_options(command)
        for parameter in command.params if command is not None else ():
            variables: str | Iterable[str] = parameter.envvar or ()
            yield from (variables,) if isinstance(variables, str) else variables
