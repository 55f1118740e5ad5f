"""``ganeval cite METRIC``."""

from __future__ import annotations

from pathlib import Path

import click

from ganeval.cli.options import Command, output_options, output_path
from ganeval.cli.output import answer
from ganeval.metrics.registry import METRICS, get_metric


@click.command(cls=Command)
@click.argument("metric")
@output_path
@output_options
def cite(metric: str, *, fmt: str, output: Path | None) -> None:
    """Print the BibTeX entry of METRIC, to cite it in a paper.

    \b
    Example:
      ganeval cite fid
    """
    entry = get_metric(metric)
    fields = {"citation": {"metric": entry.name, "title": entry.title, "bibtex": entry.citation}}
    answer(fields, entry.citation, fmt=fmt, target=output)


cite.help = f"{cite.help}\n\nMetrics: {', '.join(METRICS)}."
