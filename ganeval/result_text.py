"""Results as text and as a table of HTML: the same on the command line, in ``print(evaluation)`` and in a notebook.

Each line holds all that belongs to it, so that it can be cut out and pasted.
"""

from __future__ import annotations

import html
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ganeval.results import LEAVE_ONE_OUT, Evaluation, MetricResult, decimals, fixed, format_number, one_line

Style = Callable[[str, Mapping[str, Any] | None], str]
_BETWEEN = 3  # spaces from column to column
_INDENT = "    "  # of what does not fit on a line
_BOLD, _DIM = {"bold": True}, {"dim": True}


@dataclass(frozen=True, slots=True)
class Cell:
    """One entry.

    Attributes:
        look: of ``click.style``: ``{"bold": True}``.
        loose: it takes no part in the width of its column; a sentence among numbers.
    """

    text: str
    look: Mapping[str, Any] | None = None
    loose: bool = False


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
        rows.append([*named, _told(result, told), Cell(counts, _DIM)])
        rows += [[Cell(text if single else f"  {text}", loose=True)] for text in more_of(result)]
    return [rows, _class_rows(results)]


def text_of(evaluation: Evaluation) -> str:
    """The lines of ``rows_of``, and a line for each warning."""
    lines = [line for rows in rows_of(evaluation) for line in aligned(rows)]
    return "\n".join([*lines, *(f"warning: {one_line(warning)}" for warning in evaluation.warnings)])


def html_of(results: Sequence[MetricResult], warnings: Sequence[str]) -> str:
    """The table of ``ganeval report``, and a list of the warnings, for a notebook; all text is escaped."""
    names = ("metric", "value", "bias-corrected", "interval", "better", "images", "protocol")
    head = "".join(f"<th>{name}</th>" for name in names)
    body = "".join(f"<tr>{''.join(f'<td>{_escaped(text)}</td>' for text in _html_row(r))}</tr>" for r in results)
    told = "".join(f"<li>warning: {_escaped(warning)}</li>" for warning in warnings)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>" + (f"<ul>{told}</ul>" if told else "")


def _html_row(result: MetricResult) -> tuple[str, ...]:
    error = result.standard_error
    interval = f"none: {result.reason or 'not told'}"
    if result.interval is not None:
        low, high = (format_number(end, error) for end in (result.interval.low, result.interval.high))
        interval = f"{low} to {high} ({100 * result.interval.level:g} %)"
    corrected = "–" if not result.bias or result.corrected is None else format_number(result.corrected, error)
    unit = str(result.details.get("unit", "fake"))
    counts = ", ".join(f"{n} {side}" for n, side in ((result.n_real, "real"), (result.n_fake, unit)) if n is not None)
    better = "higher" if result.higher_is_better else "lower"
    return result.label, format_number(result.value, error), corrected, interval, better, counts, result.protocol.told()


def _escaped(text: str) -> str:
    return html.escape(one_line(text))


def _class_rows(results: Sequence[MetricResult]) -> list[list[Cell]]:
    """One line a class, each with all that it takes to read it."""
    found = [(result, entry) for result in results for entry in classes_of(result)]
    rows = []
    for (result, entry), value in zip(found, at_the_point([entry[1] for _, entry in found]), strict=True):
        name, _, told, counts = entry
        rows.append([Cell(f"{result.label} {name}"), Cell(value), Cell(told), Cell(counts, _DIM)])
    return rows


def _told(result: MetricResult, told: str) -> Cell:
    return Cell(told) if result.interval is not None else Cell(told, {"fg": "yellow"}, loose=True)


