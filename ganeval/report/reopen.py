"""The images of a run, opened again as its document describes them, and used only if their digests agree."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ganeval.errors import GanEvalError, InputError, number_of
from ganeval.generators.load import open_source
from ganeval.images.grammar import parse_spec
from ganeval.images.options import LikeReal
from ganeval.images.preparation import parse_preparation, prepared
from ganeval.images.specs import closed_to_documents
from ganeval.images.types import ImageSource, NumberedSource

# Images at these places of an image set, uint8 (H, W, 3) each, without those that changed since they were measured.
# Raises InputError where none is available; the message is a clause that says why.
Look = Callable[[str, Sequence[int]], Mapping[int, np.ndarray]]

_MOST = 10**7  # largest number of images from which a document may have drawn a subset
_SIDES = {"real": "REAL", "fake": "FAKE"}
# Errors of a damaged or forged description of a set, which can have any value in place of a number.
_FAILURES = (GanEvalError, TypeError, ValueError, ArithmeticError, AttributeError, OSError, MemoryError)


def looker(
    provenance: Mapping[str, Mapping[str, Any]], arrays: Mapping[str, np.ndarray], *, trusted: bool, **options: Any
) -> Look:
    """A function that opens images of a run.

    Args:
        provenance: of ``real`` and ``fake``, as the document has it.
        arrays: the digests of single images.
        trusted: the user named the sets in this command. A document alone can start no program: then only specs that
            ``closed_to_documents`` allows are opened.
        options: of ``open_source``, for what documents do not contain: ``data_root``, ``prompts`` and their column.
    """
    opened: dict[str, tuple[NumberedSource, Sequence[int]]] = {}

    def look(side: str, places: Sequence[int]) -> Mapping[int, np.ndarray]:
        told = provenance[side]
        digests = arrays.get(f"{side}_image_digests", np.empty(0, np.uint64))
        if not len(digests):
            raise InputError(f"there are no digests of the single images of {_SIDES[side]} to recognise them")
        if side not in opened:
            known = arrays.get(f"{side}_places")
            opened[side] = (
                _opened(side, told, len(digests), trusted=trusted, options=options)
                if known is None
                else _opened_at(side, told, known, trusted=trusted, options=options)
            )
        return _matching(*opened[side], places, digests)

    return look


def _opened(
    side: str, told: Mapping[str, Any], n: int, *, trusted: bool, options: Mapping[str, Any]
) -> tuple[NumberedSource, Sequence[int]]:
    """The source, and the place in it of each image that was measured."""
    source = open_again(side, told, n, trusted=trusted, options=options)
    if not isinstance(source, NumberedSource):
        raise InputError(f"{source.spec} is a stream: its images can be read only once")
    skipped = {name for name, _ in told.get("skipped", ())}
    now = source.length
    places: Sequence[int] = range(now)
    if skipped and n <= now <= n + len(skipped):  # before a list of this length is made
        names = source.names() or []
        places = [i for i in places if names[i] not in skipped]
        now = len(places)
    if now != n:
        raise InputError(f"{source.spec} held {number_of(n, 'image')} when it was measured and holds {now} now")
    return source, places


def _opened_at(
    side: str, told: Mapping[str, Any], places: np.ndarray, *, trusted: bool, options: Mapping[str, Any]
) -> tuple[NumberedSource, Sequence[int]]:
    """The source of images whose places in it are known, such as the partners of other images."""
    rows = [int(place) for place in places.tolist()]
    n = max(rows, default=0) + 1
    source = open_again(side, told, n, trusted=trusted, options=options)
    if not isinstance(source, NumberedSource) or min(rows, default=0) < 0 or source.length < n:
        raise InputError(f"{source.spec} does not hold the images that were measured")
    return source, rows


def open_again(side: str, told: Mapping[str, Any], n: int, *, trusted: bool, options: Mapping[str, Any]) -> ImageSource:
    """The source of ``n`` images that a document describes.

    Raises:
        InputError: there are no images to open, or opening would run a program that only a document names.
    """
    spec = told.get("spec")
    if told.get("kind") in ("statistics", "features") or not isinstance(spec, str):
        raise InputError(
            f"{_SIDES[side]} was given as statistics or features, or from Python: there are no images to open"
        )
    named = parse_spec(spec)
    if not trusted and (why := closed_to_documents(named)) is not None:
        raise InputError(why)
    if ((told.get("subset") or {}).get("of") or 0) > _MOST:
        raise InputError(f"repeating a draw from more than {_MOST} images of {spec} would take too long")
    if told.get("prompts") is None:
        options = {name: value for name, value in options.items() if name not in ("prompts", "caption_column")}
    elif options.get("prompts") is None:
        raise InputError("its images were made with prompts, which are not in the document")
    try:
        source = open_source(named, **_how(told, n), **options)
        if not (steps := told.get("prepare")) or (preparation := parse_preparation(str(steps))).patches is not None:
            return source
        return prepared(source, preparation, 0)  # the seed is of patches
    except _FAILURES as error:
        raise InputError(f"{spec} cannot be opened again ({_first(error)})") from error


def _how(told: Mapping[str, Any], n: int) -> dict[str, Any]:
    """The options with which the set was opened."""
    subset = told.get("subset") or {}
    inner = told.get("source") or {}
    latents, ends = told.get("latents"), told.get("value_range")
    return {
        "num": subset.get("n"),
        "seed": subset.get("seed", told.get("seed", inner.get("seed", 0))),
        "num_samples": subset.get("of", n),
        "value_range": None if ends is None else tuple(ends),
        "latent_dim": tuple(latents) if isinstance(latents, list) else None,
        "num_classes": told.get("num_classes"),
        "label_distribution": _distribution(told),
        "keep_mode": bool(told.get("keep_mode")),
        "image_column": told.get("image_column"),
    }


def _distribution(told: Mapping[str, Any]) -> str | LikeReal | None:
    kind = told.get("label_distribution")
    if kind == "given":
        raise InputError("its images were made with a file of labels, which is not in the document")
    return LikeReal(tuple(told.get("class_frequencies") or ())) if kind == "like-real" else kind


def _matching(
    source: NumberedSource, members: Sequence[int], places: Sequence[int], digests: np.ndarray
) -> dict[int, np.ndarray]:
    wanted = sorted(set(places))
    found: dict[int, np.ndarray] = {}
    at = 0
    try:
        for batch in source.part([members[place] for place in wanted]).batches(32):
            for i, image in enumerate(batch.images):
                if batch.digests is not None and batch.digests[i] == digests[wanted[at]]:
                    found[wanted[at]] = image.permute(1, 2, 0).cpu().numpy()
                at += 1
    except _FAILURES as error:
        raise InputError(f"{source.spec} cannot be read again ({_first(error)})") from error
    if not found:
        raise InputError(f"the images of {source.spec} are not those that were measured: their digests differ")
    return found


def _first(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
