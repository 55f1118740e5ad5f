"""Which files of a folder or an archive are taken as images: by their names, or by their first bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile
from pathlib import PurePosixPath

from ganeval.errors import listed_counts, number_of
from ganeval.images.decode import SUFFIXES, known_format

HIDDEN = "hidden"
NO_SUFFIX = "no suffix"
HEAD = 32  # bytes from which a format is known
_SYSTEM = ("__macosx", "@eadir", "#recycle", "$recycle.bin", "system volume information", "lost+found")


def is_hidden(name: str) -> bool:
    """Whether a file or a folder of this name is not part of what a person put there.

    >>> [is_hidden(name) for name in (".ipynb_checkpoints", "@eaDir", "._0001.png", "cats")]
    [True, True, True, False]
    """
    return name.startswith(".") or name.lower() in _SYSTEM


def ignored_kind(path: str, head: Callable[[], bytes] | None = None) -> str | None:
    """None for an image; otherwise under what the file is counted as ignored.

    Args:
        path: below the folder or archive that was named, whose own name may be hidden.
        head: gives the first ``HEAD`` bytes of the file, which then decide where its suffix is not that of an image.
    """
    place = PurePosixPath(path)
    if any(map(is_hidden, place.parts)):
        return HIDDEN
    suffix = place.suffix.lower()
    if suffix in SUFFIXES or (head is not None and known_format(head())):
        return None
    return (suffix or NO_SUFFIX) + ("" if head is None else " (not an image by its first bytes)")


def is_column_of_files(column: str | None) -> bool:
    """Whether a column can be what follows the WebDataset key in the names of images, and not one of a data set alone.

    >>> [is_column_of_files(column) for column in ("target.png", "JPG", "image", None)]
    [True, True, False, False]
    """
    return column is not None and f".{column}".lower().endswith(SUFFIXES)


def shared_folders(names: Sequence[str]) -> int:
    """How many folders at the beginning of their paths all names have in common.

    >>> shared_folders(["set/cat/1.png", "set/dog/1.png"])
    1
    """
    folders = [name.split("/")[:-1] for name in names]
    pairs = zip(min(folders, default=[]), max(folders, default=[]), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _is_named_otherwise(kind: str) -> bool:
    """Whether the suffix alone keeps such files out, so that ``any_suffix`` looks into them."""
    return kind == NO_SUFFIX or (kind.startswith(".") and "(" not in kind)


def ignored_files_text(ignored: Mapping[str, int]) -> str | None:
    """A sentence on the files that were left out; None where there are none."""
    if not ignored:
        return None
    total = sum(ignored.values())
    text = f"{number_of(total, 'file was', 'files were')} left out: {listed_counts(ignored)}"
    return text + (f"; {_ADVICE}" if any(map(_is_named_otherwise, ignored)) else "")


def no_images_text(what: str, ignored: Counter[str]) -> str:
    """The message for a place of which no file is taken as an image; says what it does hold."""
    if not ignored:
        return f"{what} holds no images and no other files. Point at the place that holds the images."
    found = f"{number_of(ignored.total(), 'other file')} ({listed_counts(ignored)})"
    advice = f" {_ADVICE[0].upper()}{_ADVICE[1:]}." if any(map(_is_named_otherwise, ignored)) else ""
    return (
        f"{what} has no file with the suffix of an image; found {found}. Expected {' '.join(SUFFIXES)}. "
        f"Point at the place that holds the images.{advice}"
    )


def printable(name: str) -> str:
    """A name that can be written as UTF-8; other bytes are escaped."""
    return name if name.isascii() else name.encode("utf-8", "backslashreplace").decode()


_ADVICE = "if they are images, --any-suffix (any_suffix=True) reads them by their first bytes"
