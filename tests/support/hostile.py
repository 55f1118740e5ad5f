"""Array files and archives that lie about themselves: what no tool writes, and what damage and malice can."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable, Mapping

import numpy as np


def npy(header: str, data: bytes = bytes(48), version: tuple[int, int] = (1, 0)) -> bytes:
    """A file in npy format with this header."""
    text = header.encode("latin-1", "replace")
    length = struct.pack("<H" if version[0] == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes(version) + length + text + data


def head(shape: str, descr: str = "'|u1'", fortran: str = "False") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n"


def saved(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


_GOOD = saved(np.zeros((4, 4, 4, 3), np.uint8))

# each is one array that must not be read, for a reason that its name gives
ARRAYS: Mapping[str, bytes] = {
    "empty": b"",
    "text": b"no array at all",
    "cut in the header": _GOOD[:40],
    "cut in the data": _GOOD[:-10],
    "open bracket": npy(head("(4, 4, 4, 3")),
    "deep brackets": npy("{'descr': " + "(" * 4000 + "\n"),
    "deeper brackets": npy("-" * 9000 + "1\n"),
    "a program": npy("__import__('os').system('touch pwned')\n"),
    "not a dictionary": npy("[1, 2]\n"),
    "a key too many": npy("{'descr': '|u1', 'fortran_order': False, 'shape': (4, 4), 'x': 1}\n"),
    "negative shape": npy(head("(-4, 4, 4, 3)")),
    "two negative lengths": npy(head("(-4, -4, 1, 3)")),
    "boolean shape": npy(head("(True, 4, 4, 3)")),
    "float shape": npy(head("(1.0, 4, 4, 3)")),
    "10^30 elements": npy(head("(1" + "0" * 30 + ", 4, 4, 3)")),
    "2^64 elements by two": npy(head("(4294967296, 4294967296, 1, 3)")),
    "a length of 5000 digits": npy(head("(0x" + "f" * 5000 + ", 4, 4, 3)")),
    "none of 2^62 squared": npy(head("(0, 4611686018427387904, 4611686018427387904, 3)")),
    "40 axes": npy(head("(" + "1, " * 40 + ")")),
    "1 GB declared": npy(head("(100, 2000, 2000, 3)")),
    "unknown type": npy(head("(1, 4, 4, 3)", "'|q9'")),
    "type of another type": npy(head("(1, 4, 4, 3)", "17")),
    "text of no width": npy(head("(1000000000000,)", "'<U0'")),
    "a wide subarray": npy(head("(1, 4, 4, 3)", "[('a', '<f4', (1000000000,))]")),
    "objects": saved(np.array([{}, None], dtype=object)),
    "fields with objects": npy(head("(1,)", "[('a', '|O')]")),
    "version 3.0": npy(head("(1, 4, 4, 3)"), version=(3, 0)),
    "version 9.0": npy(head("(1, 4, 4, 3)"), version=(9, 0)),
    "header of 4 GB": b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**32 - 1) + b" " * 100,
    "header of 60 KB": npy(head("(1, 4, 4, 3)") + " " * 60_000),
}


def zipped(
    members: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED, change: Callable[[bytes], bytes] | None = None
) -> bytes:
    """A zip archive of these members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    data = buffer.getvalue()
    return data if change is None else change(data)


def _directory(data: bytes, offset: int, value: bytes) -> bytes:
    """The archive with other bytes in every entry of its list of members, and of the headers before the members."""
    changed = bytearray(data)
    for magic, shift in ((b"PK\x01\x02", 0), (b"PK\x03\x04", -2)):  # a local header lacks the first of the versions
        start = changed.find(magic)
        while start >= 0:
            at = start + offset + (shift if offset >= 6 else 0)
            if magic == b"PK\x01\x02" or offset < 28:
                changed[at : at + len(value)] = value
            start = changed.find(magic, start + 4)
    return bytes(changed)


def archives(members: Mapping[str, bytes]) -> dict[str, bytes]:
    """Broken archives of members that are sound."""
    some, plain = dict(members), zipfile.ZIP_STORED
    bomb = {name: data + bytes(10_000_000) for name, data in some.items()}
    return {
        "empty file": b"",
        "no members": zipped({}),
        "cut": zipped(some)[:-30],
        "cut at the start": zipped(some, plain)[20:],
        "encrypted": zipped(some, change=lambda d: _directory(d, 8, b"\x01\x00")),
        "unknown method": zipped(some, change=lambda d: _directory(d, 10, b"\x63\x00")),
        "unknown version": zipped(some, change=lambda d: _directory(d, 6, b"\xff\x00")),
        "broken LZMA": zipped(some, zipfile.ZIP_LZMA, lambda d: d[:70] + b"\xff" * 12 + d[82:]),
        "LZMA that is none": zipped(some, plain, lambda d: _directory(d, 10, b"\x0e\x00")),
        "broken bzip2": zipped(some, zipfile.ZIP_BZIP2, lambda d: d[:70] + b"\x55\x00" * 6 + d[82:]),
        "deflated that is none": zipped(some, plain, lambda d: _directory(d, 10, b"\x08\x00")),
        "stored that is none": zipped(some, change=lambda d: _directory(d, 10, b"\x00\x00")),
        "name that is not UTF-8": _name_not_utf8(zipped(some)),
        "larger than declared": zipped(bomb, change=lambda d: _directory(d, 24, struct.pack("<I", 10))),
        "smaller than declared": zipped(some, change=lambda d: _directory(d, 24, struct.pack("<I", 2**32 - 2))),
        "smaller than declared, stored": zipped(some, plain, lambda d: _directory(d, 24, struct.pack("<I", 2**31))),
        "smaller than declared, bzip2": zipped(
            some, zipfile.ZIP_BZIP2, lambda d: _directory(d, 24, struct.pack("<I", 2**32 - 2))
        ),
        "member beyond the end": zipped(some, change=lambda d: _directory(d, 42, struct.pack("<I", 2**31))),
        "packed size beyond the end": zipped(some, change=lambda d: _directory(d, 20, struct.pack("<I", 2**31))),
    }


def _name_not_utf8(data: bytes) -> bytes:
    changed = bytearray(_directory(data, 8, b"\x00\x08"))
    for magic, at in ((b"PK\x01\x02", 46), (b"PK\x03\x04", 30)):
        start = changed.find(magic)
        changed[start + at] = 0xFF
    return bytes(changed)
