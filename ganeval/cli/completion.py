"""``ganeval completion``: the script by which a shell completes commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from ganeval.cli.options import Command
from ganeval.cli.output import say
from ganeval.cli.variables import COMPLETION

SHELLS = ("bash", "zsh", "fish")


@click.command(cls=Command)
@click.argument("shell", type=click.Choice(SHELLS))
def completion(*, shell: str) -> None:
    """Print the script that completes commands and options in SHELL.

    Append it to ~/.bashrc or ~/.zshrc, or write it to ~/.config/fish/completions/ganeval.fish.

    \b
    Example:
      ganeval completion bash
    """
    kind = get_completion_class(shell)
    assert kind is not None
    say(kind(click.Group("ganeval"), {}, "ganeval", COMPLETION).source())
