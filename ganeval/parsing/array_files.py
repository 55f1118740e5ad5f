"""Arrays in npy files and npz archives, read without trusting what they say of themselves. Nothing is ever unpickled.

numpy reads the header; what it declares must then be in the file before anything is allocated.
"""

from __future__ import annotations

import io
import math
import sys
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from ganeval.errors import InputError
from ganeval.parsing.zip_members import (
    BROKEN_ZIP,
    data_offset,
    open_member,
    read_exactly,
    require_end,
    require_plausible,
)

_READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
_MAX_HEADER = 10_000  # characters; numpy refuses longer ones
_HEAD_STEP = 2**10
_MAX_AXES = 32
_LAST_CHARACTER = 0x10FFFF


@dataclass(frozen=True, slots=True)
class Header:
    """What an array says it is; ``offset`` is where its data starts, inside the file or member."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool
    offset: int

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def read_header(stream: IO[bytes], size: int, what: str) -> Header:
    """Read the header of an array in npy format.

    Args:
        stream: at the start of the file or member.
        size: bytes of the whole file or member.
        what: the array, in messages.

    Raises:
        InputError: no valid header, pickled objects, or more data declared than ``size`` allows.
    """
    # in small steps: a member of an archive may inflate what it is asked for a thousand times over
    head = io.BytesIO(b"".join(stream.read(_HEAD_STEP) for _ in range(_MAX_HEADER // _HEAD_STEP + 2)))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers that Python 2 wrote, and of old names of types
            version = npy.read_magic(head)
            if version not in _READERS:
                raise ValueError(f"version {version[0]}.{version[1]} of the format; expected 1.0 or 2.0")
            shape, fortran, dtype = _READERS[version](head, max_header_size=_MAX_HEADER)
    except Exception as error:  # the header is a Python literal, whose parser may raise anything
        raise InputError(_unreadable(what, one_line(error))) from error
    header = Header(shape, dtype, fortran, head.tell())
    if dtype.hasobject:
        raise InputError(
            f"{what} holds pickled Python objects, which are never loaded: they can run code. "
            "Save plain arrays of numbers instead; images of several sizes belong in a folder or an archive."
        )
    problem = _impossible(header, size - header.offset)
    if problem is not None:
        raise InputError(_unreadable(what, problem))
    return header


def _unreadable(what: str, problem: str) -> str:
    return f"{what} is not a readable npy array ({problem}). It may be cut short: write it again with numpy.save."


def _impossible(header: Header, held: int) -> str | None:
    """Why there can be no such array in ``held`` bytes."""
    shape, dtype = header.shape, header.dtype
    if any(isinstance(n, bool) or not 0 <= n <= sys.maxsize for n in shape):
        return "its header declares a length that is not a number from 0 to 2^63"
    if len(shape) > _MAX_AXES or dtype.itemsize == 0:
        return f"its header declares {len(shape)} axes of {dtype.itemsize} bytes a value"
    if math.prod(max(n, 1) for n in shape) * dtype.itemsize > sys.maxsize or header.nbytes > held:
        return f"its header declares the shape {shape} of {str(dtype)[:40]}, and {held} bytes of data follow"
    return None


def one_line(error: BaseException) -> str:
    """The message of an error from elsewhere, fit for one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__


class NpzReader:
    """A context manager over an npz file.

    Raises:
        InputError: no file, a folder, no archive, a damaged one; a pickle by its first byte or its contents.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as stream:
                start = stream.read(4)
            self._size = path.stat().st_size
        except FileNotFoundError as error:
            raise InputError(f"there is no file {path}. Check the name.") from error
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}.") from error
        if path.suffix.lower() in (".pkl", ".pickle", ".pt", ".pth") or start[:1] == b"\x80":
            raise InputError(_refusal(path))
        try:
            self._archive = zipfile.ZipFile(path)
        except BROKEN_ZIP as error:
            raise InputError(
                f"{path} ({self._size} bytes) is not a readable npz file, or it was cut short: {one_line(error)}. "
                "Fetch or build it again if it is damaged."
            ) from error
        if any(Path(name).name == "data.pkl" for name in self._archive.namelist()):
            self.close()
            raise InputError(_refusal(path))

    def __enter__(self) -> NpzReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._archive.close()

    @property
    def names(self) -> list[str]:
        return [name.removesuffix(".npy") for name in self._archive.namelist() if name.endswith(".npy")]

    def header(self, name: str) -> Header:
        """Shape and dtype of a member, without its data.

        Raises:
            InputError: pickled objects, or a size that is not the member's.
        """
        with self._member(name) as (info, stream):
            header = read_header(stream, info.file_size, f"the member {name!r} of {self.path}")
        if header.offset + header.nbytes != info.file_size:
            raise InputError(
                f"the member {name!r} of {self.path} is damaged: it has {info.file_size} bytes, its size does not fit "
                f"its shape {header.shape}. Write the file again."
            )
        return header

    def read(self, name: str) -> np.ndarray:
        """The data of a member."""
        header = self.header(name)
        with self._member(name) as (info, stream):
            stream.seek(header.offset)
            data = read_exactly(stream, header.nbytes, info)
            require_end(stream)
        array: np.ndarray = np.ndarray(header.shape, header.dtype, buffer=data, order="F" if header.fortran else "C")
        if header.dtype.kind == "U" and not _is_text(array):
            raise InputError(f"the member {name!r} of {self.path} is damaged: it holds text that is not Unicode.")
        return array

    def place(self, name: str) -> int | None:
        """Where the data of a member starts in the file; None if it is compressed."""
        header = self.header(name)
        with self._member(name) as (info, _):
            if info.compress_type != zipfile.ZIP_STORED:
                return None
            start = data_offset(self.path, info) + header.offset
            if start + header.nbytes > self._size:
                raise EOFError("it ends after the end of the file")
        return start

    def map_rows(self, name: str) -> np.ndarray:
        """A member as an array that is read when it is used, where it is stored uncompressed; read now otherwise."""
        header, start = self.header(name), self.place(name)
        if start is None or header.fortran or not header.nbytes:
            return self.read(name)
        return np.memmap(self.path, dtype=header.dtype, mode="r", offset=start, shape=header.shape)

    @contextmanager
    def _member(self, name: str) -> Iterator[tuple[zipfile.ZipInfo, IO[bytes]]]:
        try:
            info = self._archive.getinfo(f"{name}.npy")
            require_plausible(info, self._size)
            with open_member(self._archive, info) as stream:
                yield info, stream
        except BROKEN_ZIP as error:
            raise InputError(
                f"the member {name!r} of {self.path} cannot be read ({one_line(error)}): the file is damaged."
            ) from error


def _is_text(array: np.ndarray) -> bool:
    codes = np.ascontiguousarray(array).reshape(-1).view(np.dtype("u4").newbyteorder(array.dtype.byteorder))
    surrogate = (codes >= 0xD800) & (codes <= 0xDFFF)
    return not (surrogate | (codes > _LAST_CHARACTER)).any()


def _refusal(path: Path) -> str:
    return (
        f"{path} is a pickle: reading it would run whatever code it holds, so ganeval does not. Load it once in the "
        'tool that wrote it, and save the numbers: numpy.savez("ref.npz", mu=..., sigma=..., n=...).'
    )
