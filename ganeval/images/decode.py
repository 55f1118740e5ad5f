"""One encoded image to 8-bit RGB, by one written policy; and a cheap look at whether a file can be decoded at all.

The policy is Pillow's ``convert("RGB")``, as pytorch-fid, clean-fid and torch-fidelity use it, and what it does to
anything but plain 8-bit RGB is counted in ``SourceReport.notes``:

- grey and black-and-white are replicated to three channels; a palette is expanded;
- an alpha channel (or a transparent colour) is dropped, never composited on a background;
- the EXIF orientation is ignored, except for TIFF, whose orientation Pillow applies by itself;
- one channel of more than 8 bits saturates at 255 (floats are truncated); colour of 16 bits keeps its upper byte;
- CMYK, YCbCr, Lab and HSV are converted by Pillow's plain formulas, without colour profiles;
- of an animation, or of several pages, the first frame is taken.
"""

from __future__ import annotations

import hashlib
import io
import struct
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import IO, Any

import numpy as np
from PIL import Image, ImageFile, features

from ganeval.errors import InputError
from ganeval.images import colour

# Pillow registers a format when its plugin is imported; AVIF is in Pillow 11.3 and later, if it was built with it.
_AVIF = ("AVIF",) if find_spec("PIL.AvifImagePlugin") and features.check("avif") else ()
for _name in ("Bmp", "Gif", "Jpeg", "Png", "Ppm", "Tiff", "WebP", *(name.title() for name in _AVIF)):
    import_module(f"PIL.{_name}ImagePlugin")
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", *_AVIF)
_SUFFIXES = "png jpg jpeg jpe jfif webp bmp tif tiff gif ppm pgm pbm pnm"
SUFFIXES = tuple(f".{name}" for name in (*_SUFFIXES.split(), *map(str.lower, _AVIF)))

GREY = "grey replicated to three channels"
BILEVEL = "black and white expanded to three channels"
PALETTE = "palette expanded to RGB"
ALPHA = "alpha channel dropped, not composited"
DEEP = "one channel of more than 8 bits, saturated at 255"
FLOATS = "floats cut to whole numbers and saturated at 255; a declared range (--value-range, value_range=) maps them"
DEEP_COLOUR = "16-bit colour reduced to its upper 8 bits"
ORIENTATION = "EXIF orientation ignored"
ORIENTATION_APPLIED = "orientation of a TIFF file applied by Pillow"
CUT = "perhaps cut short, its end was not found: PIL.ImageFile.LOAD_TRUNCATED_IMAGES lets damaged files pass"
FRAMES = "several frames or pages, the first one taken"

_MODES = {
    "1": (BILEVEL,),
    "L": (GREY,),
    "LA": (GREY, ALPHA),
    "La": (GREY, ALPHA),
    "P": (PALETTE,),
    "PA": (PALETTE, ALPHA),
    "RGB": (),
    "RGBX": (),
    "RGBA": (ALPHA,),
    "RGBa": (ALPHA,),
    "I": (DEEP,),
    "F": (FLOATS,),
    **{f"I;16{order}": (DEEP,) for order in ("", "B", "L", "N")},
}
# One channel of more than 8 bits, and what is noted of each where no range of values is declared.
DEEP_MODES = {mode: notes[0] for mode, notes in _MODES.items() if mode == "F" or mode.startswith("I")}
_ORIENTATION_TAG, _BITS_TAG = 0x0112, 258
END_MARKS = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82", "GIF": b"\x00;"}


class UnreadableImage(InputError):
    """One image cannot be used, and why; it becomes an error that names the image, or an entry of the skipped ones."""


@dataclass(frozen=True, slots=True)
class Pixels:
    """One image, uint8 (H, W, 3), what had to be done to get it, and the format of its file, where it was one.

    ``label`` is its class, where the item of a data set has one; ``encoded`` is the file that was decoded.
    """

    array: np.ndarray
    notes: tuple[str, ...] = ()
    format: str | None = None
    label: str | None = None
    encoded: bytes | None = None


def decode(data: bytes, convert: Callable[[Image.Image], Pixels] | None = None) -> Pixels:
    """Decode one encoded image, whole.

    Args:
        convert: what Pillow has decoded, to 8-bit RGB; None: ``from_pil``.

    Raises:
        UnreadableImage: no image, a damaged one, or one beyond twice ``PIL.Image.MAX_IMAGE_PIXELS``.
    """
    image = open_image(io.BytesIO(data))
    before = _notes_of_the_file(image, data)
    try:
        image.load()
    except Exception as error:  # on damaged files, Pillow's plugins raise any exception
        raise UnreadableImage(f"a truncated or damaged {image.format} file ({_reason(error)})") from error
    if ImageFile.LOAD_TRUNCATED_IMAGES and not _ends_well(image.format, io.BytesIO(data)):
        before.append(CUT)
    pixels = (convert or from_pil)(image)
    return Pixels(pixels.array, (*before, *pixels.notes), format_of(image, data), encoded=data)


def format_of(image: Image.Image, data: bytes) -> str | None:
    """Pillow's name of the format; ``WEBP lossless`` where every frame of a WebP file is, which leaves no traces."""
    if image.format != "WEBP":
        return image.format
    at, lossless = 12, False
    while at + 8 <= len(data):  # chunks of the container: a name, a length, and as many bytes, an even number of them
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if name == b"VP8 " or (name == b"ANMF" and b"VP8 " in data[at + 24 : at + 8 + size]):
            return image.format
        lossless |= name in (b"VP8L", b"ANMF")
        at += 8 + size + size % 2
    return "WEBP lossless" if lossless else image.format


