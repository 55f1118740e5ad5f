"""``ganeval clip-score IMAGES``: how well images match their captions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ganeval.cli.options import Command, declared_by, output_options, per_image_path, record_path, report_path
from ganeval.cli.output import progress
from ganeval.cli.outputs import opened_by
from ganeval.cli.places import Source
from ganeval.engine.clip_score_config import ClipScoreConfig


@click.command(cls=Command)
@click.argument("images", type=Source())
@declared_by(ClipScoreConfig)
@per_image_path("Also write a table with one row per image: its name, its caption and its score.")
@report_path
@record_path
@output_options
def clip_score(
    images: str, *, output: Path | None, report: Path | None, per_image: Path | None, fmt: str, **options: Any
) -> None:
    """Measure how well each image matches its caption: the cosine of both embeddings under CLIP, with an error bar.

    Captions are found by the name of the image, with its suffix or without. Without --captions they are in the .txt
    file next to each image, in a folder or in an archive (WebDataset). `compare` pairs two models by their captions.

    \b
    Examples:
      ganeval clip-score outputs/ --captions prompts.csv -o clip.json
      ganeval clip-score shards-{00..09}.tar --scaling 2.5
      ganeval clip-score outputs/ --captions prompts.csv --group-by caption --clip-network clip-vitl14
    """
    from ganeval.api import clip_score as measure
    from ganeval.cli.present import present
    from ganeval.report.table import caption_columns

    single = report is not None or per_image is not None
    evaluation = measure(images, progress=progress, single_images=single, **options)
    present(
        evaluation,
        fmt=fmt,
        target=output,
        name=images,
        report=report,
        per_image=per_image,
        columns=caption_columns,
        opened=opened_by(options),
    )
