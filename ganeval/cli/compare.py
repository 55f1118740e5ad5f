"""``ganeval compare A.json B.json``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ganeval.cli.options import Command, declared, option, output_options, output_path
from ganeval.cli.output import answer, note
from ganeval.errors import ConfigError
from ganeval.parsing.layout import Cell, markdown_table

if TYPE_CHECKING:
    from ganeval.gate.compare import Compared, Comparison


@click.command(cls=Command)
@click.argument("a", metavar="A.json", type=click.Path(path_type=Path))
@click.argument("b", metavar="B.json", type=click.Path(path_type=Path))
@declared("metrics", default=None, help="Compare only these.  [default: all of either run]")
@option(
    "--level",
    type=click.FloatRange(0.5, 1, max_open=True),
    default=0.95,
    help="Confidence level of the intervals, and of what counts as beyond noise.",
)
@output_path
@output_options
def compare(a: Path, b: Path, *, metrics: tuple[str, ...] | None, level: float, fmt: str, output: Path | None) -> int:
    """Show which numbers of two runs differ beyond noise, by how much, and which are not comparable.

    A and B are files that ganeval wrote with --output. Where both models made their images from the same latents, or
    were measured against the same real images, the error of the difference is smaller, and takes account of it. Exit
    code 0: every metric was compared; 3: a metric could not be compared.

    \b
    Example:
      ganeval compare before.json after.json
    """
    from ganeval.gate.compare import compare as compared
    from ganeval.result_files import read_record

    if math.isnan(level):
        raise ConfigError(f"--level is {level}, expected a number between 0.5 and 1, usually 0.95.")
    names = None if metrics is None else [name for name in metrics if name]
    found = compared(read_record(a), read_record(b), metrics=names, level=level)
    for remark in dict.fromkeys(row.note for row in found.rows if row.note):
        note(remark)
    text = _markdown(found) if fmt == "md" else [_row(row, found.level) for row in found.rows]
    answer({"compare": found.to_dict()}, text, fmt=fmt, target=output)
    return 0 if found.judged else 3


def _row(row: Compared, level: float) -> list[Cell]:
    label = Cell(row.label, {"bold": True})
    if row.reason is not None:
        return [label, Cell(f"not compared: {row.reason}", {"fg": "yellow"}, loose=True)]
    a, b, step, low, high = row.texts()
    verdict, look = f"{row.better} is better", {"fg": "green" if row.better == "B" else "red"}
    if row.better is None:
        verdict, look = _neither(row, level), {}
    return [
        label,
        Cell(f"A {a}, B {b}: {step}, {100 * level:g} % CI {low} to {high}"),
        Cell(f"{verdict}, p = {row.p_value:.2g}", look),
        Cell(f"({row.pairing})"),
    ]


def _neither(row: Compared, level: float) -> str:
    """The verdict where no run is known to be better."""
    return "they differ, no direction is known" if row.differs(level) else "no difference beyond noise"


def _markdown(found: Comparison) -> str:
    header = ("metric", "A", "B", "B - A", f"{100 * found.level:g} % interval", "")
    rows: list[tuple[str, ...]] = []
    for row in found.rows:
        if row.reason is not None:
            rows.append((row.label, "", "", "", "", f"not compared: {row.reason}"))
            continue
        a, b, step, low, high = row.texts()
        verdict = f"{row.better} is better" if row.better else _neither(row, found.level)
        rows.append((row.label, a, b, step, f"{low} to {high}", f"{verdict} ({row.pairing})"))
    return markdown_table(header, rows)
