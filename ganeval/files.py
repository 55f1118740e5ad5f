"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ganeval.errors import InputError


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside ``path``; it takes the name ``path`` when the block ends, and is gone if it fails.

    Raises:
        InputError: the folder does not exist or cannot be written to.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder; give the name of a file to write.")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise _not_written(path, error) from error
    finally:
        if temporary.parent.is_dir():
            temporary.unlink(missing_ok=True)


def require_writable(path: Path, *, inputs: Iterable[str | Path] = ()) -> None:
    """Find out before the long part that a file cannot be written where it is wanted.

    Args:
        inputs: files that the run reads, of which the file must not be one; of specs, ``files_of`` gives them.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder; give the name of a file to write.")
    for read in inputs if path.exists() else ():
        if os.path.exists(read) and path.samefile(read):
            raise InputError(f"{path} is read here, and would be overwritten by its result. Choose another name.")
    trial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.test")
    try:
        trial.touch()
        trial.unlink()
    except OSError as error:
        raise _not_written(path, error) from error


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
