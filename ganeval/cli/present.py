"""Print an Evaluation and write it to files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ganeval.cli import output
from ganeval.cli.outputs import Outputs, write_evaluation
from ganeval.report.table import image_columns, write_table
from ganeval.result_files import Record
from ganeval.results import Evaluation, markdown_of, rows_of

Columns = Callable[[Record], dict[str, np.ndarray]]  # of a table of single images


def present(
    evaluation: Evaluation,
    *,
    fmt: str,
    target: Path | None,
    name: str = "",
    report: Path | None = None,
    per_image: Path | None = None,
    columns: Columns = image_columns,
    opened: Mapping[str, Any] | None = None,
) -> None:
    """Write the files of a run that was measured just now, then stdout; notes and warnings go to stderr.

    Args:
        target: of the result.
        name: of the run in its report, where its images have none.
        report: the page.
        per_image: the table of single images.
        columns: gives the columns of that table.
        opened: what a report needs to open the images again, see ``opened_by``.

    Raises:
        OutputError: an output could not be written; stdout has the result all the same.
    """
    if not output.speaks():
        return
    outputs = Outputs()
    if report is not None or per_image is not None:
        # an address is named without what is secret in it
        record = Record.of(evaluation, str((evaluation.fake or {}).get("spec") or name))
        if per_image is not None:
            with outputs.attempt(per_image):
                write_table(per_image, columns(record))
        if report is not None:
            _write_page(outputs, record, report, opened or {})
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


def _write_page(outputs: Outputs, record: Record, path: Path, opened: Mapping[str, Any]) -> None:
    from ganeval.report.page import Subject, write_report

    with outputs.attempt(path):
        write_report(path, [Subject(record=record)], trusted=True, **opened)


def _print(evaluation: Evaluation) -> None:
    """Print one result as a single line, whatever the width of the terminal; several as a table of such lines."""
    results, classes = rows_of(evaluation)
    output.show(results, wrapped=len(evaluation.results) > 1)
    output.show(classes)
