"""``ganeval paired REAL FAKE``: similarity and distance of pairs of images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ganeval.cli.options import Command, declared_by, output_options, per_image_path, record_path, report_path
from ganeval.cli.output import progress
from ganeval.cli.outputs import opened_by
from ganeval.cli.places import Source
from ganeval.engine.paired_config import PairedConfig


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
    from ganeval.report.table import pair_columns

    single = report is not None or per_image is not None
    evaluation = measure(real, fake, progress=progress, single_images=single, **options)
    present(
        evaluation,
        fmt=fmt,
        target=output,
        name=fake,
        report=report,
        per_image=per_image,
        columns=pair_columns,
        opened=opened_by(options),
    )
