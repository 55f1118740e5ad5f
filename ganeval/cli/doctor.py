"""``ganeval doctor``: will this machine give right numbers?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import click

from ganeval.cli.lines import Cell, show
from ganeval.cli.options import Command, output_options, output_path
from ganeval.cli.output import answer, note

_LOOKS: Mapping[str, Mapping[str, Any]] = {
    "ok": {"fg": "green"}, "missing": {"fg": "yellow"}, "broken": {"fg": "red", "bold": True},
}  # fmt: skip


@click.command(cls=Command)
@output_path
@output_options
def doctor(*, fmt: str, output: Path | None) -> None:
    """Check installation, devices, weights and numerics of this machine.

    Exits 0 when everything that the command line needs works, 2 when something does not.

    \b
    Example:
      ganeval doctor
    """
    from ganeval.cli.diagnosis import diagnose

    findings = diagnose()
    broken = [f for f in findings if f.state == "broken"]
    lines = [[Cell(f.state, _LOOKS.get(f.state)), Cell(f.what), Cell(f.found, loose=True)] for f in findings]
    text: str | Callable[[], None] = partial(show, lines)
    if fmt == "md":
        rows = [f"| {f.what} | {f.state} | {f.found} |" for f in findings]
        text = "\n".join(["| what | state | found |", "|---|---|---|", *rows])
    for f in findings:
        if f.advice:
            note(f"{f.what}: {f.advice}")
    answer({"doctor": [f.to_dict() for f in findings]}, text, fmt=fmt, target=output)
    if broken:
        click.get_current_context().exit(2)
