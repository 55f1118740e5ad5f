"""``ganeval cite METRIC``."""

from __future__ import annotations

import click

from ganeval.cli import output
from ganeval.cli.options import Command, output_options
from ganeval.metrics.registry import METRICS, get_metric


@click.command(cls=Command)
@click.argument("metric")
@output_options
def cite(metric: str, *, fmt: str) -> None:
    """BibTeX of METRIC.

    \b
    Example:
      ganeval cite fid
    """
    entry = get_metric(metric)
    if fmt == "json":
        output.document({"citation": {"metric": entry.name, "title": entry.title, "bibtex": entry.citation}})
    else:
        click.echo(entry.citation)


cite.help = f"{cite.help}\n\nMetrics: {', '.join(METRICS)}."
