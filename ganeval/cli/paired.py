"""``ganeval paired REAL FAKE``: similarity and distance of pairs of images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ganeval.cli.options import Command, declared_by, output_options, record_path, report_path
from ganeval.cli.output import progress
from ganeval.cli.outputs import Outputs
from ganeval.cli.places import Source
from ganeval.engine.paired_config import PairedConfig


@click.command(cls=Command)
@click.argument("real", type=Source())
@click.argument("fake", type=Source())
@declared_by(PairedConfig)
@report_path
@record_path
@output_options
def paired(real: str, fake: str, *, output: Path | None, report: Path | None, fmt: str, **options: Any) -> None:
    """Compare each image of FAKE with its partner in REAL: SSIM, PSNR, L1, L2, MS-SSIM and LPIPS, with error bars.

    Partners have the same relative path without suffix. Pairs have to be of equal sizes: nothing is resized. L1 and L2
    (root of the mean squared difference) are from 0 to 1. The error is that of the mean over the pairs. `compare`
    pairs two models by REAL's images.

    \b
    Examples:
      ganeval paired dataset:shapes-plain dataset:shapes-striped --num-samples 60 --distance compact
      ganeval paired targets/ outputs/ --metrics lpips,ssim,psnr -o paired.json
    """
    from ganeval.api import paired as measure
    from ganeval.cli.present import present

    evaluation = measure(real, fake, progress=progress, **options)
    outputs = Outputs()
    if report is not None:
        from ganeval.report.page import Subject, write_report
        from ganeval.result_files import Record

        with outputs.attempt(report):
            subject = Subject(record=Record.of(evaluation, fake))
            write_report(report, [subject], trusted=True, data_root=options.get("data_root"))
    present(evaluation, fmt=fmt, target=output, outputs=outputs)
