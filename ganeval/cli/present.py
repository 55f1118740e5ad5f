"""An Evaluation on stdout and in files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from ganeval.cli import output
from ganeval.cli.lines import Cell, at_the_point, show
from ganeval.cli.outputs import Outputs, write_evaluation
from ganeval.results import Evaluation, MetricResult, format_number

_BOLD, _DIM = {"bold": True}, {"dim": True}


def present(evaluation: Evaluation, *, fmt: str, target: Path | None, outputs: Outputs) -> None:
    """Write the files first, then stdout; notes and warnings go to stderr.

    Args:
        outputs: what was tried already.

    Raises:
        OutputError: an output could not be written; stdout has the result all the same.
    """
    if not output.speaks():
        return
    if target is not None:
        with outputs.attempt(target):
            evaluation = write_evaluation(outputs, evaluation, target)
    for message in evaluation.warnings:
        output.warning(message)
    for message in evaluation.notes:
        output.note(message)
    for result in evaluation.results.values():
        fields = ", ".join(f"{k} {v}" for k, v in result.protocol.to_dict().items() if v is not None)
        output.detail(f"protocol of {result.name}: {fields}")
    output.detail(f"{evaluation.elapsed_seconds:.1f} s on {evaluation.environment['device']}")
    with outputs.attempt("stdout"):
        if fmt == "json":
            output.document({**evaluation.to_dict(), **outputs.fields})
        elif fmt == "md":
            click.echo(markdown(evaluation))
        else:
            _print(evaluation)
    outputs.finish()


def _print(evaluation: Evaluation) -> None:
    """One result as the line that people paste; several as a table of such lines."""
    results = list(evaluation.results.values())
    if len(results) == 1:
        label, value, told, counts = results[0].parts()
        rows = [[Cell(f"{label} {value}", _BOLD), _told(results[0], told), Cell(counts, _DIM)]]
        rows += [[Cell(text, loose=True)] for text in _more(results[0])]
        show(rows, wrapped=False)
        show(_class_rows(results))
        return
    rows = []
    for result, value in zip(results, at_the_point([r.parts()[1] for r in results]), strict=True):
        label, _, told, counts = result.parts()
        rows.append([Cell(label, _BOLD), Cell(value, _BOLD), _told(result, told), Cell(counts, _DIM)])
        rows += [[Cell(f"  {text}", loose=True)] for text in _more(result)]
    show(rows)
    show(_class_rows(results))


def _class_rows(results: Sequence[MetricResult]) -> list[list[Cell]]:
    """One line a class, each with all that it takes to read it."""
    found = [(result, entry) for result in results for entry in _classes(result)]
    rows = []
    for (result, entry), value in zip(found, at_the_point([entry[1] for _, entry in found]), strict=True):
        name, _, told, counts = entry
        rows.append([Cell(f"{result.label} {name}"), Cell(value), Cell(told), Cell(counts, _DIM)])
    return rows


def _told(result: MetricResult, told: str) -> Cell:
    return Cell(told) if result.interval is not None else Cell(told, {"fg": "yellow"}, loose=True)


def _more(result: MetricResult) -> list[str]:
    """What else is told of a result, a line each."""
    lines = []
    share = result.details.get("mean_term_share")
    if isinstance(share, float):
        lines.append(f"{share:.1%} of it is the distance between the two mean embeddings")
    floor = result.details.get("floor")
    if isinstance(floor, dict):
        one, other = floor["n"]
        value = format_number(float(floor["value"]), None)
        lines.append(
            f"floor {value}   ({one} against {other} of the real images: what perfect looks like at that number)"
        )
    subsets = result.details.get("subsets")
    if isinstance(subsets, dict):
        lines.append(
            f"as papers take it {format_number(subsets['mean'], subsets['std'])}, deviation "
            f"{format_number(subsets['std'], None)}   ({subsets['subsets']} subsets of {subsets['size']})"
        )
    return lines


def _classes(result: MetricResult) -> list[tuple[str, str, str, str]]:
    """Of each class the name, the value, the interval or why there is none, and the numbers of images."""
    classes = result.details.get("per_class")
    if not isinstance(classes, dict):
        return []
    return [_class(name, entry, result.protocol.name) for name, entry in classes.items()]


def _class(name: str, entry: Mapping[str, Any], protocol: str) -> tuple[str, str, str, str]:
    value = "no value" if entry["value"] is None else format_number(entry["value"], None)
    told = f"no interval: {entry['reason']}"
    if entry["interval"] is not None:
        low, high = (format_number(x, None) for x in entry["interval"])
        told = f"bias-corrected {format_number(entry['corrected'], None)}, CI {low} to {high}"
    return f"class {name}", value, told, f"({protocol}, {entry['n_real']} real, {entry['n_fake']} fake)"


def markdown(evaluation: Evaluation) -> str:
    """A table that pastes into a pull request; whatever the names of classes hold, it stays one."""
    from ganeval.gate.words import escaped

    rows = ["| metric | value | bias-corrected | interval | protocol | n real, fake |", "|---|---|---|---|---|---|"]
    for r in evaluation.results.values():
        corrected = "" if r.corrected is None else format_number(r.corrected, r.standard_error)
        interval = r.reason or ""
        if r.interval is not None:
            low, high = (format_number(x, r.standard_error) for x in (r.interval.low, r.interval.high))
            interval = f"{low} to {high} ({100 * r.interval.level:g} %)"
        counts = ", ".join("-" if n is None else str(n) for n in (r.n_real, r.n_fake))
        value = format_number(r.value, r.standard_error)
        cells = (r.label, value, corrected, interval, r.protocol.told(), counts)
        rows.append(f"| {' | '.join(escaped(cell) for cell in cells)} |")
    more = [f"- {escaped(f'{r.label}: {text}')}" for r in evaluation.results.values() for text in _more(r)]
    rows += ["", *more] if more else []
    for r in evaluation.results.values():
        if classes := _classes(r):
            rows += ["", f"| {escaped(r.label)} | value | interval | images |", "|---|---|---|---|"]
            rows += [f"| {' | '.join(escaped(cell) for cell in cells)} |" for cells in classes]
    return "\n".join(rows)
