"""One number and what is needed to believe it."""

from __future__ import annotations

import hashlib
import html
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ganeval.errors import ConfigError, IncomparableError, InputError, number_of
from ganeval.parsing.documents import DocumentError, plain, shown, typed
from ganeval.parsing.layout import (
    SCHEMA,
    SCHEMA_IDS,
    Cell,
    aligned,
    at_the_point,
    decimals,
    escaped,
    fixed,
    format_number,
    image_counts,
    markdown_table,
    one_line,
    span,
)
from ganeval.parsing.reasons import Reason
from ganeval.parsing.result_document import LEAVE_ONE_OUT, Entry, FailureDocument, Interval, RunDocument
from ganeval.protocol import Protocol

if TYPE_CHECKING:
    import numpy as np

__all__ = ["LEAVE_ONE_OUT", "Evaluation", "Interval", "MetricResult", "Reason"]
_BOLD, _DIM = {"bold": True}, {"dim": True}


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class MetricResult:
    """The value of one metric, with its uncertainty and its protocol.

    ``value`` is the plain estimate, the one that papers print. ``bias`` is its expected excess because the samples are
    finite, ``corrected`` is ``value - bias``, and ``interval`` says what it covers. Where those are not valid they are
    None and ``reason`` says why.
    """

    name: str
    label: str
    value: float
    higher_is_better: bool | None  # None: not known, of scores alone
    n_real: int | None
    n_fake: int | None
    protocol: Protocol
    standard_error: float | None = None
    bias: float | None = None
    corrected: float | None = None
    interval: Interval | None = None
    reason: Reason | None = None
    warnings: tuple[str, ...] = ()
    reference: str | None = None  # digest of the real side
    settings: Mapping[str, object] = field(default_factory=dict)  # of the estimator; they change the value
    details: Mapping[str, object] = field(default_factory=dict)
    per_image: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise InputError(f"{self.label} is {self.value}: not a number. Look for NaN among the features.")
        for name in ("standard_error", "bias", "corrected"):
            if (number := getattr(self, name)) is not None and not math.isfinite(number):
                raise InputError(f"the {name.replace('_', ' ')} of {self.label} is {number}: not a number.")
        for name in ("settings", "details", "per_image"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        """The line that people paste; with the number of warnings behind it, if there are some."""
        label, value, *more = self.parts()
        return "   ".join([f"{label} {value}", *filter(None, [*more, _warned(self.warnings)])])

    def __repr__(self) -> str:
        return f"<MetricResult {self}>"

    def _repr_html_(self) -> str:
        return html_of([self], self.warnings)

    def parts(self) -> tuple[str, str, str, str]:
        """Label; value; interval, or why there is none; protocol and numbers of images: what a person can paste."""
        told = f"no interval: {self.reason}" if self.reason else ""
        if (interval := self.interval) is not None:
            told = f"{100 * interval.level:g} % CI {span(interval.low, interval.high)}"
            if self.bias and self.corrected is not None:
                told = f"bias-corrected {fixed(self.corrected, decimals(interval.high - interval.low))}, {told}"
            told += f" for {self.n_fake} images" if interval.method.startswith(LEAVE_ONE_OUT) else ""
        value = format_number(self.value, self.standard_error)
        return self.label, value, told, f"({', '.join(filter(None, [self.protocol.told(), self._counts()]))})"

    def _counts(self) -> str:
        return image_counts(self.n_real, self.n_fake, str(self.details.get("unit", "fake")))

    @property
    def log_name(self) -> str:
        """Label and number of fakes, of characters that every logger takes: never two numbers of images in one curve.

        For instance ``FD-compact-v1-50k``.
        """
        n = self.n_fake
        count = "" if n is None else f"-{n // 1000}k" if n % 1000 == 0 else f"-{n}"
        return self.label.replace("[", "-").replace("]", "").replace(":", "-").replace(" ", "-") + count

    def comparison_key(self, *, corrected: bool = False) -> str:
        """Raw values may be compared only at equal keys; corrected values also at different numbers of fakes."""
        fields = {"metric": self.name, "protocol": self.protocol.key(), **self._compared(corrected)}
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:16]

    def require_comparable(self, other: MetricResult, *, corrected: bool = False) -> None:
        """Raise IncomparableError, naming what differs, unless the two values may be compared.

        Corrected values may differ in the number of fakes, not in the reference that they are measured against.
        """
        if self.name != other.name:
            raise IncomparableError(f"{self.label} and {other.label} are different metrics: compare like with like.")
        self.protocol.require_same(other.protocol, f"the {other.label} compared with this {self.label}")
        theirs = other._compared(corrected)
        differing = [f"{k}: {a} against {theirs[k]}" for k, a in self._compared(corrected).items() if a != theirs[k]]
        if self.reference is None and other.reference is None:
            differing.append("reference: not known, for either (images that never left the accelerator)")
        if differing:
            hint = "" if corrected else " Corrected values may be compared across numbers of fakes."
            raise IncomparableError(f"These two values of {self.label} differ in {'; '.join(differing)}.{hint}")

    def _compared(self, corrected: bool) -> dict[str, object]:
        """What two values must share, besides metric and protocol."""
        counts = {"n_real": self.n_real, "n_fake": self.n_fake}
        estimand = {"estimand": None if self.interval is None else self.interval.estimand}
        return {"settings": dict(self.settings), "reference": self.reference, **(estimand if corrected else counts)}

    def to_dict(self) -> dict[str, Any]:
        """The entry of the ``results`` table of the JSON schema, version 1; keys are stable."""
        numbers = ("label", "value", "higher_is_better", "n_real", "n_fake", "standard_error", "bias", "corrected")
        return {
            **{name: getattr(self, name) for name in numbers},
            "interval": None if self.interval is None else asdict(self.interval),
            "reason": None if self.reason is None else str(self.reason),
            "reason_code": None if self.reason is None else self.reason.to_dict(),
            "warnings": list(self.warnings),
            "reference": self.reference,
            "settings": dict(self.settings),
            "protocol": {**self.protocol.to_dict(), "comparison_key": self.comparison_key()},
            "details": dict(self.details),
        }

    @classmethod
    def from_dict(cls, name: str, entry: Mapping[str, Any]) -> MetricResult:
        """The inverse of ``to_dict``.

        Raises:
            InputError: the entry is not what ``result_document.Entry`` declares.
        """
        try:
            fields = plain(entry)
            return _result_of(name, typed(fields, Entry), fields)
        except DocumentError as error:
            raise InputError(f"{name} is not a valid result: {error}. Pass what to_dict() gave.") from error


