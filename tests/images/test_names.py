"""Which files are images: by their names, by their first bytes on request, and never what is hidden."""

from __future__ import annotations

import io
import re
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganeval.api import evaluate
from ganeval.cli.main import main
from ganeval.errors import InputError
from ganeval.images.audit import audit
from ganeval.images.decode import SUFFIXES, known_format
from ganeval.images.open import open_images
from ganeval.images.types import ImageSource

Members = dict[str, bytes]
PLACES = ["folder", "a.zip", "a.tar", "a.tar.gz", "s-{0..0}.tar", "s-{0..0}.zip"]


def encoded(seed: int, fmt: str = "PNG", mode: str = "RGB") -> bytes:
    array = np.random.default_rng(seed).integers(0, 256, (8, 9, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(array).convert(mode).save(buffer, fmt)
    return buffer.getvalue()


def packed(where: Path, place: str, members: Members) -> Path:
    """The same files in a folder or an archive; the spec that opens them."""
    target = where / place.replace("{0..0}", "0")
    if place == "folder":
        for name, data in members.items():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes(data)
    elif place.endswith(".zip"):
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in members.items():
                archive.writestr(name, data)
    else:
        with tarfile.open(target, "w:gz" if place.endswith("gz") else "w") as tar:
            for name, data in members.items():
                info = tarfile.TarInfo(f"./{name}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return where / place


def digests(source: ImageSource) -> list[int]:
    return [int(key) for batch in source.batches(4) for key in (batch.digests if batch.digests is not None else [])]


# --- suffixes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("suffix", "fmt", "mode", "same"),
    [
        (".pgm", "PPM", "L", ".png"), (".PBM", "PPM", "1", ".png"), (".pnm", "PPM", "RGB", ".png"),
        (".jfif", "JPEG", "RGB", ".jpg"), (".jpe", "JPEG", "L", ".jpg"),
    ],
)  # fmt: skip
def test_each_suffix_has_the_digits_of_the_same_pixels(
    suffix: str, fmt: str, mode: str, same: str, place: str, tmp_path: Path
) -> None:
    made = {i: (encoded(i, fmt, mode), encoded(i, "PNG" if same == ".png" else fmt, mode)) for i in range(3)}
    ours = packed(tmp_path / "ours", place, {}) if place == "folder" else tmp_path
    (tmp_path / "one").mkdir()
    ours = packed(tmp_path / "one", place, {f"{i}{suffix}": one for i, (one, _) in made.items()})
    plain = packed(tmp_path, "folder", {f"{i}{same}": other for i, (_, other) in made.items()})
    source = open_images(ours)
    assert digests(source) == digests(open_images(plain))
    assert not source.report.ignored


@pytest.mark.skipif(".avif" not in SUFFIXES, reason="Pillow was built without AVIF")
def test_avif(tmp_path: Path) -> None:
    source = open_images(packed(tmp_path, "folder", {"a.avif": encoded(1, "AVIF"), "b.AVIF": encoded(2, "AVIF")}))
    assert len(set(digests(source))) == 2
    assert source.report.formats == {"AVIF": 2}


STRANGE = {
    "a.png": encoded(1), "b": encoded(2), "c.image": encoded(3, "WEBP"), "d.tmp": encoded(4, "BMP"),
    "e.txt": b"P6 is a format, but this is a text", "f": b"Python", "g.dat": b"", "h.md": b"BMW and others: a text",
}  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_other_suffixes_stay_out_unless_asked_for(place: str, tmp_path: Path) -> None:
    spec = packed(tmp_path, place, STRANGE)
    source = open_images(spec)
    assert source.length == 1
    assert source.report.ignored == {"no suffix": 2, ".image": 1, ".tmp": 1, ".txt": 1, ".dat": 1, ".md": 1}
    source = open_images(spec, any_suffix=True)
    # "P6 is ..." begins as a PPM file does, so that it counts as one that is damaged, and is named
    assert source.length == 5
    assert source.report.ignored == {
        f"{sort} (not an image by its first bytes)": 1 for sort in ("no suffix", ".dat", ".md")
    }
    with pytest.raises(InputError, match=r"e.txt: a truncated or damaged PPM file"):
        source.check()
    names = [name for batch in source.batches(8, on_error="skip") for name in batch.names]
    assert [name.rpartition("/")[2] for name in names] == ["a.png", "b", "c.image", "d.tmp"]


@pytest.mark.parametrize("place", PLACES)
def test_the_message_names_the_option(place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = packed(tmp_path, place, {f"{i}": encoded(i) for i in range(3)})
    with pytest.raises(
        InputError, match=r"3 other files \(3 x no suffix\).*--any-suffix \(any_suffix=True\)"
    ) as raised:
        open_images(spec)
    assert "no images" not in str(raised.value)
    assert main(["check", str(spec), "--any-suffix"]) == 0
    assert re.search(r"^images +3$", capsys.readouterr().out, re.MULTILINE)


def test_the_warning_of_a_run_does_not_call_them_no_images(tmp_path: Path) -> None:
    real = packed(tmp_path, "a.zip", {**{f"{i}.png": encoded(i) for i in range(3)}, "x": encoded(7), ".y": b""})
    fake = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    found = evaluate(real, fake, metrics=("kid",), protocol="compact", device="cpu", cache=False)
    assert (
        "real: 2 files were left out: 1 x hidden, 1 x no suffix; if they are images, --any-suffix (any_suffix=True) "
        "reads them by their first bytes"
    ) in found.warnings
    found = evaluate(real, fake, metrics=("kid",), protocol="compact", device="cpu", cache=False, any_suffix=True)
    assert found.real["n"] == 4
    assert "real: 1 file was left out: 1 x hidden" in found.warnings


def test_every_format_is_known_by_its_first_bytes() -> None:
    for fmt, mode in (("PNG", "RGB"), ("JPEG", "L"), ("WEBP", "RGB"), ("GIF", "P"), ("BMP", "RGB"), ("TIFF", "L")):
        assert known_format(encoded(1, fmt, mode)[:32])
    assert not known_format(b"")
    assert not known_format(b"<html>")


# --- hidden files and folders ----------------------------------------------------------------------------------------

HIDING = [
    ".hidden.png", "._a.png", "cat/.ipynb_checkpoints/a-checkpoint.png", ".ipynb_checkpoints/b.png",
    "dog/@eaDir/a.png/thumb.jpg", "$RECYCLE.BIN/x.png", "$Recycle.Bin/S-1/y.png", "__MACOSX/cat/z.png",
    ".git/objects/1",
]  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("any_suffix", [False, True])
def test_hidden_files_and_folders_are_left_out_and_counted(place: str, any_suffix: bool, tmp_path: Path) -> None:
    members = {f"{kind}/{i}.png": encoded(10 * len(kind) + i) for kind in ("cat", "horse") for i in range(2)}
    spec = packed(tmp_path, place, {**members, **dict.fromkeys(HIDING, encoded(9))})
    source = open_images(spec, any_suffix=any_suffix)
    assert source.length == 4
    assert source.report.ignored == {"hidden": len(HIDING)}
    assert set(source.labels() or []) == {"cat", "horse"}
    assert audit(source).n == 4


def test_no_class_has_the_name_of_a_hidden_folder(tmp_path: Path) -> None:
    members = {f"{kind}/{i}.png": encoded(i) for kind in ("cat", "dog", ".ipynb_checkpoints") for i in range(2)}
    for place in ("folder", "a.zip"):
        assert set(open_images(packed(tmp_path, place, members)).labels() or []) == {"cat", "dog"}


@pytest.mark.parametrize("root", [".cache/x", "@eaDir", "__MACOSX/.deep"])
def test_the_place_that_was_named_may_be_hidden(root: str, tmp_path: Path) -> None:
    members = {"a.png": encoded(1), "b/c.png": encoded(2), ".d.png": encoded(3)}
    source = open_images(packed(tmp_path / root, "folder", members).rename(tmp_path / root / ".set"))
    assert (source.length, dict(source.report.ignored)) == (2, {"hidden": 1})
    for place in ("a.zip", "a.tar"):  # as of a folder that was packed with its name
        inside = {f"{root}/{name}": data for name, data in members.items()}
        source = open_images(packed(tmp_path, place, inside))
        assert (source.length, dict(source.report.ignored)) == (2, {"hidden": 1})


def test_a_hidden_folder_that_cannot_be_listed_stops_nothing(tmp_path: Path) -> None:
    spec = packed(tmp_path, "folder", {"a.png": encoded(1), "b.png": encoded(2), ".x/c.png": encoded(3)})
    (spec / ".loop").symlink_to(spec)
    (spec / ".x").chmod(0)
    try:
        assert open_images(spec).length == 2
    finally:
        (spec / ".x").chmod(0o755)
