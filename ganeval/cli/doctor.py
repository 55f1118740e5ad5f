"""``ganeval doctor``: will this machine give right numbers?"""

from __future__ import annotations

import click

from ganeval.cli import output
from ganeval.cli.options import Command, output_options


@click.command(cls=Command)
@output_options
def doctor(*, fmt: str) -> None:
    """Check installation, devices, weights and numerics of this machine.

    Exits 0 when everything that the command line needs works, 2 when something does not.

    \b
    Example:
      ganeval doctor
    """
    from ganeval.diagnosis import diagnose

    findings = diagnose()
    broken = [f for f in findings if f.state == "broken"]
    if fmt == "json":
        output.document({"doctor": [f.to_dict() for f in findings]})
    elif fmt == "md":
        rows = [f"| {f.what} | {f.state} | {f.found} |" for f in findings]
        click.echo("\n".join(["| what | state | found |", "|---|---|---|", *rows]))
    else:
        width = max(len(f.what) for f in findings)
        for f in findings:
            click.echo(f"{f.state:<8} {f.what:<{width}}  {f.found}")
    for f in findings:
        if f.advice:
            output.note(f"{f.what}: {f.advice}")
    if broken:
        click.get_current_context().exit(2)
