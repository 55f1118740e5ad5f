"""Archives: the same images whatever they are packed in, read where they are, in any process."""

from __future__ import annotations

import gc
import io
import os
import pickle
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganeval.errors import InputError
from ganeval.images import archive as archive_module
from ganeval.images.open import open_images
from ganeval.images.specs import expand_braces
from ganeval.images.types import ImageSource

NAMES = ["dog/b.png", "cat/A.PNG", "cat/b.png", "dog/a.png", "cat/a.png"]  # not sorted


def encoded(seed: int) -> bytes:
    array = np.random.default_rng(seed).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def files() -> dict[str, bytes]:
    return {name: encoded(i) for i, name in enumerate(NAMES)}


def write_zip(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def write_tar(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def contents(source: ImageSource, workers: int = 0) -> list[tuple[str, int]]:
    found = []
    for batch in source.batches(2, workers=workers):
        assert batch.digests is not None
        found.extend(zip(batch.names, batch.digests.tolist(), strict=True))
    return found


@pytest.fixture
def expected(tmp_path: Path) -> list[tuple[str, int]]:
    for name, data in files().items():
        path = tmp_path / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return contents(open_images(tmp_path / "folder"))


OTHERS = {"cat/": b"", "cat/notes.txt": b"x", "__MACOSX/cat/._a.png": b"x", "cat/._a.png": b"x", "list": b"x"}


@pytest.mark.parametrize("kind", ["stored.zip", "deflated.ZIP", "plain.tar", "packed.tar.gz", "packed.tgz"])
@pytest.mark.parametrize("workers", [0, 2])
def test_archives_against_the_folder(kind: str, workers: int, tmp_path: Path, expected: list[tuple[str, int]]) -> None:
    path, members = tmp_path / kind, {**OTHERS, **files()}
    if "zip" in kind.lower():
        write_zip(path, members, zipfile.ZIP_DEFLATED if "deflated" in kind else zipfile.ZIP_STORED)
    else:
        del members["cat/"]
        write_tar(path, {f"./{name}": data for name, data in members.items()}, "w:gz" if "packed" in kind else "w")
    source = open_images(path)
    assert [name for name, _ in expected] == sorted(NAMES)
    assert contents(source, workers) == expected
    assert source.labels() == ["cat", "cat", "cat", "dog", "dog"]
    assert source.report.ignored == {".txt": 1, "hidden": 2, "no suffix": 1}
    source.check()
    assert contents(pickle.loads(pickle.dumps(source))) == expected


def test_the_subset_does_not_depend_on_the_packing_or_the_hash_seed(tmp_path: Path) -> None:
    members = {f"{i:03d}.png": encoded(i) for i in range(40)}
    zipped = write_zip(tmp_path / "a.zip", dict(reversed(members.items())))
    tarred = write_tar(tmp_path / "a.tar", members)
    code = (
        "import sys; from ganeval.images.open import open_images; "
        "print([n for b in open_images(sys.argv[1], num=7, seed=5).batches(3) for n in b.names])"
    )
    other = subprocess.run(
        [sys.executable, "-c", code, str(zipped)],
        env={**os.environ, "PYTHONHASHSEED": "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"},
        capture_output=True,
        text=True,
        check=True,
    )
    names = [name for name, _ in contents(open_images(tarred, num=7, seed=5))]
    assert other.stdout == f"{names}\n"
    assert names == sorted(names)
    assert names != [name for name, _ in contents(open_images(zipped, num=7, seed=6))]


def test_shards(tmp_path: Path) -> None:
    for shard in range(3):
        members = {f"{i}.png": encoded(10 * shard + i) for i in range(2)}
        write_tar(tmp_path / f"s-{shard:02d}.tar", {**members, "0.cls": b"3"})
    source = open_images(str(tmp_path / "s-{00..02}.tar"))
    names = [f"s-{shard:02d}.tar/{i}.png" for shard in range(3) for i in range(2)]
    assert [name for name, _ in contents(source)] == names
    for workers in (0, 2):
        single = [key for s in range(3) for _, key in contents(open_images(tmp_path / f"s-{s:02d}.tar"), workers)]
        assert [key for _, key in contents(source)] == single
    assert source.report.ignored == {".cls": 3}
    assert source.describe()["shards"] == 3
    source.check()
    with pytest.raises(InputError, match=r"2 of the 5 files of .* are missing: s-03.tar, s-04.tar"):
        open_images(str(tmp_path / "s-{00..04}.tar"))


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("s-{000..002}.tar", ["s-000.tar", "s-001.tar", "s-002.tar"]),
        ("{9..11}", ["9", "10", "11"]),
        ("{0..10}", [str(i) for i in range(11)]),
        ("{09..11}", ["09", "10", "11"]),
        ("{a,b}-{1..2}.tar", ["a-1.tar", "a-2.tar", "b-1.tar", "b-2.tar"]),
        ("plain.tar", ["plain.tar"]),
    ],
)
def test_expand_braces(pattern: str, names: list[str]) -> None:
    assert expand_braces(pattern) == names


