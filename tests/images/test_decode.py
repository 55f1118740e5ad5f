"""Decoding: one policy for every kind of file, equal to Pillow's convert("RGB"), and each kind counted."""

from __future__ import annotations

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from ganeval.images import decode as d

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (9, 7, 3), dtype=np.uint8)


def encoded(image: Image.Image, fmt: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, fmt, **options)
    return buffer.getvalue()


def with_alpha() -> Image.Image:
    return Image.fromarray(np.dstack([RGB, RNG.integers(0, 256, (9, 7), dtype=np.uint8)]))


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def deep_colour_png() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    pixels = b"\0" + struct.pack(">6H", 0, 256, 65535, 1000, 30000, 255)
    header = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


GREY = Image.fromarray(RGB[..., 0])
DEEP = Image.fromarray(np.array([[0, 100, 255, 256, 65535]], dtype=np.uint16))
FLOAT = Image.fromarray(np.array([[-3.0, 0.9, 128.6, 300.0]], dtype=np.float32))
COLOUR = Image.fromarray(RGB)
KINDS = {
    "rgb png": (encoded(COLOUR, "PNG"), ()),
    "rgb jpeg": (encoded(COLOUR, "JPEG"), ()),
    "rgb webp": (encoded(COLOUR, "WEBP"), ()),
    "rgb bmp": (encoded(COLOUR, "BMP"), ()),
    "rgb tiff": (encoded(COLOUR, "TIFF"), ()),
    "rgb ppm": (encoded(COLOUR, "PPM"), ()),
    "grey": (encoded(GREY, "PNG"), (d.GREY,)),
    "grey jpeg": (encoded(GREY, "JPEG"), (d.GREY,)),
    "bilevel": (encoded(GREY.convert("1"), "PNG"), (d.BILEVEL,)),
    "palette": (encoded(COLOUR.quantize(16), "PNG"), (d.PALETTE,)),
    "palette with transparency": (
        encoded(COLOUR.quantize(16), "PNG", transparency=bytes([0, 128])),
        (d.PALETTE, d.ALPHA),
    ),
    "transparent colour": (encoded(COLOUR, "PNG", transparency=(1, 2, 3)), (d.ALPHA,)),
    "rgba": (encoded(with_alpha(), "PNG"), (d.ALPHA,)),
    "grey and alpha": (encoded(with_alpha().convert("LA"), "PNG"), (d.GREY, d.ALPHA)),
    "cmyk": (encoded(COLOUR.convert("CMYK"), "JPEG"), ("CMYK converted to RGB without a colour profile",)),
    "16 bits": (encoded(DEEP, "PNG"), (d.DEEP,)),
    "16 bits tiff": (encoded(DEEP, "TIFF"), (d.DEEP,)),
    "float tiff": (encoded(FLOAT, "TIFF"), (d.FLOATS,)),
    "48 bits": (deep_colour_png(), (d.DEEP_COLOUR,)),
    "turned jpeg": (encoded(COLOUR, "JPEG", exif=turned()), (d.ORIENTATION,)),
    "turned png": (encoded(COLOUR, "PNG", exif=turned()), (d.ORIENTATION,)),
    "turned webp": (encoded(COLOUR, "WEBP", exif=turned()), (d.ORIENTATION,)),
    "turned tiff": (encoded(COLOUR, "TIFF", exif=turned()), (d.ORIENTATION_APPLIED,)),
    "animated gif": (
        encoded(COLOUR.quantize(8), "GIF", save_all=True, append_images=[COLOUR.rotate(180).quantize(8)]),
        (d.FRAMES, d.PALETTE),
    ),
    "pages": (encoded(COLOUR, "TIFF", save_all=True, append_images=[COLOUR.rotate(180)]), (d.FRAMES,)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_decode_against_pillow(kind: str) -> None:
    data, notes = KINDS[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    found = d.decode(data)
    np.testing.assert_array_equal(found.array, expected)
    assert found.array.dtype == np.uint8
    assert found.notes == notes
    assert d.find_fault(io.BytesIO(data)) is None


def test_16_bits_saturate_and_48_bits_lose_their_lower_byte() -> None:
    assert d.decode(KINDS["16 bits"][0]).array[0, :, 0].tolist() == [0, 100, 255, 255, 255]
    assert d.decode(KINDS["48 bits"][0]).array.tolist() == [[[0, 1, 255], [3, 117, 0]]]


def test_alpha_is_dropped_not_composited() -> None:
    np.testing.assert_array_equal(d.decode(KINDS["rgba"][0]).array, np.asarray(with_alpha())[..., :3])


def test_orientation_is_ignored() -> None:
    assert d.decode(KINDS["turned png"][0]).array.shape == (9, 7, 3)
    assert d.decode(KINDS["turned tiff"][0]).array.shape == (7, 9, 3)  # as Pillow does, and so the peers


DAMAGED = {
    "empty": (b"", "0 bytes"),
    "text": (b"this is not an image at all", "not an image"),
    "half a png": (encoded(Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)), "PNG")[:6000], "PNG"),
    "png header": (encoded(COLOUR, "PNG")[:20], "PNG"),
    "half a jpeg": (
        encoded(Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)), "JPEG")[:2000],
        "JPEG",
    ),
    "half a webp": (encoded(COLOUR, "WEBP")[:60], "WEBP"),
    "half a bmp": (encoded(COLOUR, "BMP")[:100], "BMP"),
    "half a ppm": (encoded(COLOUR, "PPM")[:100], "PPM"),
    "half a tiff": (encoded(COLOUR, "TIFF")[:150], "TIFF"),
    "half a gif": (encoded(COLOUR.quantize(64), "GIF")[:-30], "GIF"),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_damaged_files_are_found_before_and_while_decoding(kind: str) -> None:
    data, message = DAMAGED[kind]
    fault = d.find_fault(io.BytesIO(data))
    assert fault is not None
    assert message in fault
    with pytest.raises(d.UnreadableImage, match=message):
        d.decode(data)