def _of_few_images(result: MetricResult) -> Iterator[str]:
    """What the interval of a Frechet distance is of, where there are too few images for the distance itself."""
    details, interval = result.details, result.interval
    if interval is None or interval.method != LEAVE_ONE_OUT:
        return
    digits = decimals(interval.high - interval.low)
    bounds = details.get("bounds")
    low, high = (bounds.get(end) for end in ("lower", "upper")) if isinstance(bounds, dict) else (None, None)
    told = f"This is what {result.n_fake} images give on average"
    if isinstance(high, int | float):
        told += "; the distance itself is smaller, "
        least = f"between {fixed(low, digits)} and" if isinstance(low, int | float) else "at most"
        told += f"{least} {fixed(high, digits)}"
    yield f"{told}. Compare at {result.n_fake} images only."
    calibrated, kappa = details.get("calibrated"), details.get("kappa")
    if isinstance(calibrated, int | float) and isinstance(kappa, int | float):
        yield (
            f"Calibrated for comparisons {fixed(calibrated, digits)} (kappa {kappa:.3f}): the plain value rewards too "
            "little diversity at this number of images."
        )


def more_of(result: MetricResult) -> list[str]:
    """What else is told of a result, a line each."""
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
    if not isinstance(classes, dict):
        return []
    return [_class(name, entry, result.protocol.name) for name, entry in classes.items()]


def _class(name: str, entry: Mapping[str, Any], protocol: str) -> tuple[str, str, str, str]:
    value = "no value" if entry["value"] is None else format_number(entry["value"], None)
    told = f"no interval: {entry['reason']}"
    if entry["interval"] is not None:
        low, high = (format_number(x, None) for x in entry["interval"])
        corrected = entry["corrected"]
        told = f"CI {low} to {high} for {entry['n_fake']} images"
        if corrected is not None:
            told = f"bias-corrected {format_number(corrected, None)}, CI {low} to {high}"
    return f"class {name}", value, told, f"({protocol}, {entry['n_real']} real, {entry['n_fake']} fake)"


# --- columns ----------------------------------------------------------------------------------------------------------


def aligned(
    rows: Sequence[Sequence[Cell]], *, width: int | None = None, style: Style = lambda text, look: text
) -> list[str]:
    """Lines in which each column begins at one place; a row that is too long goes on in indented lines.

    >>> aligned([[Cell("FID"), Cell("7.25")], [Cell("precision"), Cell("0.9")]])
    ['FID         7.25', 'precision   0.9']
    """
    places = range(max((len(row) for row in rows), default=0))
    widths = [max((len(r[i].text) for r in rows if i < len(r) and not r[i].loose), default=0) for i in places]
    return [line for row in rows for line in _row(row, widths, width, style)]


def _row(row: Sequence[Cell], widths: Sequence[int], width: int | None, style: Style) -> list[str]:
    lines, line, at, left = [], "", 0, 0  # the place that the line has reached, and spaces still to be written
    for cell, column in zip(row, widths, strict=False):
        text = one_line(cell.text)
        if not text and not column:  # nobody has anything here
            continue
        if width is not None and at and at + left + len(text.rstrip()) > width:
            lines.append(line)
            *full, text = _wrapped(text, width - len(_INDENT))
            lines += [_INDENT + style(piece, cell.look) for piece in full]
            line, at, left, column = _INDENT, len(_INDENT), 0, 0
        line += " " * left + style(text, cell.look)
        at += left + len(text)
        left = max(0, column - len(text)) + _BETWEEN
    return [*lines, line]


def _wrapped(text: str, width: int) -> list[str]:
    """Pieces of at most this width; a path or another long word stays whole, so that it can be copied."""
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False) or [""]


def at_the_point(numbers: Sequence[str]) -> list[str]:
    """Numbers with their decimal points below each other.

    >>> at_the_point(["45.07", "0.986", "7"])
    ['45.07 ', ' 0.986', ' 7    ']
    """
    parts = [number.partition(".") for number in numbers]
    before, after = (max((len(p[i]) for p in parts), default=0) for i in (0, 2))
    point = 1 if after else 0
    return [f"{whole:>{before}}{dot:<{point}}{rest:<{after}}" for whole, dot, rest in parts]
