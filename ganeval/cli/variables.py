"""Environment variables named ``GANEVAL_...`` that nothing reads: a misspelt one would have no effect."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

import click

from ganeval.cli import output
from ganeval.errors import did_you_mean

PREFIX = "GANEVAL_"
COMPLETION = "_GANEVAL_COMPLETE"  # set by the script of a shell that asks for completions
# those that are no options
OTHERS = frozenset(
    PREFIX + name
    for name in ("OFFLINE", "WEIGHTS_DIR", "RANK_TIMEOUT", "CACHE", "CACHE_DIR", "CACHE_SIZE", "PLUGINS", "MIRROR")
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
            hint = did_you_mean(name.removeprefix(PREFIX), (one.removeprefix(PREFIX) for one in sorted(known)), 0.75)
            hint = hint.replace("mean '", f"mean '{PREFIX}")
            output.warning(f"unknown environment variable {name}: nothing reads it.{hint}")


def children(group: click.Group) -> dict[str, click.Command]:
    """The commands of a group, by name."""
    context = click.Context(group)
    found = {name: group.get_command(context, name) for name in group.list_commands(context)}
    return {name: command for name, command in found.items() if command is not None}


def parameters(command: click.Command) -> Iterator[click.Parameter]:
    """The parameters of a command, and of all commands in a group."""
    yield from command.params
    if isinstance(command, click.Group):
        for child in children(command).values():
            yield from parameters(child)


def _of_options(group: click.Group) -> Iterator[str]:
    for parameter in parameters(group):
        variables: str | Iterable[str] = parameter.envvar or ()
        yield from (variables,) if isinstance(variables, str) else variables
