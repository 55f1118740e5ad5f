"""Haar wavelet packets: each image as its coefficients in 4^level frequency bands. No network and no weights.

A packet transform of ``level`` steps splits an image again and again into sums and differences of neighbouring pixels,
along both axes. For the Haar wavelet the steps together are one orthogonal map of every block of 2^level x 2^level
pixels: the Walsh functions, +1 or -1, with 0 to 2^level - 1 changes of sign along each axis. Band (p, q) has p changes
downwards and q to the right, so that band (0, 0) is the image averaged down, and the last band is a checkerboard.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from scipy.linalg import hadamard
from torch import Tensor

from ganeval.errors import InputError
from ganeval.images.resize import PillowResize
from ganeval.images.transfer import to_device
from ganeval.images.types import ImageBatch
from ganeval.parsing.arguments import option
from ganeval.protocol import Protocol

_BATCH = 64


def walsh_functions(level: int) -> np.ndarray:
    """(2^level, 2^level) of +1 and -1: one function a row, in the order of their changes of sign.

    >>> walsh_functions(2).tolist()
    [[1, 1, 1, 1], [1, 1, -1, -1], [1, -1, -1, 1], [1, -1, 1, -1]]
    """
    functions: np.ndarray = hadamard(2**level)
    changes = (np.diff(functions, axis=1) != 0).sum(axis=1)
    return functions[np.argsort(changes)]


def haar_packets(images: Tensor, level: int) -> Tensor:
    """Compute the orthonormal Haar wavelet packets of images, exactly where the pixels are whole numbers.

    Equal to the packets of ``ptwt`` up to their order and signs, to which no Frechet distance reacts.

    Shape:
        float (N, C, H, W) -> (N, 4^level, C * H * W / 4^level); band (p, q) is number 2^level * p + q.
    """
    n, channels, height, width = images.shape
    side = 2**level
    functions = torch.from_numpy(walsh_functions(level)).to(images)
    blocks = images.reshape(n, channels, height // side, side, width // side, side) @ functions.T
    blocks = blocks.transpose(3, 5) @ functions.T
    packets: Tensor = blocks.permute(0, 5, 3, 1, 2, 4).reshape(n, side * side, -1) / side
    return packets


def size_problem(height: int, width: int, level: int) -> str | None:
    """What is wrong with this size of images for packets of this level, and what to do; None if nothing is."""
    side = 2**level
    if not (height % side or width % side):
        return None
    size = f"{width} x {height} pixels"
    if min(height, width) < side:
        return (
            f"wavelet level {level} needs sides of at least {side} pixels; found {size}. "
            f"Lower {option('wavelet_level')}"
        )
    return (
        f"wavelet level {level} needs sides that are multiples of {side} pixels; found {size}. Lower "
        f"{option('wavelet_level')}, or resize or crop the images with {option('prepare')}"
    )


class HaarPackets:
    """What ``FeatureExtractor`` is to a network: batches of images in, rows of packets in units of 0 to 1 out.

    All images of a run have one size: that of the first one. A row holds the bands one after another.

    Args:
        protocol: of ``ganeval.protocol.wavelet_protocol``.

    Attributes:
        dimensions: empty until the first image is known.
    """

    prepare: PillowResize | None = None
    from_file, compiled, compiled_for_nothing = True, False, False
    warnings: tuple[str, ...] = ()

    def __init__(self, protocol: Protocol, device: torch.device, batch_size: int | None = None) -> None:
        self.protocol, self.device, self.batch_size = protocol, device, batch_size or _BATCH
        self.dimensions: Mapping[str, int] = {}
        self._level = int(protocol.layer)
        self._size: tuple[int, int] | None = None

    def tap(self, layer: str) -> str:
        """The only one."""
        return self.protocol.layer

    def release(self) -> None:
        """Nothing is kept on the device."""

    def __call__(self, batch: ImageBatch, /) -> dict[str, Tensor]:
        images = self._of_one_size(batch.images, batch.names)
        packets = haar_packets(to_device(images, self.device).float(), self._level)
        return {self.protocol.layer: packets.flatten(1) / 255}

    def _of_one_size(self, images: Tensor | Sequence[Tensor], names: Sequence[str]) -> Tensor:
        """Raises InputError at an image of another size, or of one that has no packets of this level."""
        for image, name in zip(images, names, strict=True):
            height, width = image.shape[1:]
            if self._size is None:
                if problem := size_problem(height, width, self._level):
                    raise InputError(f"fwd cannot take {name}: {problem}.")
                self._size = height, width
            if (height, width) != self._size:
                raise InputError(different_sizes(name, (height, width), "the images before it", self._size) + ".")
        return images if isinstance(images, Tensor) else torch.stack(list(images))


def different_sizes(one: str, size: tuple[int, int], before: str, other: tuple[int, int]) -> str:
    """What is wrong with images of two sizes, (height, width) each, and what to do."""
    return (
        f"fwd needs images of one size in both sets; found {size[1]} x {size[0]} pixels in {one} and "
        f"{other[1]} x {other[0]} in {before}. Bring them to one size with {option('prepare')}"
    )
