"""``ganeval report RESULTS.json ...``."""

from __future__ import annotations

from pathlib import Path

import click

from ganeval.cli.options import Command, option, output_options
from ganeval.cli.output import answer
from ganeval.cli.places import Output
from ganeval.errors import number_of


@click.command(cls=Command)
@click.argument("results", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RESULTS.json...")
@option("-o", "--output", type=Output(), default=Path("report.html"), help="The page to write.")
@option("--baseline", type=click.Path(dir_okay=False, path_type=Path), help="Results to compare all runs with.")
@option("--data-root", type=click.Path(file_okay=False), help="Folder of torchvision data sets.")
@output_options
def report(results: tuple[Path, ...], *, output: Path, baseline: Path | None, data_root: str | None, fmt: str) -> None:
    """Write an HTML page: verdict and intervals, changes, provenance, plots, and the images behind the numbers.

    RESULTS.json are files that ganeval wrote with --output, or folders of training runs. The page is one file, and
    needs neither network nor scripts. Images are opened again at their place, and shown if they have not changed. To
    show the most informative images, measure the run with --report or --per-image.

    \b
    Examples:
      ganeval report results.json -o report.html
      ganeval report new.json --baseline old.json
      ganeval report run-1/ run-2/ -o training.html
    """
    from ganeval.report.page import read_subjects, write_report
    from ganeval.result_files import read_record

    alike = len({path.name for path in results}) < len({str(path) for path in results})
    subjects = [one for path in results for one in read_subjects(path, name=str(path) if alike else None)]
    before = None if baseline is None else read_record(baseline)
    write_report(output, subjects, baseline=before, data_root=data_root)
    size = output.stat().st_size
    shown = f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"
    text = f"{output}: {number_of(len(subjects), 'run')}, {shown}"
    answer({"report": {"output": str(output), "runs": len(subjects), "bytes": size}}, text, fmt=fmt, target=None)
