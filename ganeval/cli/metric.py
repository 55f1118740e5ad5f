"""``ganeval eval`` and one command per metric, all derived from the registry."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from ganeval.cli.options import (
    Command,
    Decorated,
    compute_options,
    declared,
    group,
    image_options,
    network_options,
    output_options,
    per_image_path,
    record_path,
    report_path,
)
from ganeval.cli.output import progress
from ganeval.cli.outputs import opened_by
from ganeval.cli.places import Source
from ganeval.errors import ConfigError
from ganeval.metrics.registry import METRICS, family, metric_commands, named_metrics, summary_of
from ganeval.protocol import PROTOCOLS, WAVELETS

_SPECS = """\
Images are folders, zip or tar archives, npz or npy arrays, dataset:NAME or generators (gen:NAME, gen:FILE,
gen:package.module:callable). REAL may also be statistics: an npz file or stats:NAME. If an npz file has both, each
metric uses the part that it needs. FILE.npz:images and FILE.npz:statistics select one part."""


def metric_command(name: str) -> click.Command:
    """The command of one metric, or of a family such as ``pr``."""
    metrics = family(name)
    summary = f"{summary_of(name)}, with its error bar."
    names = tuple(metric.name for metric in metrics)
    settings = tuple(dict.fromkeys(one for metric in metrics for one in metric.settings))
    if metrics[0].generator:
        own = ("weights", "device", "batch_size", "seed", *group("generator"), "value_range", "level")
        made = click.argument("fake", type=Source(), metavar="GENERATOR")
        return _built(name, f"{summary}\n\n{_GENERATORS}", names, [made, declared(*settings, *own)])
    both = any(m.sides == "both" for m in metrics)
    test = any(m.test for m in metrics)
    example = "dataset:shapes-plain dataset:shapes-striped" if both else "dataset:shapes"
    real, held_out = ("train/ ", ("--test test/ ", "--test dataset:shapes-plain@1 ")) if test else ("real/ ", ("", ""))
    protocol = "compact" if all(PROTOCOLS["compact"].has(m.layer) for m in metrics) else "ttur"
    protocols = {None: f" --protocol {protocol}", WAVELETS: ""}
    examples = [f"ganeval {name} {real if both else ''}fake/ {held_out[0]}-o {name}.json"]
    if metrics[0].protocol in protocols:  # else there is nothing that runs without a download
        examples.insert(0, f"ganeval {name} {example} {held_out[1]}--num-samples 500{protocols[metrics[0].protocol]}")
    return _command(name, _help(summary, examples), settings, both=both, test=test, metrics=names)


def eval_command() -> click.Command:
    examples = (
        "ganeval eval dataset:shapes-plain dataset:shapes-striped --num-samples 500 --protocol compact",
        "ganeval eval real/ fake/ --metrics fid,kid,is -o results.json",
    )
    text = _help(
        "Compute every metric that applies to REAL and FAKE, with one decode and one forward pass per network.",
        examples,
    )
    return _command("eval", text, group("setting"), both=True, test=True, metrics=None)


def _help(summary: str, examples: Sequence[str]) -> str:
    return "\n\n".join((summary, _SPECS, "\b\nExamples:\n" + "\n".join(f"  {line}" for line in examples)))


def _command(
    name: str, text: str, settings: Sequence[str], *, both: bool, test: bool, metrics: tuple[str, ...] | None
) -> click.Command:
    decorators: list[Callable[[Decorated], Decorated]] = []
    if both:
        decorators.append(click.argument("real", type=Source(), metavar="TRAIN" if test and metrics else "REAL"))
    decorators += [click.argument("fake", type=Source()), compute_options, network_options, image_options]
    if metrics is None:
        names = ", ".join(metric.name for metric in METRICS.values() if metric.of_sets)
        which = f"Compute these metrics instead of all that apply: {names}."
        decorators.append(declared("metrics", default=None, help=which))
    if both:
        decorators.append(declared(*group("comparison")))
    if metrics is None or any(METRICS[metric].relative for metric in metrics):
        decorators.append(declared(*group("heldout")))
    if test:
        decorators.append(declared("test"))
    per_image = per_image_path(
        "Also write a table with one row per image: realism, rarity, nearest image, influence, score, covered."
    )
    return _built(name, text, metrics, [*decorators, declared(*group("result", "features"), *settings), per_image])


def _built(
    name: str, text: str, metrics: tuple[str, ...] | None, options: Sequence[Callable[[Decorated], Decorated]]
) -> click.Command:
    """The command with these options, and those of all metrics."""
    decorators: list[Callable[[Decorated], Decorated]] = [*options, report_path, record_path, output_options]
    decorated: Decorated = functools.partial(_run, metrics)
    for decorate in reversed(decorators):
        decorated = decorate(decorated)
    return click.command(name, cls=Command, help=text)(decorated)


def _run(
    metrics: tuple[str, ...] | None,
    /,
    *,
    fake: str,
    fmt: str,
    output: Path | None,
    report: Path | None,
    per_image: Path | None = None,
    **options: Any,
) -> None:
    """Measure, and write the requested outputs."""
    from ganeval.api import evaluate
    from ganeval.cli.present import present

    wanted = options.pop("metrics", None) or metrics
    if wanted and all(metric.protocol for metric in named_metrics(wanted)):
        source = click.get_current_context().get_parameter_source("protocol")
        if source is click.core.ParameterSource.COMMANDLINE or not isinstance(options["protocol"], str):
            raise ConfigError(f"the network of {', '.join(wanted)} is part of its definition. Omit --protocol.")
    real = options.pop("real", None)
    single = report is not None or per_image is not None
    if "protocol" in options:  # else the metric is of the generator itself, not of images
        options["single_images"] = single
    evaluation = evaluate(real, fake, metrics=wanted, progress=progress, **options)
    present(
        evaluation,
        fmt=fmt,
        target=output,
        name=fake,
        report=report,
        per_image=per_image,
        opened=opened_by(options),
    )


_GENERATORS = """\
GENERATOR is gen:NAME, gen:FILE (a checkpoint of `ganeval train` or TorchScript) or gen:package.module:callable, and
must return floats that are neither rounded nor clamped, and not of half precision. For --space w it also needs two
callables, mapping(z) and synthesis(w).

\b
Examples:
  ganeval ppl gen:dcgan-cifar10 --distance compact --pairs 500
  ganeval ppl gen:mymodule:generator --space w --sampling end --pairs 50000 -o ppl.json"""


def chosen_metrics(names: Sequence[str] | None) -> tuple[str, ...] | None:
    """The metrics that were asked for, those of a family for its name; None for all that apply."""
    return None if names is None else tuple(metric.name for metric in named_metrics(names))


def __getattr__(name: str) -> click.Command:
    """``ganeval.cli.metric.fid`` and so on, made when asked for."""
    if name == "eval":
        return eval_command()
    if name in metric_commands():
        return metric_command(name)
    raise AttributeError(name)
