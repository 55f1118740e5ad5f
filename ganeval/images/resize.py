"""Every way of resizing that a published protocol uses, each with the tool that it equals.

Resizing is where most "different FID for the same images" comes from: on white noise of 64 x 64 pixels the first two
modes below differ by 33 grey levels on average. Every mode resizes height and width independently to the target, so
the aspect ratio is not kept, but for the two with ``square`` in their names, which show the network only the middle of
an image; and every mode is the identity at the target size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from ganeval.errors import ConfigError, InputError
from ganeval.images.bilinear import bilinear_mixed, tf1_bilinear
from ganeval.images.mixed import MixedImages
from ganeval.images.threads import map_in_threads
from ganeval.images.transfer import to_device

RESIZE_MODES: Mapping[str, str] = {
    "tf1-bilinear": "TensorFlow 1: TTUR, torch-fidelity, ADM; the StyleGAN and EDM scripts up to float32 noise",
    "torch-bilinear": "PyTorch without antialiasing: pytorch-fid, clean-fid legacy_pytorch, dgm-eval inception",
    "torch-bilinear-antialias": "PyTorch with antialiasing: torchmetrics 1.8 and later",
    "pil-bicubic-float": "Pillow in floating point, clipped to 0..255 and not rounded: clean-fid",
    "pil-bicubic-uint8": "Pillow on 8-bit images: dgm-eval DINOv2, EDM2 with resize_mode='pil'",
    "square-pil-bicubic-uint8": "cut out the middle square, then pil-bicubic-uint8: CMMD",
    "pil-bicubic-uint8-square": "Pillow on 8 bits, shorter side to the target, middle square: clean-fid's CLIP-FID",
    "torch-bicubic-antialias": "PyTorch with antialiasing, neither clipped nor rounded: EDM2 DINOv2",
}


def resize(images: Tensor, size: int, mode: str) -> Tensor:
    """Resize a batch of images to ``size`` x ``size``.

    The modes of Pillow work image by image on the CPU: where there are decode workers, give them ``resize_pil``.

    Args:
        images: float32 (N, 3, H, W) in 0..255, not rounded and not scaled.
        size: height and width of the result, in pixels.
        mode: a key of ``RESIZE_MODES``.

    Returns:
        float32 (N, 3, size, size). The torch bicubic mode overshoots 0..255, as its peer does; the others do not.
        Images that have the target size already are returned as they are, not copied.

    Peers:
        Equal to the last bit on the CPU to torch-fidelity (``tf1-bilinear``), to ``F.interpolate`` (``torch-*``) and
        to clean-fid and Pillow (``pil-*``; ``pil-bicubic-uint8`` rounds its input to 8 bits first). pytorch-fid
        resizes in 0..1: the same map, up to 1e-4 grey levels of float32 noise.

    Raises:
        ConfigError: no such mode.
        InputError: images of another shape or dtype.

    >>> row = torch.tensor([0.0, 60.0, 120.0, 255.0, 10.0]).expand(1, 3, 5, 5)
    >>> resize(row, 8, "tf1-bilinear")[0, 0, 0].tolist()
    [0.0, 37.5, 75.0, 112.5, 187.5, 224.375, 71.25, 10.0]
    """
    _require(mode, RESIZE_MODES, size)
    if images.dtype != torch.float32 or images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape[2:]:
        raise InputError(
            f"Cannot resize a {images.dtype} tensor of shape {tuple(images.shape)}; expected float32 (N, 3, H, W)."
        )
    if images.shape[2:] == (size, size):
        return images
    if mode in PIL_MODES:
        if not len(images):
            return images.new_empty(0, 3, size, size)
        one = _PIL[mode]
        resized = map_in_threads(lambda image: one(image, size), list(images.cpu().numpy()))
        return torch.stack(resized).to(images.device)
    return _TORCH[mode](images, size)


def resize_mixed(images: Sequence[Tensor], size: int, mode: str, device: torch.device) -> Tensor:
    """Resize images of several sizes on ``device``: each as ``resize`` does it.

    Args:
        images: (3, H, W) each, 0..255, of any type.

    Returns:
        float32 (N, 3, size, size).
    """

    def alone(image: Tensor) -> Tensor:
        return resize(image[None].to(device).float(), size, mode)

    if mode in PIL_MODES:
        return torch.cat(map_in_threads(alone, images))
    if device.type == "cpu":
        return torch.cat([alone(image) for image in images])
    return resize_together(MixedImages.of(images).to(device), size, mode)


def resize_together(images: MixedImages, size: int, mode: str) -> Tensor:
    """Resize images of several sizes in few operations, so that the host is not what an accelerator waits for.

    The bilinear modes without antialiasing take as many for all images as for one; the others take one or two for each
    size that there is.
    """
    _require(mode, RESIZE_MODES, size)
    if mode in ("tf1-bilinear", "torch-bilinear"):
        return bilinear_mixed(images, size, half_pixels=mode == "torch-bilinear")
    groups: dict[tuple[int, ...], list[int]] = {}
    for place, shape in enumerate(images.shapes):
        groups.setdefault(tuple(shape), []).append(place)
    each = list(MixedImages(images.data.float(), images.shapes))
    stacked = [torch.stack([each[i] for i in g]) if len(g) > 1 else each[g[0]][None] for g in groups.values()]
    resized = torch.cat([resize(group, size, mode) for group in stacked])
    if len(groups) == len(each):
        return resized
    order = torch.from_numpy(np.argsort([place for group in groups.values() for place in group]))
    return resized.index_select(0, to_device(order, resized.device))


def resize_pil(pixels: np.ndarray, size: int, mode: str) -> Tensor:
    """Resize one decoded image with Pillow; runs in decode workers, so that images of many sizes become a batch.

    Args:
        pixels: uint8 (H, W, 3).
        size: height and width of the result, in pixels.
        mode: a key of ``RESIZE_MODES`` that is in ``PIL_MODES``.

    Returns:
        float32 (3, size, size) in 0..255.

    Raises:
        ConfigError: the mode is not one of Pillow's.
        InputError: pixels of another shape or dtype.
    """
    _require(mode, PIL_MODES, size)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise InputError(
            f"Cannot resize a {pixels.dtype} array of shape {pixels.shape}; expected uint8 (H, W, 3). "
            "Convert the image to RGB first."
        )
    return _PIL[mode](pixels.transpose(2, 0, 1), size)


@dataclass(frozen=True, slots=True)
class PillowResize:
    """``resize_pil`` to one size in one mode, for decode workers; equal ones do the same."""

    size: int
    mode: str

    def __call__(self, pixels: np.ndarray) -> Tensor:
        return resize_pil(pixels, self.size, self.mode)


def _require(mode: str, modes: Mapping[str, str] | frozenset[str], size: int) -> None:
    if mode not in modes:
        raise ConfigError(f"Unknown resize mode {mode!r}. Available: {', '.join(sorted(modes))}.")
    if size < 1:
        raise ConfigError(f"Cannot resize to {size} pixels; expected at least 1.")


def _interpolate(images: Tensor, size: int, *, mode: str, antialias: bool) -> Tensor:
    return interpolate(images, (size, size), mode=mode, align_corners=False, antialias=antialias)


def _pil_bicubic_float(channels: np.ndarray, size: int) -> Tensor:
    """One channel at a time, because Pillow's floating-point images have one; the passes in between are not clipped."""
    planes = np.ascontiguousarray(channels, dtype=np.float32)
    out = np.empty((len(planes), size, size), dtype=np.float32)
    for plane, target in zip(planes, out, strict=True):
        np.clip(np.asarray(Image.fromarray(plane).resize((size, size), Image.Resampling.BICUBIC)), 0, 255, out=target)
    return torch.from_numpy(out)


