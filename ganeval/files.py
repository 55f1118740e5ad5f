"""Files that are written atomically."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ganeval.errors import InputError


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a temporary name; what the block writes there is ``path`` when it ends, and is gone if it fails.

    A link stays a link: the file that it points to is replaced. A device or a pipe stays what it is: the bytes are
    written to it when the block ends, and a pipe without a reader is waited for.

    Raises:
        InputError: the folder does not exist or cannot be written to.
    """
    if path.is_dir():
        raise _is_a_folder(path)
    try:
        with _through(path) if is_stream(path) else _in_place(path) as temporary:
            yield temporary
    except OSError as error:
        raise _not_written(path, error) from error


@contextmanager
def _in_place(path: Path) -> Iterator[Path]:
    place = Path(os.path.realpath(path))
    temporary = place.with_name(f".{place.name}.{secrets.token_hex(4)}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, place)
    finally:
        if temporary.parent.is_dir():
            temporary.unlink(missing_ok=True)


@contextmanager
def _through(path: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        temporary = Path(folder) / path.name
        yield temporary
        with temporary.open("rb") as source, path.open("wb") as target:
            shutil.copyfileobj(source, target)


def is_stream(path: Path) -> bool:
    """Whether there is a device, a pipe or a socket, links followed: no file, and no folder."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # nothing is there, or it cannot be looked at
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def require_writable(path: Path) -> None:
    """Find out before the long part that a file cannot be written where it is wanted.

    Raises:
        InputError: the path is a folder, or cannot be written.
    """
    if path.is_dir():
        raise _is_a_folder(path)
    try:
        if is_stream(path):  # not opened: a pipe's reader would take that for the end
            if not os.access(path, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            return
        place = Path(os.path.realpath(path))
        trial = place.with_name(f".{place.name}.{secrets.token_hex(4)}.test")
        trial.touch()
        trial.unlink()
    except OSError as error:
        raise _not_written(path, error) from error


def _is_a_folder(path: Path) -> InputError:
    return InputError(f"{path} is a folder; give the name of a file to write.")


def _not_written(path: Path, error: OSError) -> InputError:
    if not path.parent.is_dir():
        return InputError(f"cannot write {path}: its folder does not exist. Create it first.")
    # no permission, a full disk, a name that the file system cannot take
    return InputError(f"cannot write {path}: {error.strerror or error}. Choose another place.")


def write_text(path: Path, text: str) -> None:
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


_UNITS = (("GB", 2**30), ("MB", 2**20), ("KB", 2**10), ("B", 1), ("", 1))


def parse_size(text: str) -> int | None:
    """Bytes, with the units KB, MB, GB: ``256MB``; None for what is no size above 0.

    >>> parse_size("1.5 kb")
    1536
    """
    text = text.strip().upper()
    for unit, factor in _UNITS:
        if text.endswith(unit):
            try:
                size = int(float(text.removesuffix(unit)) * factor)
            except (ValueError, OverflowError):
                return None
            return size if size > 0 else None
    return None


def reference_stats_dir() -> Path:
    """The folder ``reference_stats``.

    Raises:
        InputError: it is in neither place, so the installation is damaged.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "reference_stats", package.parent / "reference_stats"):
        if (folder / "manifest.toml").is_file():
            return folder
    raise InputError(
        f"ganeval's reference_stats folder is neither in {package} nor in the folder above it: the installation is "
        "damaged. Install ganeval again."
    )
