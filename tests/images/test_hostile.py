"""Archives and folders that lie, and images that are too large, where images are read."""

from __future__ import annotations

import gzip
import io
import os
import struct
import subprocess
import tarfile
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.hostile import archives, zipped

from ganeval.errors import InputError
from ganeval.images.open import open_images
from ganeval.images.types import ImageSource


def png(seed: int = 0, size: int = 8) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def huge_png(width: int = 20_000, height: int = 20_000) -> bytes:
    """A PNG of 1.2 GB of zeros, as far as its header says."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(bytes(1000))), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def tarred(members: Mapping[str, bytes], path: Path, mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def write(members: Mapping[str, bytes], path: Path) -> Path:
    """A folder, a zip, a tar or a tar.gz of these files, by its name."""
    if path.suffix == ".zip":
        path.write_bytes(zipped(members))
    elif path.suffix in (".tar", ".gz"):
        tarred(members, path, "w:gz" if path.suffix == ".gz" else "w")
    else:
        path.mkdir()
        for name, data in members.items():
            (path / name).write_bytes(data)
    return path


def draw(source: ImageSource, on_error: str = "stop") -> int:
    return sum(len(batch.images) for batch in source.batches(4, on_error=on_error))


PLACES = ["folder", "a.zip", "a.tar", "a.tar.gz"]


@pytest.mark.parametrize("place", PLACES)
def test_an_image_of_too_many_pixels(place: str, tmp_path: Path) -> None:
    source = open_images(write({"a.png": png(), "b.png": huge_png(), "c.png": png(1)}, tmp_path / place))
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=r"b\.png: an image of 20000 x 20000 pixels, more than twice"):
            source.check()
        with pytest.raises(InputError, match=r"b\.png: an image of 20000 x 20000 pixels, more than twice"):
            draw(source)
        assert draw(source, "skip") == 2
        assert tracemalloc.get_traced_memory()[1] < 50_000_000
    finally:
        tracemalloc.stop()
    assert [name.rpartition("/")[2] for name, _ in source.report.skipped] == ["b.png"]


@pytest.mark.parametrize("place", PLACES[1:])
def test_an_image_file_of_too_many_bytes(place: str, tmp_path: Path) -> None:
    """What the archive declares, and what a member inflates to; a folder has no such bound."""
    members = {"a.png": png(), "b.png": png(1) + bytes(100_000), "c.png": png(2)}
    path = write(members, tmp_path / place)
    assert draw(open_images(path)) == 3
    source = open_images(path, max_image_bytes=50_000)
    for look in (source.check, lambda: draw(source)):
        with pytest.raises(InputError, match=r"b\.png: an image file of 100,.* at most 50,000 .*max_image_bytes"):
            look()
    assert draw(source, "skip") == 2
    assert [name for name, _ in source.report.skipped] == ["b.png"]


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_member_that_inflates_to_more_than_it_declares(method: int, tmp_path: Path) -> None:
    data = zipped({"a.png": png() + bytes(100_000_000)}, method)
    (tmp_path / "a.zip").write_bytes(data.replace(struct.pack("<I", len(png()) + 10**8), struct.pack("<I", 500)))
    source = open_images(tmp_path / "a.zip")
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=r"a\.png: it cannot be read from the archive"):
            draw(source)
        assert tracemalloc.get_traced_memory()[1] < 100_000_000
    finally:
        tracemalloc.stop()


def test_shards_have_the_same_bound(tmp_path: Path) -> None:
    for i in range(2):
        tarred({f"{i}.png": png(i) + bytes(i * 10**5)}, tmp_path / f"s-{i}.tar")
    source = open_images(f"{tmp_path}/s-{{0..1}}.tar", max_image_bytes=50_000)
    assert draw(source, "skip") == 1


@pytest.mark.parametrize("name", archives({"a.png": png()}))
def test_a_broken_zip_iv(name: str, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(archives({"a.png": png(), "b.png": png(1)})[name])
    with pytest.raises(InputError, match=r"a\.zip"):
        draw(open_images(tmp_path / "a.zip"))


def header(name: str = "a.png", size: int | bytes = 0, kind: bytes = b"0", link: str = "") -> bytes:
    """One block of a tar; a size of bytes is written as it is."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[124:136] = size if isinstance(size, bytes) else f"{size:011o}\0".encode()
    block[148:156] = b" " * 8
    block[148:156] = f"{sum(block):06o}\0 ".encode()
    return bytes(block)


def pax(records: bytes, size: int | bytes | None = None) -> bytes:
    data = records + bytes(-len(records) % 512)
    return header("pax", len(records) if size is None else size, b"x") + data


