"""Which images to look at, and why these: chosen by the values of single images alone, then looked up."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import numpy as np
from PIL import Image

from ganeval.errors import InputError
from ganeval.report.reopen import Look

MANY, FEW = 30, 10  # a whole number of rows on a wide screen
PIXELS = 96  # longest side on the page, and in the file
NEAR = 0.1  # of the distance between neighbouring reals: nearer is a near copy
_QUALITY = 85
_SEED = 0
Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class Choice:
    """Images that belong together.

    Attributes:
        title: of the grid.
        told: one sentence: how they were chosen, and what to look for.
        side: ``real`` or ``fake``.
        places: in that side.
        captions: one each.
        beside: places in the other side, one each, for pairs.
        missing: why there is nothing to show.
    """

    title: str
    told: str
    side: str = "fake"
    places: tuple[int, ...] = ()
    captions: tuple[str, ...] = ()
    beside: tuple[int, ...] = ()
    missing: str | None = None


@dataclass(frozen=True, slots=True)
class Tile:
    """One image, or a pair, with its words; ``images`` are (data URI, alternative text)."""

    images: tuple[tuple[str, str], ...]
    caption: str


@dataclass(frozen=True, slots=True)
class Grid:
    title: str
    told: str
    tiles: tuple[Tile, ...] = ()
    missing: str | None = None
    note: str | None = field(default=None)


def choose(arrays: Arrays, n_fake: int) -> list[Choice]:
    """The grids of a run, from its values of single images."""
    draw = np.sort(np.random.default_rng(_SEED).permutation(n_fake)[:MANY])
    realism = arrays.get("realism_fake")
    return [
        _of("Random fakes", f"{len(draw)} of {n_fake}, drawn without looking.", arrays, draw),
        _ranked(
            "Least realistic fakes",
            "Farthest outside the balls around reals. Realism below 1: inside none of them.",
            arrays,
            realism,
            "realism {:.2f}",
        ),
        _ranked(
            "Most realistic fakes",
            "Deepest inside the balls around reals; ∞: equal to a real in all features.",
            arrays,
            None if realism is None else -realism,
            "realism {:.2f}",
            sign=-1,
        ),
        _pairs(arrays),
        _uncovered(arrays),
        _ranked(
            "Fakes that raise the Frechet distance most",
            "By influence: what the distance would gain if there were more like them, in its own units.",
            arrays,
            None if (x := arrays.get("fid_influence_fake")) is None else -x,
            "influence {:+.3g}",
            sign=-1,
            lacking="its influence values, which come with the interval of the Frechet distance,",
        ),
    ]


def call(ratio: float, distance: float, same_pixels: bool) -> str:
    """What is to be said of a fake and its nearest real."""
    if same_pixels:
        return "copy, pixel by pixel"
    if distance == 0:
        return "copy: the same features"
    if ratio <= NEAR:
        return "near copy"
    return "nearer than any real" if ratio < 1 else "no copy"


def show(choice: Choice, look: Look, arrays: Arrays) -> Grid:
    """The images of a choice, or a sentence on why they are not there."""
    if choice.missing is not None:
        return Grid(choice.title, choice.told, missing=choice.missing)
    other = "real" if choice.side == "fake" else "fake"
    try:
        found = look(choice.side, choice.places)
        beside = look(other, choice.beside) if choice.beside else {}
    except InputError as error:
        return Grid(choice.title, choice.told, missing=f"Left out: {error}.")
    tiles = []
    for i, (place, caption) in enumerate(zip(choice.places, choice.captions, strict=True)):
        members = [(choice.side, place, found)]
        if choice.beside:
            members.append((other, choice.beside[i], beside))
        if all(where in images for _, where, images in members):
            shown = tuple(
                (data_uri(images[where]), f"{side} image {name_of(arrays, side, where)}; {caption}")
                for side, where, images in members
            )
            tiles.append(Tile(shown, caption))
    lost = len(choice.places) - len(tiles)
    note = f"{lost} more are no longer the images that were measured." if lost else None
    missing = "Left out: none of these images is still the one that was measured." if not tiles else None
    return Grid(choice.title, choice.told, tuple(tiles), missing, note)


def name_of(arrays: Arrays, side: str, place: int) -> str:
    """The file of an image, or its number."""
    names = arrays.get(f"{side}_image_names")
    return f"#{place}" if names is None else str(names[place])


def data_uri(image: np.ndarray) -> str:
    """uint8 (H, W, 3): small images as they are, in PNG; larger ones reduced, in JPEG."""
    picture, buffer = Image.fromarray(image), io.BytesIO()
    if max(picture.size) <= PIXELS:
        picture.save(buffer, "PNG", optimize=True)
        return _uri(buffer, "png")
    picture.thumbnail((PIXELS, PIXELS), Image.Resampling.LANCZOS)
    picture.save(buffer, "JPEG", quality=_QUALITY)
    return _uri(buffer, "jpeg")


def _uri(buffer: io.BytesIO, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _of(title: str, told: str, arrays: Arrays, places: np.ndarray, words: Sequence[str] | None = None) -> Choice:
    names = [PurePosixPath(name_of(arrays, "fake", place)).name for place in places.tolist()]
    captions = names if words is None else [f"{name}: {word}" for name, word in zip(names, words, strict=True)]
    return Choice(title, told, "fake", tuple(places.tolist()), tuple(captions))


def _ranked(
    title: str,
    told: str,
    arrays: Arrays,
    values: np.ndarray | None,
    form: str,
    *,
    sign: int = 1,
    lacking: str = "realism, which comes with precision and recall,",
) -> Choice:
    """The fakes with the smallest values."""
    if values is None:
        return Choice(title, told, missing=f"Left out: {lacking} is not among the values of this run.")
    places = np.argsort(values, kind="stable")[:FEW]
    words = [
        form.format(v) if np.isfinite(v) else form.partition("{")[0] + "∞" for v in (sign * values[places]).tolist()
    ]
    return _of(title, told, arrays, places, words)


_NOT_MEASURED = "Left out: the run did not look for neighbours across the sets; measure with --report or --per-image."


def _pairs(arrays: Arrays) -> Choice:
    title = "Fakes beside their nearest reals"
    told = (
        "Left the fake, right the real nearest to it in features; the most suspicious first. The number is their "
        "distance over that of the real from its own nearest real. Below 1 the fake is nearer than any real is, as "
        "some of any independent images are; at most 0.1 is called a near copy, 0 a copy."
    )
    ratios = arrays.get("nearest_ratio_fake")
    if ratios is None:
        return Choice(title, told, missing=_NOT_MEASURED)
    places = np.argsort(ratios, kind="stable")[:FEW]
    if "nearest_real_fake" not in arrays or "nearest_distance_fake" not in arrays:
        return Choice(title, told, missing=_NOT_MEASURED)
    beside = arrays["nearest_real_fake"][places]
    words = []
    for i, j in zip(places.tolist(), beside.tolist(), strict=True):
        ratio, distance = float(ratios[i]), float(arrays["nearest_distance_fake"][i])
        words.append(f"{ratio:.2f}, {call(ratio, distance, _same_pixels(arrays, i, j))}")
    chosen = _of(title, told, arrays, places, words)
    return Choice(title, told, "fake", chosen.places, chosen.captions, tuple(beside.tolist()))


def _same_pixels(arrays: Arrays, fake: int, real: int) -> bool:
    digests = [arrays.get(f"{side}_image_digests", np.empty(0)) for side in ("fake", "real")]
    return all(map(len, digests)) and bool(digests[0][fake] == digests[1][real])


def _uncovered(arrays: Arrays) -> Choice:
    title, told = "Reals that no fake covers", "No fake lies in their ball; the farthest from any fake first."
    covered, distance = arrays.get("covered_real"), arrays.get("nearest_distance_real")
    if covered is None:
        return Choice(title, told, missing="Left out: coverage is not among the values of this run.")
    places = np.flatnonzero(covered == 0)
    if not len(places):
        return Choice(title, told, missing="Every real is covered.")
    if distance is None:
        return Choice(title, told, missing=_NOT_MEASURED)
    count, places = len(places), places[np.argsort(-distance[places], kind="stable")[:MANY]]
    captions = tuple(
        f"{PurePosixPath(name_of(arrays, 'real', i)).name}: {distance[i]:.3g} from a fake" for i in places.tolist()
    )
    told = f"{count} of {len(covered)} reals have no fake in their ball; the farthest from any fake first."
    return Choice(title, told, "real", tuple(places.tolist()), captions)
