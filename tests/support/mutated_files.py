"""Deterministic damage to arrays, archives and images that leaves them plausible: checksums are right."""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from random import Random

from support.hostile import head, npy, zipped
from support.mutations import mutated_bytes

_NUMBERS = (0, 1, 2, 3, 7, 255, 256, 1000, 2**15, 2**16 - 1, 2**16, 2**31 - 1, 2**31, 2**32 - 1)
_SHAPES = (
    "()", "(1,)", "(4, 6, 5, 3)", "(4, 3, 6, 5)", "(0, 4, 4, 3)", "(2, 0, 4, 3)", "(-1, 4, 4, 3)", "(True, 2)",
    "(1000000000000000000000000000000, 3)", "(4294967296, 4294967296)", "(1, 1, 1, 1)", "(2, 2, 2, 1)", "(3", "[4, 4]",
    "4", "(4, 4.0)", "(4, None)", "(0x7fffffffffffffff,)", "(1, 30000, 30000, 3)", "(2, 1, 1, 3)", "('4', 4)",
)  # fmt: skip
_TAR_FIELDS = (
    (0, 100), (124, 12), (124, 12), (136, 12), (156, 1), (156, 1), (157, 100), (257, 8), (345, 155),
)  # fmt: skip
_TYPES = (
    "'|u1'", "'<f4'", "'>f4'", "'<f8'", "'<f2'", "'<f16'", "'|b1'", "'<i8'", "'<u8'", "'<c8'", "'<M8[s]'", "'<U3'",
    "'|S0'", "'|O'", "'|V4'", "'<q9'", "17", "None", "[('a', '<f4')]", "[('a', '|O')]", "('<f4', (3,))", "'|u1,|u1'",
    "''",
)  # fmt: skip


def mutated_npy(rng: Random, data: bytes = bytes(400)) -> bytes:
    """A header of plausible and implausible parts, before some data."""
    text = head(rng.choice(_SHAPES), rng.choice(_TYPES), rng.choice(("False", "False", "True", "0", "None")))
    if rng.random() < 0.3:
        text = mutated_bytes(text.encode(), rng).decode("latin-1")[:60_000]
    version = rng.choice(((1, 0), (1, 0), (1, 0), (2, 0), (3, 0), (9, 0)))
    made = npy(text, data[: rng.choice((0, 8, 48, 360, 400))], version)
    return mutated_bytes(made, rng) if rng.random() < 0.1 else made


def mutated_zip(members: dict[str, bytes], rng: Random) -> bytes:
    """An archive of some method, of which one to three fields of its headers are others."""
    methods = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    data = bytearray(zipped(members, rng.choice(methods)))
    if rng.random() < 0.3:
        return mutated_bytes(bytes(data), rng)
    for _ in range(rng.choice((1, 1, 2, 3))):
        magic, fields = rng.choice(
            (
                (b"PK\x01\x02", {4: 2, 6: 2, 8: 2, 10: 2, 16: 4, 20: 4, 24: 4, 28: 2, 30: 2, 32: 2, 42: 4, 46: 2}),
                (b"PK\x03\x04", {4: 2, 6: 2, 8: 2, 14: 4, 18: 4, 22: 4, 26: 2, 28: 2, 30: 2}),
                (b"PK\x05\x06", {4: 2, 8: 2, 10: 2, 12: 4, 16: 4, 20: 2}),
            )
        )
        places = [match.start() for match in re.finditer(re.escape(magic), data)]
        if places:
            offset, width = rng.choice(list(fields.items()))
            at = rng.choice(places) + offset
            value = rng.choice((*_NUMBERS, 8, 9, 12, 14, 93, 99, rng.getrandbits(32))) % 2 ** (8 * width)
            data[at : at + width] = value.to_bytes(width, "little")
    return bytes(data)


def mutated_tar(data: bytes, rng: Random) -> bytes:
    """An archive of which fields of some headers are others, under checksums that are right."""
    if rng.random() < 0.2:
        return mutated_bytes(data, rng)
    changed = bytearray(data)
    headers = [at for at in range(0, len(data), 512) if data[at + 257 : at + 262] == b"ustar"]
    for _ in range(rng.choice((1, 1, 2, 3)) if headers else 0):
        at = rng.choice(headers)
        start, width = rng.choice(
            ((0, 100), (124, 12), (124, 12), (136, 12), (156, 1), (156, 1), (157, 100), (257, 8), (345, 155))
        )
        changed[at + start : at + start + width] = rng.choice(
            (
                rng.choice(b"01234567xgLKSVMND\x00").to_bytes(1, "big").ljust(width, b"\0"),
                f"{rng.choice(_NUMBERS):o}".encode().rjust(width, b"0")[:width],
                b"\x80" + rng.choice((b"\xff", b"\x00", b"\x01")) * (width - 1), b"\xff" * width, b"-1".ljust(width),
                rng.randbytes(width), b"7" * width,
            )
        )  # fmt: skip
        changed[at + 148 : at + 156] = b" " * 8
        changed[at + 148 : at + 156] = f"{sum(changed[at : at + 512]):06o}\0 ".encode()
    if rng.random() < 0.3 and headers:
        body = rng.choice(headers) + 512 + rng.randrange(512)
        changed[body : body + 4] = rng.randbytes(4)
    return bytes(changed)


def mutated_image(data: bytes, rng: Random) -> bytes:
    """An image file with other bytes, more often near its start; the checksums of PNG chunks are right again."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        near = rng.random() < 0.6
        at = rng.randrange(min(len(changed), 64) if near else len(changed))
        width = rng.choice((1, 1, 2, 4))
        value = rng.choice(
            (rng.randbytes(width), rng.choice(_NUMBERS).to_bytes(4, "big")[-width:], bytes(width), b"\xff" * width)
        )
        changed[at : at + width] = value
    if rng.random() < 0.2:
        return mutated_bytes(bytes(changed), rng)
    if changed[:8] == b"\x89PNG\r\n\x1a\n" and rng.random() < 0.8:
        at = 8
        while at + 12 <= len(changed):
            length = int.from_bytes(changed[at : at + 4], "big")
            end = at + 8 + length
            if end + 4 > len(changed):
                break
            changed[end : end + 4] = struct.pack(">I", zlib.crc32(changed[at + 4 : end]))
            at = end + 4
    return bytes(changed)
