"""``ganeval stats build | show | merge | list | fetch | verify``: reference statistics."""

from __future__ import annotations

from collections.abc import Sequence
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
from ganeval.parsing.layout import Cell

if TYPE_CHECKING:
    from ganeval.engine.public_statistics import PublicStatistics
    from ganeval.statistics.reference import Statistics


@click.group()
def stats() -> None:
    """Reference statistics: computed once, compared with many times.

    \b
    Examples:
      ganeval stats build dataset:shapes --num-samples 500 --protocol compact -o shapes.npz
      ganeval stats show shapes.npz
      ganeval stats list --protocol compact
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
      ganeval stats build my-images/ --protocol adm --table -o table.npz
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


@stats.command("list", cls=Command)
@option("--protocol", metavar="NAME", help="Only those that a run under this protocol can compare with.")
@output_path
@output_options
def list_command(*, protocol: str | None, fmt: str, **options: Any) -> None:
    """List the statistics that ship or can be fetched: images, protocol, address, hash, and whether they are here.

    \b
    Examples:
      ganeval stats list
      ganeval stats list --protocol compact
    """
    from ganeval.engine.public_statistics import listed_statistics

    entries = listed_statistics(protocol)
    rows = []
    for entry in entries:
        size = f"{entry.resolution} px" if entry.resolution else "any size"
        images = "n unknown" if entry.n is None else f"n = {entry.n}"
        address = entry.url or "ships with ganeval"
        address += " (http: fetching it needs --allow-http)" if entry.needs_http else ""
        cells = [entry.dataset, size, images, entry.protocol, "here" if entry.path.is_file() else "not fetched"]
        cells.append(_hash_of(entry))
        rows.append([Cell(entry.name, {"bold": True}), *map(Cell, cells), Cell(address, {"dim": True}, loose=True)])
    header = ("name", "data set", "size", "images", "protocol", "state", "SHA-256", "from")
    fields = {"statistics": [entry.to_dict() for entry in entries]}
    output.answer(fields, rows, header=header, fmt=fmt, target=options["output"])


@stats.command(cls=Command)
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@option("--allow-http", is_flag=True, help="Fetch over http too where no hash of the file is known.")
@output_path
@output_options
def fetch(names: tuple[str, ...], *, allow_http: bool, fmt: str, **options: Any) -> None:
    """Fetch the statistics NAME... into the cache folder of the user, unless they are there.

    \b
    Example:
      ganeval stats fetch edm-cifar10-32
    """
    from ganeval.engine.public_statistics import find_statistics, get_statistics, verify_statistics

    entries = [get_statistics(name.removeprefix("stats:")) for name in names]
    for entry in entries:
        find_statistics(entry.name, allow_http=allow_http, notify=output.note)
    _answer_files([(entry, entry.path, verify_statistics(entry)) for entry in entries], fmt, options["output"])


@stats.command(cls=Command)
@click.argument("names", nargs=-1, metavar="[NAME|FILE.npz]...")
@output_path
@output_options
def verify(names: tuple[str, ...], *, fmt: str, **options: Any) -> None:
    """Check the hash of statistics: of each NAME or FILE, or of all that are on this machine. Fetches nothing.

    A NAME must have its published hash, or that of its first download. A FILE may have any: it is read and checked,
    and named if it is one of the public files.

    \b
    Examples:
      ganeval stats verify
      ganeval stats verify cifar10-test
    """
    from ganeval.download import sha256_of
    from ganeval.engine.public_statistics import get_statistics, listed_statistics, recognised, verify_statistics
    from ganeval.statistics.reference import load_statistics

    found: list[tuple[PublicStatistics | None, Path, str]] = []
    names = names or tuple(entry.name for entry in listed_statistics() if entry.path.is_file())
    if not names:
        output.note("no statistics are on this machine: there is nothing to verify")
    for name in names:
        path = Path(name)
        if path.suffix.lower() == ".npz":
            load_statistics(path)
            found.append((recognised(path), path, sha256_of(path)))
        else:
            entry = get_statistics(name.removeprefix("stats:"))
            found.append((entry, entry.path, verify_statistics(entry)))
    _answer_files(found, fmt, options["output"])


def _answer_files(found: Sequence[tuple[PublicStatistics | None, Path, str]], fmt: str, target: Path | None) -> None:
    fields, lines = [], []
    for entry, path, digest in found:
        state = "unknown" if entry is None else "verified" if entry.sha256 else "first use"
        name = path.name if entry is None else entry.name
        fields.append({"name": None if entry is None else name, "path": str(path), "sha256": digest, "state": state})
        lines.append(f"{name}  {_STATES[state]}  {path}  (SHA-256 {digest})")
    output.answer({"statistics": fields}, "\n".join(lines), fmt=fmt, target=target)


_STATES = {
    "verified": "has its published hash",
    "first use": "no published hash; as first fetched",
    "unknown": "none of the public files",
}


def _hash_of(entry: PublicStatistics) -> str:
    if entry.sha256 is not None:
        return f"{entry.sha256[:12]} (published)"
    return "not published" if entry.first_use is None else f"{entry.first_use[:12]} (first use)"


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
        "spatial_features": None if statistics.spatial is None else len(statistics.spatial[0]),
        "networks": sorted(statistics.other_rows),
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
        ("for sFID", "" if statistics.spatial is None else f"statistics of {len(statistics.spatial[0])} features"),
        ("rows of", ", ".join(sorted(statistics.other_rows))),
    ]
    cells = [(field, str(value)) for field, value in rows if value]
    output.answer({"statistics": fields}, cells, header=("field", "value"), fmt=fmt, target=target, outputs=outputs)
