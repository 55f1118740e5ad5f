"""``ganeval check IMAGES...``."""

from __future__ import annotations

import statistics
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ganeval.cli.options import (
    Command,
    generator_options,
    option,
    output_options,
    output_path,
    report_path,
    source_options,
)
from ganeval.cli.output import answer, note
from ganeval.cli.outputs import Outputs
from ganeval.cli.places import Source
from ganeval.errors import ConfigError, InputError, listed_counts
from ganeval.parsing.layout import aligned, escaped, markdown_table, one_line

if TYPE_CHECKING:
    from ganeval.images.audit import Audit


@click.command(cls=Command)
@click.argument("images", type=Source(), nargs=-1, required=True, metavar="IMAGES...")
@source_options
@generator_options
@option("--decode/--no-decode", default=True, help="Decode every image: this finds duplicates and damage inside files.")
@report_path
@output_path
@output_options
def check(
    images: tuple[str, ...], *, fmt: str, decode: bool, output: Path | None, report: Path | None, **options: Any
) -> None:
    """Find faults in sets of images before any compute is spent on them.

    Reports counts, sizes, formats, corrupt files by name, and duplicates. Of two sets, the first is taken as the real
    one, and the differences between them are reported.

    \b
    Examples:
      ganeval check dataset:shapes-plain dataset:shapes-striped --num-samples 100
      ganeval check real/ fake/ -o audit.json --report audit.html
    """
    from ganeval.engine.inputs import require_effect, require_range_used
    from ganeval.generators.load import is_made, open_source
    from ganeval.images.audit import audit, compare_audits
    from ganeval.images.grammar import parse_spec
    from ganeval.images.options import OpenOptions

    sets = [parse_spec(text) for text in images]
    if options["num_samples"] is not None and not any(map(is_made, sets)):
        raise ConfigError("--num-samples is for renderers and generators, and none is among the sets. Leave it out.")

    opening = OpenOptions(**options)
    require_effect(sets, opening)
    sources = [open_source(spec, options=opening) for spec in sets]
    require_range_used(sources, options["value_range"])
    audits = [audit(source, decode=decode) for source in sources]
    for a in audits:
        if a.n == 0:
            raise InputError(f"{a.spec} has no readable image: {'; '.join(a.problems())}")
    sentences = compare_audits(audits[0], audits[1]) if len(audits) == 2 else []
    rows = [_rows(a) for a in audits]
    lines = [_table(rows, fmt) + "\n"]
    lines += [f"- {escaped(text)}" if fmt == "md" else one_line(text) for text in sentences]
    if len(audits) == 2 and not sentences:
        lines.append("No difference between the two sets would bias a comparison.")
    outputs = Outputs()
    if report is not None:
        from ganeval.report.page import write_check

        with outputs.attempt(report):
            write_check(report, audits, [[(k, v) for k, v in one if v] for one in rows], sentences)
    fields = {"check": [a.to_dict() for a in audits], "differences": sentences}
    answer(fields, "\n".join(lines), fmt=fmt, target=output, outputs=outputs)
    for a in audits:
        for problem in a.problems():
            note(f"{a.spec}: {problem}")


def _rows(a: Audit) -> list[tuple[str, str]]:
    """(what, value) of everything that is looked for; empty where nothing was found."""
    from ganeval.images.colour import PROFILE
    from ganeval.images.decode import ORIENTATION

    corrupt = "; ".join(f"{name} ({reason})" for name, reason in a.corrupt[:5])
    shapes = Counter({tuple(map(int, size.split("x"))): count for size, count in a.sizes.items()})
    return [
        ("set", a.spec),
        ("images", str(a.n)),
        ("formats", listed_counts(a.formats)),
        ("modes", listed_counts(a.modes)),
        ("sizes", listed_counts(a.sizes) if len(a.sizes) <= 3 else f"{len(a.sizes)} different ones"),
        ("shorter side", _spread([(min(shape), count) for shape, count in shapes.items()])),
        ("width / height", _spread([(shape[0] / shape[1], count) for shape, count in shapes.items()])),
        ("other files", listed_counts(a.ignored)),
        ("orientation", f"{a.notes[ORIENTATION]} with EXIF, ignored" if a.notes[ORIENTATION] else ""),
        ("colour profile", f"{a.notes[PROFILE]} not sRGB, ignored" if a.notes[PROFILE] else ""),
        ("notes", listed_counts(Counter({k: n for k, n in a.notes.items() if k not in (ORIENTATION, PROFILE)}))),
        ("corrupt", corrupt if a.n_corrupt <= 5 else f"{a.n_corrupt}: {corrupt}; ..."),
        ("duplicates", "" if not a.n_duplicates else f"{a.n_duplicates}, e.g. {' = '.join(a.duplicates[0][:3])}"),
        ("grey images", "" if not a.grey else str(a.grey)),
        ("JPEG quality", ", ".join(f"{k} {v:g}" for k, v in (a.jpeg_quality or {}).items())),
        ("values", "" if a.levels is None else f"{a.levels[0]} to {a.levels[1]} of 0 to 255"),
        ("channel mean", " ".join(f"{v:.1f}" for v in a.channel_mean or ())),
        ("channel std", " ".join(f"{v:.1f}" for v in a.channel_std or ())),
    ]


def _spread(counted: list[tuple[float, int]]) -> str:
    """Smallest, median and largest of values with their counts; one value alone is itself."""
    values = sorted(counted)
    if not values:
        return ""
    ends = values[0][0], values[-1][0]
    if ends[0] == ends[1]:
        return f"{ends[0]:.4g}"
    middle = statistics.median_low([value for value, count in values for _ in range(count)])
    return f"{ends[0]:.4g} to {ends[1]:.4g}, median {middle:.4g}"


def _table(sets: list[list[tuple[str, str]]], fmt: str) -> str:
    """The sets in columns, one next to the other."""
    columns = [[value for _, value in rows] for rows in sets]
    found = zip((what for what, _ in sets[0]), *columns, strict=True)
    table = [(what, *(value or "-" for value in values)) for what, *values in found if any(values)]
    if fmt == "md":
        return markdown_table(("what", *("found" for _ in sets)), table)
    return "\n".join(aligned(table))
