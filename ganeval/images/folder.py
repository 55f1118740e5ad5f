"""A folder of image files, with its sub-folders."""

from __future__ import annotations

import os
import stat
from collections import Counter
from pathlib import Path, PurePosixPath

from ganeval.errors import InputError
from ganeval.images.decode import SUFFIXES, Pixels, UnreadableImage, decode, find_fault
from ganeval.images.indexed import Images, class_labels

_COPIES = "._* (of macOS)"
_SPECIAL = "pipe, socket or device"

MANIFEST = "ganeval-sample.json"  # of `ganeval sample`: in a folder of images; in an archive it is the comment


class FolderImages(Images):
    """Image files below a folder, sorted by their path with forward slashes, whatever the platform."""

    kind = "folder"
    encoded = True

    def __init__(self, root: Path, paths: list[str], ignored: Counter[str]) -> None:
        self.root = root
        self.ignored = ignored
        self._paths = paths

    def __len__(self) -> int:
        return len(self._paths)

    def name(self, index: int) -> str:
        return printable(self._paths[index])

    def read(self, index: int) -> bytes:
        try:
            return (self.root / self._paths[index]).read_bytes()
        except OSError as error:
            raise UnreadableImage(f"the file cannot be read ({error.strerror or error})") from error

    def load(self, index: int) -> Pixels:
        return decode(self.read(index))

    def fault(self, index: int) -> str | None:
        try:
            with open(self.root / self._paths[index], "rb") as file:
                return find_fault(file)
        except OSError as error:
            return f"the file cannot be read ({error.strerror or error})"

    def labels(self) -> list[str] | None:
        return class_labels([self.name(i) for i in range(len(self))])


def open_folder(root: Path) -> FolderImages:
    """List the images below ``root``; links are followed, but not in circles.

    Raises:
        InputError: a folder that cannot be listed, or no images.
    """
    paths: list[str] = []
    ignored: Counter[str] = Counter()
    _walk(root, "", {_identity(root)}, paths, ignored)
    if not paths:
        raise InputError(no_images(f"The folder {root}", ignored))
    return FolderImages(root, sorted(paths), ignored)


def sort_of(name: str) -> str | None:
    """None for the name of an image; otherwise under what the file is counted as ignored."""
    path = PurePosixPath(name)
    if path.name.startswith("._") or "__MACOSX" in path.parts:
        return _COPIES
    if path.suffix.lower() in SUFFIXES:
        return None
    return path.suffix.lower() or "no suffix"


def no_images(what: str, ignored: Counter[str]) -> str:
    """The message for a place that holds no images; says what it does hold."""
    found = ", ".join(f"{count} x {suffix}" for suffix, count in ignored.most_common(5))
    seen = f"{ignored.total()} other files ({found})" if ignored else "no files at all"
    return f"{what} holds no images, {seen}. Needed are {' '.join(SUFFIXES)}. Point at the place that holds the images."


def printable(name: str) -> str:
    """A name that can be written as UTF-8, whatever bytes the file system has in it."""
    return name if name.isascii() else name.encode("utf-8", "backslashreplace").decode()


def _walk(folder: Path, prefix: str, above: set[tuple[int, int]], paths: list[str], ignored: Counter[str]) -> None:
    try:
        with os.scandir(folder) as entries:
            found = list(entries)
        for entry in found:
            if _is_folder(entry):
                here = _identity(Path(entry.path))
                if here not in above:
                    _walk(Path(entry.path), f"{prefix}{entry.name}/", above | {here}, paths, ignored)
                continue
            if entry.name == MANIFEST:
                continue
            sort = sort_of(entry.name)
            if _is_special(entry):
                ignored[_SPECIAL] += 1
            elif sort is None:
                paths.append(prefix + entry.name)
            else:
                ignored[sort] += 1
    except OSError as error:
        raise InputError(
            f"Cannot list the folder {folder}: {error.strerror or error}. Check its permissions, or move it out."
        ) from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself: a file that cannot be read
        return False


def _is_special(entry: os.DirEntry[str]) -> bool:
    """Whether opening it could wait for ever. A link that leads nowhere is not: it is named as unreadable."""
    try:
        return not entry.is_file() and not stat.S_ISREG(entry.stat().st_mode)
    except OSError:
        return False


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino
