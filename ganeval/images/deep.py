"""Image files of more than 8 bits a channel, under a declared range of values.

Pillow gives one channel of 16 or 32 bits or of floats as it is, and colour of 16 bits by its upper 8 alone. What the
values of the first mean, no file says: without a declared range they are saturated at 255, and noted. With one they are
mapped as arrays of such numbers are. That is a decode policy by its own name, ``range:LOW,HIGH``, of whole sets: a file
of 8 bits has its values already, so none may be among deeper ones.
"""

from __future__ import annotations

import io
from functools import partial

import numpy as np
from PIL import Image

from ganeval.images.decode import DEEP_MODES, Pixels, UnreadableImage, decode, open_image
from ganeval.images.pixels import ValueRange, to_uint8
from ganeval.images.types import Images


def declare(images: Images, value_range: ValueRange | None) -> None:
    """Let the declared range have its effect on image files: on all of a set whose first file is deep, or on none."""
    if value_range is None or not images.encoded:
        return
    for index in range(len(images)):
        try:
            deep = open_image(io.BytesIO(images.read(index))).mode in DEEP_MODES
        except UnreadableImage:
            continue
        images.deep_range = value_range if deep else None
        images.decoder = partial(decode_deep, value_range=value_range) if deep else decode_shallow
        return


def decode_deep(data: bytes, *, value_range: ValueRange) -> Pixels:
    """One encoded image of more than 8 bits, its values mapped from ``value_range`` to 0..255.

    Raises:
        UnreadableImage: it is damaged, has 8 bits or colour, or values outside the range.
    """
    return decode(data, partial(_mapped, value_range=value_range))


def _mapped(image: Image.Image, *, value_range: ValueRange) -> Pixels:
    if image.mode not in DEEP_MODES:
        raise UnreadableImage(
            f"a {image.format} file of mode {image.mode}, which Pillow reads as 8 bits a channel, in a set whose "
            "values have a declared range. Put such files in a set of their own"
        )
    values = np.asarray(image)[None, ..., None]
    made, notes = to_uint8(values, value_range=value_range, prefer="NHWC", what="this file")
    return Pixels(made[0].permute(1, 2, 0).numpy(), tuple(notes.elements()))


def decode_shallow(data: bytes) -> Pixels:
    """One encoded image of a set of 8-bit images, in a run that declares a range for others.

    Raises:
        UnreadableImage: it is damaged, or of more than 8 bits.
    """
    pixels = decode(data)
    if set(pixels.notes) & set(DEEP_MODES.values()):
        raise UnreadableImage("a file of more than 8 bits among those of 8 bits. Put it in a set of its own")
    return pixels
