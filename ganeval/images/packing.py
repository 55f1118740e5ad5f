"""Decoded images of a chunk in one tensor, each copied once."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor


class Packing:
    """Takes images one by one and writes them to where they stay.

    Where all have one size, that is one tensor, made when the first of them comes. Others are kept until the end and
    joined.

    Args:
        n: images, at most.
        shared: the tensor lies in memory that other processes can map.
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
