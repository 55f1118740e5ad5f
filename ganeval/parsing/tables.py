"""Tables that other programs wrote, one row per image: CSV, JSON Lines, Parquet."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from ganeval.errors import InputError, did_you_mean, listed, number_of
from ganeval.parsing.documents import MAX_NUMBER

SUFFIXES = (".csv", ".jsonl", ".parquet")
_FLAGS = {"true": 1.0, "false": 0.0}
_SHOWN = 40  # characters of a value in a message
_DIGITS = 400  # of the longest whole number that is read; the largest float has 309


@dataclass(frozen=True, slots=True)
class Table:
    """The cells of a file by column, as the file has them.

    Attributes:
        columns: by name, one cell per row: text, a number, True, False, or None where the row has no such cell.
        places: of each row, for messages: ``line 2``.
    """

    path: Path
    columns: Mapping[str, Sequence[object]]
    places: Sequence[str]

    def __len__(self) -> int:
        return len(self.places)

    def has_numbers(self, name: str) -> bool:
        """Whether the first cell of a column is a number, even NaN; the other cells then have to be numbers too."""
        return bool(self.places) and _number(self.columns[name][0]) is not None

    def numbers(self, name: str) -> list[float]:
        """A column as numbers; true is 1 and false is 0.

        Raises:
            InputError: no such column, or a cell that is empty, text, NaN or infinite.
        """
        return [self._finite(name, i, cell) for i, cell in enumerate(self.column(name))]

    def _finite(self, name: str, row: int, cell: object) -> float:
        number = _number(cell)
        if number is not None and abs(number) <= MAX_NUMBER:  # false for NaN
            return number
        found = "nothing" if cell is None or cell == "" else repr(cell)[:_SHOWN]
        raise InputError(
            f"{self.path}, {self.places[row]}: column {name!r} has {found}; expected a finite number in every row, at "
            f"most {MAX_NUMBER:g}. Correct or remove the row, or choose columns with --column (column=)."
        )

    def texts(self, name: str) -> list[str]:
        """A column as text, for ids and groups.

        Raises:
            InputError: no such column, or an empty cell.
        """
        found = []
        for i, cell in enumerate(self.column(name)):
            if cell is None or cell == "":
                raise InputError(
                    f"{self.path}, {self.places[i]}: column {name!r} is empty; expected a value in every row."
                )
            found.append(cell if isinstance(cell, str) else json.dumps(cell, default=str))
        return found

    def ids(self, name: str) -> list[str]:
        """A column as text that names each row.

        Raises:
            InputError: as ``texts``, or two rows have one id.
        """
        first: dict[str, int] = {}
        found = self.texts(name)
        for i, one in enumerate(found):
            if (before := first.setdefault(one, i)) != i:
                raise InputError(
                    f"{self.path}: the id {one[:_SHOWN]!r} of column {name!r} is in {self.places[before]} and in "
                    f"{self.places[i]}; expected each id once. Rows of one input that belong together take "
                    "--group-by (group_by=)."
                )
        return found

    def column(self, name: str) -> Sequence[object]:
        """The cells of a column.

        Raises:
            InputError: no such column.
        """
        if name not in self.columns:
            available = listed(list(self.columns), 20) or "none"
            hint = did_you_mean(name, self.columns)
            raise InputError(f"{self.path} has no column {name!r}.{hint} Available: {available}.")
        return self.columns[name]


def read_rows(path: Path, what: str) -> Table:
    """The table of a file; its suffix says which kind of file it is.

    Args:
        what: the table is of, for messages.

    Raises:
        InputError: another kind of file, no such file, a file that is damaged or has no rows.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{path} is not a table of {what}: expected a file that ends in {', '.join(SUFFIXES)}.")
    read = {".csv": _read_csv, ".jsonl": _read_jsonl, ".parquet": _read_parquet}[suffix]
    try:
        table = read(path)
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not text in UTF-8. Save it again in that encoding.") from error
    except csv.Error as error:
        raise InputError(f"{path} is not a valid CSV file: {error}. Look for a quote that is not closed.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error
    if not len(table):
        raise InputError(f"{path} has no rows; expected one row per image.")
    return table


def _number(cell: object) -> float | None:
    """A cell as a number; None for text, an empty cell, a list or an object."""
    if isinstance(cell, int | float | Decimal):
        try:
            return float(cell)
        except OverflowError:
            return math.inf
    if not isinstance(cell, str):
        return None
    text = cell.strip().lower()
    try:
        return _FLAGS[text] if text in _FLAGS else None if "_" in text else float(text)
    except ValueError:
        return None


def _read_csv(path: Path) -> Table:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        header = [name.strip() for name in next(reader, [])]
        _require_heading(path, header)
        rows, places = [], []
        for row in reader:
            if not row:
                continue
            if len(row) != len(header):
                raise InputError(
                    f"{path}, line {reader.line_num}: found {number_of(len(row), 'cell')}; expected {len(header)}, as "
                    "the heading has. Put text with commas in quotes."
                )
            rows.append(row)
            places.append(f"line {reader.line_num}")
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise InputError(f"{path} has the column {twice[0]!r} twice. Rename one of them.")
    return Table(path, {name: [row[i] for row in rows] for i, name in enumerate(header)}, places)


def _require_heading(path: Path, header: Sequence[str]) -> None:
    """Raises InputError for another separator than a comma, or a first line of values in place of names."""
    for mark, name in ((";", "semicolons"), ("\t", "tabs")):
        if len(header) == 1 and mark in header[0]:
            raise InputError(
                f"{path} has its columns separated by {name}; expected commas, and points in numbers. Export it again."
            )
    numbers = [name for name in header if _number(name) is not None]
    if numbers and (len(numbers) == len(header) or any(not name.isdecimal() for name in numbers)):
        raise InputError(
            f"{path} has the value {numbers[0]!r} in its first line; expected a heading with the names of the columns."
        )


def _read_jsonl(path: Path) -> Table:
    rows: list[dict[str, Any]] = []
    places = []
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line, parse_int=_whole, object_pairs_hook=_object)
            except (ValueError, RecursionError) as error:
                raise InputError(f"{path}, line {number} is not JSON: {error}. Write one object per line.") from error
            if not isinstance(row, dict):
                raise InputError(f"{path}, line {number} is not an object; expected one object per line.")
            rows.append(row)
            places.append(f"line {number}")
    names = dict.fromkeys(name for row in rows for name in row)
    return Table(path, {name: [row.get(name) for row in rows] for name in names}, places)


def _whole(text: str) -> float:
    """A whole number of JSON; Python refuses to convert one of thousands of digits."""
    return int(text) if len(text) <= _DIGITS else math.copysign(math.inf, -1 if text.startswith("-") else 1)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(found := dict(pairs)) < len(pairs):
        raise ValueError("a name is in it twice")
    return found


def _read_parquet(path: Path) -> Table:
    try:
        import pyarrow  # type: ignore[import-untyped]
        from pyarrow import parquet
    except ImportError as error:
        raise InputError(f"{path} needs pyarrow, which is not installed. Install it, or write a CSV file.") from error
    try:
        table = parquet.read_table(path)
        columns = {name: table.column(name).to_pylist() for name in table.column_names}
    except pyarrow.ArrowException as error:
        raise InputError(
            f"{path} is not a valid Parquet file: {error}. Write it again, or write a CSV file."
        ) from error
    return Table(path, columns, [f"row {i}" for i in range(1, table.num_rows + 1)])
