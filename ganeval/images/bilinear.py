"""Bilinear resizes without antialiasing: TensorFlow 1's of images of one size, that and PyTorch's of many sizes.

TensorFlow 1's ResizeBilinear with ``align_corners=False`` has no half-pixel centres. It interpolates along x, then
along y, in the form ``a + (b - a) * w``, whose rounding torch.lerp does not share.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor

from ganeval.images.mixed import MixedImages
from ganeval.images.transfer import to_device


def tf1_bilinear(images: Tensor, size: int) -> Tensor:
    """Images of one size: float32 (N, 3, H, W) to (N, 3, size, size)."""
    # Of a tall image only some rows are ever read; interpolating along x first, on them alone, changes no value.
    rows, low, high, down = _axis(images.shape[2], size, images.device)
    columns, left, right, weight = _axis(images.shape[3], size, images.device)
    left, right = columns[left], columns[right]

    def interpolated(planes: Tensor) -> Tensor:
        if len(rows) < planes.shape[-2]:
            planes = planes.index_select(-2, rows)
        wide = _blend(planes.index_select(-1, left), planes.index_select(-1, right), weight)
        return _blend(wide.index_select(-2, low), wide.index_select(-2, high), down[:, None])

    if images.device.type != "cpu":
        return interpolated(images)
    out = images.new_empty(*images.shape[:2], size, size)
    for plane, target in zip(images.flatten(0, 1), out.flatten(0, 1), strict=True):
        target.copy_(interpolated(plane))  # one plane at a time, and all in between stays in the cache
    return out


def bilinear_mixed(images: MixedImages, size: int, *, half_pixels: bool) -> Tensor:
    """Images of several sizes, in as many operations as one image takes.

    Each of the four neighbours of all pixels of all images is one gather from the flat tensor, by places that the host
    has worked out and sent as one tensor.

    Args:
        half_pixels: a pixel's coordinate is that of its middle, as PyTorch has it, and not TensorFlow 1.

    Returns:
        float32 (N, 3, size, size): equal to ``tf1_bilinear`` of each image to the bit, to ``F.interpolate`` within 1e-4
        grey levels.
    """
    heights, widths = np.array(images.shapes, dtype=np.int64)[:, 1:].T
    area = heights * widths
    first = 3 * (np.cumsum(area) - area)  # the place of each image
    planes = first[:, None] + area[:, None] * np.arange(3)
    low, high, down = _neighbours(heights, size, half_pixels=half_pixels)
    left, right, along = _neighbours(widths, size, half_pixels=half_pixels)
    starts = np.stack([low, high])[:, :, None] * widths[:, None, None] + planes[:, :, None]  # of rows: (2, N, 3, size)
    upper_lower, left_right, weight_y, weight_x = _sent(
        [starts[..., None], np.stack([left, right])[:, :, None, None], down[:, None, :, None], along[:, None, None]],
        images.data.device,
    )
    columns = left_right.unbind()

    def row(start: Tensor) -> Tensor:
        a, b = (images.data.take(start + column).float() for column in columns)
        return _blend(a, b, weight_x)

    upper, lower = (row(start) for start in upper_lower.unbind())
    return _blend(upper, lower, weight_y)


@functools.cache  # a folder has images of hundreds of sizes; 8 KB each
@torch.inference_mode(False)  # what is kept may serve outside of it too
def _axis(length: int, size: int, device: torch.device) -> tuple[Tensor, ...]:
    """The places that are read, the lower and the higher neighbour among them, and the weight of the higher one.

    Worked out on the host and kept: a device would have to be waited for every time.
    """
    low, high, weight = _neighbours(np.array([length]), size, half_pixels=False)
    read, places = np.unique(np.concatenate([low[0], high[0]]), return_inverse=True)
    return _sent([read, places[:size], places[size:], weight[0]], device)


def _neighbours(lengths: np.ndarray, size: int, *, half_pixels: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of axes of these lengths: lower and higher neighbour of every place, and weight of the higher: (n, size) each."""
    # TensorFlow rounds the scale and every coordinate to float32: double coordinates move pixels by 0.01 grey levels.
    scale, middle = (lengths / size).astype(np.float32)[:, None], np.float32(0.5 if half_pixels else 0)
    coordinate = np.maximum((np.arange(size, dtype=np.float32) + middle) * scale - middle, np.float32(0))
    last = lengths[:, None] - 1
    low = np.minimum(coordinate.astype(np.int64), last)
    return low, np.minimum(low + 1, last), coordinate - low.astype(np.float32)


def _sent(arrays: list[np.ndarray], device: torch.device) -> tuple[Tensor, ...]:
    """Arrays of int64, and then of float32, on a device; sent as one."""
    data = np.concatenate([np.ascontiguousarray(array).reshape(-1).view(np.uint8) for array in arrays])
    parts = torch.split(to_device(torch.from_numpy(data), device), [array.nbytes for array in arrays])
    kinds = [torch.float32 if array.dtype == np.float32 else torch.int64 for array in arrays]
    return tuple(part.view(kind).view(a.shape) for part, kind, a in zip(parts, kinds, arrays, strict=True))


def _blend(a: Tensor, b: Tensor, weight: Tensor) -> Tensor:
    """``a + (b - a) * weight``; overwrites ``b``."""
    return b.sub_(a).mul_(weight).add_(a)
