"""``ganeval weights list | fetch | verify | import | export``."""

from __future__ import annotations

import tarfile
from dataclasses import asdict
from pathlib import Path

import click

from ganeval.cli.options import Command, output_options, output_path
from ganeval.cli.output import answer, note
from ganeval.cli.places import Output
from ganeval.features import weights as files
from ganeval.parsing.layout import Cell


@click.group()
def weights() -> None:
    """List, fetch, verify, import and export the weights of networks.

    \b
    Examples:
      ganeval weights list
      ganeval weights import downloaded.pth
    """


@weights.command("list", cls=Command)
@output_path
@output_options
def list_command(*, fmt: str, output: Path | None) -> None:
    """List the files of weights that ganeval knows, and whether they are on this machine.

    \b
    Example:
      ganeval weights list
    """
    entries = files.list_weights()
    rows = []
    for entry in entries:
        unknown = "unverified (no hash is on record)" if files.specs()[entry.name].sha256 is None else "WRONG FILE"
        absent = "not installed" if files.specs()[entry.name].package else "not fetched"
        state = "verified" if entry.verified else unknown if entry.present else absent
        size = f"{entry.bytes / 1e6:.0f} MB" if entry.bytes else "size unknown"
        path = Cell(str(entry.path), {"dim": True}, loose=True)
        rows.append([Cell(entry.name, {"bold": True}), Cell(state), Cell(f"({size}, {entry.licence})"), path])
    fields = {"weights": [{**asdict(entry), "path": str(entry.path)} for entry in entries]}
    answer(fields, rows, header=("network", "state", "file", "path"), fmt=fmt, target=output)


@weights.command(cls=Command)
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@output_path
@output_options
def fetch(names: tuple[str, ...], *, fmt: str, output: Path | None) -> None:
    """Fetch the weights NAME... into the torch hub folder, unless they are there.

    \b
    Example:
      ganeval weights fetch inception
    """
    specs = [files.get_spec(name) for name in names]
    found = {spec.name: files.locate(spec, notify=note) for spec in specs}
    _report(found, fmt, output)


@weights.command(cls=Command)
@click.argument("name", required=False)
@output_path
@output_options
def verify(name: str | None, *, fmt: str, output: Path | None) -> None:
    """Check the hash of the weights NAME, or of all weights on this machine. Fetches nothing.

    \b
    Examples:
      ganeval weights verify
      ganeval weights verify inception
    """
    specs = [files.get_spec(name)] if name else [files.specs()[row.name] for row in files.list_weights() if row.present]
    if not specs:
        note("no weights are on this machine: there is nothing to verify")
    _report({spec.name: files.verify(spec) for spec in specs}, fmt, output)


@weights.command("import", cls=Command)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--name", help="Name of the weights.  [default: from the hash of the file]")
@output_path
@output_options
def import_command(file: Path, *, name: str | None, fmt: str, output: Path | None) -> None:
    """Copy FILE, fetched on another machine, to where ganeval finds it, after checking its hash.

    FILE is one file of weights, or an archive of `ganeval weights export`.

    \b
    Examples:
      ganeval weights import pt_inception-2015-12-05-6726825d.pth
      ganeval weights import weights.tar
    """
    if name is None and file.is_file() and tarfile.is_tarfile(file):
        _report(files.import_archive(file), fmt, output)
        return
    located = files.import_file(file, files.get_spec(name) if name else None)
    named = name or next(spec.name for spec in files.specs().values() if spec.sha256 == located.sha256)
    _report({files.get_spec(named).name: located}, fmt, output)


@weights.command("export", cls=Command)
@click.argument("archive", type=Output(), metavar="ARCHIVE.tar")
@click.argument("names", nargs=-1, metavar="[NAME...]")
@output_path
@output_options
def export_command(archive: Path, *, names: tuple[str, ...], fmt: str, output: Path | None) -> None:
    """Write the weights NAME..., or all on this machine, to one archive for a machine without network.

    There, `ganeval weights import ARCHIVE.tar` puts them in place. Fetches nothing.

    \b
    Examples:
      ganeval weights export weights.tar
      ganeval weights export weights.tar inception
    """
    _report(files.export_files([files.get_spec(name) for name in names], archive), fmt, output)


def _report(found: dict[str, files.LocatedWeights], fmt: str, target: Path | None) -> None:
    rows = [{"name": n, "path": str(w.path), "sha256": w.sha256, "verified": w.verified} for n, w in found.items()]
    lines = [
        f"{name}  {'verified' if w.verified else 'unverified'}  {w.path}  (SHA-256 {w.sha256})"
        for name, w in found.items()
    ]
    answer({"weights": rows}, "\n".join(lines), fmt=fmt, target=target)
