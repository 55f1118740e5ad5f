"""Images in zip and tar archives, read where they are; only compressed tars are unpacked, to one temporary file."""

from __future__ import annotations

import gzip
import io
import mmap
import os
import shutil
import tarfile
import tempfile
import weakref
import zipfile
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np

from ganeval.errors import InputError, listed
from ganeval.images.decode import UnreadableImage
from ganeval.images.indexed import EncodedFiles, PerProcess, stamp_of
from ganeval.images.names import HEAD, ignored_kind, is_column_of_files, no_images_text, shared_folders
from ganeval.images.options import OpenOptions
from ganeval.images.side_files import (
    DATASET_JSON,
    MOST_BYTES,
    MOST_CAPTION_BYTES,
    caption_files,
    column_of,
    stylegan_labels,
    webdataset_labels,
)
from ganeval.parsing.arguments import option
from ganeval.parsing.zip_members import BROKEN_ZIP, open_member, read_member

_REPLACED = "file that a later one of its name replaces"
_OTHER_COLUMN = "image of another column"
_SPARSE = "sparse file in the archive"
# what tarfile and gzip raise for archives that are damaged; PAX headers are text, which is parsed
_BROKEN_TAR = (tarfile.TarError, *BROKEN_ZIP)
_MAX_TAR_HEADER = 2**24  # bytes of a name or of PAX headers


class _ArchiveImages(EncodedFiles):
    """Images in one archive.

    Args:
        path: of the archive.
        max_image_bytes: of the largest image file that is read.
    """

    def __init__(self, path: Path, names: list[str], ignored: Counter[str], max_image_bytes: int) -> None:
        super().__init__(names, ignored)
        self._path, self._max_image_bytes = path, max_image_bytes
        self.column: str | None = None  # of the images among those of their keys

    def stamp(self, index: int) -> tuple[int, ...] | None:
        return stamp_of(self._path)

    def facts(self) -> dict[str, object]:
        return {} if self.column is None else {"image_column": self.column}


class ZipImages(_ArchiveImages):
    """Images in a zip archive, sorted by name."""

    kind = "zip"

    def __init__(self, path: Path, names: list[str], ignored: Counter[str], max_image_bytes: int) -> None:
        super().__init__(path, names, ignored, max_image_bytes)
        self._archive_bytes = path.stat().st_size
        self._zip = PerProcess(partial(zipfile.ZipFile, path))

    def read(self, index: int) -> bytes:
        try:
            archive = self._zip.get()
            info = archive.getinfo(self._names[index])
            require_small(info.file_size, self._max_image_bytes)
            return read_member(archive, info, self._archive_bytes)
        except UnreadableImage:
            raise
        except BROKEN_ZIP as error:
            raise UnreadableImage(f"it cannot be read from the archive ({error or type(error).__name__})") from error

    def caption(self, index: int) -> bytes | None:
        archive = self._zip.get()
        name = next((name for name in caption_files(self._names[index]) if name in archive.NameToInfo), None)
        try:
            return None if name is None else _read_small(archive, name, MOST_CAPTION_BYTES)
        except BROKEN_ZIP as error:
            raise InputError(f"{self._path}: the caption {name} cannot be read ({error}). Pack it again.") from error


class TarImages(_ArchiveImages):
    """Images in a tar archive, sorted by name; the archive is mapped into memory, so that any one can be read.

    Args:
        members: (offset, size) of every plain file, by name.
        names: of the images.
    """

    kind = "tar"

    def __init__(
        self,
        path: Path,
        members: Mapping[str, tuple[int, int]],
        names: Sequence[str],
        ignored: Counter[str],
        max_image_bytes: int,
    ) -> None:
        super().__init__(path, sorted(names), ignored, max_image_bytes)
        self._places = np.array([members[name] for name in self._names], dtype=np.int64)
        captions = (next(filter(members.__contains__, caption_files(name)), "") for name in self._names)
        self._captions = np.array([members.get(name, (0, -1)) for name in captions], dtype=np.int64)
        self._map = PerProcess(partial(_mapped, path))

    def read(self, index: int) -> bytes:
        start, size = self._places[index].tolist()
        require_small(size, self._max_image_bytes)
        try:
            return self._map.get()[start : start + size]
        except OSError as error:
            raise UnreadableImage(f"the archive cannot be opened again ({error.strerror or error})") from error

    def caption(self, index: int) -> bytes | None:
        start, size = self._captions[index].tolist()
        return None if size < 0 else self._map.get()[start : start + min(size, MOST_CAPTION_BYTES)]


