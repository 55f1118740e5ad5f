"""``ganeval demo``: from nothing to a verdict, offline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ganeval.cli import output as out
from ganeval.cli.options import Command, option, output_options, report_path
from ganeval.cli.places import Output

if TYPE_CHECKING:
    from ganeval.cli.demo_pipeline import Row

_NEXT = (
    "ganeval eval real/ fake/ --protocol compact",
    "ganeval fid stats:cifar10-test gen:dcgan-cifar10 --num-samples 2000 --protocol compact",
    "ganeval sample gen:dcgan-cifar10 -n 100 -o samples",
)


@click.command(cls=Command)
@option(
    "-o",
    "--output",
    type=Output(folder=True),
    default=Path("ganeval-demo"),
    help="Folder for the pictures and demo.json.",
)
@option("-n", "--num-samples", type=click.IntRange(min=100), default=1000, help="Images of each set.")
@option("--seed", type=click.IntRange(min=0), default=0, help="Of the samples and of the noise.")
@option("--device", default="auto", metavar="auto|cpu|cuda[:i]|mps", help="Where the networks run.")
@report_path
@output_options
def demo(*, output: Path, num_samples: int, seed: int, device: str, report: Path | None, fmt: str) -> None:
    """The whole pipeline on what ships with ganeval, without network: which metric reacts to which fault?

    Samples the shipped DCGAN, breaks it in two ways, measures all three sets, and translates scenes with the CycleGAN.

    \b
    Example:
      ganeval demo
    """
    from ganeval.cli.demo_pipeline import AGAINST, run_demo

    found = run_demo(
        output, num_samples=num_samples, seed=seed, device=device, progress=out.progress,
        single_images=report is not None,
    )  # fmt: skip
    if report is not None:
        from ganeval.cli.demo_pipeline import demo_subjects
        from ganeval.report.page import write_report

        write_report(report, demo_subjects(found))
    rows, one = found.rows, found.translation
    translation = (
        f"CycleGAN, plain to striped scenes: L1 to the true pair {one.pair:.3f} (untranslated {one.untranslated:.3f}), "
        f"to the scene and back {one.cycle:.3f}"
    )
    out.answer(found.to_dict(), f"{_table(rows, fmt)}\n\n{translation}", fmt=fmt, target=None)
    out.note(AGAINST)
    for row in rows:
        if (reason := row.results()["fid"].reason) is not None:
            out.note(f"{row.name}: no interval for FD: {reason}")
    out.note(f"pictures and demo.json are in {output}; translation.png has scene, translation, true pair, way back")
    if fmt == "text":
        out.say("\nTry next:\n" + "\n".join(f"  {line}" for line in _NEXT))


def _table(rows: Sequence[Row], fmt: str) -> str:
    from ganeval.results import format_number

    names = list(rows[0].results())
    table = [["", *(result.label for result in rows[0].results().values())]]
    for row in rows:
        cells = [row.what]
        for name in names:
            result = row.results()[name]
            value, error = result.value, result.standard_error
            spread = "" if error is None else f" ± {format_number(error, error)}"
            cells.append(f"{format_number(value, error)}{spread}")
        table.append(cells)
    if fmt == "md":
        lines = ["| " + " | ".join(cells) + " |" for cells in table]
        return "\n".join([lines[0], "|" + "---|" * len(table[0]), *lines[1:]])
    widths = [max(len(cells[i]) for cells in table) for i in range(len(table[0]))]
    return "\n".join(
        "  ".join([cells[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True))])
        for cells in table
    )
