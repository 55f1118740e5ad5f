"""``ganeval export RESULTS.json ...``."""

from __future__ import annotations

from pathlib import Path

import click

from ganeval.cli.options import Command, option
from ganeval.cli.output import say
from ganeval.cli.places import Output
from ganeval.report.export import FORMS, exported


@click.command(cls=Command)
@click.argument("results", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RESULTS.json...")
@option("--to", type=click.Choice(FORMS), required=True, help="The form.")
@option("-o", "--output", type=Output(), help="Write a file instead of stdout.")
@option("--dataset", metavar="ID", help="Data set on the hub; of hf-eval-results and model-index.")
@option("--task", metavar="ID", help="Task of the benchmark; of hf-eval-results.  [default: the metric]")
@option("--model", metavar="NAME", help="Name of the model; of model-index.")
def export(
    results: tuple[Path, ...],
    *,
    to: str,
    output: Path | None,
    dataset: str | None,
    task: str | None,
    model: str | None,
) -> None:
    """Write results as a table for a paper, a spreadsheet or a model card.

    RESULTS.json are files that ganeval wrote with --output.

    \b
    Examples:
      ganeval export old.json new.json --to latex
      ganeval export run.json --to csv -o run.csv
      ganeval export run.json --to model-index --model my-gan --dataset cifar10
    """
    from ganeval.files import write_text
    from ganeval.result_files import read_record

    alike = len({path.stem for path in results}) < len(results)
    runs = {str(path) if alike else path.stem: read_record(path).evaluation for path in results}
    text = exported(runs, to, dataset=dataset, task=task, model=model)
    if output is None:
        say(text.removesuffix("\n"))
    else:
        write_text(output, text)
