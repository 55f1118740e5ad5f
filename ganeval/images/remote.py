"""Images on other machines, through fsspec: ``s3://``, ``gs://``, ``https://``, ``http://`` and ``memory://``.

- A tar archive is streamed in its order, and so are several (``shards-{000..099}.tar``); nothing is kept.
- Another file is copied to the temporary folder first, and read there as a file of this machine.
- Any other address is a folder: it is listed once, and each image is fetched when it is decoded.

Credentials, retries and timeouts are those of the library of the protocol.
"""

from __future__ import annotations

import os
import posixpath
import re
import shutil
import tarfile
import tempfile
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from ganeval.download import is_offline
from ganeval.errors import ConfigError, InputError
from ganeval.images.archive import require_small
from ganeval.images.decode import UnreadableImage
from ganeval.images.indexed import EncodedFiles, IndexedSource, PerProcess
from ganeval.images.libraries import missing_library, optional_library
from ganeval.images.names import ignored_kind, is_column_of_files, no_images_text
from ganeval.images.options import OpenOptions
from ganeval.images.side_files import CLASS_SUFFIX, DATASET_JSON, MOST_BYTES, column_of, key_of, stylegan_labels
from ganeval.images.specs import RemotePlace, expand_braces
from ganeval.images.stream import StreamSource
from ganeval.images.types import Images, ImageSource

_TAR = (".tar", ".tar.gz", ".tgz")
_FILE = re.compile(r"\.[a-z][a-z0-9]{1,6}$", re.IGNORECASE)
_LONGEST_CLASS = 256  # bytes of a .cls file


class RemoteFolder(EncodedFiles):
    """Image files below an address.

    Args:
        url: of the folder.
        root: of it, as the file system has it.
        names: of the images, below it.
    """

    kind = "remote"

    def __init__(self, url: str, root: str, names: list[str], ignored: Counter[str], max_image_bytes: int) -> None:
        super().__init__(names, ignored)
        self._root, self._max_image_bytes = root, max_image_bytes
        self._files = PerProcess(partial(_file_system, url))

    def read(self, index: int) -> bytes:
        try:
            data: bytes = self._files.get().cat_file(f"{self._root}/{self._names[index]}")
        except Exception as error:  # of any file system and of the network
            raise UnreadableImage(f"it cannot be fetched ({_reason(error)})") from error
        require_small(len(data), self._max_image_bytes)
        return data

    def fault(self, index: int) -> str | None:
        return None  # a look at a file would fetch it; what is wrong with it shows when it is decoded


class _TarStream:
    """The images of tar archives, in their order, with the classes of WebDataset; each iteration streams them again."""

    def __init__(self, urls: list[str], options: OpenOptions) -> None:
        self._urls, self._max_image_bytes = urls, options.max_image_bytes
        self._column = options.image_column if is_column_of_files(options.image_column) else None

    def __iter__(self) -> Iterator[dict[str, bytes | None]]:
        for url in self._urls:
            files, path = _file_system(url), _path_of(url)
            size = files.size(path)
            with files.open(path, "rb") as file, tarfile.open(fileobj=file, mode="r|*") as archive:
                yield from self._items(archive)
                end = archive.offset
            if size is not None and path.lower().endswith(".tar") and end + tarfile.BLOCKSIZE > size:
                raise tarfile.ReadError(f"{public_url(url)} ends without the end mark of a tar archive")

    def _items(self, archive: tarfile.TarFile) -> Iterator[dict[str, bytes | None]]:
        """One item for each image: the class of its key is before it or directly behind it."""
        key, label, held = "", None, list[bytes]()
        for member in archive:
            name = member.name.removeprefix("./")
            if not member.isreg() or not name:
                continue
            if key_of(name) != key:
                yield from ({"image": data, "label": label} for data in held)
                key, label, held = key_of(name), None, []
            if name.endswith(CLASS_SUFFIX):
                label = _content(archive, member)[:_LONGEST_CLASS]
            elif ignored_kind(name) is None and self._column in (None, column_of(name)):
                require_small(member.size, self._max_image_bytes)
                held.append(_content(archive, member))
        yield from ({"image": data, "label": label} for data in held)


