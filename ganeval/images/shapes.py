"""Rendered images that need no download: ten classes of shapes on gradients and textures, any size and number.

Image ``i`` depends on ``(seed, i)`` alone, and a scene looks the same at every size: it is described in a frame that
reaches from -1 to 1, and drawn from signed distances, whose last pixel is the antialiasing.

``plain`` and ``striped`` are two domains of the *same scenes*, so the true pair of a translation between them is
known: pixels that no object touches are equal bit for bit. Every plain image has one striped one: the objects show
through a fixed grating of upright bands, sixteen to the frame, each object's own colour darkened to a fifth. Objects
stand upright within 20 degrees and take 50 to 85 % of the frame, on gradients and clouds. ``mixed`` has smaller objects
(35 to 75 %), turned freely and filled in several ways, and also chequered and dotted grounds.

Bits do not depend on the machine: the random numbers are raw 64-bit words of Philox, whose stream numpy guarantees,
and pixels see only operations that IEEE 754 rounds exactly (no sine, no power, no matrix product, no sum).
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ganeval.errors import InputError
from ganeval.images.outlines import OUTLINES, Field, Outline, bands, clouds, direction, dots, edge

Colour = tuple[float, float, float]

CLASSES: tuple[str, ...] = tuple(OUTLINES)
VARIANTS = ("mixed", "plain", "striped")
MIN_SIZE, MAX_SIZE = 8, 4096
_DRAWS = 128  # random numbers for an image; a scene takes 124
_WORD = 2**64 - 1
_UPRIGHT = math.radians(20)
_GRATING = 0.125  # period of the stripes: 4 pixels of 64, 2 of 32, borders between two pixels of both
_DARKENED = 0.2


def render(index: int, *, seed: int = 0, size: int = 32, variant: str = "mixed") -> NDArray[np.uint8]:
    """One image, uint8 of shape (size, size, 3), in a fraction of a millisecond.

    Raises:
        InputError: a negative index, a size out of range, or an unknown variant.

    >>> render(7, size=16).shape
    (16, 16, 3)
    """
    scene = _scene(index, seed, size, variant)
    x, y = _grid(size)
    image = _background(scene.ground, x, y, 2.0 / size)
    for item in scene.items:
        _paint(image, item, scene, variant, x, y, 2.0 / size)
    image *= 255.0
    image += 0.5
    np.clip(image, 0.0, 255.0, out=image)
    return image.astype(np.uint8)


def label(index: int, *, seed: int = 0) -> int:
    """The class of the main object, an index into ``CLASSES``; independent and uniform over the images."""
    return _kind(_Draws(index, seed))


def coverage(index: int, *, seed: int = 0, size: int = 32, variant: str = "plain") -> Field:
    """The share of each pixel that objects cover, (size, size) in [0, 1].

    ``plain`` and ``striped`` may differ where it is above 0, and nowhere else.
    """
    x, y = _grid(size)
    bare = np.ones((size, size))
    for item in _scene(index, seed, size, variant).items:
        bare *= 1.0 - _cover(item, *_local(item, x, y), 2.0 / size)
    return 1.0 - bare


class _Draws:
    """Uniform numbers of one image, always taken in the same order."""

    def __init__(self, index: int, seed: int) -> None:
        if index < 0:
            raise InputError(f"Rendered images are numbered from 0; got index {index}.")
        words = np.random.Philox(key=np.array([seed & _WORD, index], np.uint64)).random_raw(_DRAWS)
        self._left: Iterator[float] = iter(((words >> np.uint64(11)) * 2.0**-53).tolist())

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        return low + (high - low) * next(self._left)

    def grid(self, rows: int) -> Field:
        return np.array([[next(self._left) for _ in range(rows)] for _ in range(rows)])

    def colour(self, saturation: tuple[float, float], value: tuple[float, float]) -> Colour:
        return colorsys.hsv_to_rgb(self.uniform(), self.uniform(*saturation), self.uniform(*value))


@dataclass(frozen=True, slots=True)
class _Object:
    shape: Outline
    x: float
    y: float
    radius: float  # of the circle around it; the frame reaches from -1 to 1
    axis: tuple[float, float]  # cosine and sine of its turn
    stretch: float
    detail: float  # a proportion of the shape, in [0, 1)
    colour: Colour
    tone: Colour  # the second one: bands, rims, dots
    fill: int


@dataclass(frozen=True, slots=True)
class _Ground:
    kind: int
    colours: tuple[Colour, Colour]
    axis: tuple[float, float]
    scale: float
    place: float
    coarse: Field
    fine: Field
    texture: float


@dataclass(frozen=True, slots=True)
class _Scene:
    ground: _Ground
    light: tuple[float, float]  # direction of the shading, with its strength as length
    shadow: float
    items: tuple[_Object, ...]  # drawn in this order


def _scene(index: int, seed: int, size: int, variant: str) -> _Scene:
    if variant not in VARIANTS:
        raise InputError(f"Unknown variant {variant!r} of the rendered images. Available: {', '.join(VARIANTS)}.")
    if not MIN_SIZE <= size <= MAX_SIZE:
        raise InputError(f"Rendered images have {MIN_SIZE} to {MAX_SIZE} pixels a side; got {size}.")
    draw = _Draws(index, seed)
    kind = _kind(draw)
    mixed = variant == "mixed"
    radius = draw.uniform(*((0.35, 0.75) if mixed else (0.5, 0.85)))
    x, y = (draw.uniform(-0.9, 0.9) * (1.0 - radius) for _ in "xy")
    light = direction(draw.uniform(0, 2 * math.pi), draw.uniform(0.06, 0.2))
    shadow = draw.uniform(-0.35, 0.6)
    ground = _ground(draw, mixed)
    main = _object(draw, kind, x, y, radius, ground, mixed)
    # A second, small one in the corner that the main one leaves free.
    accompanied = draw.uniform() < 0.25
    kind, radius = _kind(draw), draw.uniform(0.16, 0.22)
    x, y = (math.copysign(draw.uniform(0.66, 0.76), -other) for other in (x, y))
    second = _object(draw, kind, x, y, radius, ground, mixed)
    return _Scene(ground, light, shadow, (second, main) if accompanied else (main,))


def _kind(draw: _Draws) -> int:
    return int(draw.uniform(0, len(CLASSES)))


def _object(draw: _Draws, kind: int, x: float, y: float, radius: float, ground: _Ground, mixed: bool) -> _Object:
    name = CLASSES[kind]
    turn, tilt, stretch = draw.uniform(0, 2 * math.pi), draw.uniform(-_UPRIGHT, _UPRIGHT), draw.uniform(0.88, 1.14)
    if name in ("disc", "ring"):
        tilt = 0.0  # it would not be visible
    if name in ("disc", "ring", "square"):
        stretch = 1.0
    brightness = (0.3, 1.0) if mixed else (0.5, 1.0)  # dark bands must show on every object
    candidates = [draw.colour((0.25, 1.0), brightness) for _ in range(4)]
    contrast = draw.uniform(0.5, 1.2)
    colour = next((c for c in candidates if _contrast(c, ground) > contrast), None)
    colour = colour or max(candidates, key=lambda c: _contrast(c, ground))
    bright = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 0.42
    tone = _mix(colour, (0.0, 0.0, 0.0) if bright else (1.0, 1.0, 1.0), 0.85)
    return _Object(
        shape=OUTLINES[name],
        x=x,
        y=y,
        radius=radius,
        axis=direction(turn if mixed else tilt),
        stretch=stretch,
        detail=draw.uniform(),
        colour=colour,
        tone=tone,
        fill=int(draw.uniform(0, 8)),
    )


def _ground(draw: _Draws, mixed: bool) -> _Ground:
    kind = int(draw.uniform(0, 6 if mixed else 4))
    first, second = draw.colour((0.05, 0.8), (0.15, 1.0)), draw.colour((0.05, 0.8), (0.1, 1.0))
    least, most = ((0.35, 1.0), (0.35, 1.0), (0.7, 1.0), (0.7, 1.0), (0.25, 0.7), (0.3, 0.8))[kind]
    return _Ground(
        kind=kind,
        colours=(first, _mix(first, second, draw.uniform(least, most))),
        axis=direction(draw.uniform(0, 2 * math.pi)),
        scale=draw.uniform(),
        place=draw.uniform(),
        coarse=draw.grid(4),
        fine=draw.grid(7),
        texture=draw.uniform(0.0, 0.25),
    )


def _mix(a: Colour, b: Colour, share: float) -> Colour:
    red, green, blue = (p + (q - p) * share for p, q in zip(a, b, strict=True))
    return red, green, blue


def _contrast(colour: Colour, ground: _Ground) -> float:
    """How far, in sums of absolute differences of the three channels, a colour is from both of the background."""
    return min(sum(abs(p - q) for p, q in zip(colour, other, strict=True)) for other in ground.colours)


@lru_cache(maxsize=8)
def _grid(size: int) -> tuple[Field, Field]:
    """Columns (1, size) and rows (size, 1): the pixels' centres."""
    centres = (2.0 * np.arange(size) + 1.0) / size - 1.0
    centres.setflags(write=False)
    return centres[None, :], centres[:, None]