def _result_of(name: str, entry: Entry, fields: Mapping[str, Any]) -> MetricResult:
    """From the declared keys; ``details`` and ``reason_code`` have others besides."""
    reason = None if entry.reason is None else Reason.from_document(entry.reason, fields.get("reason_code"))
    known = {name: getattr(entry, name) for name in Entry.__struct_fields__ if name != "reason_code"}
    known |= {"reason": reason, "warnings": tuple(entry.warnings), "details": fields.get("details", {})}
    return MetricResult(name=name, **known)


def _warned(warnings: Sequence[str]) -> str:
    return number_of(len(warnings), "warning") if warnings else ""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Evaluation:
    """What one run measured, and on what: the document that ``--json`` prints and every other command reads."""

    results: Mapping[str, MetricResult]
    real: Mapping[str, object] | None  # None: scores, which have no reference
    fake: Mapping[str, object]
    environment: Mapping[str, object]
    test: Mapping[str, object] | None = None  # the held-out reals, where a metric takes some
    heldout: Mapping[str, object] | None = None  # the held-out reals whose distance is the unit
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    elapsed_seconds: float = 0.0
    samples: Mapping[str, str] | None = None
    per_image: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False, compare=False)

    def __getitem__(self, name: str) -> MetricResult:
        return self.results[name]

    def __str__(self) -> str:
        """The lines that the command line prints, and the warnings."""
        lines = [line for rows in rows_of(self) for line in aligned(rows)]
        return "\n".join([*lines, *(f"warning: {one_line(warning)}" for warning in self.warnings)])

    def __repr__(self) -> str:
        values = ", ".join(f"{r.label} {format_number(r.value, r.standard_error)}" for r in self.results.values())
        return f"<Evaluation {', '.join(filter(None, [values, _warned(self.warnings)]))}>"

    def _repr_html_(self) -> str:
        return html_of(list(self.results.values()), self.warnings)

    def _repr_markdown_(self) -> str:
        return markdown_of(self)

    def flat(self) -> dict[str, float]:
        """For a logger: value, corrected value and ends of the interval, by names that carry network and number.

        ``FID-5k``, ``FID-5k/corrected``, ``FID-5k/low``, ``FID-5k/high``: curves of other numbers of images have other
        names, and cannot be compared by accident.
        """
        out: dict[str, float] = {}
        for result in self.results.values():
            out[result.log_name] = result.value
            if result.corrected is not None:
                out[f"{result.log_name}/corrected"] = result.corrected
            if result.interval is not None:
                out |= {f"{result.log_name}/{end}": getattr(result.interval, end) for end in ("low", "high")}
        return out

    def to_dict(self) -> dict[str, Any]:
        protocols = {r.protocol.key(): r.protocol.to_dict() for r in self.results.values()}
        return {
            "$schema": SCHEMA_IDS["result"],
            "schema": SCHEMA,
            "results": {name: r.to_dict() for name, r in self.results.items()},
            "real": None if self.real is None else dict(self.real),
            "fake": dict(self.fake),
            **({} if self.test is None else {"test": dict(self.test)}),
            **({} if self.heldout is None else {"heldout": dict(self.heldout)}),
            "protocols": list(protocols.values()),
            "samples": None if self.samples is None else dict(self.samples),
            "environment": dict(self.environment),
            "warnings": list(self.warnings),
            "notes": list(self.notes),
            "elapsed_seconds": self.elapsed_seconds,
        }

    def to_records(self) -> list[dict[str, object]]:
        """One flat record per metric, for a table: what is needed to print, sort and compare the numbers.

        ``low`` and ``high`` are the ends of the interval, and None together with ``level`` and ``estimand`` where there
        is none; ``reason`` then says why. Raw values are comparable at equal ``comparison_key`` only.
        """
        return [record_of(result) for result in self.results.values()]

    def to_frame(self) -> Any:
        """``to_records`` as a pandas DataFrame.

        Raises:
            ConfigError: pandas is not installed.
        """
        try:
            import pandas  # type: ignore[import-untyped]
        except ImportError as error:
            raise ConfigError("to_frame needs pandas: pip install pandas. Or use to_records().") from error
        return pandas.DataFrame.from_records(self.to_records())

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Evaluation:
        """The inverse of ``to_dict``.

        Raises:
            InputError: the document is not what ``result_document.RunDocument`` declares.
        """
        try:
            return evaluation_of(plain(document))
        except DocumentError as error:
            raise InputError(f"this is not a valid ganeval document: {error}. Pass what to_dict() gave.") from error


