"""The audit says what is wrong with a set, and what differs between two."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganeval.images.audit import audit, compare_audits, jpeg_quality
from ganeval.images.open import open_images

RNG = np.random.default_rng(0)


def noise(height: int = 16, width: int = 16) -> Image.Image:
    return Image.fromarray(RNG.integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.fixture
def mess(tmp_path: Path) -> Path:
    path = tmp_path / "mess"
    path.mkdir()
    first = noise()
    first.save(path / "a.png")
    first.save(path / "copy of a.png", compress_level=0)
    first.convert("RGBA").save(path / "copy with alpha.png")
    noise().save(path / "b.jpg", quality=60)
    noise(12, 20).save(path / "c.JPEG", quality=90)
    noise().convert("L").save(path / "d.bmp")
    (path / "e.png").write_bytes(b"")
    (path / "f.jpg").write_bytes((path / "b.jpg").read_bytes()[:400])
    (path / "notes.txt").write_text("x")
    return path


def test_audit_of_a_mess(mess: Path) -> None:
    found = audit(open_images(mess))
    assert found.n == 6
    assert found.formats == {"PNG": 3, "JPEG": 2, "BMP": 1}
    assert found.modes == {"RGB": 4, "RGBA": 1, "L": 1}
    assert found.suffixes == {".png": 4, ".jpg": 2, ".jpeg": 1, ".bmp": 1}
    assert found.sizes == {"16x16": 5, "20x12": 1}
    assert found.ignored == {".txt": 1}
    assert found.notes == {"alpha channel dropped, not composited": 1, "grey replicated to three channels": 1}
    assert [name for name, _ in found.corrupt] == ["e.png", "f.jpg"]
    assert found.n_corrupt == 2
    assert found.duplicates == [["a.png", "copy of a.png", "copy with alpha.png"]]
    assert found.n_duplicates == 2
    assert found.jpeg_quality == {"min": 60, "median": 75.0, "max": 90}
    assert found.grey == 1
    said = "\n".join(found.problems())
    for part in ("2 images cannot be read: e.png, f.jpg", "2 images are exact copies", "2 different sizes: 5 x 16x16"):
        assert part in said
    for part in ("Several file formats: 3 x PNG", "1 file was left out: 1 x .txt", "1 image: alpha channel dropped"):
        assert part in said
    document = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert document["formats"] == {"PNG": 3, "JPEG": 2, "BMP": 1}
    assert document["corrupt"][0] == ["e.png", "the file is empty (0 bytes)"]
    assert "first_names" not in document


def test_without_decoding(mess: Path) -> None:
    found = audit(open_images(mess), decode=False)
    assert (found.n, found.n_corrupt) == (6, 2)
    assert found.sizes == {"16x16": 5, "20x12": 1}
    assert found.channel_mean is None
    assert not found.duplicates
    assert not found.notes


def test_channel_moments_against_numpy(tmp_path: Path) -> None:
    arrays = [RNG.integers(0, 200, (8, 5 + i, 3), dtype=np.uint8) for i in range(4)]
    for i, array in enumerate(arrays):
        Image.fromarray(array).save(tmp_path / f"{i}.png")
    pixels = np.concatenate([array.reshape(-1, 3) for array in arrays])
    found = audit(open_images(tmp_path))
    np.testing.assert_allclose(found.channel_mean, pixels.mean(0), rtol=1e-12)
    np.testing.assert_allclose(found.channel_std, pixels.std(0), rtol=1e-12)


@pytest.mark.parametrize("quality", [5, 30, 49, 50, 60, 75, 85, 90, 95, 100])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_jpeg_quality_against_pillow(quality: int, mode: str) -> None:
    buffer = io.BytesIO()
    noise().convert(mode).save(buffer, "JPEG", quality=quality)
    assert jpeg_quality(Image.open(buffer).quantization[0]) == quality


def test_sources_without_files() -> None:
    images = RNG.integers(0, 256, (5, 4, 4, 3), dtype=np.uint8)
    images[3] = images[1]
    found = audit(open_images(images))
    assert (found.n, found.sizes, found.formats) == (5, {"4x4": 5}, {})
    assert found.duplicates == [["#1", "#3"]]
    found = audit(open_images(iter(images)))
    assert found.duplicates == [["#1", "#3"]]
    assert audit(open_images(images), decode=False).n == 5
    floats = np.zeros((3, 4, 4, 3), np.float32)
    floats[1] = np.nan
    found = audit(open_images(floats, value_range=(0, 1)))
    assert (found.n, found.n_corrupt) == (2, 1)
    assert found.corrupt[0][0] == "#1"
    json.dumps(found.to_dict(), allow_nan=False)


def test_nothing_readable_degenerate(tmp_path: Path) -> None:
    for i in range(30):
        (tmp_path / f"{i}.png").write_bytes(b"")
    found = audit(open_images(tmp_path))
    assert (found.n, found.n_corrupt, len(found.corrupt)) == (0, 30, 20)
    assert found.channel_mean is None
    assert "30 images cannot be read: 0.png, 1.png, 10.png and 27 more." in found.problems()[0]
    assert compare_audits(found, found) == []


def write(path: Path, images: list[Image.Image], suffix: str = "png", **options: object) -> Path:
    path.mkdir()
    for i, image in enumerate(images):
        image.save(path / f"{i:02d}.{suffix}", **options)
    return path


def compared(real: Path, fake: Path) -> str:
    return "\n".join(compare_audits(*(audit(open_images(path)) for path in (real, fake))))


def test_compare_audits(tmp_path: Path) -> None:
    images = [noise() for _ in range(20)]
    real = write(tmp_path / "real", images)
    assert compared(real, write(tmp_path / "alike", [noise() for _ in range(20)])) == ""
    said = compared(real, write(tmp_path / "jpeg", [noise() for _ in range(20)], "jpg", quality=90))
    assert said.startswith("File formats differ: real 20 x PNG, fake 20 x JPEG.")
    assert "Sizes differ: real 20 x 16x16, fake 20 x 8x8" in compared(
        real, write(tmp_path / "small", [noise(8, 8) for _ in range(20)])
    )
    assert "Grey images: 0% of real, 100% of fake" in compared(
        real, write(tmp_path / "grey", [noise().convert("L") for _ in range(20)])
    )
    assert "Mean colours differ by up to" in compared(
        real, write(tmp_path / "dark", [noise().point(lambda x: x // 2) for _ in range(20)])
    )
    said = compared(real, write(tmp_path / "leak", [*images[:2], *(noise() for _ in range(18))]))
    assert said.startswith("2 images are in both sets, pixel by pixel: 00.png, 01.png.")
    low, high = (write(tmp_path / f"q{q}", [noise() for _ in range(20)], "jpg", quality=q) for q in (60, 95))
    assert compared(low, high) == "JPEG qualities differ: median about 60 for real, 95 for fake."
