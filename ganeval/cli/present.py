"""An Evaluation on stdout and in files."""

from __future__ import annotations

from pathlib import Path

from ganeval.cli import output
from ganeval.cli.lines import show
from ganeval.cli.outputs import Outputs, write_evaluation
from ganeval.result_text import classes_of, more_of, rows_of
from ganeval.results import Evaluation, format_number


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
            output.say(markdown(evaluation))
        else:
            _print(evaluation)
    outputs.finish()


def _print(evaluation: Evaluation) -> None:
    """One result as the line that people paste, however wide the terminal is; several as a table of such lines."""
    results, classes = rows_of(evaluation)
    show(results, wrapped=len(evaluation.results) > 1)
    show(classes)


def markdown(evaluation: Evaluation) -> str:
    """A table that pastes into a pull request; whatever the names of classes hold, it stays one."""
    from ganeval.gate.words import escaped

    rows = ["| metric | value | bias-corrected | interval | protocol | n real, fake |", "|---|---|---|---|---|---|"]
    for r in evaluation.results.values():
        corrected = "" if r.corrected is None else format_number(r.corrected, r.standard_error)
        interval = str(r.reason or "")
        if r.interval is not None:
            low, high = (format_number(x, r.standard_error) for x in (r.interval.low, r.interval.high))
            interval = f"{low} to {high} ({100 * r.interval.level:g} %)"
        counts = ", ".join("-" if n is None else str(n) for n in (r.n_real, r.n_fake))
        value = format_number(r.value, r.standard_error)
        cells = (r.label, value, corrected, interval, r.protocol.told(), counts)
        rows.append(f"| {' | '.join(escaped(cell) for cell in cells)} |")
    more = [f"- {escaped(f'{r.label}: {text}')}" for r in evaluation.results.values() for text in more_of(r)]
    rows += ["", *more] if more else []
    for r in evaluation.results.values():
        if classes := classes_of(r):
            rows += ["", f"| {escaped(r.label)} | value | interval | images |", "|---|---|---|---|"]
            rows += [f"| {' | '.join(escaped(cell) for cell in cells)} |" for cells in classes]
    return "\n".join(rows)
