"""A table with one row per image: the values of each metric for this image."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import numpy as np

from ganeval.errors import InputError
from ganeval.files import written_whole
from ganeval.report.grids import name_of
from ganeval.result_files import Record

FORMS = (".csv", ".npz")
# column -> its arrays of fakes and of reals; "nearest" has places in the other set
_NUMBERS = {
    "realism": ("realism_fake", None),
    "rarity": ("rarity_fake", None),
    "nearest": ("nearest_real_fake", "nearest_fake_real"),
    "nearest_distance": ("nearest_distance_fake", "nearest_distance_real"),
    "nearest_ratio": ("nearest_ratio_fake", None),
    "influence_on_fid": ("fid_influence_fake", "fid_influence_real"),
    "adversary_score": ("ind_score_fake", "ind_score_real"),
    "covered": ("inside_real_balls_fake", "covered_real"),
}
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")


def image_columns(record: Record) -> dict[str, np.ndarray]:
    """The columns of a table of two sets of images."""
    sides = (record.evaluation.fake, record.evaluation.real)
    n_fake, n_real = (cast(int, (side or {}).get("n") or 0) for side in sides)
    return columns(record.arrays, n_fake, n_real)


def columns(arrays: Mapping[str, np.ndarray], n_fake: int, n_real: int) -> dict[str, np.ndarray]:
    """The columns of a table of two sets of images: the fakes in order, then the reals.

    ``set`` and ``path`` (the file, or ``#`` and the place), and where the run has them: ``realism`` (of fakes; from
    1 on inside a ball of reals), ``rarity`` (of fakes: radius of the smallest such ball), ``nearest`` (path of the
    nearest image of the other set), its ``nearest_distance`` in features, ``nearest_ratio`` (over the real's distance
    from its own nearest real; 0 for a copy),
    ``influence_on_fid``, ``adversary_score`` (above 0: classified as a fake), ``covered`` (of a fake: it is in a ball
    around a real; of a real: a fake is in its ball; 1 or 0). An unknown number is NaN, an unknown path empty.
    """
    counts = {"fake": n_fake, "real": n_real}
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


def pair_columns(record: Record) -> dict[str, np.ndarray]:
    """The columns of a table of pairs: the paths ``real`` and ``fake``, and the value of each metric.

    The PSNR of an identical pair, which is infinite, is an unknown number (NaN).
    """
    arrays, places = record.arrays, range(len(record.arrays["fake_image_digests"]))
    paths = {side: np.array([name_of(arrays, side, i) for i in places]) for side in ("real", "fake")}
    scores = {name: np.asarray(arrays[f"{name}_score_fake"], np.float64) for name in record.evaluation.results}
    return {**paths, **{name: np.where(np.isfinite(values), values, np.nan) for name, values in scores.items()}}


def caption_columns(record: Record) -> dict[str, np.ndarray]:
    """The columns of a table of captioned images: ``path``, ``caption`` and ``clip-score``."""
    scores, captions = record.arrays["clip-score_score_fake"], record.arrays["fake_captions"]
    paths = np.array([name_of(record.arrays, "fake", i) for i in range(len(scores))])
    return {"path": paths, "caption": captions, "clip-score": scores}


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
        raise InputError(f"expected a .csv or .npz file for the table of single images; got {path.name!r}.")


def write_table(path: Path, table: Mapping[str, np.ndarray]) -> None:
    """Write the table as CSV in UTF-8, or as one array per column in an npz file.

    In CSV an unknown number is an empty cell, and a path that a spreadsheet would run as a formula starts with an
    apostrophe.
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


def as_cell(text: str) -> str:
    """Text of the user in a cell of a CSV file: with an apostrophe where a spreadsheet would run it as a formula."""
    return f"'{text}" if text.startswith(_FORMULAS) else text


def _cells(values: np.ndarray) -> list[str]:
    if values.dtype.kind == "U":
        return [as_cell(text) for text in values.tolist()]
    return ["" if np.isnan(value) else f"{value:.9g}" for value in values.tolist()]