def test_bytes_after_the_end_are_no_fault() -> None:
    for kind in ("rgb jpeg", "rgb png"):
        data = KINDS[kind][0] + b"some camera's trailer"
        assert d.find_fault(io.BytesIO(data)) is None
        np.testing.assert_array_equal(d.decode(data).array, d.decode(KINDS[kind][0]).array)


def test_damage_in_the_middle_is_an_error_when_decoded() -> None:
    data = bytearray(encoded(Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)), "PNG"))
    data[3000:3100] = bytes(100)
    with pytest.raises(d.UnreadableImage, match="damaged PNG"):
        d.decode(bytes(data))


def test_the_content_decides_and_not_the_name() -> None:
    with pytest.raises(d.UnreadableImage, match="not an image in a format known here"):
        d.decode(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n")


def test_large_images_pass_without_a_warning_and_huge_ones_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(COLOUR, "PNG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)  # the image has 63: Image.open would warn, an error in tests
    assert d.decode(data).array.shape == (9, 7, 3)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    with pytest.raises(d.UnreadableImage, match="7 x 9 pixels, more than twice"):
        d.decode(data)


def test_pillow_images_are_left_as_they_are() -> None:
    image = Image.open(io.BytesIO(KINDS["palette with transparency"][0]))
    found = d.from_pil(image)
    assert image.mode == "P"
    assert "transparency" in image.info
    np.testing.assert_array_equal(found.array, d.decode(KINDS["palette with transparency"][0]).array)


def test_digest_against_theory() -> None:
    import hashlib

    full = hashlib.blake2b(struct.pack("<3I", 9, 7, 3) + RGB.tobytes()).digest()
    assert d.digest(RGB) == int.from_bytes(full[:8], "little")
    assert d.digest(np.asfortranarray(RGB)) == d.digest(RGB)
    assert d.digest(np.zeros((2, 3, 3), np.uint8)) != d.digest(np.zeros((3, 2, 3), np.uint8))
    changed = RGB.copy()
    changed[-1, -1, -1] ^= 1
    assert d.digest(changed) != d.digest(RGB)


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_files_that_may_be_cut_short_are_noted(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow reads them, and fills up with grey or black, where the program asks it to."""
    from PIL import ImageFile

    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(file, form)
    whole = file.getvalue()
    cut = whole[: len(whole) // 2]
    with pytest.raises(d.UnreadableImage, match="truncated"):
        d.decode(cut)
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    assert d.CUT in d.decode(cut).notes
    assert d.CUT not in d.decode(whole).notes