def evaluation_of(tree: Any) -> Evaluation:
    """The run of a parsed document.

    Raises:
        DocumentError: it is not what ``RunDocument`` declares.
    """
    if not isinstance(tree, dict):
        raise DocumentError("", f"found {shown(tree)}, expected an object of schema {SCHEMA}")
    for key, expected in (("schema", SCHEMA), ("$schema", SCHEMA_IDS["result"])):
        if (named := tree.get(key)) != expected and (key in tree or key == "schema"):
            raise DocumentError(key, f"found {shown(named)}, expected {shown(expected)}")
    if "results" not in tree:
        raise DocumentError("", f"it holds no results{_instead(tree)}")
    found = typed(tree, RunDocument)
    return Evaluation(
        results={k: _result_of(k, entry, tree["results"][k]) for k, entry in found.results.items()},
        real=tree["real"],
        fake=tree["fake"],
        environment=tree["environment"],
        test=tree.get("test"),
        heldout=tree.get("heldout"),
        warnings=tuple(found.warnings),
        notes=tuple(found.notes),
        elapsed_seconds=found.elapsed_seconds,
        samples=None if found.samples is None else {"file": found.samples.file, "sha256": found.samples.sha256},
    )


def _instead(tree: Any) -> str:
    """What a document without results holds."""
    try:
        failure = typed(tree, FailureDocument).error
    except DocumentError:
        return ": it is another command's output"
    return f": it reports a failure ({one_line(failure.message)[:200]})"