END = bytes(1024)
PNG_BLOCKS = png() + bytes(-len(png()) % 512)
SOUND = header("a.png", len(png())) + PNG_BLOCKS
NEGATIVE = b"\xff" * 12
TARS = {
    "member of 8 GB": header("a.png", 0o77777777777) + PNG_BLOCKS + END,
    "member of 2^80 bytes": header("a.png", b"\x80\x01" + bytes(10)) + PNG_BLOCKS + END,
    "member of negative size": SOUND + header("b.png", NEGATIVE) + END,
    "member of -1024 bytes": SOUND + header("b.png", b"\xff" * 10 + b"\xfc\x00") + END,
    "size that is no number": header("a.png", b"not a number") + END,
    "PAX headers of 8 GB": pax(b"", 0o77777777777) + SOUND + END,
    "PAX headers of negative size": pax(b"", NEGATIVE) + SOUND + END,
    "PAX record without a length": pax(b"xx path=a.png\n") + SOUND + END,
    "PAX record of length 0": pax(b"0 path=a.png\n") + SOUND + END,
    "PAX size that is no number": pax(b"15 size=1.5e99\n") + SOUND + END,
    "PAX size below 0": pax(b"12 size=-50\n") + SOUND + END,
    "PAX name that is not UTF-8": pax(b"13 path=\xff\xfe\n") + SOUND + END,
    "PAX sparse map of text": pax(b"28 GNU.sparse.map=a,b,c,d,e\n25 GNU.sparse.size=12345\n") + SOUND + END,
    "PAX sparse 1.0 without a map": pax(b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n") + SOUND + END,
    "3000 PAX headers": pax(b"8 a=bcd\n") * 3000 + SOUND + END,
    "name of 8 GB": header("././@LongLink", 0o77777777777, b"L") + SOUND + END,
    "3000 long names": (header("././@LongLink", 6, b"L") + b"a.png\0".ljust(512, b"\0")) * 3000 + SOUND + END,
    "sparse file of nothing": header("a.png", 0, b"S") + END,
    "only the end": END,
    "nothing": b"",
    "no end": SOUND,
    "noise": bytes(range(256)) * 20,
}  # fmt: skip


@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", TARS)
def test_a_tar_that_lies_iv(name: str, tmp_path: Path) -> None:
    """One message, or the images that can be read; at once, and without memory for what is not there."""
    for path, data in ((tmp_path / "a.tar", TARS[name]), (tmp_path / "a.tar.gz", gzip.compress(TARS[name], 1))):
        path.write_bytes(data)
        tracemalloc.start()
        try:
            told = ""
            try:
                assert draw(open_images(path)) == 1
            except InputError as error:
                told = str(error)
            assert tracemalloc.get_traced_memory()[1] < 100_000_000
        finally:
            tracemalloc.stop()
        assert not told or str(path) in told
        assert told or name.startswith(("PAX name", "PAX record", "PAX sparse", "PAX headers of neg"))


def test_the_headers_of_a_large_hole_are_not_read(tmp_path: Path) -> None:
    """A sparse file on disk, so that PAX headers of 1 GB are really there."""
    path = tmp_path / "a.tar"
    with path.open("wb") as file:
        file.write(pax(b"", 2**30))
        file.truncate(2**30 + 4096)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="a header declares 1073741824 bytes"):
            open_images(path)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_a_tar_that_cannot_be_used_leaves_no_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    for name in ("noise", "only the end"):
        (tmp_path / "a.tar.gz").write_bytes(gzip.compress(TARS[name]))
        with pytest.raises(InputError, match=r"a\.tar\.gz"):
            open_images(tmp_path / "a.tar.gz")
    assert not list((tmp_path / "temporary").iterdir())


def test_a_sparse_member_is_counted(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(header("b.png", 0, b"S") + SOUND + END)
    source = open_images(tmp_path / "a.tar")
    assert draw(source) == 1
    assert source.report.ignored == {"sparse file in the archive": 1}


def test_links_that_multiply_are_walked_once(tmp_path: Path) -> None:
    """2^23 paths lead to the last of 24 folders."""
    for i in range(24):
        (tmp_path / f"d{i:02}").mkdir()
        (tmp_path / f"d{i:02}" / "a.png").write_bytes(png(i))
        for name in ("left", "right") if i else ():
            (tmp_path / f"d{i - 1:02}" / name).symlink_to(tmp_path / f"d{i:02}", target_is_directory=True)
    whole = open_images(tmp_path)
    assert whole.names() == [f"d{i:02}/a.png" for i in range(24)]
    assert whole.report.ignored == {"link to a folder that is read already": 46}
    inside = open_images(tmp_path / "d00")
    assert inside.length == 24
    assert (inside.names() or [])[:3] == ["a.png", "left/a.png", "left/left/a.png"]
    for path in tmp_path.glob("*/a.png"):
        path.unlink()
    with pytest.raises(InputError, match=r"23 other files \(23 x link to a folder that is read already\)"):
        open_images(tmp_path / "d00")


def test_a_folder_keeps_its_own_name_before_that_of_a_link(tmp_path: Path) -> None:
    (tmp_path / "set" / "z").mkdir(parents=True)
    (tmp_path / "set" / "z" / "1.png").write_bytes(png())
    (tmp_path / "set" / "a").symlink_to(tmp_path / "set" / "z", target_is_directory=True)
    (tmp_path / "set" / "z" / "up").symlink_to(tmp_path / "set", target_is_directory=True)
    source = open_images(tmp_path / "set")
    assert source.names() == ["z/1.png"]
    assert source.report.ignored == {"link to a folder that is read already": 2}


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Makes a.png below 1000 folders of this name; they are removed, which pytest could not do."""

    def make(name: str) -> Path:
        here = os.open(tmp_path, os.O_RDONLY)
        for _ in range(1000):
            os.mkdir(name, dir_fd=here)
            inner = os.open(name, os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = inner
        with os.fdopen(os.open("a.png", os.O_WRONLY | os.O_CREAT, dir_fd=here), "wb") as file:
            file.write(png())
        os.close(here)
        return tmp_path

    yield make
    subprocess.run(["rm", "-rf", *map(str, tmp_path.iterdir())], check=True)


@pytest.mark.parametrize("name", ["d", ".d"])
def test_a_folder_of_1000_levels(name: str, deep: Callable[[str], Path]) -> None:
    folder = deep(name)
    (folder / "b.png").write_bytes(png())
    source = open_images(folder)
    assert draw(source) == (2 if name == "d" else 1)
    assert source.report.ignored.total() == (0 if name == "d" else 1)


def test_a_folder_of_1000_levels_that_the_system_cannot_name_iv(deep: Callable[[str], Path]) -> None:
    with pytest.raises(InputError, match="Cannot list the folder .* too long") as raised:
        open_images(deep("a-longer-name"))
    assert len(str(raised.value)) < 500