def test_expand_braces_iv(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="goes upwards"):
        expand_braces("{3..1}.tar")
    for pattern in ("s-{0..999999999999}.tar", "{1..400}-{1..400}.tar"):
        with pytest.raises(InputError, match="names more than 100000 files"):
            expand_braces(pattern)
    (tmp_path / "1.png").write_bytes(b"")
    with pytest.raises(InputError, match="braces name several files"):
        open_images(str(tmp_path / "{1..1}.png"))


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz"])
def test_broken_archives_iv(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    members = files()
    write_zip(path, members) if name.endswith("zip") else write_tar(path, members, "w:gz" if "gz" in name else "w")
    data = path.read_bytes()
    for broken in (data[: len(data) // 3], b"this is no archive at all" * 60, b""):
        path.write_bytes(broken)
        with pytest.raises(InputError, match=f"{name} (is not a readable .* archive|holds no images)"):
            open_images(path)


def test_a_tar_that_lost_images_silently_iv(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", files())
    data = path.read_bytes()
    for broken, message in (
        (data[:2048], "without the end mark"),  # cut between two files
        (data[:2048] + b"x" * 512 + data[2560:], "damaged"),  # a header that is none
        (data + data, "more after its end"),
    ):
        path.write_bytes(broken)
        with pytest.raises(InputError, match=message):
            open_images(path)


@pytest.mark.parametrize("name", ["a.zip", "a.tar"])
def test_archives_without_images_iv(name: str, tmp_path: Path) -> None:
    (write_zip if name.endswith("zip") else write_tar)(tmp_path / name, {"a.txt": b"x"})
    with pytest.raises(InputError, match=r"no file with the suffix of an image; found 1 other file \(1 x .txt\)"):
        open_images(tmp_path / name)


def test_damaged_members_are_named_iv(tmp_path: Path) -> None:
    good = files()
    path = write_zip(tmp_path / "a.zip", {**good, "cat/c.png": b"", "cat/d.jpg": b"text"})
    with pytest.raises(InputError, match=r"2 of 7 images.*cat/c\.png: the file is empty.*cat/d\.jpg: not an image"):
        open_images(path).check()
    data = path.read_bytes()
    place = data.index(good["cat/a.png"]) + 60
    path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])  # the checksum of the zip tells
    with pytest.raises(InputError, match=r"cat/a\.png: it cannot be read from the archive \(Bad CRC"):
        open_images(path).check()
    source = open_images(path)
    assert len(contents_skipping(source)) == 4
    assert [name for name, _ in source.report.skipped] == ["cat/a.png", "cat/c.png", "cat/d.jpg"]


def contents_skipping(source: ImageSource) -> list[str]:
    return [name for batch in source.batches(3, on_error="skip") for name in batch.names]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_files_that_another_replaces_are_counted(tmp_path: Path) -> None:
    """The last file of a name counts, as it does for those who unpack."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as zipped, tarfile.open(tmp_path / "a.tar", "w") as tarred:
        for i, name in enumerate(("x.png", "y.png", "x.png", "x.png")):
            zipped.writestr(name, encoded(i))
            info = tarfile.TarInfo(name)
            info.size = len(encoded(i))
            tarred.addfile(info, io.BytesIO(encoded(i)))
    expected = write_zip(tmp_path / "b.zip", {"x.png": encoded(3), "y.png": encoded(1)})
    for name in ("a.zip", "a.tar"):
        source = open_images(tmp_path / name)
        assert contents(source) == contents(open_images(expected))
        assert source.report.ignored == {"file that a later one of its name replaces": 2}


def test_files_with_two_names_in_a_tar(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        info = tarfile.TarInfo("a.png")
        info.size = len(encoded(0))
        archive.addfile(info, io.BytesIO(encoded(0)))
        for name, kind in (("b.png", tarfile.LNKTYPE), ("c.png", tarfile.SYMTYPE)):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = kind, "a.png"
            archive.addfile(link)
    source = open_images(tmp_path / "a.tar")
    (a, first), (b, second) = contents(source)
    assert (a, b) == ("a.png", "b.png")
    assert first == second
    assert source.report.ignored == {"link or special file in the archive": 1}


def test_an_unpacked_tar_goes_with_its_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(archive_module.tempfile, "tempdir", str(scratch))
    path = write_tar(tmp_path / "a.tar.gz", files(), "w:gz")
    source = open_images(path)
    assert len(list(scratch.iterdir())) == 1
    contents(source)
    del source
    gc.collect()
    assert not list(scratch.iterdir())
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match="not a readable tar"):
        open_images(path)
    assert not list(scratch.iterdir())


@pytest.mark.parametrize("form", ["zip", "tar"])
def test_a_column_of_webdataset_keys(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"a.{form}"
    data = io.BytesIO()
    Image.new("RGB", (8, 8)).save(data, "PNG")
    names = [f"set/{i}.{column}.png" for i in range(4) for column in ("input", "target")]
    if form == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, data.getvalue())
    else:
        with tarfile.open(path, "w") as tar:
            for name in names:
                member = tarfile.TarInfo(name)
                member.size = len(data.getvalue())
                tar.addfile(member, io.BytesIO(data.getvalue()))
    source = open_images(path, image_column="target.png")
    assert source.names() == [f"set/{i}.target.png" for i in range(4)]
    assert source.report.ignored == {"image of another column": 4}
    assert open_images(path).length == 8
    with pytest.raises(InputError, match=r"no image is called KEY\.mask\.png; found KEY\.\(input\.png, target\.png\)"):
        open_images(path, image_column="mask.png")
    assert open_images(path, image_column="image").length == 8  # the column of another set
