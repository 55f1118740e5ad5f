"""``ganeval paired REAL FAKE``: similarity and distance of pairs of images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ganeval.cli.options import Command, declared_by, output_options, per_image_path, record_path, report_path
from ganeval.cli.output import progress, speaks
from ganeval.cli.outputs import Outputs
from ganeval.cli.places import Source
from ganeval.engine.paired_config import PairedConfig

if TYPE_CHECKING:
    from ganeval.results import Evaluation


@click.command(cls=Command)
@click.argument("real", type=Source())
@click.argument("fake", type=Source())
@declared_by(PairedConfig)
@per_image_path("Also write a table with one row per pair: both names, and the value of each metric.")
@report_path
@record_path
@output_options
def paired(
    real: str,
    fake: str,
    *,
    output: Path | None,
    report: Path | None,
    per_image: Path | None,
    fmt: str,
    **options: Any,
) -> None:
    """Compare each image of FAKE with its partner in REAL: by pixels, by LPIPS, and by features (CLIP-I, DINO-I).

    Partners have the same relative path without suffix, unless --pair-by says otherwise. Pairs have to be of equal
    sizes: nothing is resized without --prepare. L1 and L2 (root of the mean squared difference) are from 0 to 1. The
    error is that of the mean over the pairs. `compare` pairs two models by REAL's images.

    \b
    Examples:
      ganeval paired dataset:shapes-plain dataset:shapes-striped --num-samples 60 --distance compact
      ganeval paired targets/ outputs/ --metrics lpips,ssim,psnr -o paired.json
      ganeval paired images/ images/ --pair-by-real "(.+)_real_B" --pair-by-fake "(.+)_fake_B" --report paired.html
    """
    from ganeval.api import paired as measure
    from ganeval.cli.present import present

    if per_image is not None:
        from ganeval.report.table import require_form

        require_form(per_image)
    single = report is not None or per_image is not None
    evaluation = measure(real, fake, progress=progress, single_images=single, **options)
    outputs = Outputs()
    if single and speaks():
        _show_pairs(outputs, evaluation, fake, report, per_image, options.get("data_root"))
    present(evaluation, fmt=fmt, target=output, outputs=outputs)


def _show_pairs(
    outputs: Outputs, evaluation: Evaluation, name: str, page: Path | None, table: Path | None, data_root: str | None
) -> None:
    """Write the table and the page of a run that was measured just now."""
    from ganeval.report.page import Subject, write_report
    from ganeval.report.table import pair_columns, write_table
    from ganeval.result_files import Record

    record = Record.of(evaluation, name)
    if table is not None:
        with outputs.attempt(table):
            n = len(record.arrays["fake_image_digests"])
            write_table(table, pair_columns(record.arrays, evaluation.results, n))
    if page is not None:
        with outputs.attempt(page):
            write_report(page, [Subject(record=record)], trusted=True, data_root=data_root)
