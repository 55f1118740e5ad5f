"""``ganeval fid REAL FAKE``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ganeval.cli import output
from ganeval.cli.options import (
    Command,
    compute_options,
    image_options,
    option,
    output_options,
    output_path,
    weights_path,
)
from ganeval.protocol import get_protocol


@click.command(cls=Command)
@click.argument("real")
@click.argument("fake")
@compute_options
@image_options
@option("--num-real", type=click.IntRange(min=1), help="Use a seeded subset of REAL of this size.")
@option("--num-fake", type=click.IntRange(min=1), help="Use a seeded subset of FAKE of this size.")
@option(
    "--reference",
    type=click.Choice(["sample", "population"]),
    help="Is REAL a sample, or the target itself?  [default: sample for images, population for statistics]",
)
@option("--assume-protocol", is_flag=True, help="Take statistics of unknown origin as made under this protocol.")
@option(
    "--trace",
    type=click.Choice(["auto", "sqrtm", "svd", "eigvals"]),
    default="auto",
    help="How the matrix square root's trace is computed.",
)
@option("--floor", is_flag=True, help="Also the distance between two halves of REAL: what perfect looks like.")
@option(
    "--level",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.95,
    help="Level of the interval.",
)
@output_path
@output_options
def fid(real: str, fake: str, *, protocol: str, weights: str | None, fmt: str, **options: Any) -> None:
    """Frechet distance between REAL and FAKE, with its error bar.

    REAL and FAKE are folders, zip or tar archives, npz or npy arrays, dataset:NAME, generators (gen:NAME, gen:FILE,
    gen:package.module:callable), or statistics: an npz file or stats:NAME. The value is called FID only with the
    published Inception weights.

    \b
    Examples:
      ganeval fid dataset:shapes-plain dataset:shapes-striped --num-samples 500 --protocol compact
      ganeval fid stats:cifar10-test samples.zip --protocol compact --json
      ganeval fid real/ fake/ --floor -o fid.json
    """
    from ganeval.cli.present import present
    from ganeval.evaluate import evaluate
    from ganeval.files import require_writable

    target: Path | None = options.pop("output")
    if target is not None:
        require_writable(target)
    path = weights_path(weights, get_protocol(protocol).extractor)
    evaluation = evaluate(
        real, fake, metrics=("fid",), protocol=protocol, weights=path, progress=output.progress, **options
    )
    present(evaluation, fmt=fmt, target=target)