def open_zip(path: Path, options: OpenOptions) -> ZipImages:
    """Open a zip archive.

    Raises:
        InputError: it is not a readable zip archive, or holds no images.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [info.filename for info in archive.infolist() if not info.is_dir()]
            members = sorted(set(entries))
            names, ignored = _images_of(
                members, partial(_head_in_zip, archive) if options.any_suffix else None, options.image_column
            )
            listed = _listed_labels(names, members, partial(_read_small, archive))
    except BROKEN_ZIP as error:
        raise InputError(_broken(path, "zip", error)) from error
    if len(entries) > len(members):
        ignored[_REPLACED] = len(entries) - len(members)
    if not names:
        raise InputError(no_images_text(f"The archive {path}", ignored))
    images = ZipImages(path, names, ignored, options.max_image_bytes)
    images.column = _column_of(options)
    images.listed_labels = listed
    return images


def open_tar(path: Path, options: OpenOptions) -> TarImages:
    """Open a tar archive; a compressed one is decompressed to a temporary file.

    Raises:
        InputError: it is not a readable tar archive, or holds no images.
    """
    if path.suffix.lower() == ".tar":
        return _tar_images(path, path, options)
    try:
        plain = _unpack(path)
    except _BROKEN_TAR as error:
        raise InputError(_broken(path, "tar", error)) from error
    try:
        images = _tar_images(path, plain, options)
    except BaseException:
        plain.unlink()
        raise
    weakref.finalize(images, _remove, plain, os.getpid())
    return images


def _tar_images(path: Path, plain: Path, options: OpenOptions) -> TarImages:
    """The images of a tar archive that is ``plain``, and was named as ``path``."""
    try:
        members, others = _tar_members(plain)
        with open(plain, "rb") as file:
            head = partial(_head_in_tar, file, members) if options.any_suffix else None
            names, ignored = _images_of(list(members), head, options.image_column)
            names.sort()
            listed = _listed_labels(names, members, partial(_read_in_tar, file, members))
    except _BROKEN_TAR as error:
        raise InputError(_broken(path, "tar", error)) from error
    ignored.update(others)
    if not names:
        raise InputError(no_images_text(f"The archive {path}", ignored))
    images = TarImages(plain, members, names, ignored, options.max_image_bytes)
    images.column = _column_of(options)
    images.listed_labels = listed
    return images


def require_small(size: int, most: int) -> None:
    """Raises UnreadableImage for an image file that is too large."""
    if size > most:
        raise UnreadableImage(
            f"an image file of {size:,} bytes; at most {most:,} are read from an archive "
            "(max_image_bytes, --max-image-bytes)"
        )


def _column_of(options: OpenOptions) -> str | None:
    return options.image_column if is_column_of_files(options.image_column) else None


def _mapped(path: Path) -> mmap.mmap:
    """A file mapped into memory: reading needs no position, so threads do not disturb each other."""
    with open(path, "rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _images_of(
    members: list[str], head: Callable[[str], bytes] | None, column: str | None
) -> tuple[list[str], Counter[str]]:
    """The members that are taken as images, and how many others there are of each sort.

    The folders that all members share count as the place that was named: they may be hidden.

    Args:
        head: the first bytes of a member, where files of other suffixes are looked into.
        column: what follows the WebDataset key in the names of the images that are taken. None, and a column without
            the suffix of an image, which is that of another set: anything.

    Raises:
        InputError: no image is of this column.
    """
    shared = shared_folders(members)
    names, ignored = [], Counter[str]()
    for name in members:
        kind = ignored_kind("/".join(name.split("/")[shared:]), None if head is None else partial(head, name))
        if kind is None:
            names.append(name)
        else:
            ignored[kind] += 1
    if not is_column_of_files(column):
        return names, ignored
    chosen = [name for name in names if column_of(name) == column]
    if names and not chosen:
        found = listed(sorted({column_of(name) for name in names}))
        raise InputError(f"{option('image_column')}: no image is called KEY.{column}; found KEY.({found}).")
    if len(names) > len(chosen):
        ignored[_OTHER_COLUMN] = len(names) - len(chosen)
    return chosen, ignored


def _listed_labels(names: list[str], members: Collection[str], read: Callable[[str], bytes]) -> list[str] | None:
    """The class of each image, where other members name it."""
    if DATASET_JSON in members and (found := stylegan_labels(read(DATASET_JSON), names)) is not None:
        return found
    return webdataset_labels(names, members, read)


def _read_small(archive: zipfile.ZipFile, name: str, most: int = MOST_BYTES) -> bytes:
    with open_member(archive, archive.getinfo(name)) as member:
        return member.read(most)


def _read_in_tar(file: IO[bytes], members: Mapping[str, tuple[int, int]], name: str) -> bytes:
    start, size = members[name]
    file.seek(start)
    return file.read(min(size, MOST_BYTES))


def _head_in_zip(archive: zipfile.ZipFile, name: str) -> bytes:
    try:
        with open_member(archive, archive.getinfo(name)) as member:
            return member.read(HEAD)
    except BROKEN_ZIP:
        return b""


def _head_in_tar(file: IO[bytes], members: Mapping[str, tuple[int, int]], name: str) -> bytes:
    start, size = members[name]
    file.seek(start)
    return file.read(min(size, HEAD))


class _Headers(io.BufferedReader):
    """A tar archive of which tarfile reads the headers: none may take more memory than a name or its like does."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= _MAX_TAR_HEADER:
            raise tarfile.ReadError(f"a header declares {size} bytes")
        return super().read(size)


