"""Print an Evaluation and write it to files."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ganeval.cli import output
from ganeval.cli.outputs import Outputs, write_evaluation
from ganeval.results import Evaluation, markdown_of, rows_of


def present(evaluation: Evaluation, *, fmt: str, target: Path | None, outputs: Outputs) -> None:
    """Write the files first, then stdout; notes and warnings go to stderr.

    Args:
        outputs: the outputs that were attempted already.

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
    text = markdown_of(evaluation) if fmt == "md" else partial(_print, evaluation)
    output.answer(evaluation.to_dict(), text, fmt=fmt, target=None, outputs=outputs)


def _print(evaluation: Evaluation) -> None:
    """Print one result as a single line, whatever the width of the terminal; several as a table of such lines."""
    results, classes = rows_of(evaluation)
    output.show(results, wrapped=len(evaluation.results) > 1)
    output.show(classes)