# --- text ------------------------------------------------------------------------------------------------------------


def rows_of(evaluation: Evaluation) -> list[list[list[Cell]]]:
    """Tables, of which each has its own columns: the results, and the classes of those that have some.

    One result is the line that people paste; several are a table of such lines.
    """
    results = list(evaluation.results.values())
    single = len(results) == 1
    values = [result.parts()[1] for result in results]
    rows: list[list[Cell]] = []
    for result, value in zip(results, values if single else at_the_point(values), strict=True):
        label, _, told, counts = result.parts()
        named = [Cell(f"{label} {value}", _BOLD)] if single else [Cell(label, _BOLD), Cell(value, _BOLD)]
        middle = Cell(told) if result.interval is not None else Cell(told, {"fg": "yellow"}, loose=True)
        rows.append([*named, middle, Cell(counts, _DIM)])
        rows += [[Cell(text if single else f"  {text}", loose=True)] for text in more_of(result)]
    return [rows, _class_rows(results)]


def columns_of(result: MetricResult) -> dict[str, str]:
    """A row of the tables of a notebook, of Markdown and of a report, by column."""
    error = result.standard_error
    interval = f"none: {result.reason or 'unknown'}"
    if result.interval is not None:
        interval = f"{span(result.interval.low, result.interval.high)} ({100 * result.interval.level:g} %)"
    corrected = "–" if not result.bias or result.corrected is None else format_number(result.corrected, error)
    return {
        "metric": result.label,
        "value": format_number(result.value, error),
        "bias-corrected": corrected,
        "interval": interval,
        "better": {True: "higher", False: "lower", None: "–"}[result.higher_is_better],
        "images": result._counts(),
        "protocol": result.protocol.told(),
    }


def record_of(result: MetricResult) -> dict[str, object]:
    """The flat record of one result, see ``Evaluation.to_records``."""
    interval = result.interval
    ends = {name: getattr(interval, name, None) for name in ("low", "high", "level", "method", "estimand")}
    numbers = ("value", "standard_error", "bias", "corrected")
    return {
        "metric": result.name,
        "label": result.label,
        "higher_is_better": result.higher_is_better,
        **{name: getattr(result, name) for name in numbers},
        **ends,
        "reason": None if result.reason is None else str(result.reason),
        "n_real": result.n_real,
        "n_fake": result.n_fake,
        "protocol": result.protocol.name,
        "network": result.protocol.extractor,
        "comparison_key": result.comparison_key(),
    }


def html_of(results: Sequence[MetricResult], warnings: Sequence[str]) -> str:
    """The results as a table, and the warnings as a list, for a notebook; all text is escaped."""
    rows = [columns_of(result) for result in results]
    head = "".join(f"<th>{name}</th>" for name in (rows[0] if rows else ()))
    body = "".join(f"<tr>{''.join(f'<td>{_html(text)}</td>' for text in row.values())}</tr>" for row in rows)
    items = "".join(f"<li>warning: {_html(warning)}</li>" for warning in warnings)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{items and f'<ul>{items}</ul>'}"


def markdown_of(evaluation: Evaluation) -> str:
    """The results as a table in Markdown, then what else is known of each, then a table of its classes."""
    results = list(evaluation.results.values())
    rows = [columns_of(result) for result in results]
    parts = [markdown_table(list(rows[0]), [list(row.values()) for row in rows])] if rows else []
    parts.append("\n".join(f"- {escaped(f'{r.label}: {text}')}" for r in results for text in more_of(r)))
    for result in results:
        if classes := classes_of(result):
            parts.append(markdown_table((escaped(result.label), "value", "interval", "images"), classes))
    return "\n\n".join(filter(None, parts))


def _html(text: str) -> str:
    return html.escape(one_line(text))


def _class_rows(results: Sequence[MetricResult]) -> list[list[Cell]]:
    """One line a class, each with all that it takes to read it."""
    found = [(result.label, *entry) for result in results for entry in classes_of(result)]
    values = at_the_point([entry[2] for entry in found])
    return [
        [Cell(f"{label} {name}"), Cell(value), Cell(told), Cell(counts, _DIM)]
        for (label, name, _, told, counts), value in zip(found, values, strict=True)
    ]


