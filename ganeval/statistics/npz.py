"""npz archives without pickle: names first, then headers, then only the members that are needed."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np
from numpy.lib import format as npy

from ganeval.errors import InputError
from ganeval.files import written_whole

_EPOCH = (1980, 1, 1, 0, 0, 0)  # in every archive: the same arrays are the same bytes
_LOCAL_HEADER = 30  # bytes, before the member's name


@dataclass(frozen=True, slots=True)
class Header:
    """What a member says it is; ``offset`` is where its data starts inside the member."""

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    fortran: bool
    offset: int

    @property
    def nbytes(self) -> int:
        size = self.dtype.itemsize
        for length in self.shape:
            size *= length
        return size


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
        except FileNotFoundError as error:
            raise InputError(f"there is no file {path}. Check the name.") from error
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}.") from error
        if path.suffix.lower() in (".pkl", ".pickle", ".pt", ".pth") or start[:1] == b"\x80":
            raise InputError(_refusal(path))
        try:
            self._archive = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as error:
            raise InputError(
                f"{path} ({path.stat().st_size} bytes) is no npz archive, or it was cut short. Give an npz file, and "
                "fetch or build it again if it is damaged."
            ) from error
        if any(Path(name).name == "data.pkl" for name in self._archive.namelist()):
            self.close()
            raise InputError(_refusal(path))

    def __enter__(self) -> NpzReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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
        with self._member(name) as stream:
            version = npy.read_magic(stream)
            read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            shape, fortran, dtype = read(stream)
            header = Header(shape, dtype, fortran, stream.tell())
        if dtype.hasobject:
            raise InputError(
                f"the member {name!r} of {self.path} holds pickled objects; reading them would run code from the file. "
                "Save it again as plain arrays of numbers."
            )
        size = self._archive.getinfo(f"{name}.npy").file_size
        if header.offset + header.nbytes != size:
            raise InputError(f"the member {name!r} of {self.path} has {size} bytes, not what its header says: damaged.")
        return header

    def read(self, name: str) -> np.ndarray:
        """The data of a member."""
        self.header(name)
        with self._member(name) as stream:
            array: np.ndarray = npy.read_array(stream, allow_pickle=False)
        return array

    def map_rows(self, name: str) -> np.ndarray:
        """A member as an array that is read when it is used, where it is stored uncompressed; read now otherwise."""
        header, info = self.header(name), self._archive.getinfo(f"{name}.npy")
        if info.compress_type != zipfile.ZIP_STORED or header.fortran or not header.nbytes:
            return self.read(name)
        with self.path.open("rb") as stream:
            stream.seek(info.header_offset)
            local = stream.read(_LOCAL_HEADER)
        name_and_extra = int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little")
        start = info.header_offset + _LOCAL_HEADER + name_and_extra + header.offset
        return np.memmap(self.path, dtype=header.dtype, mode="r", offset=start, shape=header.shape)

    @contextmanager
    def _member(self, name: str) -> Iterator[IO[bytes]]:
        try:
            with self._archive.open(f"{name}.npy") as stream:
                yield stream
        except (KeyError, ValueError, EOFError, OSError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
            raise InputError(
                f"the member {name!r} of {self.path} cannot be read ({error}): the file is damaged."
            ) from error


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write an uncompressed npz: whole or not at all, without times, so that equal arrays give equal bytes."""
    with written_whole(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            info = zipfile.ZipInfo(f"{name}.npy", date_time=_EPOCH)
            info.create_system = 3  # the same on every system
            info.external_attr = 0o644 << 16
            with archive.open(info, "w", force_zip64=True) as stream:
                npy.write_array(stream, np.asarray(array, order="C"), version=(1, 0), allow_pickle=False)


def with_suffix_npz(path: Path) -> Path:
    """``path`` with ``.npz`` appended unless it has that ending in some letter case.

    >>> with_suffix_npz(Path("Ref")).name, with_suffix_npz(Path("ref.v1")).name, with_suffix_npz(Path("REF.NPZ")).name
    ('Ref.npz', 'ref.v1.npz', 'REF.NPZ')
    """
    return path if path.name.lower().endswith(".npz") else path.with_name(path.name + ".npz")


def _refusal(path: Path) -> str:
    return (
        f"{path} is a pickle: reading it would run whatever code it holds, so ganeval does not. Load it once in the "
        'tool that wrote it, and save the numbers: numpy.savez("ref.npz", mu=..., sigma=..., n=...).'
    )