def from_pil(image: Image.Image) -> Pixels:
    """The policy of this module for an image that Pillow has opened already; the image itself is left as it is."""
    notes = _MODES.get(image.mode, (f"{image.mode} converted to RGB without a colour profile",))
    try:
        image.load()
        if image.info.get("transparency") is not None:
            if ALPHA not in notes:
                notes = (*notes, ALPHA)
            image = image.copy()
            del image.info["transparency"]  # it would only make Pillow warn; the pixels are the same
        rgb = image if image.mode == "RGB" else image.convert("RGB")
        array = np.asarray(rgb)
    except Exception as error:
        raise UnreadableImage(f"Pillow cannot convert it to RGB ({_reason(error)})") from error
    if array.ndim != 3 or 0 in array.shape:
        raise UnreadableImage(f"an image without pixels ({image.size[0]} x {image.size[1]})")
    return Pixels(array, notes)


def find_fault(file: IO[bytes], sizes: set[tuple[int, int]] | None = None) -> str | None:
    """Why an encoded image cannot be decoded, by a cheap look: its header, and whether its end is there.

    A file with an unusual end is decoded in full before anything is said (a valid JPEG may have bytes after its end),
    and so are formats without an end mark. Damage in the middle of a file shows only when it is decoded.

    Args:
        sizes: the height and width are added to these.
    """
    try:
        image = open_image(file)
        if sizes is not None:
            width, height = image.size
            # the orientation of a TIFF file is applied later, and may exchange the two
            sizes |= {(height, width), (width, height)} if image.format == "TIFF" else {(height, width)}
        if not _ends_well(image.format, file):
            file.seek(0)
            decode(file.read())
    except UnreadableImage as error:
        return str(error)
    return None


def open_image(file: IO[bytes]) -> ImageFile.ImageFile:
    """Read the header of an image, in one of ``FORMATS`` alone, whatever the file is called.

    ``Image.open`` is not used because of its warning about large images, which cannot be silenced from a thread
    without touching the state of the whole process; its limit is kept.
    """
    prefix = file.read(16)
    if not prefix:
        raise UnreadableImage("the file is empty (0 bytes)")
    fault = "not an image in a format known here"
    for name in FORMATS:
        factory, accept = Image.OPEN[name]
        accepted = accept is None or accept(prefix)
        if isinstance(accepted, str):
            fault = accepted  # Pillow was built without this format, and says so
        elif accepted:
            file.seek(0)
            try:
                image: Any = factory(file, "")
            except Exception as error:
                fault = f"a truncated or damaged {name} file ({_reason(error)})"
                continue
            if (problem := too_many_pixels(image.size[1], image.size[0])) is not None:
                raise UnreadableImage(problem)
            return image  # type: ignore[no-any-return]
    raise UnreadableImage(fault)


def too_many_pixels(height: int, width: int) -> str | None:
    """What one image may not be: beyond twice ``PIL.Image.MAX_IMAGE_PIXELS`` (by default 179 million pixels)."""
    limit = Image.MAX_IMAGE_PIXELS
    if limit is None or height * width <= 2 * limit:
        return None
    return f"an image of {width} x {height} pixels, more than twice PIL.Image.MAX_IMAGE_PIXELS ({2 * limit})"


def known_format(head: bytes) -> bool:
    """Whether a file that begins with these bytes, 32 of them or all, is an image in one of ``FORMATS``."""
    for name in FORMATS:
        accept = Image.OPEN[name][1]
        accepted = accept is not None and accept(head)
        # two letters, with which a text may begin too
        if name == "PPM":
            accepted = accepted and head[2:3].isspace()
        elif name == "BMP":
            accepted = accepted and head[6:10] == bytes(4)
        if accepted is True:
            return True
    return False


def digest(array: np.ndarray) -> int:
    """64 bits that stand for an image: the first 8 bytes of blake2b over its shape and its pixels.

    Args:
        array: uint8 (H, W, 3).
    """
    state = hashlib.blake2b(struct.pack("<3I", *array.shape))
    state.update(np.ascontiguousarray(array).reshape(-1).data)
    return int.from_bytes(state.digest()[:8], "little")


def _ends_well(name: str | None, file: IO[bytes]) -> bool:
    size = file.seek(0, 2)
    file.seek(max(0, size - 12))
    tail = file.read()
    if name in END_MARKS:
        return tail.endswith(END_MARKS[name])
    if name == "WEBP":
        file.seek(4)
        return int.from_bytes(file.read(4), "little") + 8 <= size
    return False


def _notes_of_the_file(image: Any, data: bytes) -> list[str]:
    """Notes that need the encoded file; read before the pixels are, because Pillow forgets some of it then."""
    notes = []
    tags = getattr(image, "tag_v2", None) or {}
    try:
        if "exif" in image.info or "xmp" in image.info or tags:
            turned = image.getexif().get(_ORIENTATION_TAG, 1) not in (0, 1)
            if turned:
                notes.append(ORIENTATION_APPLIED if image.format == "TIFF" else ORIENTATION)
        if image.mode in ("RGB", "RGBA"):
            bits = data[24:25] if image.format == "PNG" else tags.get(_BITS_TAG, ())
            if any(b > 8 for b in bits):
                notes.append(DEEP_COLOUR)
        notes += colour.ignored(image.info)
        if getattr(image, "is_animated", False) or getattr(image, "n_frames", 1) > 1:
            notes.append(FRAMES)
    except Exception:  # broken metadata says nothing about the pixels
        return notes
    return notes


def _reason(error: Exception) -> str:
    return f"{error}" or type(error).__name__