def _pil_bicubic_uint8(channels: np.ndarray, size: int) -> Tensor:
    """Fixed point: Pillow clips and rounds to 8 bits after each of the two passes."""
    return _tensor(_image(channels).resize((size, size), Image.Resampling.BICUBIC))


def _square_then_uint8(channels: np.ndarray, size: int) -> Tensor:
    """The middle square; of an odd surplus the extra row or column is dropped at the end."""
    image = _image(channels)
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.crop((left, top, left + side, top + side))
    return _tensor(square.resize((size, size), Image.Resampling.BICUBIC))


def _uint8_then_square(channels: np.ndarray, size: int) -> Tensor:
    """As torchvision's Resize and CenterCrop: the longer side is cut to whole pixels, its middle rounded to even."""
    image = _image(channels)
    shorter = min(image.size)
    width, height = (int(size * length / shorter) for length in image.size)
    left, top = round((width - size) / 2), round((height - size) / 2)
    return _tensor(image.resize((width, height), Image.Resampling.BICUBIC).crop((left, top, left + size, top + size)))


def _image(channels: np.ndarray) -> Image.Image:
    pixels = channels if channels.dtype == np.uint8 else np.clip(np.rint(channels), 0, 255).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))


def _tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.asarray(image).transpose(2, 0, 1).astype(np.float32))


_TORCH: Mapping[str, Callable[[Tensor, int], Tensor]] = {
    "tf1-bilinear": tf1_bilinear,
    "torch-bilinear": partial(_interpolate, mode="bilinear", antialias=False),
    "torch-bilinear-antialias": partial(_interpolate, mode="bilinear", antialias=True),
    "torch-bicubic-antialias": partial(_interpolate, mode="bicubic", antialias=True),
}
_PIL: Mapping[str, Callable[[np.ndarray, int], Tensor]] = {
    "pil-bicubic-float": _pil_bicubic_float,
    "pil-bicubic-uint8": _pil_bicubic_uint8,
    "square-pil-bicubic-uint8": _square_then_uint8,
    "pil-bicubic-uint8-square": _uint8_then_square,
}
PIL_MODES = frozenset(_PIL)
