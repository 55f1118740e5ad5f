"""What can be wrong with images, in degrees: pure functions on uint8 arrays of shape (N, H, W, 3).

Every function takes the level and a seed, and what is drawn at random is the same at every level (the same noise, the
same places, the same images replaced first), so that levels differ by the level alone and can be compared in pairs.
Level 0 changes nothing. The levels that the tests use are those of the suite of Heusel et al. 2017.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Images = NDArray[np.uint8]


def noise(images: Images, alpha: float, seed: int = 0) -> Images:
    """(1 - alpha) X + alpha N with standard normal N, images in [-1, 1]."""
    drawn = np.random.default_rng(seed).standard_normal(images.shape, dtype=np.float32)
    return _to_bytes(((1 - alpha) * (images / 127.5 - 1) + alpha * drawn + 1) * 127.5)


def blur(images: Images, sigma: float) -> Images:
    """Gaussian blur; ``sigma`` in pixels, borders mirrored."""
    if sigma == 0:
        return images.copy()
    return _to_bytes(ndimage.gaussian_filter(images.astype(np.float32), (0, sigma, sigma, 0), mode="reflect"))


def rectangles(images: Images, share: float, seed: int = 0, *, count: int = 5) -> Images:
    """``count`` black squares, each ``share`` of the image's side, at random places inside the image."""
    out = images.copy()
    height, width = images.shape[1:3]
    tall, wide = round(share * height), round(share * width)
    places = np.random.default_rng(seed).random((len(images), count, 2))
    for image, corners in zip(out, places, strict=True):
        for down, right in corners:
            top, left = int(down * (height - tall + 1)), int(right * (width - wide + 1))
            image[top : top + tall, left : left + wide] = 0
    return out


def swirl(images: Images, strength: float, *, radius: float = 25.0) -> Images:
    """Turned around the centre by ``strength`` radians there, fading as exp(-5 rho / (radius log 2))."""
    if strength == 0:
        return images.copy()
    height, width = images.shape[1:3]
    y, x = np.mgrid[:height, :width].astype(np.float64)
    y, x = y - (height - 1) / 2, x - (width - 1) / 2
    angle = np.arctan2(y, x) + strength * np.exp(-np.hypot(x, y) * 5 / (radius * np.log(2)))
    rows = np.hypot(x, y) * np.sin(angle) + (height - 1) / 2
    columns = np.hypot(x, y) * np.cos(angle) + (width - 1) / 2
    planes = images.transpose(0, 3, 1, 2).reshape(-1, height, width).astype(np.float32)
    moved = np.stack([ndimage.map_coordinates(p, [rows, columns], order=1, mode="reflect") for p in planes])
    return _to_bytes(moved.reshape(len(images), 3, height, width).transpose(0, 2, 3, 1))


def salt_and_pepper(images: Images, share: float, seed: int = 0) -> Images:
    """Each pixel, all channels together, black or white with probability ``share``."""
    rng = np.random.default_rng(seed)
    hit = rng.random(images.shape[:3]) < share
    white = rng.random(images.shape[:3]) < 0.5
    return np.where(hit[..., None], np.where(white[..., None], np.uint8(255), np.uint8(0)), images)


def contaminate(images: Images, others: Images, share: float, seed: int = 0) -> Images:
    """A ``share`` of the images replaced by images of another kind."""
    out = images.copy()
    rows = np.random.default_rng(seed).permutation(len(images))[: round(share * len(images))]
    out[rows] = others[: len(rows)]
    return out


def shuffle_tiles(images: Images, grid: int, seed: int = 0) -> Images:
    """The tiles of a ``grid`` x ``grid`` partition in random order, another one for each image."""
    n, height, width, channels = images.shape
    tall, wide = height // grid, width // grid
    if tall * grid != height or wide * grid != width:
        raise ValueError(f"{height} x {width} pixels cannot be cut into {grid} x {grid} equal tiles")
    tiles = images.reshape(n, grid, tall, grid, wide, channels).swapaxes(2, 3).reshape(n, grid * grid, tall, wide, -1)
    order = np.random.default_rng(seed).random((n, grid * grid)).argsort(axis=1)
    tiles = np.take_along_axis(tiles, order[:, :, None, None, None], axis=1)
    return tiles.reshape(n, grid, grid, tall, wide, channels).swapaxes(2, 3).reshape(images.shape)


def drop_modes(
    images: Images, labels: NDArray[np.int64], kept: int, reserve: Images, reserve_labels: NDArray[np.int64]
) -> Images:
    """Images of classes ``kept`` and above give way to images of the classes below, spread evenly, from a reserve."""
    out = images.copy()
    rows = np.flatnonzero(labels >= kept)
    by_class = [np.flatnonzero(reserve_labels == c) for c in range(kept)]
    for place, row in enumerate(rows):
        out[row] = reserve[by_class[place % kept][place // kept]]
    return out


def collapse(images: Images, distinct: int) -> Images:
    """Only the first ``distinct`` images, again and again."""
    return images[np.arange(len(images)) % distinct]


def _to_bytes(values: NDArray[np.floating]) -> Images:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