def open_remote(
    spec: RemotePlace, options: OpenOptions, open_file: Callable[[Path], Images], open_files: Callable[[str], Images]
) -> ImageSource:
    """Open an address.

    Args:
        open_file: opens a file of this machine.
        open_files: opens the files that a pattern with braces names.

    Raises:
        ConfigError: fsspec, or what it needs for the protocol, is not installed.
        InputError: GANEVAL_OFFLINE is set; nothing there that can be read, or nothing that holds images.
    """
    url, name = spec.url, public_url(spec.url)
    if is_offline() and not url.startswith("memory:"):
        raise InputError(
            f"{name} is on another machine, and nothing is fetched because GANEVAL_OFFLINE is set. Unset it, or copy "
            "the images to this machine."
        )
    urls = expand_braces(url) if "{" in url else [url]
    paths = [_path_of(one).partition("?")[0].lower() for one in urls]
    if all(path.endswith(_TAR) for path in paths):
        missing = next((one for one in urls if not _attempt(one, lambda files, path: files.exists(path))), None)
        if missing is not None:
            raise InputError(f"No such file: {public_url(missing)!r}. Check the address.")
        return StreamSource(name, _TarStream(urls, options), options.value_range, None)
    if len(urls) > 1 or any(_FILE.search(path) for path in paths):
        return IndexedSource(name, _copied(urls, url, open_file, open_files))
    return IndexedSource(name, _opened_folder(url, options))


def public_url(url: str) -> str:
    """An address without the parts that may be secret: the user's name and password, and what follows ``?``.

    >>> public_url("https://me:secret@example.org/a.zip?token=1")
    'https://example.org/a.zip'
    """
    scheme, _, rest = url.partition("://")
    place, slash, path = rest.partition("?")[0].partition("/")
    return f"{scheme}://{place.rpartition('@')[2]}{slash}{path}"


def _opened_folder(url: str, options: OpenOptions) -> RemoteFolder:
    root = _path_of(url).rstrip("/")
    found = sorted(_attempt(url, lambda files, path: files.find(path)))
    names = [path[len(root) + 1 :] for path in found if path.startswith(f"{root}/")]
    if not names:
        raise InputError(f"{public_url(url)}: there is nothing below this address, or it cannot be listed.")
    images, ignored = list[str](), Counter[str]()
    for name in names:
        kind = ignored_kind(name)
        if kind is None:
            images.append(name)
        else:
            ignored[kind] += 1
    if not images:
        raise InputError(no_images_text(public_url(url), ignored))
    folder = RemoteFolder(url, root, images, ignored, options.max_image_bytes)
    if DATASET_JSON in names:
        data = _attempt(url, lambda files, _: files.cat_file(f"{root}/{DATASET_JSON}", end=MOST_BYTES))
        folder.listed_labels = stylegan_labels(data, images)
    return folder


def _copied(
    urls: list[str], url: str, open_file: Callable[[Path], Images], open_files: Callable[[str], Images]
) -> Images:
    """The images of files that are copied to a temporary folder, which is removed with them."""
    folder = Path(tempfile.mkdtemp(prefix="ganeval-"))
    try:
        for one in urls:
            _attempt(one, partial(_copy, folder=folder))
        name = posixpath.basename(public_url(url))
        images = open_file(folder / name) if len(urls) == 1 else open_files(f"{folder}/{name}")
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    weakref.finalize(images, _remove, folder, os.getpid())
    return images


def _copy(files: Any, path: str, *, folder: Path) -> None:
    size = files.size(path)
    free = shutil.disk_usage(folder).free
    if size is not None and size > free:
        raise InputError(
            f"{path} has {size / 1e6:.1f} MB, and {folder.parent} has {free / 1e6:.1f} MB free. Free some, or set "
            "TMPDIR to another folder."
        )
    files.get_file(path, str(folder / posixpath.basename(path.partition("?")[0])))


def _remove(folder: Path, owner: int) -> None:
    if os.getpid() == owner:  # a forked worker that ends must not take the files with it
        shutil.rmtree(folder, ignore_errors=True)


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    return b"" if file is None else file.read()


def _attempt(url: str, action: Callable[[Any, str], Any]) -> Any:
    """What an action on the file system of an address returns.

    Raises:
        InputError: it fails.
    """
    try:
        return action(_file_system(url), _path_of(url))
    except (InputError, ConfigError):
        raise
    except FileNotFoundError as error:
        raise InputError(f"No such file or folder: {public_url(url)!r}. Check the address.") from error
    except Exception as error:  # of any file system and of the network
        raise InputError(
            f"{public_url(url)} cannot be read: {_reason(error)}. Check the address, the network and the credentials."
        ) from error


def _path_of(url: str) -> str:
    """The path of an address, as its file system has it."""
    return str(_file_system(url)._strip_protocol(url))


def _file_system(url: str) -> Any:
    """The file system of an address.

    Raises:
        ConfigError: fsspec, or what it needs for the protocol, is not installed.
    """
    scheme = url.partition(":")[0] + "://"
    fsspec = optional_library("fsspec", scheme, "remote")
    try:
        return fsspec.core.url_to_fs(url)[0]
    except ImportError as error:  # fsspec raises its own, because of the one that names the library
        name = error.name or getattr(error.__cause__, "name", None) or "a library"
        raise missing_library(name, scheme, "remote") from error


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
