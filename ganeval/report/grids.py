"""Grids of images on a page: chosen by the values of single images alone, then opened."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import numpy as np
from PIL import Image

from ganeval.errors import InputError, number_of
from ganeval.report.reopen import Look

MANY, FEW = 30, 10  # full rows on a wide screen
PIXELS = 96  # longest side on the page, and in the file
NEAR = 0.1  # of the distance between neighbouring reals: nearer is a near copy
_QUALITY = 85
_SEED = 0
Arrays = Mapping[str, np.ndarray]
_NO_REALISM = "realism, which comes with precision and recall,"
# Of each ranked grid: title, text, array, sign of its values (the smallest come first), caption, what is missing.
_RANKED = (
    (
        "Least realistic fakes",
        "Farthest outside the balls around reals. Realism below 1: inside none of them.",
        *("realism_fake", 1, "realism {:.2f}", _NO_REALISM),
    ),
    (
        "Most realistic fakes",
        "Deepest inside the balls around reals; ∞: equal to a real in all features.",
        *("realism_fake", -1, "realism {:.2f}", _NO_REALISM),
    ),
    (
        "Fakes that raise the Frechet distance most",
        "By influence: how much the distance would grow if there were more like them, in its own units.",
        *("fid_influence_fake", -1, "influence {:+.3g}"),
        "the influence of each fake, which comes with the interval of the Frechet distance,",
    ),
)
_NOT_MEASURED = "Left out: the run did not search for neighbours across the sets; measure with --report or --per-image."


@dataclass(frozen=True, slots=True)
class Choice:
    """Images that belong together.

    Attributes:
        title: of the grid.
        text: how the images were chosen, and what to look for.
        side: ``real`` or ``fake``.
        places: in that set.
        captions: one each.
        partners: places in the other set, one each, for pairs.
        missing: why there are none.
    """

    title: str
    text: str
    side: str = "fake"
    places: tuple[int, ...] = ()
    captions: tuple[str, ...] = ()
    partners: tuple[int, ...] = ()
    missing: str | None = None


@dataclass(frozen=True, slots=True)
class Tile:
    """One image or several, with a caption; ``images`` are (data URI, alternative text)."""

    images: tuple[tuple[str, str], ...]
    caption: str


@dataclass(frozen=True, slots=True)
class Grid:
    title: str
    text: str
    tiles: tuple[Tile, ...] = ()
    missing: str | None = None
    note: str | None = None


def choose(arrays: Arrays, n_fake: int) -> list[Choice]:
    """The grids of a run, from its values of single images."""
    draw = np.sort(np.random.default_rng(_SEED).permutation(n_fake)[:MANY])
    least, most, raising = (_ranked(arrays, *one) for one in _RANKED)
    random = of_fakes("Random fakes", f"{len(draw)} of {n_fake}, drawn at random.", arrays, draw)
    return [random, least, most, _pairs(arrays), _uncovered(arrays), raising, *_novel(arrays)]


def _novel(arrays: Arrays) -> list[Choice]:
    """The fakes along each of the modes that KEN found."""
    text = "By KEN: the fakes whose features point most along a mode that is more frequent in FAKE than in REAL."
    return [
        _ranked(arrays, f"Mode {k} that FAKE has and REAL has not", text, key, -1, "squared cosine {:.2f}", "")
        for k in range(1, len(arrays) + 1)
        if (key := f"ken_mode{k}_fake") in arrays
    ]


def call(ratio: float, distance: float, same_pixels: bool) -> str:
    """What a fake is, compared with its nearest real."""
    if same_pixels:
        return "copy, pixel by pixel"
    if distance == 0:
        return "copy: the same features"
    if ratio <= NEAR:
        return "near copy"
    return "nearer than any real" if ratio < 1 else "not a copy"


def show(choice: Choice, look: Look, arrays: Arrays) -> Grid:
    """The images of a choice, or a sentence on why they are missing."""
    if choice.missing is not None:
        return Grid(choice.title, choice.text, missing=choice.missing)
    other = "real" if choice.side == "fake" else "fake"
    try:
        images = look(choice.side, choice.places)
        partners = look(other, choice.partners) if choice.partners else {}
    except InputError as error:
        return Grid(choice.title, choice.text, missing=f"Left out: {error}.")
    tiles = []
    for i, (place, caption) in enumerate(zip(choice.places, choice.captions, strict=True)):
        members = [(choice.side, place, images)]
        if choice.partners:
            members.append((other, choice.partners[i], partners))
        if all(where in available for _, where, available in members):
            shown = [(data_uri(found[at]), f"{side} image {name_of(arrays, side, at)}") for side, at, found in members]
            tiles.append(Tile(tuple((uri, f"{alt}; {caption}") for uri, alt in shown), caption))
    lost = len(choice.places) - len(tiles)
    note = f"{number_of(lost, 'image has', 'images have')} changed since the measurement." if lost else None
    missing = "Left out: all of these images have changed since the measurement." if not tiles else None
    return Grid(choice.title, choice.text, tuple(tiles), missing, note)


def name_of(arrays: Arrays, side: str, place: int) -> str:
    """The file of an image, or its number."""
    names = arrays.get(f"{side}_image_names")
    return f"#{place}" if names is None else str(names[place])


def data_uri(image: np.ndarray) -> str:
    """An image, uint8 (H, W, 3), as a data URI: small ones in PNG, unchanged; larger ones reduced, in JPEG."""
    picture, buffer = Image.fromarray(image), io.BytesIO()
    if max(picture.size) > PIXELS:
        return reduced(picture, PIXELS)
    picture.save(buffer, "PNG", optimize=True)
    return encoded("png", buffer.getvalue())


def reduced(picture: Image.Image, pixels: int) -> str:
    """A picture with a longest side of ``pixels``, in JPEG, as a data URI."""
    buffer = io.BytesIO()
    picture.thumbnail((pixels, pixels), Image.Resampling.LANCZOS)
    picture.save(buffer, "JPEG", quality=_QUALITY)
    return encoded("jpeg", buffer.getvalue())


def encoded(kind: str, content: bytes) -> str:
    """The bytes of an image file as a data URI."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def of_fakes(title: str, text: str, arrays: Arrays, places: np.ndarray, words: Sequence[str] | None = None) -> Choice:
    """Fakes at these places, with their names as captions, and words on each where there are some."""
    names = [PurePosixPath(name_of(arrays, "fake", place)).name for place in places.tolist()]
    captions = names if words is None else [f"{name}: {word}" for name, word in zip(names, words, strict=True)]
    return Choice(title, text, "fake", tuple(places.tolist()), tuple(captions))