def _tar_members(path: Path) -> tuple[dict[str, tuple[int, int]], Counter[str]]:
    """(offset, size) of every plain file, by name, and the number of other entries."""
    members: dict[str, tuple[int, int]] = {}
    others: Counter[str] = Counter()
    with _Headers(io.FileIO(path)) as file, tarfile.open(fileobj=file, mode="r:") as archive:
        end = 0
        for member in archive:
            if member.size < 0 or archive.offset <= end:
                raise tarfile.ReadError(f"a member declares a size of {member.size} bytes")
            end = archive.offset
            name = member.name.removeprefix("./")
            if name in members:
                others[_REPLACED] += 1
            if member.issparse():
                others[_SPARSE] += 1
            elif member.isreg():
                members[name] = member.offset_data, member.size
            elif member.islnk() and (target := member.linkname.removeprefix("./")) in members:
                members[name] = members[target]  # GNU tar stores a file with two names once
            elif not member.isdir():
                others["link or special file in the archive"] += 1
        end = archive.offset
    _check_end(path, end)
    return members, others


def _check_end(path: Path, end: int) -> None:
    """Where the list of a tar ends there must be zeros: tarfile takes damage, and a cut between files, for the end."""
    with open(path, "rb") as file:
        file.seek(end)
        block, rest = file.read(tarfile.BLOCKSIZE), file.read(1 << 16)
    if len(block) < tarfile.BLOCKSIZE or block.strip(b"\0"):
        raise tarfile.ReadError("it is damaged, or ends without the end mark of a tar archive")
    if rest.strip(b"\0"):
        raise tarfile.ReadError("there is more after its end, as in archives that were appended to each other")


def _unpack(path: Path) -> Path:
    """A gzip stream can only be read from its start; decompressed once, every image can be reached."""
    _require_space(path)
    handle, name = tempfile.mkstemp(prefix="ganeval-", suffix=".tar")
    try:
        with os.fdopen(handle, "wb") as target, gzip.open(path, "rb") as source:
            shutil.copyfileobj(source, target, 1 << 20)
    except BaseException:
        os.unlink(name)
        raise
    return Path(name)


def _require_space(path: Path) -> None:
    """Raise unless the temporary folder has room for the decompressed archive, as far as this is known beforehand.

    A gzip file ends with its decompressed size modulo 2^32; images hardly compress, so it is not below the file's own.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - 4))
        needed = max(size, int.from_bytes(file.read(4), "little"))
    folder = tempfile.gettempdir()
    if (free := shutil.disk_usage(folder).free) < needed:
        raise InputError(
            f"{path} is decompressed to a temporary file of at least {needed / 1e6:.1f} MB; {folder} has "
            f"{free / 1e6:.1f} MB free. Free some, set TMPDIR to another folder, or decompress it yourself."
        )


def _remove(path: Path, owner: int) -> None:
    if os.getpid() == owner:  # a forked worker that ends must not take the file with it
        path.unlink(missing_ok=True)


def _broken(path: Path, kind: str, error: Exception) -> str:
    if isinstance(error, OSError) and error.errno is not None:
        return f"Cannot read {path}: {error.strerror or error}."
    reason = f"{error}" or type(error).__name__
    return f"{path} is not a readable {kind} archive ({reason}). It may be cut short: fetch or pack it again."
