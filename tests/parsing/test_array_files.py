"""Arrays and archives that lie, at every door: images, statistics, the values of single images, the cache."""

from __future__ import annotations

import hashlib
import io
import json
import tracemalloc
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.gates import record, result
from support.hostile import ARRAYS, archives, head, npy, saved, zipped

from ganeval.engine.reference_files import is_statistics
from ganeval.errors import InputError
from ganeval.features.cache_entry import Entry, packed, unpacked
from ganeval.images.open import open_images
from ganeval.parsing.array_files import NpzReader, read_header
from ganeval.result_files import read_record, write_record
from ganeval.statistics.reference import load_statistics

IMAGES = np.arange(4 * 6 * 5 * 3, dtype=np.uint8).reshape(4, 6, 5, 3)
MOMENTS = {"mu.npy": saved(np.zeros(4)), "sigma.npy": saved(np.eye(4))}
Door = Callable[[Path, bytes], None]


def draw(spec: Path) -> None:
    for batch in open_images(spec).batches(2):
        assert len(batch.images)


def image_file(folder: Path, array: bytes) -> None:
    (folder / "a.npy").write_bytes(array)
    draw(folder / "a.npy")


def image_member(folder: Path, array: bytes) -> None:
    (folder / "a.npz").write_bytes(zipped({"arr_0.npy": array}))
    draw(folder / "a.npz")


def stored_image_member(folder: Path, array: bytes) -> None:
    (folder / "a.npz").write_bytes(zipped({"arr_0.npy": array}, zipfile.ZIP_STORED))
    draw(folder / "a.npz")


def statistics_member(folder: Path, array: bytes) -> None:
    (folder / "a.npz").write_bytes(zipped({**MOMENTS, "sigma.npy": array}))
    load_statistics(folder / "a.npz")


def sample_member(folder: Path, array: bytes) -> None:
    read_samples(folder, zipped({"fid_influence_fake.npy": array}))


def read_samples(folder: Path, archive: bytes) -> None:
    """The values of single images that a document names: what cannot be read is told, and the document is kept."""
    write_record(record(result(10.0, 0.1)).evaluation, folder / "R.json")
    document = json.loads((folder / "R.json").read_text())
    document["samples"] = {"file": "R.samples.npz", "sha256": hashlib.sha256(archive).hexdigest()}
    (folder / "R.json").write_text(json.dumps(document))
    (folder / "R.samples.npz").write_bytes(archive)
    read = read_record(folder / "R.json")
    if read.missing is not None:
        raise InputError(read.missing)


DOORS: tuple[Door, ...] = (image_file, image_member, stored_image_member, statistics_member, sample_member)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_that_lies_iv(name: str, door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One message, and nothing is allocated for what is not there."""
    monkeypatch.chdir(tmp_path)
    tracemalloc.start()
    try:
        with pytest.raises(InputError) as raised:
            door(tmp_path, ARRAYS[name])
        assert tracemalloc.get_traced_memory()[1] < 100_000_000
    finally:
        tracemalloc.stop()
    told = str(raised.value)
    assert ("R.samples.npz" if door is sample_member else "a.np") in told
    assert "\n" not in told
    assert len(told) < 800
    assert not (tmp_path / "pwned").exists()


def test_the_message_says_what_was_declared_and_found_iv() -> None:
    data = npy(head("(100, 2000, 2000, 3)"))
    with pytest.raises(InputError, match=r"a is not a readable npy .*shape \(100, 2000, 2000, 3\) of uint8, "):
        read_header(io.BytesIO(data), len(data), "a")


@pytest.mark.parametrize("name", archives({"a.npy": b"x"}))
def test_a_broken_archive_iv(name: str, tmp_path: Path) -> None:
    """Of images, of statistics, and of values of single images."""
    (tmp_path / "a.npz").write_bytes(archives({"arr_0.npy": saved(IMAGES)})[name])
    with pytest.raises(InputError, match=r"a\.npz"):
        draw(tmp_path / "a.npz")
    (tmp_path / "s.npz").write_bytes(archives(MOMENTS)[name])
    assert isinstance(is_statistics(tmp_path / "s.npz"), bool)
    with pytest.raises(InputError, match=r"s\.npz"):
        load_statistics(tmp_path / "s.npz")
    if name != "no members":
        with pytest.raises(InputError, match=r"R\.samples\.npz"):
            read_samples(tmp_path, archives({"fid_influence_fake.npy": saved(np.zeros(5))})[name])


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_every_method_of_zip_gives_the_same_arrays(method: int, tmp_path: Path) -> None:
    array = np.random.default_rng(0).normal(size=(300, 400))
    (tmp_path / "a.npz").write_bytes(
        zipped({"a.npy": saved(array), "b.npy": saved(array.T), "c.npy": saved(np.array("é"))}, method)
    )
    with NpzReader(tmp_path / "a.npz") as archive:
        np.testing.assert_array_equal(archive.read("a"), array)
        np.testing.assert_array_equal(archive.read("b"), array.T)
        np.testing.assert_array_equal(archive.map_rows("a"), array)
        assert str(archive.read("c")) == "é"
    (tmp_path / "i.npz").write_bytes(zipped({"arr_0.npy": saved(IMAGES)}, method))
    for _ in range(2):
        drawn = np.concatenate([np.stack(batch.images) for batch in open_images(tmp_path / "i.npz").batches(3)])
        np.testing.assert_array_equal(drawn, IMAGES.transpose(0, 3, 1, 2))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_bomb_that_declares_little_takes_little(method: int, tmp_path: Path) -> None:
    """A header that is sound and 200 MB of zeros behind it: zipfile would inflate them all at once."""
    data = saved(np.zeros(4)) + bytes(200_000_000)
    archive = zipped({**MOMENTS, "mu.npy": data}, method)
    (tmp_path / "a.npz").write_bytes(archive)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="does not fit its shape"):
            load_statistics(tmp_path / "a.npz")
        assert tracemalloc.get_traced_memory()[1] < 120_000_000
    finally:
        tracemalloc.stop()


def test_text_that_is_not_unicode_iv(tmp_path: Path) -> None:
    for code in (0x110000, 0xD800):
        array = np.zeros(1, "<U2").view("<u4")
        array[:] = code
        meta = npy(head("()", "'<U2'"), array.tobytes())
        (tmp_path / "a.npz").write_bytes(zipped({**MOMENTS, "meta.npy": meta}))
        with pytest.raises(InputError, match="not Unicode"):
            load_statistics(tmp_path / "a.npz")


@pytest.mark.parametrize("write", [np.save, np.savez, np.savez_compressed])
def test_an_image_of_too_many_pixels_in_an_array_iv(
    write: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / ("a.npy" if write is np.save else "a.npz")
    write(path, np.zeros((2, 30, 40, 3), np.uint8))
    assert open_images(path).length == 2
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 599)
    with pytest.raises(InputError, match="40 x 30 pixels, more than twice"):
        open_images(path)


def test_an_entry_of_the_cache_holds_what_it_should() -> None:
    rows, digests = np.ones((3, 4), np.float32), np.arange(3, dtype=np.uint64)
    assert unpacked(packed(Entry(rows, digests)), 3) is not None
    assert unpacked(packed(replace(Entry(rows, digests), rows=np.ones(3, np.float32))), 3) is None
    assert unpacked(packed(Entry(rows, digests))[:-1], 3) is None
