"""``ganeval diversity OUTPUTS``: how different the outputs of a model for one input are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ganeval.cli.options import Command, declared_by, output_options, record_path
from ganeval.cli.output import progress
from ganeval.cli.places import Source
from ganeval.engine.paired_config import DiversityConfig


@click.command(cls=Command)
@click.argument("outputs", type=Source())
@declared_by(DiversityConfig)
@record_path
@output_options
def diversity(outputs: str, *, output: Path | None, fmt: str, **options: Any) -> None:
    """Measure the diversity of several outputs of one input: the mean perceptual distance between them, with its error.

    --group-by names the input of each output. The distance is averaged over the pairs of outputs of one input, then
    over inputs; the error is that of the mean over inputs. Noise is diverse too: read it next to a metric of fidelity.

    \b
    Examples:
      ganeval diversity samples/ --group-by "(.+)_random_sample" --pairs 19 -o diversity.json
      ganeval diversity samples/ --group-by "(.+)_[0-9]+" --distance compact
    """
    from ganeval.api import diversity as measure
    from ganeval.cli.present import present

    evaluation = measure(outputs, progress=progress, **options)
    present(evaluation, fmt=fmt, target=output)
