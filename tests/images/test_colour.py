"""Colour that Pillow's pixels leave out is noted, and compression that leaves no traces raises no alarm."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from ganeval import evaluate
from ganeval.images.audit import audit, compare_audits
from ganeval.images.colour import GAMMA, PROFILE, is_srgb
from ganeval.images.decode import decode
from ganeval.images.open import open_images

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 16, 20, 3), dtype=np.uint8)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def encoded(form: str, **options: object) -> bytes:
    data = io.BytesIO()
    Image.fromarray(PIXELS[0]).save(data, form, **options)
    return data.getvalue()


def other(tag: bytes, payload: bytes) -> bytes:
    """The sRGB profile with other bytes in one tag."""
    (count,) = struct.unpack(">I", SRGB[128:132])
    entries = (SRGB[at : at + 12] for at in range(132, 132 + 12 * count, 12))
    start = next(struct.unpack(">I", entry[4:8])[0] for entry in entries if entry[:4] == tag)
    return SRGB[:start] + payload + SRGB[start + len(payload) :]


def test_profiles_are_known_by_content() -> None:
    assert is_srgb(SRGB)
    wide = b"XYZ \0\0\0\0" + struct.pack(">3i", *(int(x * 65536) for x in (0.6097, 0.3111, 0.0195)))  # Adobe RGB's red
    assert not is_srgb(other(b"rXYZ", wide))
    linear = b"para\0\0\0\0\0\0\0\0" + struct.pack(">i", 65536)
    assert not is_srgb(other(b"rTRC", linear))
    assert is_srgb(other(b"rTRC", b"para\0\0\0\0\0\0\0\0" + struct.pack(">i", int(2.2 * 65536))))
    for name in ("LAB", "XYZ"):
        assert not is_srgb(ImageCms.ImageCmsProfile(ImageCms.createProfile(name)).tobytes())
    for broken in (b"", b"\xff" * 200, SRGB[:150]):
        assert not is_srgb(broken)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_other_profiles_are_noted(form: str) -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    assert PROFILE in decode(encoded(form, icc_profile=lab)).notes
    assert PROFILE not in decode(encoded(form, icc_profile=SRGB)).notes
    assert PROFILE not in decode(encoded(form)).notes


def test_gamma_of_a_png() -> None:
    def with_gamma(value: float) -> tuple[str, ...]:
        chunks = PngImagePlugin.PngInfo()
        chunks.add(b"gAMA", struct.pack(">I", int(value * 100_000)))
        return decode(encoded("PNG", pnginfo=chunks)).notes

    assert with_gamma(1.0) == (GAMMA,)
    assert with_gamma(0.45455) == ()


def folder(path: Path, form: str, **options: object) -> str:
    path.mkdir()
    for i, image in enumerate(PIXELS):
        Image.fromarray(image).save(path / f"{i}.{form.lower()}", form, **options)
    return str(path)


def told(real: str, fake: str) -> tuple[str, str]:
    run = evaluate(real, fake, protocol="compact", metrics=("kid",), cache=False)
    sides = [audit(open_images(spec)) for spec in (real, fake)]
    return " ".join(run.warnings), " ".join(compare_audits(*sides))


def test_lossless_webp_leaves_no_traces(tmp_path: Path) -> None:
    png = folder(tmp_path / "png", "PNG")
    lossless, lossy = folder(tmp_path / "exact", "WEBP", lossless=True), folder(tmp_path / "lossy", "WEBP", quality=70)
    for text in told(png, lossless):
        assert "formats differ" not in text
    for text in told(png, lossy):
        assert "ormats differ" in text
    assert decode((Path(lossless) / "0.webp").read_bytes()).format == "WEBP lossless"


def test_orientation_of_one_set_alone(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    png = folder(tmp_path / "plain", "PNG")
    turned = folder(tmp_path / "turned", "PNG", exif=exif.tobytes())
    for text in told(png, turned):
        assert "real has it in 0% of its images, fake in 100%" in text