# Objects


def _local(item: _Object, x: Field, y: Field) -> tuple[Field, Field]:
    """The frame in which the object is upright and has radius 1."""
    (c, s), r = item.axis, item.radius
    dx, dy = x - item.x, y - item.y
    return dx * (c / (r * item.stretch)) + dy * (s / (r * item.stretch)), dy * (c / r) - dx * (s / r)


def _cover(item: _Object, u: Field, v: Field, pixel: float) -> Field:
    return edge(item.shape(u, v, item.detail), pixel / item.radius)


def _paint(image: Field, item: _Object, scene: _Scene, variant: str, x: Field, y: Field, pixel: float) -> None:
    u, v = _local(item, x, y)
    if scene.shadow > 0:  # soft, away from the light
        away = 3.0 * item.radius
        cast = _local(item, x + away * scene.light[0], y + away * scene.light[1])
        dark = edge(item.shape(*cast, item.detail), 0.35)
        image *= (1.0 - scene.shadow * dark)[:, :, None]
    cover = _cover(item, u, v, pixel)
    if variant == "striped":
        share: Field | None = bands(x + (1.0 - _GRATING / 4), _GRATING, 0.5, pixel)
        tones: Colour = _mix(item.colour, (0.0, 0.0, 0.0), 1.0 - _DARKENED)
    else:
        share, tones = _second_tone(item, variant, u, v, pixel / item.radius), item.tone
    shade = 1.0 + (x - item.x) * (scene.light[0] / item.radius) + (y - item.y) * (scene.light[1] / item.radius)
    for channel, (colour, tone) in enumerate(zip(item.colour, tones, strict=True)):
        paint = shade * colour if share is None else shade * (colour + share * (tone - colour))
        plane = image[:, :, channel]
        plane += cover * (paint - plane)


