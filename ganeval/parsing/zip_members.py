"""Members of zip archives, read without trusting what the archive says of them.

``zipfile`` allocates and inflates what an archive asks for. Here a size that cannot be true is refused before anything
is read, and memory grows with the bytes that are there.
"""

from __future__ import annotations

import bz2
import copy
import lzma
import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO

# what zipfile and its decompressors raise for archives that are damaged, encrypted or of an unknown method
_DECOMPRESSION = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, OSError)
BROKEN_ZIP = (*_DECOMPRESSION, RuntimeError, LookupError, ValueError, OverflowError, MemoryError)
_LOCAL_HEADER = 30  # bytes, before the member's name
_DEFLATE_RATIO = 1032  # deflate turns one byte into at most so many
_STEP = 2**20
_SMALL_STEP = 2**12  # LZMA inflates all of its input, up to some thousand times its size


def require_plausible(info: zipfile.ZipInfo, archive_bytes: int) -> None:
    """Check the size that a member declares against the bytes that it takes in the archive.

    Raises:
        BadZipFile: it cannot have that size.
    """
    packed, size = info.compress_size, info.file_size
    stored, deflated = (info.compress_type == method for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    outside = info.header_offset + packed > archive_bytes
    if outside or (stored and size != packed) or (deflated and size > _DEFLATE_RATIO * (packed + 1)):
        raise zipfile.BadZipFile(f"it declares {size} bytes, which is not the size of what is in the archive")


def open_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> IO[bytes]:
    """The inflated bytes of a member; bzip2, of which zipfile inflates 4 KB at once to gigabytes, step by step."""
    if info.compress_type != zipfile.ZIP_BZIP2 or info.flag_bits & 1:
        return archive.open(info)
    packed = copy.copy(info)
    packed.compress_type, packed.file_size = zipfile.ZIP_STORED, info.compress_size
    packed.CRC = None  # type: ignore[assignment]  # that of the inflated bytes; bzip2 has its own
    return bz2.BZ2File(archive.open(packed))


def read_exactly(stream: IO[bytes], size: int, info: zipfile.ZipInfo | None = None) -> bytearray:
    """The next ``size`` bytes of a stream, of the member ``info`` if that is given.

    Raises:
        EOFError: there are fewer.
    """
    plain = info is None or info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)
    data = bytearray()
    while len(data) < size:
        block = stream.read(min(_STEP if plain else _SMALL_STEP, size - len(data)))
        if not block:
            raise EOFError(f"it ends after {len(data)} of {size} bytes")
        data += block
    return data


def read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, archive_bytes: int) -> bytes:
    """A member as a whole; its checksum is verified."""
    require_plausible(info, archive_bytes)
    with open_member(archive, info) as stream:
        data = bytes(read_exactly(stream, info.file_size, info))
        require_end(stream)
    return data


def require_end(stream: IO[bytes]) -> None:
    """Raise BadZipFile unless a stream ends here; at its end a member's checksum is compared."""
    if stream.read(1):
        raise zipfile.BadZipFile("it is longer than it declares")


def data_offset(path: Path, info: zipfile.ZipInfo) -> int:
    """Where a stored member begins in the file: after its local header, whose extra field has a length of its own."""
    with path.open("rb") as file:
        file.seek(info.header_offset)
        local = file.read(_LOCAL_HEADER)
    if len(local) < _LOCAL_HEADER or local[:4] != b"PK\x03\x04":
        raise zipfile.BadZipFile("a member is not where the list of members says")
    return info.header_offset + _LOCAL_HEADER + sum(int.from_bytes(local[at : at + 2], "little") for at in (26, 28))
