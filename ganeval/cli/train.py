"""``ganeval train dcgan | cyclegan``: the adversarial game, played to the end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from ganeval.cli import output as out
from ganeval.cli.metric import chosen_metrics
from ganeval.cli.options import Command, all_declared, option, output_options, report_path
from ganeval.cli.places import Output, Source
from ganeval.training.config import CycleGANConfig, DCGANConfig

_output = option("-o", "--output", type=Output(either=True), required=True, help="Folder of this run.")


@click.group()
def train() -> None:
    """Train a reference generator, from scratch.

    The folder gets the log (log.jsonl), sample grids, one checkpoint, and at the end the generator with its card and a
    figure of the whole game. --resume continues a run that was stopped, with the same result as without the stop.

    \b
    Examples:
      ganeval train dcgan --data images/ --output run/
      ganeval train dcgan --data dataset:shapes --num-samples 5000 --steps 2000 -o shapes-run/
      ganeval train cyclegan --domain-a horses/ --domain-b zebras/ -o translation/
    """


@train.command(cls=Command)
@option("--data", type=Source(), required=True, help="Images: a folder, an archive, an array or dataset:NAME.")
@_output
@all_declared(DCGANConfig)
@report_path
@output_options
def dcgan(data: str, *, output: Path, metrics: str | None, report: Path | None, fmt: str, **options: Any) -> None:
    """Train a DCGAN on the images of SPEC.

    Images are cropped to a square and resized to --size: 32, 64 or 128.

    \b
    Examples:
      ganeval train dcgan --data images/ --size 64 -o run/
      ganeval train dcgan --data dataset:cifar10:train --download --flip --eval-reference stats:cifar10-test -o run/
      ganeval train dcgan --data images/ --size 64 -o run/ --resume
    """
    from ganeval.training.dcgan import train_dcgan

    path = train_dcgan(data, output, metrics=chosen_metrics(metrics), progress=out.progress, **options)
    _present([path], report, fmt)


@train.command(cls=Command)
@option("--domain-a", type=Source(), required=True, help="Images of the first domain.")
@option("--domain-b", type=Source(), required=True, help="Images of the second domain; they need not be pairs.")
@_output
@all_declared(CycleGANConfig)
@report_path
@output_options
def cyclegan(
    domain_a: str, domain_b: str, *, output: Path, metrics: str | None, report: Path | None, fmt: str, **options: Any
) -> None:
    """Train translators between two domains of images, both ways.

    \b
    Examples:
      ganeval train cyclegan --domain-a horses/ --domain-b zebras/ -o translation/
      ganeval train cyclegan --domain-a horses/ --domain-b zebras/ -o translation/ --resume
    """
    from ganeval.training.cyclegan import train_cyclegan

    settings = {"metrics": chosen_metrics(metrics), "progress": out.progress, **options}
    folder = train_cyclegan(domain_a, domain_b, output, **settings)
    _present([folder / "a2b.safetensors", folder / "b2a.safetensors"], report, fmt)


def _present(paths: list[Path], page: Path | None, fmt: str) -> None:
    """Write the report if asked for, then print one line for each generator, or their cards."""
    if page is not None:
        from ganeval.report.game import read_training
        from ganeval.report.page import write_report

        write_report(page, [read_training(paths[0].parent)])
    cards = {path.name: json.loads(path.with_suffix(".json").read_text(encoding="utf-8")) for path in paths}
    if fmt == "json":
        out.document({"train": {"output": str(paths[0].parent), "generators": cards}})
        return
    for path in paths:
        card = cards[path.name]
        metrics = card.get("metrics") or {}
        distance = f", FD {metrics['fd']:.4g} over {metrics['fd_n']} images" if "fd_n" in metrics else ""
        out.say(f"{path}: {card['model']} after {card['steps']} steps{distance}")
