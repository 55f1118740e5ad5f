"""``ganeval gate``: check a run against rules; the exit code is the verdict."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from ganeval.cli import output as out
from ganeval.cli.config import find_config
from ganeval.cli.options import (
    Command,
    compute_options,
    declared,
    declared_pairs,
    group,
    image_options,
    option,
    output_options,
    record_path,
    report_path,
)
from ganeval.cli.outputs import Outputs, opened_by, write_evaluation
from ganeval.cli.places import Output, Source
from ganeval.cli.streams import OutputError
from ganeval.errors import ConfigError, number_of
from ganeval.gate.rules import ON_INCONCLUSIVE, Gate, parse_gate
from ganeval.parsing.layout import Cell

if TYPE_CHECKING:
    from ganeval.gate.run import GateRun
    from ganeval.gate.verdict import Verdict

_FILE = click.Path(dir_okay=False, path_type=Path)
_LOOKS: Mapping[str, Mapping[str, Any]] = {
    "pass": {"fg": "green", "bold": True},
    "fail": {"fg": "red", "bold": True},
    "inconclusive": {"fg": "yellow", "bold": True},
}
PAIRS = ("pair_by", "pair_by_real", "pair_by_fake", "on_unpaired", "channels", "distance")  # of rules of pairs
_FORMATS = ("text", "json", "md", "github")


@click.command(cls=Command)
@click.argument("paths", nargs=-1, type=Source(), metavar="[REAL FAKE]")
@option("--results", type=_FILE, help="Judge this result file of ganeval instead of REAL and FAKE.")
@option("--baseline", type=_FILE, help="Baseline of max-regression: any JSON result file of ganeval.")
@option("--update-baseline", is_flag=True, help="Make this run the baseline, unless max, min or min-samples fail.")
@option("--junit", type=Output(), help="Also write the verdict as JUnit XML.")
@option(
    "--on-inconclusive",
    type=click.Choice(ON_INCONCLUSIVE),
    default="error",
    help="What a check counts as whose interval spans the limit.",
)
@option("--weights-sha256", help="Beginning of the SHA-256 of the weights, if they are not the published ones.")
@option(
    "--strict",
    is_flag=True,
    envvar="GANEVAL_GATE_STRICT",  # GANEVAL_STRICT is for the balls of precision and recall
    help="Let the point value decide; the interval is only shown.",
)
@option("--exit-zero", is_flag=True, help="Exit 0 also where the gate fails or could not be judged, but not on errors.")
@option("--suggest", is_flag=True, help="Suggest limits from results R1.json R2.json ... of several training seeds.")
@option("--check", is_flag=True, help="Only check the configuration, the baseline and the manifest of statistics.")
@declared(*group("comparison", "test", "heldout", "features"), "num_fake")
@declared_pairs(*PAIRS, distance={"default": None})
@partial(compute_options, protocol=None)
@image_options
@report_path
@record_path
@partial(output_options, formats=_FORMATS)
def gate(
    paths: tuple[str, ...],
    *,
    protocol: str | None,
    on_inconclusive: str,
    weights_sha256: str | None,
    strict: bool,
    suggest: bool,
    check: bool,
    output: Path | None,
    report: Path | None,
    junit: Path | None,
    exit_zero: bool,
    fmt: str,
    **options: Any,
) -> int:
    """Check FAKE against REAL, or a file of results, by the rules in the configuration file.

    The rules are in ganeval.toml under [gate.rules.METRIC], or in pyproject.toml under
    [tool.ganeval.gate.rules.METRIC]: max, min, max-regression = { abs = ... } or { rel = ... }, min-samples, level,
    compare, source. Rules of ssim, psnr, l1, l2, ms-ssim and lpips compare pairs of images, as `ganeval paired` does.
    Rules for a result of `ganeval scores` are under [gate.scores.COLUMN]. The interval decides, not the point value.
    Exit code 0: passed; 1: failed; 3: could not be judged.

    \b
    Examples:
      ganeval gate stats:cifar10-test gen:dcgan-cifar10 --num-samples 2000
      ganeval gate --results results.json --baseline baseline.json --junit gate.xml
      ganeval gate --suggest seed1.json seed2.json seed3.json
    """
    if suggest:
        return _suggest(paths, fmt=fmt, target=output)
    context = click.get_current_context()
    found = find_config(context.params.get("config"))
    where, table = ("ganeval.toml", {}) if found is None else (str(found[0]), found[1].get("gate", {}))
    if context.get_parameter_source("strict") is ParameterSource.DEFAULT_MAP and "strict" not in table:
        strict = False  # at the top level of the file it is the option of precision and recall
    rules = Gate(
        rules=parse_gate(table, where),
        protocol=protocol,
        weights_sha256=weights_sha256,
        on_inconclusive=on_inconclusive,
        strict=strict,
    )
    if check:
        return _check(rules, where, options.get("baseline"), fmt=fmt, target=output)
    return _judge(rules, paths, options, output=output, page=report, junit=junit, exit_zero=exit_zero, fmt=fmt)


def _judge(
    rules: Gate,
    paths: tuple[str, ...],
    options: dict[str, Any],
    *,
    output: Path | None,
    page: Path | None,
    junit: Path | None,
    exit_zero: bool,
    fmt: str,
) -> int:
    from ganeval.files import write_text
    from ganeval.gate.run import document, run_gate
    from ganeval.gate.words import markdown
    from ganeval.result_files import read_record

    if len(paths) not in (0, 2):
        raise click.UsageError(
            f"a gate takes REAL and FAKE, or --results FILE.json; got {number_of(len(paths), 'argument')}."
        )
    real, fake = paths if paths else (None, None)
    baseline = options.get("baseline")
    before = read_record(baseline) if page is not None and baseline is not None and baseline.exists() else None
    run = run_gate(rules, real, fake, progress=out.progress, single_images=page is not None, **options)
    outputs = Outputs()
    if run.not_updated is not None:
        outputs.failed(baseline, run.not_updated)
    if junit is not None:
        from ganeval.gate.junit import junit as as_junit

        with outputs.attempt(junit):
            write_text(junit, as_junit(run.verdict))
    if fmt == "github":
        from ganeval.gate.github import SUMMARY, write_summary

        with outputs.attempt(os.environ.get(SUMMARY)):
            write_summary(run.verdict)
    if page is not None:
        from ganeval.report.page import Subject, write_report

        subjects = [] if run.record is None else [Subject(record=run.record)]
        with outputs.attempt(page):
            more = {"trusted": bool(paths), **opened_by(options)}
            write_report(page, subjects, verdict=run.verdict, baseline=before, **more)
    if output is not None and run.record is not None:
        judged = {"gate": run.verdict.to_dict()}
        with outputs.attempt(output):
            write_evaluation(outputs, run.record.evaluation, output, arrays=run.record.arrays, more=judged)
        output = None
    _notify(run)
    text = markdown(run.verdict) if fmt == "md" else partial(_print, run.verdict, github=fmt == "github")
    code = 0 if exit_zero else run.verdict.exit_code
    try:
        out.answer(document(run), text, fmt=fmt, target=output, outputs=outputs)
    except OutputError as error:
        return out.failure(error.kind, str(error), 1 if code == 1 else 2)
    return code


def _notify(run: GateRun) -> None:
    """Print notes and warnings on stderr."""
    for message in () if run.record is None else run.record.evaluation.notes:
        out.note(message)
    for message in run.verdict.warnings:
        out.warning(message)
    if run.updated is not None:
        out.note(f"{run.updated} is the new baseline")


def _print(verdict: Verdict, *, github: bool) -> None:
    """Print one line per check, the summary, and the workflow commands for GitHub."""
    from ganeval.gate.github import commands
    from ganeval.gate.words import columns, summary

    rows: list[list[Cell | str]] = []
    for check in verdict.checks:
        mark, name, requirement, reason = columns(check)
        rows.append([Cell(mark, _LOOKS[check.outcome]), name, requirement, Cell(reason, loose=True)])
    out.show(rows)
    out.show([[Cell(summary(verdict), _LOOKS[verdict.outcome])]])
    if github and (lines := commands(verdict)):
        out.say(lines)


def _suggest(paths: tuple[str, ...], *, fmt: str, target: Path | None) -> int:
    from dataclasses import asdict

    from ganeval.errors import IncomparableError
    from ganeval.gate.suggest import suggest, toml
    from ganeval.result_files import read_record

    try:
        found, notes = suggest([read_record(path) for path in paths])
    except IncomparableError as error:
        return out.failure(error.kind, str(error), 3)
    for message in notes:
        out.note(message)
    fields = {"suggest": {s.metric: asdict(s) for s in found}}
    text = toml(found)
    out.answer(fields, f"```toml\n{text}\n```" if fmt in ("md", "github") else text, fmt=fmt, target=target)
    return 0


def _check(rules: Gate, where: str, baseline: Path | None, *, fmt: str, target: Path | None) -> int:
    """Check configuration, baseline and manifest, for a pre-commit hook: measures nothing, loads no network."""
    from ganeval.gate.manifest import check_manifest
    from ganeval.gate.verdict import require_baseline
    from ganeval.result_files import read_record

    lines = [f"{where}: rules of {', '.join(rule.metric for rule in rules.rules)}"]
    if baseline is not None:
        record = read_record(baseline)
        require_baseline(rules, record)
        missing = [rule.metric for rule in rules.rules if rule.max_regression and record.result(rule.metric) is None]
        if missing:
            raise ConfigError(f"the baseline {baseline} has no {', '.join(missing)}, which a max-regression needs.")
        if record.evaluation.samples is not None and record.missing is not None:
            raise ConfigError(f"the baseline cannot be paired: {record.missing}.")
        paired = ", paired by image" if record.arrays else ""
        lines.append(f"{baseline}: {number_of(len(record.evaluation.results), 'result')}{paired}")
    lines += check_manifest()
    out.answer({"check": lines}, "\n".join(lines), fmt=fmt, target=target)
    return 0
