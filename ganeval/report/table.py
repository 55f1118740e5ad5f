"""One line an image: what each metric says of it alone."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ganeval.errors import InputError
from ganeval.files import written_whole
from ganeval.report.grids import name_of

FORMS = (".csv", ".npz")
# column -> the arrays of fakes and of reals that fill it; "nearest" are places in the other set
_NUMBERS = {
    "realism": ("realism_fake", None),
    "nearest": ("nearest_real_fake", "nearest_fake_real"),
    "nearest_distance": ("nearest_distance_fake", "nearest_distance_real"),
    "nearest_ratio": ("nearest_ratio_fake", None),
    "influence_on_fid": ("fid_influence_fake", "fid_influence_real"),
    "adversary_score": ("ind_score_fake", "ind_score_real"),
    "covered": ("inside_real_balls_fake", "covered_real"),
}
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")


def columns(arrays: Mapping[str, np.ndarray], n_fake: int, n_real: int | None) -> dict[str, np.ndarray]:
    """The table by column: the fakes in order, then the reals.

    ``set`` and ``path`` (the file, or ``#`` and the place), and as far as the run has them: ``realism`` (of fakes; from
    1 on inside a ball of reals), ``nearest`` (path of the nearest image of the other set), its ``nearest_distance`` in
    features, ``nearest_ratio`` (over the real's distance from its own nearest real; 0 for a copy),
    ``influence_on_fid``, ``adversary_score`` (above 0: taken for a fake), ``covered`` (of a fake: lies in a ball of
    reals; of a real: a fake lies in its ball; 1 or 0). A number that is not known of an image is NaN, a path empty.
    """
    counts = {"fake": n_fake, "real": n_real or 0}
    found = {
        "set": np.repeat(list(counts), list(counts.values())),
        "path": np.array([name_of(arrays, side, i) for side, n in counts.items() for i in range(n)]),
    }
    for column, names in _NUMBERS.items():
        parts = []
        for name, n in zip(names, counts.values(), strict=True):
            values = arrays.get(name or "")
            parts.append(np.full(n, np.nan) if values is None or len(values) != n else values.astype(np.float64))
        if np.isnan(both := np.concatenate(parts)).all():
            continue
        found[column] = both if column != "nearest" else _paths(arrays, parts)
    return found


def _paths(arrays: Mapping[str, np.ndarray], parts: list[np.ndarray]) -> np.ndarray:
    return np.array(
        [
            "" if np.isnan(place) else name_of(arrays, other, int(place))
            for other, places in zip(("real", "fake"), parts, strict=True)
            for place in places.tolist()
        ]
    )


def require_form(path: Path) -> None:
    """Raises InputError unless the name of the table ends in .csv or .npz."""
    if path.suffix.lower() not in FORMS:
        raise InputError(f"a table of single images is a .csv or .npz file; got {path.name!r}.")


def write_table(path: Path, table: Mapping[str, np.ndarray]) -> None:
    """As CSV in UTF-8, or as one array a column.

    In CSV a number that is not known is an empty cell, and a path that a spreadsheet would run as a formula stands
    behind an apostrophe.
    """
    require_form(path)
    with written_whole(path) as temporary:
        if path.suffix.lower() == ".npz":
            np.savez_compressed(temporary, **table)  # type: ignore[arg-type]
            return
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(table)
        writer.writerows(zip(*(_cells(values) for values in table.values()), strict=True))
        temporary.write_text(text.getvalue(), encoding="utf-8", errors="surrogateescape", newline="")


def _cells(values: np.ndarray) -> list[str]:
    if values.dtype.kind == "U":
        return [f"'{text}" if text.startswith(_FORMULAS) else text for text in values.tolist()]
    return ["" if np.isnan(value) else f"{value:.9g}" for value in values.tolist()]
