"""``ganeval ppl GENERATOR``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ganeval.cli import output as out
from ganeval.cli.options import (
    Command,
    Range,
    generator_options,
    option,
    output_options,
    record_path,
    report_path,
)
from ganeval.cli.outputs import Outputs
from ganeval.cli.places import Source


@click.command(cls=Command)
@click.argument("generator", type=Source())
@option("--pairs", type=click.IntRange(min=2), default=10_000, help="Pairs of latents; papers take 50000 or 100000.")
@option("--space", type=click.Choice(["z", "w"]), default="z", help="Great circles in z, or lines in w.")
@option("--sampling", type=click.Choice(["full", "end"]), default="full", help="Anywhere on the path, or at its start.")
@option("--epsilon", type=click.FloatRange(0, min_open=True), default=1e-4, help="The step.")
@option("--crop", is_flag=True, help="Only where StyleGAN's faces are: rows 3/8 to 7/8, columns 2/8 to 6/8.")
@option("--resize", type=click.IntRange(min=1), help="Pixels before the distance.  [default: down to 256 if larger]")
@option("--trim/--no-trim", default=True, help="Drop the outer percentiles, as StyleGAN's scripts.")
@option("--unit", is_flag=True, help="Circles of radius 1 in z, not through where the latents are.")
@option(
    "--distance",
    type=click.Choice(["lpips-vgg", "lpips-alex", "lpips-squeeze", "compact"]),
    default="lpips-vgg",
    help="Perceptual distance; compact needs no download.",
)
@option("--weights", type=Source(), metavar="PATH", help="Load this file instead of the distance's published weights.")
@option("--device", default="auto", metavar="auto|cpu|cuda[:i]|mps", help="Where generator and distance run.")
@option("--batch-size", type=click.IntRange(min=1), help="Pairs that go through together.  [default: suits the device]")
@option("--seed", type=click.IntRange(min=0), default=0, help="Pair i depends on the seed and on i alone.")
@generator_options
@option("--value-range", type=Range(), help="Black and white of a generator's floats, for instance -1,1.")
@option(
    "--level", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.95, help="Level of the interval."
)
@report_path
@record_path
@output_options
def ppl(generator: str, *, output: Path | None, report: Path | None, fmt: str, **options: Any) -> None:
    """Perceptual path length of GENERATOR: how far its image moves on a small step between two latents.

    GENERATOR is gen:NAME, gen:FILE (a checkpoint of `ganeval train` or TorchScript) or gen:package.module:callable, and
    must not round what it makes: floats, neither clamped nor of half precision. For --space w it needs two callables
    besides, mapping(z) and synthesis(w).

    \b
    Examples:
      ganeval ppl gen:dcgan-cifar10 --distance compact --pairs 500
      ganeval ppl gen:mymodule:generator --space w --sampling end --pairs 50000 -o ppl.json
    """
    from ganeval.cli.present import present
    from ganeval.engine.path_length import evaluate_path_length

    evaluation = evaluate_path_length(generator, progress=out.progress, **options)
    outputs = Outputs()
    if report is not None:
        from ganeval.report.page import Subject, write_report
        from ganeval.result_files import Record

        with outputs.attempt(report):
            write_report(report, [Subject(record=Record.of(evaluation, generator))], trusted=True)
    present(evaluation, fmt=fmt, target=output, outputs=outputs)
