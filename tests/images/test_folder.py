"""Folders: what is an image, in which order, and every way in which a folder disappoints."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganeval.errors import InputError
from ganeval.images import folder as folder_module
from ganeval.images.indexed import class_labels
from ganeval.images.mixed import MixedImages
from ganeval.images.names import printable
from ganeval.images.open import open_images
from ganeval.images.types import ImageBatch

RNG = np.random.default_rng(0)


def write(path: Path, size: tuple[int, int] = (8, 6)) -> np.ndarray:
    """A random image of (height, width); PNG whatever the suffix, unless it is that of a JPEG."""
    array = RNG.integers(0, 256, (*size, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, "JPEG" if path.suffix.lower() in (".jpg", ".jpeg") else "PNG")
    return array


def names_of(spec: object) -> list[str]:
    return [name for batch in open_images(spec).batches(2) for name in batch.names]


def test_recursive_sorted_any_case(tmp_path: Path) -> None:
    files = ["b/Z.PNG", "a.png", "b/a.jpg", "c/d/e.JPeG", "B/x.png", "a/1.webp", "a-1.png", "é.png"]
    for file in files:
        write(tmp_path / file)
    (tmp_path / "notes.TXT").write_text("x")
    (tmp_path / "b" / "labels.json").write_text("{}")
    (tmp_path / "README").write_text("x")
    (tmp_path / "._a.png").write_bytes(b"resource fork")
    source = open_images(tmp_path)
    assert source.length == 8
    assert names_of(tmp_path) == sorted(files)
    assert source.report.ignored == {".txt": 1, ".json": 1, "no suffix": 1, "hidden": 1}
    assert source.describe() == {"spec": str(tmp_path), "kind": "folder", "n": 8, "subset": None}


def test_pixels_names_and_digests_are_aligned(tmp_path: Path) -> None:
    from ganeval.images.decode import digest

    arrays = {f"{i}.png": write(tmp_path / f"{i}.png") for i in range(7)}
    for batch in open_images(str(tmp_path)).batches(3):
        assert isinstance(batch, ImageBatch)
        assert batch.images.shape == (len(batch.names), 3, 8, 6)
        assert batch.digests is not None
        assert batch.digests.dtype == np.uint64
        for image, name, key in zip(batch.images, batch.names, batch.digests, strict=True):
            np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), arrays[name])
            assert int(key) == digest(arrays[name])


def test_missing_iv(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file or folder: '.*nowhere'"):
        open_images(tmp_path / "nowhere")


def test_empty_iv(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no images and no other files"):
        open_images(tmp_path)
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "b.txt").write_text("x")
    (tmp_path / "c.npy").write_text("x")
    with pytest.raises(
        InputError,
        match=r"no file with the suffix of an image; found 3 other files \(2 x .txt, 1 x .npy\). Expected .png",
    ):
        open_images(tmp_path)


def test_single_file_iv(tmp_path: Path) -> None:
    write(tmp_path / "a.png")
    with pytest.raises(InputError, match="Point at the folder that holds it"):
        open_images(tmp_path / "a.png")


def test_no_permission_iv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.png")
    write(tmp_path / "closed" / "b.png")
    scandir = os.scandir

    def refuse(path: object) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)  # type: ignore[call-overload]

    monkeypatch.setattr(folder_module.os, "scandir", refuse)
    with pytest.raises(InputError, match="Cannot list the folder .*closed: Permission denied"):
        open_images(tmp_path)


def test_unreadable_file_iv(tmp_path: Path) -> None:
    write(tmp_path / "a.png")
    source = open_images(tmp_path)
    (tmp_path / "a.png").unlink()
    with pytest.raises(InputError, match=r"a\.png: the file cannot be read \(No such file"):
        source.check()
    with pytest.raises(InputError, match=r"a\.png: the file cannot be read"):
        list(source.batches(1))


@pytest.fixture
def spoilt(tmp_path: Path) -> Path:
    """Six good files, and four bad ones between them."""
    for i in range(6):
        write(tmp_path / f"{i}.png")
    (tmp_path / "0-text.png").write_text("not an image")
    (tmp_path / "2-empty.jpg").write_bytes(b"")
    write(tmp_path / "3-cut.jpg", (64, 64))
    write(tmp_path / "4-cut.png", (64, 64))
    for name in ("3-cut.jpg", "4-cut.png"):
        data = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(data[: len(data) // 2])
    return tmp_path


def test_check_names_the_bad_files_iv(spoilt: Path) -> None:
    source = open_images(spoilt)
    with pytest.raises(InputError, match="has 4 of 10 images that cannot be used") as error:
        source.check()
    message = str(error.value)
    for name in ("0-text.png: not an image", "2-empty.jpg: the file is empty", "3-cut.jpg: a trunc", "4-cut.png: a t"):
        assert name in message
    assert "--on-error skip" in message
    source.check(on_error="skip")


def test_check_names_only_a_few_of_many_iv(tmp_path: Path) -> None:
    for i in range(9):
        (tmp_path / f"{i}.png").write_bytes(b"")
    with pytest.raises(InputError, match="4.png: the file is empty .0 bytes.; and 4 more"):
        open_images(tmp_path).check()
    with pytest.raises(InputError, match="9 of 9 images"):
        open_images(tmp_path).check(on_error="skip")


@pytest.mark.parametrize("workers", [0, 1])
def test_a_bad_file_stops_by_name_or_is_skipped_and_counted(spoilt: Path, workers: int) -> None:
    source = open_images(spoilt)
    with pytest.raises(InputError, match=r"has an image that cannot be used: 0-text\.png: not an image") as error:
        list(source.batches(4, workers=workers))
    assert "Traceback" not in str(error.value)
    batches = list(source.batches(4, workers=workers, on_error="skip"))
    assert [batch.names for batch in batches] == [["0.png", "1.png", "2.png", "3.png"], ["4.png", "5.png"]]
    assert source.report.used == 6
    assert [name for name, _ in source.report.skipped] == ["0-text.png", "2-empty.jpg", "3-cut.jpg", "4-cut.png"]
    batches = list(source.batches(4, workers=workers, on_error="skip"))
    assert source.report.used == 6  # counted anew, not added up
    assert len(source.report.skipped) == 4


def test_a_check_does_not_decode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ganeval.images import decode

    write(tmp_path / "a.png")
    write(tmp_path / "b.jpg")
    decoded: list[bytes] = []
    monkeypatch.setattr(decode, "decode", lambda data: decoded.append(data))
    open_images(tmp_path).check()
    assert not decoded
    (tmp_path / "b.jpg").write_bytes((tmp_path / "b.jpg").read_bytes() + b"trailer")
    open_images(tmp_path).check()
    assert len(decoded) == 1


def test_mixed_sizes_come_together(tmp_path: Path) -> None:
    arrays = [write(tmp_path / f"{i}.png", (4 + i // 2, 5)) for i in range(6)]
    for workers in (0, 1):
        first, second, third = open_images(tmp_path).batches(2, workers=workers)
        assert first.images.shape == (2, 3, 4, 5)
        assert third.images.shape == (2, 3, 6, 5)
        (mixed,) = open_images(tmp_path).batches(6, workers=workers)
        assert isinstance(mixed.images, MixedImages)
        for image, array in zip(mixed.images, arrays, strict=True):
            np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), array)
        np.testing.assert_array_equal(mixed.digests, np.concatenate([b.digests for b in (first, second, third)]))


def test_labels() -> None:
    assert class_labels(["cat/1.png", "dog/a/2.png"]) == ["cat", "dog"]
    assert class_labels(["set/cat/1.png", "set/dog/1.png"]) == ["cat", "dog"]
    assert class_labels(["cat/1.png", "2.png"]) is None
    assert class_labels(["1.png", "2.png"]) is None
    assert class_labels(["all/1.png", "all/2.png"]) is None
    assert class_labels([]) is None


def test_labels_follow_the_subset(tmp_path: Path) -> None:
    for i in range(10):
        write(tmp_path / f"class{i % 2}" / f"{i}.png")
    source = open_images(tmp_path, num=5, seed=3)
    labels = source.labels()
    names = [name for batch in source.batches(2) for name in batch.names]
    assert labels == [name.split("/")[0] for name in names]


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="needs symbolic links")
def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    write(tmp_path / "set" / "a.png")
    write(tmp_path / "elsewhere" / "b.png")
    try:
        (tmp_path / "set" / "linked").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
        (tmp_path / "set" / "circle").symlink_to(tmp_path / "set", target_is_directory=True)
    except OSError:
        pytest.skip("symbolic links are not allowed here")
    assert names_of(tmp_path / "set") == ["a.png", "linked/b.png"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipes_and_broken_links(tmp_path: Path) -> None:
    """Reading a pipe could wait for ever; a link that leads nowhere, or to itself, is a file that cannot be read."""
    write(tmp_path / "a.png")
    os.mkfifo(tmp_path / "pipe.png")
    source = open_images(tmp_path)
    assert (source.length, dict(source.report.ignored)) == (1, {"pipe, socket or device": 1})
    (tmp_path / "nowhere.png").symlink_to("gone.png")
    (tmp_path / "itself.png").symlink_to("itself.png")
    with pytest.raises(InputError, match=r"2 of 3 images .*: itself\.png: .* cannot be read .*nowhere\.png: .* cannot"):
        open_images(tmp_path).check()


def test_names_can_be_written_whatever_the_file_system_holds() -> None:
    assert printable("\udcff.png") == "\\udcff.png"
    assert printable("é/日.png") == "é/日.png"


def test_pickled_source_reads_the_same(tmp_path: Path) -> None:
    for i in range(5):
        write(tmp_path / f"{i}.png")
    source = open_images(tmp_path, num=3)
    copy = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(*[next(iter(s.batches(3))).digests for s in (source, copy)])
