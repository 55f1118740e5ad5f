"""``ganeval train dcgan | cyclegan``: the adversarial game, played to the end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ganeval.cli import output as out
from ganeval.cli.metric import chosen_metrics
from ganeval.cli.options import Command, Names, Range, option, output_options, report_path
from ganeval.cli.places import Output, Source
from ganeval.protocol import PROTOCOLS
from ganeval.training import PRECISIONS

_LOSSES = ("non-saturating", "minimax", "least-squares", "hinge")


@click.group()
def train() -> None:
    """Train a reference generator, from scratch.

    The folder gets the log (log.jsonl), sample grids, one checkpoint, and at the end the generator with its card and a
    figure of the whole game. A run that was broken off goes on with --resume, as if nothing had happened.

    \b
    Examples:
      ganeval train dcgan --data images/ --output run/
      ganeval train dcgan --data dataset:shapes --num-samples 5000 --steps 2000 -o shapes-run/
      ganeval train cyclegan --domain-a horses/ --domain-b zebras/ -o translation/
    """


def _run_options(**defaults: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """What both commands share; defaults are those of the functions behind them."""

    def decorate(f: Callable[..., Any]) -> Callable[..., Any]:
        count, from_one = click.IntRange(min=0), click.IntRange(min=1)
        for one in reversed(
            (
                option("-o", "--output", type=Output(either=True), required=True, help="A folder of this run."),
                option("--size", type=int, default=defaults["size"], help="Of the images, in pixels."),
                option("--width", type=int, default=defaults["width"], help="Channels of the networks."),
                option("--steps", type=from_one, default=20_000, help="Updates of each player."),
                option("--batch-size", type=from_one, default=defaults["batch_size"], help="Images in a step."),
                option("--num-samples", type=from_one, help="A seeded subset; of rendered images, how many."),
                option("--seed", type=count, default=0, help="Of everything random."),
                option("--device", default="auto", metavar="auto|cpu|cuda[:i]|mps", help="Where to train."),
                option(
                    "--precision", type=click.Choice(PRECISIONS), default="float32",
                    help="bf16 is mixed precision, tf32 (CUDA) has 10 bits a factor: faster where they exist.",
                ),
                option(
                    "--average", type=click.FloatRange(0, 1, max_open=True), default=0.999,
                    help="Decay of the exponential average of the generator.",
                ),
                option("--protocol", default="compact", help=f"Of the evaluations: {', '.join(PROTOCOLS)}."),
                option(
                    "--metrics", type=Names(), metavar="NAME,NAME",
                    help="Of the evaluations.  [default: fid, and precision, recall, ind where they can be measured]",
                ),
                option("--log-every", type=from_one, default=20, help="Steps between lines of the log."),
                option("--sample-every", type=count, default=defaults["sample_every"], help="Steps between grids."),
                option(
                    "--eval-every", type=count, default=defaults["eval_every"],
                    help="Steps between evaluations; 0 for none.",
                ),
                option("--checkpoint-every", type=from_one, default=500, help="Steps between checkpoints."),
                option("--max-minutes", type=float, help="End after this time; the run can be resumed."),
                option("--resume", is_flag=True, help="Go on with the run in the folder."),
                option("--overwrite", is_flag=True, help="Replace the run in the folder."),
                option(
                    "--on-error", type=click.Choice(["stop", "skip"]), default="stop",
                    help="At an unreadable file: stop, or leave it out and say so.",
                ),
                report_path,
                option("--data-root", type=click.Path(file_okay=False), help="Folder of torchvision data sets."),
                option("--download", is_flag=True, help="Let torchvision download a data set."),
            )
        ):  # fmt: skip
            f = one(f)
        return f

    return decorate


@train.command(cls=Command)
@option("--data", type=Source(), required=True, help="Images: a folder, an archive, an array or dataset:NAME.")
@_run_options(size=32, width=64, batch_size=128, sample_every=1000, eval_every=2000)
@option("--channels", type=int, default=3, help="3, or 1 for grey.")
@option("--latent-dim", type=int, default=100, help="Size of z.")
@option("--loss", type=click.Choice(_LOSSES), default="non-saturating", help="What the players pay.")
@option("--learning-rate", type=float, default=2e-4, help="Of Adam, whose beta1 is 0.5.")
@option("--flip", is_flag=True, help="Mirror the images by chance.")
@option("--channels-last/--no-channels-last", default=True, help="Memory layout of the networks.")
@option("--value-range", type=Range(), help="Ends of the range of float images, for instance -1,1.")
@option("--eval-samples", type=click.IntRange(min=2), default=2000, help="Generated images in an evaluation.")
@option("--final-samples", type=click.IntRange(min=2), default=10_000, help="The same in the last one.")
@option("--eval-reference", type=Source(), help="Statistics or images to compare with.  [default: the data]")
@output_options
def dcgan(
    data: str, *, output: Path, metrics: str | None, report: Path | None, fmt: str, **options: Any
) -> None:  # fmt: skip
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
@option("--domain-b", type=Source(), required=True, help="Images of the second; they need not be pairs.")
@_run_options(size=64, width=32, batch_size=1, sample_every=500, eval_every=1000)
@option("--blocks", type=int, default=6, help="Residual blocks of the generators.")
@option("--skip", is_flag=True, help="The generators make what is added to their input.")
@option("--discriminator-width", type=int, default=64, help="Channels of the discriminators.")
@option("--patch", type=int, help="Receptive field of the discriminators, in pixels.  [default: suits the size]")
@option("--rate", type=float, default=2e-4, help="Of Adam; it falls to 0 over the second half.")
@option("--cycle-weight", type=float, default=10.0, help="Of the cycle loss.")
@option("--identity-weight", type=float, default=5.0, help="Of the identity loss.")
@option("--identity-every", type=click.IntRange(min=1), default=1, help="Steps from one identity loss to the next.")
@option("--keep-weight", type=float, default=0.0, help="Of the change that a translation makes, in L1; 0 in the paper.")
@option("--pool-size", type=click.IntRange(min=0), default=50, help="Earlier translations kept for the discriminators.")
@option("--cycle-noise", type=float, default=0.0, help="Standard deviation of noise on the way back.")
@option(
    "--cycle-through", type=click.FloatRange(0, 1), default=1.0,
    help="Share of the cycle loss's gradient that reaches the first of the two translators.",
)  # fmt: skip
@option("--names", nargs=2, default=("a", "b"), help="Of the domains, for the cards.")
@option("--test-a", type=Source(), help="Images to evaluate on.  [default: the first ones of the domain]")
@option("--test-b", type=Source(), help="Likewise.")
@option("--paired-test", is_flag=True, help="Image i of both tests are true counterparts.")
@option("--num-test", type=click.IntRange(min=2), default=1000, help="Images of each domain in an evaluation.")
@output_options
def cyclegan(
    domain_a: str, domain_b: str, *, output: Path, metrics: str | None, report: Path | None, fmt: str, **options: Any
) -> None:  # fmt: skip
    """Train translators between two domains of images, both ways.

    \b
    Examples:
      ganeval train cyclegan --domain-a horses/ --domain-b zebras/ -o translation/
      ganeval train cyclegan --domain-a horses/ --domain-b zebras/ -o translation/ --resume
    """
    from ganeval.training.cyclegan import train_cyclegan

    folder = train_cyclegan(
        domain_a, domain_b, output, metrics=chosen_metrics(metrics), progress=out.progress, **options
    )  # fmt: skip
    _present([folder / "a2b.safetensors", folder / "b2a.safetensors"], report, fmt)


def _present(paths: list[Path], page: Path | None, fmt: str) -> None:
    """What was made: the page, if there is to be one, then one line a generator, or their cards."""
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
