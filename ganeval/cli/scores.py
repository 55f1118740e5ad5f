"""``ganeval scores FILE``: numbers per image that another program made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ganeval.cli.options import Command, all_declared, output_options, record_path, report_path
from ganeval.engine.scores_config import ScoresConfig

_REPEATED = {name: {"multiple": True, "type": str} for name in ("column", "higher_is_better", "lower_is_better")}


@click.command(cls=Command)
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE.csv|.jsonl|.parquet")
@all_declared(ScoresConfig, **_REPEATED)
@report_path
@record_path
@output_options
def scores(file: Path, *, output: Path | None, report: Path | None, fmt: str, **options: Any) -> None:
    """Give numbers per image that another program made an error bar: mean or proportion, and quantiles.

    FILE has one row per image: a CSV file with a heading, one JSON object per line, or Parquet (needs pyarrow). A
    column of zeros and ones, or of true and false, is a proportion and has Wilson's interval. --column,
    --higher-is-better and --lower-is-better can be repeated, once per column. `compare` pairs two files by --id. Rules
    of a gate are in [gate.scores.COLUMN]; max-regression needs a direction.

    \b
    Examples:
      ganeval scores hps.csv --id prompt --higher-is-better hps -o hps.json
      ganeval scores geneval.jsonl --column correct --higher-is-better correct --group-by prompt --json
    """
    from ganeval.api import scores as measure
    from ganeval.cli.present import present

    options["column"] = options["column"] or None
    evaluation = measure(file, **options)
    present(evaluation, fmt=fmt, target=output, name=str(file), report=report)
