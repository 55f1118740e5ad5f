"""Prompts: the texts that a generator makes its images of, from a file or a list."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ganeval.errors import ConfigError, InputError
from ganeval.images.columns import caption_column
from ganeval.images.options import OpenOptions
from ganeval.images.side_files import CAPTION_SUFFIX
from ganeval.parsing.arguments import option
from ganeval.parsing.tables import SUFFIXES, read_rows
from ganeval.parsing.texts import decoded, lines_of, read_bytes

_SHOWN = 40  # characters of a value in a message


@dataclass(frozen=True, slots=True)
class Prompts:
    """The prompts of a generator, none of them empty, without white space at their ends.

    >>> Prompts(("a cat", "a dog")).text(3)
    'a dog'
    """

    texts: tuple[str, ...]

    def text(self, number: int) -> str:
        """The prompt of image ``number``: they begin anew after the last one."""
        return self.texts[number % len(self.texts)]

    def describe(self) -> dict[str, object]:
        """Facts for the provenance: their number, and the SHA-256 of them as a JSON array."""
        written = json.dumps(self.texts, ensure_ascii=False).encode()
        return {"prompts": len(self.texts), "prompts_sha256": hashlib.sha256(written).hexdigest()}


def read_prompts(given: str | Path | Sequence[str], column: str | None = None) -> Prompts:
    """Prompts of a ``.txt`` file with one a line, of a column of a table, or of a list.

    Args:
        column: of a table; None: ``caption``, ``text`` or ``prompt``.

    Raises:
        InputError: a file that cannot be read, no prompts, or one that is empty or not a text.
    """
    if not isinstance(given, str | Path):
        return _checked(((f"prompts: entry {i}", text) for i, text in enumerate(given)), "prompts")
    path = Path(given)
    if path.suffix.lower() == CAPTION_SUFFIX:
        lines = lines_of(decoded(read_bytes(path), str(path)))
        return _checked(((f"{path}, line {i}", line) for i, line in enumerate(lines, 1)), str(path))
    if not in_columns(path):
        raise InputError(
            f"{path} is not a file of prompts: expected {CAPTION_SUFFIX} with one prompt a line, or a table that ends "
            f"in {', '.join(SUFFIXES)}."
        )
    table = read_rows(path, "prompts")
    name = caption_column(str(path), table.columns, column)
    cells = zip(table.places, table.column(name), strict=True)
    return _checked(((f"{path}, {place}: column {name!r}", cell) for place, cell in cells), str(path))


def in_columns(given: object) -> bool:
    """Whether prompts are in a table, of which a column is taken."""
    return isinstance(given, str | Path) and Path(given).suffix.lower() in SUFFIXES


def require_column_used(options: OpenOptions) -> None:
    """Raises ConfigError where a column of prompts is named and the prompts are not in a table."""
    if options.caption_column is not None and not in_columns(options.prompts):
        raise ConfigError(
            f"{option('caption_column')} names a column of a table of prompts, and {option('prompts')} names no table "
            f"({', '.join(SUFFIXES)}). Leave it out."
        )


def _checked(found: Iterable[tuple[str, object]], what: str) -> Prompts:
    """The prompts of (place, value), the places for messages."""
    texts = []
    for place, value in found:
        if value is not None and not isinstance(value, str):
            raise InputError(f"{place} has {repr(value)[:_SHOWN]}; expected a prompt, which is a text.")
        if value is None or not value.strip():
            raise InputError(f"{place} is empty; expected a prompt. Write one there, or remove it.")
        try:
            value.encode()
        except UnicodeEncodeError as error:  # half of a pair of surrogates, from JSON
            raise InputError(f"{place} has {value[:_SHOWN]!r}, which UTF-8 cannot hold. Correct the text.") from error
        texts.append(str(value.strip()))
    if not texts:
        raise InputError(f"{what} holds no prompts; expected one for each image.")
    return Prompts(tuple(texts))
