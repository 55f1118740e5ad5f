"""One item of a data set or of a stream: where its image is, how that is read, and what its label is."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from ganeval.errors import InputError
from ganeval.images.decode import SUFFIXES, Pixels, UnreadableImage, decode, from_pil, open_image
from ganeval.images.pixels import ValueRange, to_uint8

IMAGE_KEYS = ("image", "images", "img", "pixel_values")
LABEL_KEYS = ("label", "labels", "cls", "class", "target")
_ENCODED_KEYS = {"bytes", "path"}  # of an image column of Hugging Face that is not decoded
_LISTED = 12


def image_of(item: Any, column: str | None = None) -> Any:
    """The image of an item that may carry more: the value that ``one_image`` takes, or a batch of such values.

    Of a mapping: the value under ``image``, ``images``, ``img`` or ``pixel_values``; else that of the only key with the
    suffix of an image file (``jpg``, ``input.png``: WebDataset); else the only value that looks like an image. Of a
    tuple or a list: the first value, unless another one is the only one that looks like an image.

    Args:
        column: the key (of a mapping), the field or the number (of a tuple) that holds the image.

    Raises:
        UnreadableImage: no such column, no image, or several values that may be the image.
    """
    if isinstance(item, Mapping):
        return item[_column_of(item, column)] if not _is_encoded(item) else item
    if not isinstance(item, (tuple, list)) or not item:
        return item
    if column is not None and isinstance(item, tuple):
        return item[_place_of(item, column)]
    if isinstance(item, list) and all(is_single(value) for value in item):
        return item  # a batch: torch turns a tuple of a batch into a list, but its values are of different kinds
    if not _looks_like_images(item[0]):
        likely = [value for value in item if _looks_like_images(value)]
        if len(likely) == 1:
            return likely[0]
    return item[0]


def is_single(value: Any) -> bool:
    """Whether a value is one image, not a batch: a Pillow image, an encoded one, an array of two or three axes."""
    if isinstance(value, (Image.Image, bytes, bytearray, memoryview)) or _is_encoded(value):
        return True
    return isinstance(value, (np.ndarray, Tensor)) and value.ndim in (2, 3)


def one_image(value: Any, value_range: ValueRange | None) -> Pixels:
    """One image as 8-bit RGB.

    Args:
        value: a Pillow image; the bytes of an image file; a mapping with ``bytes`` or ``path`` (Hugging Face, not
            decoded); an array or tensor (H, W), (H, W, C) or (C, H, W).
        value_range: of floats.

    Raises:
        UnreadableImage: anything else, or an image that cannot be used.
    """
    if isinstance(value, Image.Image):
        return from_pil(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return decode(bytes(value))
    if _is_encoded(value):
        return decode(bytes_of(value))
    if not isinstance(value, (np.ndarray, Tensor)):
        raise UnreadableImage(
            f"a {type(value).__name__} is not an image; expected a Pillow image, an array, a tensor, or the bytes of "
            "an image file"
        )
    tensor = isinstance(value, Tensor)
    image = value[None] if value.ndim == 3 else value[None, None] if value.ndim == 2 else value
    try:
        if value.ndim not in (2, 3):
            raise UnreadableImage(f"an array of shape {tuple(value.shape)} is not one image")
        images, notes = to_uint8(image, value_range=value_range, prefer="NCHW" if tensor else "NHWC", what="this item")
    except UnreadableImage:
        raise
    except InputError as error:
        raise UnreadableImage(str(error).rstrip(".")) from error
    return Pixels(images[0].permute(1, 2, 0).cpu().numpy(), tuple(notes.elements()))


def bytes_of(value: Mapping[str, Any]) -> bytes:
    """The encoded image of a mapping with ``bytes`` or ``path``.

    Raises:
        UnreadableImage: it has neither, or the file does not exist.
    """
    data, path = value.get("bytes"), value.get("path")
    if data is not None:
        return bytes(data)
    if path is None:
        raise UnreadableImage("neither its bytes nor its path are given")
    try:
        return Path(path).read_bytes()
    except (OSError, TypeError, ValueError) as error:
        raise UnreadableImage(
            f"the file {path} cannot be read ({getattr(error, 'strerror', None) or error})"
        ) from error


def label_of(item: Any, column: str | None = None) -> Any:
    """The label of an image, or the labels of a batch, as the item has them; None where it has none.

    Of a mapping: the value under ``label``, ``labels``, ``cls``, ``class`` or ``target``. Of a tuple or a list: the
    second value, where it is a whole number or holds whole numbers (a text may as well be a caption or a file name).

    Args:
        column: the key (of a mapping), the field or the number (of a tuple) that holds the label.

    Raises:
        UnreadableImage: no such column.
    """
    if isinstance(item, Mapping):
        if column is not None and column not in item:
            raise UnreadableImage(_no_column(item, column, "label_column"))
        return next((item[key] for key in LABEL_KEYS if key in item), None) if column is None else item[column]
    if column is not None and isinstance(item, tuple):
        return item[_place_of(item, column, "label_column")]
    if isinstance(item, (tuple, list)) and len(item) > 1 and not isinstance(item[1], (str, bytes)):
        return None if is_single(item[1]) or _looks_like_images(item[1]) else item[1]
    return None


def _column_of(item: Mapping[Any, Any], column: str | None) -> Any:
    if column is not None:
        if column not in item:
            raise UnreadableImage(_no_column(item, column, "image_column"))
        return column
    for key in IMAGE_KEYS:
        if key in item:
            return key
    suffixed = [key for key in item if isinstance(key, str) and f".{key.rpartition('.')[2].lower()}" in SUFFIXES]
    likely = suffixed or [key for key, value in item.items() if _looks_like_images(value)]
    if not likely:
        raise UnreadableImage(
            f"the item has no image: its columns are {_keys(item)}. Name the one that holds it: image_column "
            "(--image-column)"
        )
    if len(likely) > 1:
        raise UnreadableImage(
            f"the item has several columns that may be the image: {', '.join(map(str, likely[:_LISTED]))}. Name one: "
            "image_column (--image-column)"
        )
    return likely[0]


def _no_column(item: Mapping[Any, Any], column: str, name: str) -> str:
    return f"the item has no column {column!r} ({name}): its columns are {_keys(item)}"


def _keys(item: Mapping[Any, Any]) -> str:
    return ", ".join(map(str, list(item)[:_LISTED])) + (", ..." if len(item) > _LISTED else "")


def _place_of(item: tuple[Any, ...], column: str, name: str = "image_column") -> int:
    fields = getattr(item, "_fields", ())
    if column in fields:
        return list(fields).index(column)
    if column.isdecimal() and int(column) < len(item):
        return int(column)
    known = ", ".join(fields) or f"0 to {len(item) - 1}"
    raise UnreadableImage(f"the item has no column {column!r} ({name}): it is a tuple with the columns {known}")


def _is_encoded(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value) and value.keys() <= _ENCODED_KEYS


def _looks_like_images(value: Any) -> bool:
    """Whether a value is likely to be an image or a batch of images, and not boxes, a mask of labels, or a text."""
    if isinstance(value, Image.Image) or _is_encoded(value):
        return True
    if isinstance(value, (bytes, bytearray, memoryview)):
        try:
            open_image(io.BytesIO(value))
        except UnreadableImage:
            return False
        return True
    if isinstance(value, (np.ndarray, Tensor)):
        shape = tuple(value.shape)
        if len(shape) == 2:
            return str(value.dtype).endswith("uint8") and min(shape) > 1
        return len(shape) in (3, 4) and (shape[-1] in (1, 3) or shape[-3] in (1, 3))
    return isinstance(value, (list, tuple)) and bool(value) and all(map(_looks_like_images, value))
