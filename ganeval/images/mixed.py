"""Images of several sizes in one tensor: one copy to an accelerator, and no operation for each image."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import overload

import numpy as np
import torch
from torch import Tensor

from ganeval.images.transfer import to_device


class MixedImages(Sequence[Tensor]):
    """Images of several sizes, of which a slice is one too.

    Args:
        data: flat, all images one after the other.
        shapes: (3, H, W) of each.
    """

    def __init__(self, data: Tensor, shapes: Sequence[tuple[int, ...]]) -> None:
        self.data, self.shapes = data, shapes
        self._ends = [0, *accumulate(math.prod(shape) for shape in shapes)]

    @classmethod
    def of(cls, images: Sequence[Tensor]) -> MixedImages:
        """The same images, copied unless they are stored so already."""
        if isinstance(images, MixedImages):
            return images
        return cls(torch.cat([image.flatten() for image in images]), [tuple(image.shape) for image in images])

    def __len__(self) -> int:
        return len(self.shapes)

    def __iter__(self) -> Iterator[Tensor]:
        sizes = [end - start for start, end in zip(self._ends, self._ends[1:], strict=False)]
        return map(Tensor.view, torch.split(self.data, sizes), self.shapes)

    @overload
    def __getitem__(self, index: int) -> Tensor: ...
    @overload
    def __getitem__(self, index: slice) -> MixedImages: ...
    def __getitem__(self, index: int | slice) -> Tensor | MixedImages:
        """Image ``index``, or those of a slice of step 1: views, not copies."""
        if isinstance(index, slice):
            start, stop, _ = index.indices(len(self))
            return MixedImages(self.data[self._ends[start] : self._ends[max(start, stop)]], self.shapes[start:stop])
        place = range(len(self))[index]
        return self.data[self._ends[place] : self._ends[place + 1]].view(self.shapes[place])

    def to(self, device: torch.device) -> MixedImages:
        """The same images on a device, sent as one tensor."""
        return MixedImages(to_device(self.data, device), self.shapes)


def join_images(pieces: Sequence[Tensor | Sequence[Tensor]]) -> Tensor | Sequence[Tensor]:
    """The images of all pieces, in order: (N, 3, H, W) where all have one size. One piece is returned as it is.

    Args:
        pieces: (n, 3, H, W) each, or images of several sizes.
    """
    if len(pieces) == 1 and isinstance(pieces[0], Tensor):
        return pieces[0]
    flat = [piece if isinstance(piece, Tensor) else MixedImages.of(piece) for piece in pieces]
    shapes = [shape for piece in flat for shape in _shapes(piece)]
    tensors = [piece if isinstance(piece, Tensor) else piece.data for piece in flat]
    if len({tensor.device for tensor in tensors}) > 1:
        return [image for piece in flat for image in piece]
    if len(set(shapes)) > 1:
        return MixedImages(torch.cat([tensor.flatten() for tensor in tensors]), shapes)
    if all(isinstance(piece, Tensor) for piece in flat):
        return torch.cat(tensors)
    return torch.cat([tensor.flatten() for tensor in tensors]).view(len(shapes), *shapes[0])


def _shapes(piece: Tensor | MixedImages) -> Sequence[tuple[int, ...]]:
    return [tuple(piece.shape[1:])] * len(piece) if isinstance(piece, Tensor) else piece.shapes


class Packing:
    """Collect images one by one into one tensor.

    Where all have one size, that is one tensor, made when the first of them comes. Others are kept until the end and
    joined.

    Args:
        n: images, at most.
        shared: put the tensor in memory that other processes can map.
    """

    def __init__(self, n: int, *, shared: bool = False) -> None:
        self._n, self._shared = n, shared
        self._data: Tensor | None = None
        self._filled = 0
        self._others: list[np.ndarray] = []  # from the first one of another size on

    def add(self, image: np.ndarray) -> None:
        """Add (3, H, W), of any strides."""
        if self._data is None:
            self._data = self._empty((self._n, *image.shape), image.dtype)
        if self._others or image.shape != self._data.shape[1:]:
            self._others.append(image)
        else:
            self._data.numpy()[self._filled] = image
            self._filled += 1

    def packed(self) -> tuple[Tensor, list[tuple[int, ...]] | None]:
        """(N, 3, H, W) and None; where sizes differ, all images one after the other and their shapes."""
        if self._data is None:
            return torch.empty(0, dtype=torch.uint8, device="cpu"), None
        data = self._data[: self._filled]
        if not self._others:
            return data, None
        images = [*data.numpy(), *self._others]
        flat = self._empty((sum(image.size for image in images),), images[0].dtype)
        np.concatenate([image.reshape(-1) for image in images], out=flat.numpy())
        return flat, [image.shape for image in images]

    def _empty(self, shape: tuple[int, ...], dtype: np.dtype) -> Tensor:
        if not self._shared:
            return torch.from_numpy(np.empty(shape, dtype))
        like = torch.from_numpy(np.empty(0, dtype))
        memory = torch.UntypedStorage._new_shared(math.prod(shape) * dtype.itemsize, device="cpu")  # type: ignore[no-untyped-call]
        shared: Tensor = like.set_(memory, 0, shape, torch.empty(shape, device="meta").stride())
        return shared
