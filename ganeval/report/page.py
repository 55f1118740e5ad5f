"""One self-contained HTML file of runs: verdict, changes, provenance, warnings, plots, images, in this order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

import ganeval
from ganeval.errors import InputError
from ganeval.files import written_whole
from ganeval.gate.verdict import Verdict, VerdictDocument
from ganeval.gate.words import OUTCOMES, summary
from ganeval.images.audit import Audit
from ganeval.parsing.documents import DocumentError, typed
from ganeval.report import words
from ganeval.report.figures import chosen, forest, plots
from ganeval.report.game import Training, read_training
from ganeval.report.grids import Grid, choose, show
from ganeval.report.paths import worst_steps
from ganeval.report.reopen import Look, looker
from ganeval.report.steps import ordered, over_runs
from ganeval.result_files import Record, read_record

_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A run, and how to see its images.

    Attributes:
        look: None: from what the document says of its sets.
        verdict: of the gate whose document this is.
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
        baseline: what every run is compared with.
        verdict: of a gate on the one run, or on none that could be measured.
        trusted: the sets were named by the user in this command: see ``reopen.looker``.
        options: of ``open_source``, which documents do not tell.

    Raises:
        InputError: the file cannot be written.
    """
    runs = [s for s in subjects if isinstance(s, Subject)]
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
        title=f"ganeval: {', '.join([*(r.name for r in records), *(_names(subjects))])}",
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
        trainings=[s for s in subjects if isinstance(s, Training)],
        outcomes=OUTCOMES,
    )


def write_check(
    target: Path,
    audits: Sequence[Audit],
    rows: Sequence[Sequence[tuple[str, str]]],
    differences: Sequence[str],
) -> None:
    """The page of ``ganeval check``: sets side by side, and what differs.

    Args:
        rows: of each set, (what, found).

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
    """What a file or folder holds for a report: results with or without a verdict, a demo, a training run.

    Args:
        name: of the run on the page, in place of the file's.

    Raises:
        InputError: nothing of these.
    """
    if path.is_dir():
        return [read_training(path)]
    record = read_record(path)
    if name is not None:
        record = replace(record, name=name)
    return [Subject(record=record, verdict=_verdict(path, record.verdict))]


def _verdict(path: Path, document: object) -> Verdict | None:
    if document is None:
        return None
    try:
        return Verdict(checks=tuple(typed(document, VerdictDocument).checks))
    except DocumentError as error:
        raise InputError(
            f"{path} holds a verdict that cannot be used: gate: {error}. Judge the results anew."
        ) from error


def _grids(subject: Subject, *, trusted: bool, options: Mapping[str, Any]) -> list[Grid]:
    evaluation, arrays = subject.record.evaluation, subject.record.arrays
    if not arrays:
        why = subject.record.missing or "no values of single images are at hand"
        return [Grid("Images", "", missing=f"Left out: {why}.")]
    provenance = {"real": evaluation.real, "fake": evaluation.fake}
    look = subject.look or looker(provenance, arrays, trusted=trusted, **options)
    n = len(arrays.get("fake_image_digests", ()))
    walks = worst_steps(subject.record, trusted=trusted, options=options)
    if walks is not None and len(evaluation.results) == 1:  # path length alone: of pairs of latents, not of images
        return [walks]
    choices = choose(arrays, n)
    found = [show(choice, look, arrays) for choice in choices]
    reasons = [grid.missing for choice, grid in zip(choices, found, strict=True) if choice.missing is None]
    if all(reasons):  # not one image is at hand
        found = [Grid("Images", "", missing=" ".join(dict.fromkeys(filter(None, reasons))))]
    return found if walks is None else [*found, walks]


def _remarks(record: Record) -> list[tuple[str, str]]:
    evaluation = record.evaluation
    said = [("warning", text) for text in evaluation.warnings] + [("note", text) for text in evaluation.notes]
    return said if record.missing is None else [*said, ("note", record.missing)]


def _names(subjects: Sequence[Subject | Training]) -> list[str]:
    return [s.name for s in subjects if isinstance(s, Training)]


def _write(target: Path, template: str, **values: Any) -> None:
    style = (_HERE / "style.css").read_text(encoding="utf-8")
    text = _templates().get_template(template).render(style=style, version=ganeval.__version__, **values)
    with written_whole(target) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="replace")  # names of files may hold what UTF-8 does not


@cache
def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["label"] = _breakable
    return environment


def _breakable(label: str) -> Markup:
    """The label of a metric, which may be broken before the name of its network."""
    return Markup("<wbr>[").join(label.split("["))