def _second_tone(item: _Object, variant: str, u: Field, v: Field, pixel: float) -> Field | None:
    """Where an object has its second tone, as a share of the pixel, or None for nowhere."""
    along = u * item.stretch  # in true lengths
    fill = 0 if variant == "plain" else item.fill
    if fill == 3:
        # A small object has fewer and relatively wider bands: they must survive 32 pixels.
        return bands(along, max(0.5, 0.19 / item.radius), 0.5, pixel)
    if fill == 4:  # a ball
        return 0.6 * np.clip(np.sqrt((along + 0.3) * (along + 0.3) + (v + 0.3) * (v + 0.3)) * 0.8, 0.0, 1.0)
    if fill == 5:  # a rim
        return edge(-0.14 - item.shape(u, v, item.detail), pixel)
    if fill == 6:  # two halves
        return edge(along, pixel)
    if fill == 7:  # dots
        return dots(along * 2.5, v * 2.5, 0.3, pixel * 2.5)
    return None


# Backgrounds: a field in [0, 1] that mixes two colours, a weak texture over it


def _background(ground: _Ground, x: Field, y: Field, pixel: float) -> Field:
    (c, s), scale, place = ground.axis, ground.scale, ground.place
    along, across = x * c + y * s, y * c - x * s
    if ground.kind == 0:  # a linear gradient
        field = np.clip(0.5 + along * (0.4 + 0.5 * scale), 0.0, 1.0)
    elif ground.kind == 1:  # a radial one
        p, q = x - c * 0.7 * place, y - s * 0.7 * place
        field = np.clip(np.sqrt(p * p + q * q) * (0.6 + 0.5 * scale), 0.0, 1.0)
    elif ground.kind in (2, 3):  # clouds
        field = np.clip(clouds(ground.coarse, x, y) * 1.6 - 0.3, 0.0, 1.0)
    elif ground.kind == 4:  # a chequered ground
        period = 0.45 + 0.5 * scale
        p, q = bands(along + place, period, 0.5, pixel), bands(across, period, 0.5, pixel)
        field = p + q - 2.0 * p * q
    else:  # dots
        period = 0.3 + 0.35 * scale
        field = dots((along + place) / period, across / period, 0.22 + 0.12 * place, pixel / period)
    grain = 1.0 + ground.texture * (clouds(ground.fine, x, y) - 0.5) * 2.0
    planes = [grain * (a + field * (b - a)) for a, b in zip(*ground.colours, strict=True)]
    return np.clip(np.stack(planes, axis=2), 0.0, 1.0)