def _ranked(arrays: Arrays, title: str, text: str, key: str, sign: int, form: str, lacking: str) -> Choice:
    """The fakes whose values times ``sign`` are smallest."""
    values = arrays.get(key)
    if values is None:
        return Choice(title, text, missing=f"Left out: {lacking} is not among the values of this run.")
    places = np.argsort(sign * values, kind="stable")[:FEW]
    words = [form.format(v) if np.isfinite(v) else form.partition("{")[0] + "∞" for v in values[places].tolist()]
    return of_fakes(title, text, arrays, places, words)


def _pairs(arrays: Arrays) -> Choice:
    title = "Fakes next to their nearest reals"
    text = (
        "Left the fake, right the real nearest to it in features; the smallest number first. The number is their "
        "distance over the distance of the real from its own nearest real. Below 1 the fake is nearer than any real "
        "is, which happens for some of any independent images; at most 0.1 is called a near copy, 0 a copy."
    )
    ratios, partners, distances = (arrays.get(f"nearest_{key}_fake") for key in ("ratio", "real", "distance"))
    if ratios is None or partners is None or distances is None:
        return Choice(title, text, missing=_NOT_MEASURED)
    places = np.argsort(ratios, kind="stable")[:FEW]
    nearest = partners[places].tolist()
    words = []
    for i, j in zip(places.tolist(), nearest, strict=True):
        digests = [arrays.get(f"{side}_image_digests", np.empty(0)) for side in ("fake", "real")]
        same_pixels = all(map(len, digests)) and bool(digests[0][i] == digests[1][j])
        words.append(f"{ratios[i]:.2f}, {call(float(ratios[i]), float(distances[i]), same_pixels)}")
    return replace(of_fakes(title, text, arrays, places, words), partners=tuple(nearest))


def _uncovered(arrays: Arrays) -> Choice:
    title, text = "Reals that no fake covers", "No fake is in their ball; the farthest from any fake first."
    covered, distance = arrays.get("covered_real"), arrays.get("nearest_distance_real")
    if covered is None:
        return Choice(title, text, missing="Left out: coverage is not among the values of this run.")
    places = np.flatnonzero(covered == 0)
    if not len(places):
        return Choice(title, text, missing="Every real is covered.")
    if distance is None:
        return Choice(title, text, missing=_NOT_MEASURED)
    count, places = len(places), places[np.argsort(-distance[places], kind="stable")[:MANY]]
    captions = tuple(
        f"{PurePosixPath(name_of(arrays, 'real', i)).name}: {distance[i]:.3g} from a fake" for i in places.tolist()
    )
    text = f"{count} of {len(covered)} reals have no fake in their ball; the farthest from any fake first."
    return Choice(title, text, "real", tuple(places.tolist()), captions)
