"""Arrays and tensors of images to 8-bit RGB: which axis is which, which values are allowed, how floats are rounded."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import torch
from torch import Tensor

from ganeval.errors import InputError
from ganeval.images.decode import GREY, UnreadableImage
from ganeval.parsing.arguments import RANGE

CLAMPED = "values within half a grey level outside the declared range, clamped"
MOVED = "values outside the declared range moved to its ends (--clamp, clamp=True)"
DARK = "no value above 1 in a declared range of 0..255"

ValueRange = tuple[float, float]


class ClampedRange(ValueRange):
    """A range of values of which those outside are moved to its ends, and counted, instead of refused."""


def check_range(value_range: object) -> ValueRange | None:
    """Raises InputError unless this is None, or two finite numbers in order."""
    if value_range is None:
        return None
    try:
        return RANGE.convert(value_range)  # type: ignore[no-any-return]
    except (TypeError, ValueError) as error:
        raise InputError(f"A value range is two numbers in order, such as -1,1 or 0,1; got {value_range!r}.") from error


def check_dtype(name: str, value_range: ValueRange | None, what: str) -> None:
    """uint8 is 0..255; all other real numbers need a declared range, which says what black and white are.

    Args:
        name: of the dtype, of numpy or torch.
        value_range: the declared one.
        what: the images, as the user knows them.
    """
    if name == "uint8":
        return
    whole = name.startswith(("int", "uint", "bool"))
    if not whole and not name.startswith(("float", "bfloat", "longdouble")):
        raise InputError(
            f"{what}: images of {name} have no agreed meaning; expected uint8 (0..255), or other real numbers with "
            "--value-range. Convert them first."
        )
    if value_range is None:
        example = {"bool": "0,1", "uint16": "0,65535"}.get(name, "0,255") if whole else "-1,1, 0,1 or 0,255"
        pair = example.split(" ")[0].rstrip(",").replace(",", ", ")
        raise InputError(
            f"{what}: images of {name} need a declared range of values. Pass --value-range {example} "
            f"(value_range=({pair}) in Python): which values stand for black and for white."
        )
    low, high = value_range
    if whole and low < 0 and high - low <= 2:
        raise InputError(
            f"{what}: images of {name} in the declared range {low:g}..{high:g} would have three values at most. Floats "
            "were probably cast to integers; pass the floats."
        )


def dtype_name(array: np.ndarray | Tensor) -> str:
    """``float32``, without the byte order that numpy may write before it."""
    return array.dtype.name if isinstance(array, np.ndarray) else str(array.dtype).removeprefix("torch.")


def channels_first(shape: tuple[int, ...], *, prefer: str, what: str) -> bool:
    """Whether images of shape (N, ., ., .) are NCHW; where both readings are possible, ``prefer`` decides.

    Raises:
        InputError: neither 1 nor 3 channels, or not four axes.
    """
    if len(shape) == 4 and 0 not in shape[1:]:
        first, last = shape[1] in (1, 3), shape[3] in (1, 3)
        if first or last:
            return (first and last and prefer == "NCHW") or not last
    hint = "Drop an alpha channel yourself."
    if len(shape) == 3:
        hint = "It may be one colour image: give x[None], or x[:, None] for grey images."
    raise InputError(
        f"{what}: an array of shape {tuple(shape)} is not a set of images; "
        f"expected (N, 3, H, W) or (N, H, W, 3), with 1 or 3 channels. {hint}"
    )


def layout_of(shape: tuple[int, ...], *, prefer: str, what: str) -> str:
    """``NCHW``, ``NHWC``, or ``NHW`` of grey images; errors as those of ``channels_first``.

    Three axes are images of one channel, unless the array could be one colour image.
    """
    if len(shape) == 3 and 0 not in shape[1:] and 3 not in (shape[0], shape[2]):
        return "NHW"
    return "NCHW" if channels_first(shape, prefer=prefer, what=what) else "NHWC"


def as_tensor(array: np.ndarray | Tensor, value_range: ValueRange | None, what: str) -> Tensor:
    """A tensor of the same values that owns its memory where it has to; the dtype is checked first."""
    check_dtype(dtype_name(array), value_range, what)
    if isinstance(array, Tensor):
        array = array.detach()
        if array.dtype == torch.uint8 or array.is_floating_point():
            return array
        return array.to(torch.float32 if array.dtype.itemsize <= 2 else torch.float64)
    if array.dtype.kind in "biu" and array.dtype != np.uint8:  # exact in these floats, up to 2^53
        array = array.astype(np.float32 if array.dtype.itemsize <= 2 else np.float64)
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    # a copy, because torch takes neither foreign byte orders nor read-only memory (a mapped file)
    return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))


def to_uint8(
    images: np.ndarray | Tensor, *, value_range: ValueRange | None, prefer: str, what: str
) -> tuple[Tensor, Counter[str]]:
    """Images of any layout and dtype that is allowed, as uint8 (N, 3, H, W) on their device, and notes.

    Floats become 255 (x - low) / (high - low), rounded half up, as a PNG of these images would hold them. A value that
    is at most half a grey level outside the range is clamped and counted, which moves it no further than rounding does.
    On (-1, 1) this is the ``(x * 127.5 + 128)`` of StyleGAN's scripts.

    Raises:
        InputError: another shape or dtype, or floats without a range.
        UnreadableImage: NaN, or values outside the declared range.
    """
    levels, ends, notes = unchecked(images, value_range=value_range, prefer=prefer, what=what)
    if ends is not None and value_range is not None:
        notes += range_notes(ends.cpu(), value_range)
    return levels, notes


def unchecked(
    images: np.ndarray | Tensor, *, value_range: ValueRange | None, prefer: str, what: str
) -> tuple[Tensor, Tensor | None, Counter[str]]:
    """As ``to_uint8``, for images on an accelerator, for which it would have to wait: the range remains to be checked.

    Returns:
        The images; the extremes for ``range_notes``, on their device, or None where there is nothing to check; notes.
    """
    tensor = as_tensor(images, value_range, what)
    if prefer == "NHW":
        tensor = tensor[:, None]
    elif not channels_first(tuple(tensor.shape), prefer=prefer, what=what):
        tensor = tensor.permute(0, 3, 1, 2)
    notes: Counter[str] = Counter()
    ends = None
    if tensor.dtype != torch.uint8 and value_range is not None:
        tensor, ends = _levels(tensor, value_range)
    if tensor.shape[1] == 1:
        notes[GREY] += len(tensor)
        tensor = tensor.expand(-1, 3, -1, -1)
    return tensor.contiguous(), ends, notes


def range_notes(ends: Tensor, value_range: ValueRange) -> Counter[str]:
    """Notes on images by the smallest and the largest value of each, (2, N) on the host.

    Raises:
        UnreadableImage: NaN, or values outside the range.
    """
    low, high = value_range
    ends = ends.double()
    smallest, largest = float(ends[0].min()), float(ends[1].max())
    if math.isnan(smallest) or math.isnan(largest):
        raise UnreadableImage("it holds NaN; expected finite values in the declared range")
    margin = (high - low) / 510
    clamps = isinstance(value_range, ClampedRange)
    if not clamps and (smallest < low - margin or largest > high + margin):
        raise UnreadableImage(
            f"its values reach from {smallest:.6g} to {largest:.6g}, outside the declared range {low:g}..{high:g}; "
            "declare the range they have (--value-range), or move such values to its ends if that is how these images "
            "are saved (--clamp, clamp=True)"
        )
    notes: Counter[str] = Counter()
    far = (ends[0] < low - margin) | (ends[1] > high + margin)
    outside = ((ends[0] < low) | (ends[1] > high)) & ~far
    notes.update({text: count for text, some in ((CLAMPED, outside), (MOVED, far)) if (count := int(some.sum()))})
    if (low, high) == (0.0, 255.0):
        notes.update({DARK: dark} if (dark := int(((ends[1] > 0) & (ends[1] <= 1)).sum())) else {})
    return notes


def _levels(images: Tensor, value_range: ValueRange) -> tuple[Tensor, Tensor | None]:
    """The 8-bit images, and the extremes of their values, (2, N) on their device; None of no values."""
    low, high = value_range
    # float32 for half precision, whose steps are too coarse for the sum; the same operations on every device
    x = images if images.dtype == torch.float64 else images.float()
    if x.numel() == 0:
        return x.to(torch.uint8), None
    flat = x.flatten(1)
    ends = torch.stack([flat.amin(1), flat.amax(1)])  # both carry a NaN along
    levels = ((x - low) * (255 / (high - low)) + 0.5).floor_().clamp_(0, 255)
    return levels.to(torch.uint8), ends
