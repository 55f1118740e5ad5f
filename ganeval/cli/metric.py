"""``ganeval eval`` and one command a metric: all made from the registry, so that none can lag behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from ganeval.cli import output
from ganeval.cli.options import (
    Command,
    Decorated,
    Names,
    Pair,
    compute_options,
    image_options,
    network_options,
    option,
    output_options,
    record_path,
    report_path,
)
from ganeval.cli.outputs import Outputs
from ganeval.cli.places import Output, Source
from ganeval.errors import ConfigError
from ganeval.metrics.registry import METRICS, get_metric, named_metrics
from ganeval.protocol import PROTOCOLS

if TYPE_CHECKING:
    from ganeval.results import Evaluation

# The options of single estimators, by the field of ``Settings`` that they fill.
_SETTINGS: Mapping[str, Callable[[Decorated], Decorated]] = {
    "trace": option(
        "--trace",
        type=click.Choice(["auto", "sqrtm", "svd", "eigvals"]),
        default="auto",
        help="How the matrix square root's trace is computed.",
    ),
    "floor": option(
        "--floor", is_flag=True, help="Also the distance between two halves of REAL: what perfect looks like."
    ),
    "per_class": option("--per-class", is_flag=True, help="Also the distance within each class folder or label."),
    "kid_kernel": option(
        "--kid-kernel", type=click.Choice(["polynomial", "rbf"]), default="polynomial", help="Kernel of KID."
    ),
    "kid_subsets": option(
        "--kid-subsets", type=Pair(), help="Also KID as papers take it, over so many subsets of that size: 100x1000."
    ),
    "neighbours": option(
        "--neighbours", type=click.IntRange(min=1), help="k of the balls.  [default: 3 for P and R, 5 for D and C]"
    ),
    "strict": option(
        "--strict/--no-strict", default=None, help="Leave out the border of balls.  [default: each metric's own rule]"
    ),
    "radius": option(
        "--radius",
        type=click.FloatRange(0, min_open=True),
        help="Fixed, of all balls, in place of the k-th neighbour.",
    ),
    "directions": option("--directions", type=click.IntRange(min=1), default=1000, help="Random projections of MIND."),
    "cmmd_sigma": option(
        "--cmmd-sigma", type=click.FloatRange(0, min_open=True), default=10.0, help="Width of CMMD's kernel."
    ),
    "splits": option(
        "--splits",
        type=click.IntRange(min=1),
        help="Parts of the Inception Score.  [default: as the protocol]",
    ),
}

_FAMILIES: Mapping[str, str] = {"pr": "Precision, recall, density and coverage of FAKE against REAL, with error bars."}

_SPECS = """\
Images are folders, zip or tar archives, npz or npy arrays, dataset:NAME or generators (gen:NAME, gen:FILE,
gen:package.module:callable); REAL may also be statistics: an npz file or stats:NAME. Of an npz file with both, each
metric takes the part that it needs; FILE.npz:images and FILE.npz:statistics choose one."""


def metric_command(name: str) -> click.Command:
    """The command of one metric, or of a family such as ``pr``."""
    metrics = [m for m in METRICS.values() if name in (m.name, m.command)]
    if not metrics:
        get_metric(name)  # says what there is
    summary = _FAMILIES.get(name) or f"{metrics[0].title}, with its error bar."
    both = any(m.sides == "both" for m in metrics)
    test = any(m.test for m in metrics)
    example = "dataset:shapes-plain dataset:shapes-striped" if both else "dataset:shapes"
    real, held_out = ("train/ ", ("--test test/ ", "--test dataset:shapes-plain@1 ")) if test else ("real/ ", ("", ""))
    protocol = "compact" if all(PROTOCOLS["compact"].has(m.layer) for m in metrics) else "ttur"
    examples = [f"ganeval {name} {real if both else ''}fake/ {held_out[0]}-o {name}.json"]
    if metrics[0].protocol is None:  # else there is nothing that runs without a download
        examples.insert(0, f"ganeval {name} {example} {held_out[1]}--num-samples 500 --protocol {protocol}")
    text = _help(summary, examples)
    names = tuple(m.name for m in metrics)
    settings = tuple(dict.fromkeys(s for m in metrics for s in m.settings))
    return _command(name, text, settings, both=both, test=test, metrics=names)


def eval_command() -> click.Command:
    examples = (
        "ganeval eval dataset:shapes-plain dataset:shapes-striped --num-samples 500 --protocol compact",
        "ganeval eval real/ fake/ --metrics fid,kid,is -o results.json",
    )
    text = _help(
        "Every metric that applies to REAL and FAKE, from one decode and one forward pass a network.", examples
    )
    return _command("eval", text, tuple(_SETTINGS), both=True, test=True, metrics=None)


def _help(summary: str, examples: Sequence[str]) -> str:
    return "\n\n".join((summary, _SPECS, "\b\nExamples:\n" + "\n".join(f"  {line}" for line in examples)))


def _command(
    name: str, text: str, settings: Sequence[str], *, both: bool, test: bool, metrics: tuple[str, ...] | None
) -> click.Command:
    def run(*, fake: str, fmt: str, **options: Any) -> None:
        from ganeval.api import evaluate
        from ganeval.cli.present import present

        target, page, table = (options.pop(name) for name in ("output", "report", "per_image"))
        if table is not None:
            from ganeval.report.table import require_form

            require_form(table)
        wanted = chosen_metrics(options.pop("metrics")) if metrics is None else metrics
        if wanted and all(get_metric(m).protocol for m in wanted):
            source = click.get_current_context().get_parameter_source("protocol")
            if source is click.core.ParameterSource.COMMANDLINE or not isinstance(options["protocol"], str):
                raise ConfigError(
                    f"the network of {', '.join(wanted)} is part of its definition; leave out --protocol."
                )
        real = options.pop("real", None)
        single = page is not None or table is not None
        evaluation = evaluate(real, fake, metrics=wanted, progress=output.progress, single_images=single, **options)
        outputs = Outputs()
        if single and output.speaks():
            _show_images(outputs, evaluation, fake, page, table, options["data_root"])
        present(evaluation, fmt=fmt, target=target, outputs=outputs)

    decorators: list[Callable[[Decorated], Decorated]] = []
    if both:
        decorators.append(click.argument("real", type=Source(), metavar="TRAIN" if test and metrics else "REAL"))
    decorators += [click.argument("fake", type=Source()), compute_options, network_options, image_options]
    if metrics is None:
        decorators.append(
            option(
                "--metrics",
                type=Names(),
                metavar="NAME,NAME",
                help=f"Instead of all that apply: of {', '.join(METRICS)}.",
            )
        )
    if both:
        decorators += [
            option("--num-real", type=click.IntRange(min=1), help="Use a seeded subset of REAL of this size."),
            option(
                "--reference",
                type=click.Choice(["sample", "population"]),
                help="Is REAL a sample, or the target?  [default: sample for images, population for statistics]",
            ),
            option(
                "--assume-protocol", is_flag=True, help="Take statistics of unknown origin as made under this protocol."
            ),
        ]
    if test:
        decorators.append(option("--test", type=Source(), help="Held-out real images, for metrics of memorisation."))
    decorators += [
        option("--num-fake", type=click.IntRange(min=1), help="Use a seeded subset of FAKE of this size."),
        option(
            "--level",
            type=click.FloatRange(0, 1, min_open=True, max_open=True),
            default=0.95,
            help="Level of the intervals.",
        ),
        *(_SETTINGS[s] for s in settings),
        option(
            "--per-image",
            type=Output(),
            metavar="FILE.csv|.npz",
            help="Also write a table with a line an image: realism, nearest image, influence, score, covered.",
        ),
        report_path,
        record_path,
        output_options,
    ]
    decorated: Decorated = run
    for decorate in reversed(decorators):
        decorated = decorate(decorated)
    return click.command(name, cls=Command, help=text)(decorated)


def _show_images(
    outputs: Outputs, evaluation: Evaluation, name: str, page: Path | None, table: Path | None, data_root: str | None
) -> None:
    """The table and the page of a run that was measured just now."""
    from ganeval.report.page import Subject, write_report
    from ganeval.report.table import columns, write_table
    from ganeval.result_files import Record

    record = Record.of(evaluation, name)
    if table is not None:
        n_fake, n_real = (cast(int | None, side.get("n")) for side in (evaluation.fake, evaluation.real))
        with outputs.attempt(table):
            write_table(table, columns(record.arrays, n_fake or 0, n_real))
    if page is not None:
        with outputs.attempt(page):
            write_report(page, [Subject(record=record)], trusted=True, data_root=data_root)


def chosen_metrics(names: str | None) -> tuple[str, ...] | None:
    """The metrics that were asked for; ``pr`` stands for its four; None for all that apply."""
    if names is None:
        return None
    return tuple(metric.name for metric in named_metrics(part.strip() for part in names.split(",")))


def __getattr__(name: str) -> click.Command:
    """``ganeval.cli.metric.fid`` and so on, made when asked for."""
    if name == "eval":
        return eval_command()
    if any(name in (m.name, m.command) for m in METRICS.values()):
        return metric_command(name)
    raise AttributeError(name)
