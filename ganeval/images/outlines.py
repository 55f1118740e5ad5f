"""Outlines of the rendered shapes as signed distances, and the fields that fill areas, antialiased.

A distance is negative inside, and shapes about fill the unit circle; y points down, ``detail`` in [0, 1) is a
proportion of the shape. Only operations that IEEE 754 rounds exactly: bits do not depend on the machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float64]
Outline = Callable[[Field, Field, float], Field]


def edge(distance: Field, width: float) -> Field:
    """1 where the signed distance is negative, 0 where positive, linear over ``width`` in between."""
    out: Field = distance * (-1.0 / width)
    out += 0.5
    return np.clip(out, 0.0, 1.0, out=out)


def bands(t: Field, period: float, share: float, pixel: float) -> Field:
    """1 in bands, one of them centred at t = 0, that take ``share`` of each period."""
    phase = t * (1.0 / period) + 0.5
    phase -= np.floor(phase)
    return edge((np.abs(phase - 0.5) - share / 2) * period, pixel)


def dots(p: Field, q: Field, radius: float, pixel: float) -> Field:
    """1 in a disc at the centre of each unit cell."""
    p, q = p - np.floor(p) - 0.5, q - np.floor(q) - 0.5
    return edge(np.sqrt(p * p + q * q) - radius, pixel)


def clouds(values: Field, x: Field, y: Field) -> Field:
    """The values on a grid over the frame from -1 to 1, smoothly interpolated at columns x and rows y."""
    cells = len(values) - 1

    def knots(t: Field) -> tuple[NDArray[np.intp], Field]:
        place = (t.ravel() + 1.0) * (cells / 2)
        whole = np.floor(place)
        part = place - whole
        return whole.astype(np.intp), part * part * (3.0 - 2.0 * part)

    (row, down), (column, right) = knots(y), knots(x)
    lines = values[row] + down[:, None] * (values[row + 1] - values[row])
    return np.asarray(lines[:, column] + right * (lines[:, column + 1] - lines[:, column]))


def direction(angle: float, length: float = 1.0) -> tuple[float, float]:
    """Cosine and sine, rounded, because their last bit is the C library's choice."""
    return round(length * math.cos(angle), 9), round(length * math.sin(angle), 9)


def _arrow(x: Field, y: Field, detail: float) -> Field:
    x = np.abs(x)
    head = np.maximum(y + 0.05, 0.7682212795973759 * x - 0.6401843996644799 * (y + 0.95))
    shaft = np.maximum(x - (0.23 + 0.12 * detail), np.maximum(-0.1 - y, y - 0.93))
    return np.minimum(head, shaft)


def _crescent(x: Field, y: Field, detail: float) -> Field:
    bite = x - (0.42 + 0.16 * detail)
    return np.maximum(np.sqrt(x * x + y * y) - 0.97, 0.78 - np.sqrt(bite * bite + y * y))


def _cross(x: Field, y: Field, detail: float) -> Field:
    x, y, half = np.abs(x), np.abs(y), 0.24 + 0.12 * detail
    return np.minimum(np.maximum(x - 0.93, y - half), np.maximum(x - half, y - 0.93))


def _disc(x: Field, y: Field, _: float) -> Field:
    return np.sqrt(x * x + y * y) - 0.92


def _heart(x: Field, y: Field, _: float) -> Field:
    """A square on its corner, and a disc on each of its upper sides."""
    x, y = np.abs(x) / 1.1, y / 1.1 - 0.07
    lobe_x, lobe_y = x - 0.35355339059327373, y + 0.35355339059327373
    square = (x + np.abs(y)) * 0.7071067811865476 - 0.5
    return np.minimum(square, np.sqrt(lobe_x * lobe_x + lobe_y * lobe_y) - 0.5) * 1.1


def _hexagon(x: Field, y: Field, _: float) -> Field:
    x, y = np.abs(x), np.abs(y)
    return np.maximum(y, 0.8660254037844386 * x + 0.5 * y) - 0.84


def _ring(x: Field, y: Field, detail: float) -> Field:
    return np.abs(np.sqrt(x * x + y * y) - 0.7) - (0.17 + 0.1 * detail)


def _square(x: Field, y: Field, _: float) -> Field:
    return np.maximum(np.abs(x), np.abs(y)) - 0.74


_FIVE = tuple(direction(math.radians(90 + 72 * k)) for k in range(5))


def _star(x: Field, y: Field, detail: float) -> Field:
    """A point is in the pentagram if at most one of the five half-planes lacks it: the second largest distance."""
    largest = second = np.full(np.broadcast_shapes(x.shape, y.shape), -9.0)
    for c, s in _FIVE:
        d = x * c + y * s
        second = np.maximum(second, np.minimum(largest, d))
        largest = np.maximum(largest, d)
    return second - (0.34 + 0.06 * detail)


def _triangle(x: Field, y: Field, _: float) -> Field:
    return np.maximum(y, 0.8660254037844386 * np.abs(x) - 0.5 * y) - 0.52


OUTLINES: dict[str, Outline] = {
    "arrow": _arrow,
    "crescent": _crescent,
    "cross": _cross,
    "disc": _disc,
    "heart": _heart,
    "hexagon": _hexagon,
    "ring": _ring,
    "square": _square,
    "star": _star,
    "triangle": _triangle,
}
