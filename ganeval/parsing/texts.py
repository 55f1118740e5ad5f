"""Texts that other programs wrote: files in UTF-8, and their lines."""

from __future__ import annotations

from pathlib import Path

from ganeval.errors import InputError


def read_bytes(path: Path) -> bytes:
    """The content of a file.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error


def decoded(data: bytes, what: str) -> str:
    """The text in UTF-8, without a byte order mark.

    Raises:
        InputError: it is in another encoding.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{what} is not text in UTF-8. Write it again in that encoding.") from error


def lines_of(text: str) -> list[str]:
    r"""The lines of a text, without white space at their ends and without empty lines after the last one.

    Only line feeds end a line, alone or after a carriage return, so that the numbers are those of an editor.

    >>> lines_of("a\r\n\n b\n\n")
    ['a', '', 'b']
    """
    lines = [line.strip() for line in text.split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return lines
