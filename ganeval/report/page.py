"""A self-contained HTML page of runs: verdict, changes, provenance, warnings, plots and images, in this order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ganeval
from ganeval.errors import InputError
from ganeval.files import written_whole
from ganeval.gate.verdict import Verdict, VerdictDocument
from ganeval.gate.words import OUTCOMES, summary
from ganeval.images.audit import Audit
from ganeval.parsing.documents import DocumentError, typed
from ganeval.report import words
from ganeval.report.captioned import by_score, is_captioned
from ganeval.report.figures import chosen, forest, plots
from ganeval.report.game import Training, read_training
from ganeval.report.grids import Grid, choose, show
from ganeval.report.paths import worst_steps
from ganeval.report.reopen import Look, looker
from ganeval.report.steps import ordered, over_runs
from ganeval.report.templates import HERE, render
from ganeval.report.worst_pairs import is_paired, worst_pairs
from ganeval.result_files import Record, read_record


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A run, and how to open its images.

    Attributes:
        look: None: open them as the document describes its sets.
        verdict: of the gate, where the document has one.
    """

    record: Record
    look: Look | None = None
    verdict: Verdict | None = None


def write_report(
    target: Path,
    subjects: Sequence[Subject | Training],
    *,
    baseline: Record | None = None,
    verdict: Verdict | None = None,
    trusted: bool = False,
    **options: Any,
) -> None:
    """Write the page of some runs.

    Args:
        baseline: the run that every run is compared with.
        verdict: of a gate on the one run, or on none where nothing could be measured.
        trusted: the user named the sets in this command: see ``reopen.looker``.
        options: of ``open_source``, for what documents do not contain.

    Raises:
        InputError: the file cannot be written.
    """
    runs = [s for s in subjects if isinstance(s, Subject)]
    trainings = [s for s in subjects if isinstance(s, Training)]
    if len({s.record.name for s in runs}) < len(runs):
        runs = [replace(s, record=replace(s.record, name=f"{s.record.name} ({i})")) for i, s in enumerate(runs, 1)]
    order = ordered([s.record for s in runs])
    records = list(order.records)
    by_name = {s.record.name: s for s in runs}
    looked_at = chosen(records)
    grids = [(r.name, _grids(by_name[r.name], trusted=trusted, options=options)) for r in looked_at]
    verdicts = [(r.name, v) for r in records if (v := by_name[r.name].verdict) is not None]
    if verdict is not None:
        verdicts = [("", verdict)]
    against = [] if baseline is None else [(r, words.compared(r, baseline)) for r in records]
    _write(
        target,
        "report.html.jinja",
        title=f"ganeval: {', '.join([*(r.name for r in records), *(s.name for s in trainings)])}",
        records=records,
        several=len(records) > 1,
        readings=[(r.name, words.readings(r)) for r in records],
        verdicts=[(name, one, summary(one)) for name, one in verdicts],
        table=words.table(records),
        cautions=words.cautions(records),
        baseline=baseline,
        changes=[
            (r.name, words.changes(found), [] if baseline is None else words.alone(r, baseline), forest(found))
            for r, found in against
        ],
        provenance=words.parted([(r.name, words.provenance(r)) for r in records]),
        remarks=words.parted([(r.name, _remarks(r)) for r in records]),
        plots=[*over_runs(order), *plots(looked_at)],
        grids=grids,
        only=[r.name for r in looked_at] if len(looked_at) < len(records) else [],
        trainings=trainings,
        outcomes=OUTCOMES,
    )


def write_check(
    target: Path, audits: Sequence[Audit], rows: Sequence[Sequence[tuple[str, str]]], differences: Sequence[str]
) -> None:
    """Write the page of ``ganeval check``: the sets in columns, and their differences.

    Args:
        rows: (what, value) of each set.

    Raises:
        InputError: the file cannot be written.
    """
    names = list(dict.fromkeys(what for one in rows for what, _ in one if what != "set"))
    _write(
        target,
        "check.html.jinja",
        title=f"ganeval check: {', '.join(a.spec for a in audits)}",
        audits=audits,
        rows=[(what, [dict(one).get(what, "–") for one in rows]) for what in names],
        differences=differences,
        problems=[(a.spec, a.problems()) for a in audits],
    )


def read_subjects(path: Path, *, name: str | None = None) -> list[Subject | Training]:
    """The runs in a file or folder: results with or without a verdict, a demo, or a training run.

    Args:
        name: of the run on the page, instead of the file's name.

    Raises:
        InputError: the path has none of these.
    """
    if path.is_dir():
        return [read_training(path)]
    record = read_record(path)
    if name is not None:
        record = replace(record, name=name)
    if record.verdict is None:
        return [Subject(record=record)]
    try:
        return [Subject(record=record, verdict=Verdict(checks=tuple(typed(record.verdict, VerdictDocument).checks)))]
    except DocumentError as error:
        raise InputError(
            f"{path} has a verdict that is not valid: gate: {error}. Run the gate on the results again."
        ) from error


def _grids(subject: Subject, *, trusted: bool, options: Mapping[str, Any]) -> list[Grid]:
    evaluation, arrays = subject.record.evaluation, subject.record.arrays
    if evaluation.real is None:
        return [Grid("Images", "", missing="None: the numbers are from a file of scores.")]
    if not arrays:
        why = subject.record.missing or "there are no values of single images"
        return [Grid("Images", "", missing=f"Left out: {why}.")]
    provenance = {"real": evaluation.real, "fake": evaluation.fake}
    look = subject.look or looker(provenance, arrays, trusted=trusted, **options)
    if is_paired(subject.record):
        return [worst_pairs(subject.record, look)]
    if is_captioned(subject.record):
        return by_score(subject.record, look)
    n = len(arrays.get("fake_image_digests", ()))
    steps = worst_steps(subject.record, trusted=trusted, options=options)
    if steps is not None and len(evaluation.results) == 1:  # path length alone has pairs of latents, not images
        return [steps]
    choices = choose(arrays, n)
    found = [show(choice, look, arrays) for choice in choices]
    reasons = [grid.missing for choice, grid in zip(choices, found, strict=True) if choice.missing is None]
    if all(reasons):  # no image is available
        found = [Grid("Images", "", missing=" ".join(dict.fromkeys(filter(None, reasons))))]
    return found if steps is None else [*found, steps]


def _remarks(record: Record) -> list[tuple[str, str]]:
    evaluation = record.evaluation
    notes = [*evaluation.notes, *([] if record.missing is None else [record.missing])]
    return [("warning", text) for text in evaluation.warnings] + [("note", text) for text in notes]


def _write(target: Path, template: str, **values: Any) -> None:
    style = (HERE / "style.css").read_text(encoding="utf-8")
    text = render(template, style=style, version=ganeval.__version__, **values)
    with written_whole(target) as temporary:
        # File names can have characters that UTF-8 cannot encode.
        temporary.write_text(text, encoding="utf-8", errors="replace")
