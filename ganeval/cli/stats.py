"""``ganeval stats build | show | merge``: reference statistics."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ganeval.cli import output
from ganeval.cli.options import (
    Command,
    compute_options,
    declared,
    group,
    image_options,
    network_options,
    option,
    output_options,
    output_path,
)
from ganeval.cli.outputs import Outputs
from ganeval.cli.places import Source, StatisticsFile

if TYPE_CHECKING:
    from ganeval.statistics.reference import Statistics


@click.group()
def stats() -> None:
    """Reference statistics: computed once, compared with many times.

    \b
    Examples:
      ganeval stats build dataset:shapes --num-samples 500 --protocol compact -o shapes.npz
      ganeval stats show shapes.npz
    """


_target = option(
    "-o",
    "--output",
    type=StatisticsFile(),
    required=True,
    help="The npz file to write.",
)


@stats.command(cls=Command)
@click.argument("images", type=Source())
@_target
@compute_options
@network_options
@image_options
@declared(*group("statistics"))
@output_options
def build(images: str, *, fmt: str, **options: Any) -> None:
    """Statistics of IMAGES, under one protocol, with their provenance.

    \b
    Examples:
      ganeval stats build dataset:shapes --num-samples 500 --protocol compact -o shapes.npz
      ganeval stats build dataset:shapes --num-samples 500 --protocol compact --shard 1/2 -o one-of-two.npz
    """
    from ganeval.api import build_statistics
    from ganeval.statistics.npz import with_suffix_npz
    from ganeval.statistics.reference import save_statistics

    target = with_suffix_npz(options.pop("output"))
    statistics = build_statistics(images, progress=output.progress, **options)
    for message in (statistics.meta or {}).get("warnings", ()):
        output.warning(message)
    outputs = Outputs()
    if output.speaks():
        with outputs.attempt(target):
            save_statistics(target, statistics)
    _show(statistics, str(target), fmt, outputs=outputs)


@stats.command(cls=Command)
@click.argument("file", type=Source())
@output_path
@output_options
def show(file: str, *, fmt: str, **options: Any) -> None:
    """What FILE (an npz of any tool, or stats:NAME) holds and how it was made.

    \b
    Example:
      ganeval stats show stats:cifar10-test
    """
    from ganeval.engine.reference_files import load_reference

    _show(load_reference(file), file, fmt, options["output"])


@stats.command(cls=Command)
@click.argument("files", type=Source(), nargs=-1, required=True, metavar="FILE...")
@_target
@output_options
def merge(files: tuple[str, ...], *, fmt: str, **options: Any) -> None:
    """Statistics of all the images together, from those of disjoint shares; images in two shares are an error.

    \b
    Example:
      ganeval stats merge one.npz two.npz -o both.npz
    """
    from ganeval.engine.reference_files import load_reference
    from ganeval.statistics.merging import merge_statistics
    from ganeval.statistics.npz import with_suffix_npz
    from ganeval.statistics.reference import save_statistics

    target = with_suffix_npz(options["output"])
    merged = merge_statistics(load_reference(file) for file in files)
    for message in merged.warnings:
        output.warning(message)
    outputs = Outputs()
    with outputs.attempt(target):
        save_statistics(target, merged)
    _show(merged, str(target), fmt, outputs=outputs)


def _rows_kept(statistics: Statistics) -> str:
    if statistics.rows is not None:
        return f"all {len(statistics.rows)}"
    return "none" if statistics.row_sample is None else f"a sample of {len(statistics.row_sample)}, for calibration"


def _show(
    statistics: Statistics, name: str, fmt: str, target: Path | None = None, *, outputs: Outputs | None = None
) -> None:
    protocol = statistics.protocol
    source = (statistics.meta or {}).get("source") or {}
    fields: dict[str, Any] = {
        "file": name,
        "n": statistics.n,
        "features": len(statistics.mean),
        "rows": None if statistics.rows is None else len(statistics.rows),
        "sampled_rows": None if statistics.row_sample is None else len(statistics.row_sample),
        "ddof": statistics.ddof,
        "protocol": None if protocol is None else protocol.to_dict(),
        "source": source,
        "digest": statistics.digest,
        "trace": float(statistics.covariance.trace()),
        "mean_norm": float((statistics.mean**2).sum() ** 0.5),
    }
    made = "unknown (the file does not say)" if protocol is None else f"{protocol.told()}, key {protocol.key()}"
    rows = [
        ("file", name),
        ("images", "unknown" if statistics.n is None else statistics.n),
        ("features", fields["features"]),
        ("protocol", made),
        ("source", source.get("spec", "unknown")),
        ("digest", statistics.digest or "unknown"),
        ("note", statistics.note or ""),
        ("rows kept", _rows_kept(statistics)),
    ]
    cells = [(field, str(value)) for field, value in rows if value]
    output.answer({"statistics": fields}, cells, header=("field", "value"), fmt=fmt, target=target, outputs=outputs)
