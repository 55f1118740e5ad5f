"""Write a man page of every command to a folder.

python scripts/write_man_pages.py man/man1
man -l man/man1/ganeval-fid.1
"""

from __future__ import annotations

import sys
from pathlib import Path

import click
from click_man.core import write_man_pages

import ganeval
from ganeval.cli.main import ganeval_command
from ganeval.cli.variables import children


def whole(command: click.Command, name: str) -> click.Command:
    """The command with its subcommands imported: click-man looks at them without asking the group."""
    if not isinstance(command, click.Group):
        return command
    return click.Group(
        name,
        commands={child: whole(one, child) for child, one in children(command).items()},
        params=command.params,
        help=command.help,
    )


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_man_pages("ganeval", whole(ganeval_command, "ganeval"), version=ganeval.__version__, target_dir=str(folder))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
