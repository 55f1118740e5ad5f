"""What is wrong between the sides of an evaluation: things that move a metric without the generator being to blame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ganeval.errors import number_of
from ganeval.images.summary import MIXED, TURNED, differing_values, lossy_share, turned_share

if TYPE_CHECKING:
    from ganeval.engine.accumulator import Measured


def cautions(sides: Mapping[str, Measured]) -> list[str]:
    """A sentence for each: images in both sets, copies within a set, compression of one side alone.

    Args:
        sides: ``real``, ``fake``, ``test``, of those that there are.
    """
    said = []
    for one, other, meaning in (
        ("real", "fake", "the generator copies, or the sets are mixed up"),
        ("real", "test", "they were not held out"),
        ("test", "fake", "the sets are mixed up"),
    ):
        if one in sides and other in sides:
            shared = np.intersect1d(sides[one].image_digests, sides[other].image_digests).size
            if shared:
                images = number_of(shared, "image is", "images are")
                said.append(f"{images} in both {one} and {other}, pixel by pixel: {meaning}")
    for name, side in sides.items():
        distinct = np.unique(side.image_digests).size
        if repeated := len(side.image_digests) - distinct:
            copies = "is an exact copy" if repeated == 1 else "are exact copies"
            said.append(
                f"{repeated} of {len(side.image_digests)} {name} images {copies} of another one ({distinct} distinct)"
            )
    said.extend(_compression(sides))
    turned = {
        name: turned_share(side.provenance.get("notes") or {}, side.n)  # type: ignore[arg-type]
        for name, side in sides.items()
    }
    for name in ("fake", "test"):
        if "real" in turned and name in turned and abs(turned["real"] - turned[name]) > MIXED:
            said.append(TURNED.format("real", turned["real"], name, turned[name]))
        if "real" in sides and name in sides:
            real, side = sides["real"], sides[name]
            said += differing_values(real.pixels, side.pixels, ("real", name), (real.n or 0, side.n or 0))
    return said


def _compression(sides: Mapping[str, Measured]) -> list[str]:
    formats = {name: found for name, side in sides.items() if (found := formats_of(side.provenance))}
    lossy = {name: share for name, found in formats.items() if (share := lossy_share(found)) is not None}
    said = []
    for name in ("fake", "test"):
        if "real" in lossy and name in lossy and abs(lossy["real"] - lossy[name]) > MIXED:
            listed = (f"{side} {_counts(formats[side])}" for side in ("real", name))
            said.append(
                f"file formats differ: {', '.join(listed)}. Traces of lossy compression alone move a distance: save "
                "both sets losslessly, or both the same way"
            )
    return said


def formats_of(provenance: Mapping[str, Any]) -> dict[str, int]:
    """Encoded images by format; of a statistics file, those that it was made of. Empty where none is known."""
    meta = provenance.get("meta") or {}
    found = provenance.get("formats") or (meta.get("source") or {}).get("formats") or {}
    return {str(name): int(count) for name, count in found.items()}


def _counts(formats: Mapping[str, int]) -> str:
    return " and ".join(f"{count} {name}" for name, count in sorted(formats.items(), key=lambda pair: -pair[1]))