def _of_few_images(result: MetricResult) -> Iterator[str]:
    """What the interval of a Frechet distance is of, where there are too few images for the distance itself."""
    details, interval = result.details, result.interval
    if interval is None or not interval.method.startswith(LEAVE_ONE_OUT):
        return
    digits = decimals(interval.high - interval.low)
    bounds = details.get("bounds")
    low, high = (bounds.get(end) for end in ("lower", "upper")) if isinstance(bounds, dict) else (None, None)
    told = f"This is what {result.n_fake} images give on average"
    if isinstance(high, int | float):
        least = f"between {fixed(low, digits)} and" if isinstance(low, int | float) else "at most"
        told += f"; the distance itself is smaller, {least} {fixed(high, digits)}"
    yield f"{told}. Compare at {result.n_fake} images only."
    calibrated, kappa = details.get("calibrated"), details.get("kappa")
    if isinstance(calibrated, int | float) and isinstance(kappa, int | float):
        yield (
            f"Calibrated for comparisons {fixed(calibrated, digits)} (kappa {kappa:.3f}): the plain value rewards too "
            "little diversity at this number of images."
        )


def more_of(result: MetricResult) -> list[str]:
    """Further facts about a result, one per line."""
    lines = list(_of_few_images(result))
    share = result.details.get("mean_term_share")
    if isinstance(share, float):
        lines.append(f"{share:.1%} of it is the distance between the two mean embeddings")
    floor = result.details.get("floor")
    if isinstance(floor, dict):
        one, other = floor["n"]
        value, ends = format_number(float(floor["value"]), None), floor.get("interval")
        told = "" if not ends else f"   CI {format_number(ends[0], None)} to {format_number(ends[1], None)}"
        lines.append(
            f"floor {value}{told}   ({one} against {other} of the real images: what perfect looks like at that number)"
        )
    relative = result.details.get("relative_to")
    if isinstance(relative, dict) and relative["value"] is not None:
        ends = relative["interval"]
        told = f"no interval: {relative['reason']}"
        if ends is not None:
            told = f"CI {format_number(ends[0], None)} to {format_number(ends[1], None)}"
        lines.append(
            f"relative to held-out reals {format_number(relative['value'], None)}   {told}   "
            f"({relative['n']} of each; 1: as far from REAL as these are)"
        )
    weighted, worst = result.details.get("weighted"), result.details.get("worst_class")
    if isinstance(weighted, float):
        lines.append(
            f"mean of {result.details.get('classes')} classes; weighted by their numbers of reals "
            f"{format_number(weighted, result.standard_error)}; the worst is {worst}"
        )
    quantiles = result.details.get("quantiles")
    if isinstance(quantiles, dict) and result.details.get("kind") == "mean":
        shares = (f"{100 * float(q):g} % {format_number(x, None)}" for q, x in quantiles.items())
        lines.append(f"quantiles: {', '.join(shares)}")
    subsets = result.details.get("subsets")
    if isinstance(subsets, dict):
        lines.append(
            f"as papers take it {format_number(subsets['mean'], subsets['std'])}, deviation "
            f"{format_number(subsets['std'], None)}   ({subsets['subsets']} subsets of {subsets['size']})"
        )
    return lines


def classes_of(result: MetricResult) -> list[tuple[str, str, str, str]]:
    """Of each class the name, the value, the interval or why there is none, and the numbers of images."""
    classes = result.details.get("per_class")
    rows = []
    for name, entry in classes.items() if isinstance(classes, dict) else ():
        value, corrected = (
            "no value" if x is None else format_number(x, None) for x in (entry["value"], entry["corrected"])
        )
        told = f"no interval: {entry['reason']}"
        if entry["interval"] is not None:
            low, high = (format_number(x, None) for x in entry["interval"])
            told = f"CI {low} to {high}"
            if entry["corrected"] is None:
                told += f" for {entry['n_fake']} images"
            elif entry["corrected"] != entry["value"]:
                told = f"bias-corrected {corrected}, {told}"
        counts = f"({result.protocol.name}, {entry['n_real']} real, {entry['n_fake']} fake)"
        rows.append((f"class {name}", value, told, counts))
    return rows
