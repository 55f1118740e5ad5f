"""A folder of image files, with its sub-folders."""

from __future__ import annotations

import heapq
import os
import stat
from collections import Counter
from contextlib import suppress
from functools import partial
from pathlib import Path

from ganeval.errors import InputError
from ganeval.images.decode import UnreadableImage, find_fault
from ganeval.images.indexed import EncodedFiles, stamp_of
from ganeval.images.names import HEAD, HIDDEN, ignored_kind, is_hidden, no_images_text
from ganeval.images.side_files import (
    DATASET_JSON,
    MOST_BYTES,
    MOST_CAPTION_BYTES,
    caption_files,
    stylegan_labels,
)

_SPECIAL = "pipe, socket or device"
_READ_ALREADY = "link to a folder that is read already"

MANIFEST = "ganeval-sample.json"  # of `ganeval sample`: in a folder of images; in an archive it is the comment


class FolderImages(EncodedFiles):
    """Image files below a folder, sorted by their path with forward slashes, whatever the platform."""

    kind = "folder"

    def __init__(self, root: Path, paths: list[str], ignored: Counter[str]) -> None:
        super().__init__(paths, ignored)
        self.root = root

    def path(self, index: int) -> Path:
        return self.root / self._names[index]

    def read(self, index: int) -> bytes:
        try:
            return self.path(index).read_bytes()
        except OSError as error:
            raise UnreadableImage(f"the file cannot be read ({error.strerror or error})") from error

    def stamp(self, index: int) -> tuple[int, ...] | None:
        return stamp_of(self.path(index))

    def caption(self, index: int) -> bytes | None:
        for name in caption_files(self._names[index]):
            try:
                with open(self.root / name, "rb") as file:
                    return file.read(MOST_CAPTION_BYTES)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise InputError(f"the caption {name} cannot be read ({error.strerror or error}).") from error
        return None

    def fault(self, index: int) -> str | None:
        try:
            with open(self.path(index), "rb") as file:
                return find_fault(file, self.sizes)
        except OSError as error:
            return f"the file cannot be read ({error.strerror or error})"


def open_folder(root: Path, *, any_suffix: bool = False) -> FolderImages:
    """List the images below ``root``; links are followed, but no folder is read twice. Hidden ones are left out.

    Args:
        any_suffix: take files of other suffixes too, if their first bytes are those of an image.

    Raises:
        InputError: a folder that cannot be listed, or no images.
    """
    paths, ignored = _walk(root, any_suffix)
    if not paths:
        raise InputError(no_images_text(f"The folder {root}", ignored))
    images = FolderImages(root, sorted(paths), ignored)
    with suppress(OSError):
        with (root / DATASET_JSON).open("rb") as file:
            data = file.read(MOST_BYTES + 1)
        images.listed_labels = stylegan_labels(data, sorted(paths)) if len(data) <= MOST_BYTES else None
    return images


def _walk(root: Path, any_suffix: bool) -> tuple[list[str], Counter[str]]:
    """The images below ``root``, and what else there is.

    Every folder is listed once, however many paths lead to it: links can multiply those without end. A folder goes by
    its own path where that lies below ``root``, else by the first of its links, the shallowest ones before the others.
    """
    paths: list[str] = []
    ignored: Counter[str] = Counter()
    seen: set[tuple[int, int]] = set()
    folders, links = [(root, "")], list[tuple[int, str, Path]]()
    while folders or links:
        linked = not folders
        if linked:
            _, prefix, folder = heapq.heappop(links)
        else:
            folder, prefix = folders.pop()
        try:
            here = _identity(folder)
            if here in seen:
                ignored[_READ_ALREADY] += linked
                continue
            seen.add(here)
            with os.scandir(folder) as entries:
                for entry in entries:
                    if is_hidden(entry.name):
                        ignored.update({HIDDEN: count} if (count := _files_in(entry)) else {})
                    elif not _is_folder(entry):
                        _add_file(entry, prefix, paths, ignored, any_suffix)
                    elif entry.is_symlink():
                        heapq.heappush(links, (prefix.count("/"), f"{prefix}{entry.name}/", Path(entry.path)))
                    else:
                        folders.append((Path(entry.path), f"{prefix}{entry.name}/"))
        except OSError as error:
            raise InputError(
                f"Cannot list the folder {_shortened(folder)}: {error.strerror or error}. "
                "Check its permissions, or move it out."
            ) from error
    return paths, ignored


def _add_file(entry: os.DirEntry[str], prefix: str, paths: list[str], ignored: Counter[str], any_suffix: bool) -> None:
    if entry.name == MANIFEST:
        return
    if _is_special(entry):
        ignored[_SPECIAL] += 1
        return
    try:
        kind = ignored_kind(entry.name, partial(_head, entry.path) if any_suffix else None)
    except OSError:  # an image, so that it is named as one that cannot be read
        kind = None
    if kind is None:
        paths.append(prefix + entry.name)
    else:
        ignored[kind] += 1


def _shortened(folder: Path) -> str:
    """The path of a folder, without its middle where it is too long to read."""
    text = str(folder)
    return text if len(text) <= 300 else f"{text[:150]} ... {text[-100:]}"


def _files_in(hidden: os.DirEntry[str]) -> int:
    """1 for a file, else the files below, as far as they can be listed; no link is followed."""
    if not hidden.is_dir(follow_symlinks=False):
        return 1
    count, folders = 0, [hidden.path]
    while folders:  # os.walk calls itself, which ends at some depth
        with suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                else:
                    count += 1
    return count


def _head(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(HEAD)


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
