"""Whether images suit wavelet packets, as far as that is known before the first one is drawn."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ganeval.features.wavelets import different_sizes, size_problem
from ganeval.images.decode import UnreadableImage
from ganeval.images.types import ImageSource
from ganeval.parsing.arguments import option

MOST_BYTES = 256 * 2**20  # packets of one image set that a run takes unasked, or that the cache keeps
_BYTES_PER_PIXEL = 3 * 4


def known_size(source: ImageSource) -> tuple[int, int] | None:
    """Height and width of the images behind their steps, where all have one size and ``check`` has found it."""
    if source.image_size is None or source.steps is None:
        return source.image_size
    try:
        height, width, _ = source.steps(np.zeros((*source.image_size, 3), np.uint8)).shape
    except UnreadableImage:
        return None
    return height, width


def packet_bytes(source: ImageSource) -> int | None:
    """Memory of the packets of an image set; None where it is not known beforehand."""
    size = known_size(source)
    return None if size is None or source.length is None else source.length * size[0] * size[1] * _BYTES_PER_PIXEL


def obstacle_to_packets(sources: Mapping[str, ImageSource | None], level: int, *, asked: bool) -> str | None:
    """Why fwd cannot be computed of these images, or is not computed unasked.

    Args:
        sources: by image set; None for images that come later.
        asked: whether it was asked for by name; only a known fault is then an obstacle.
    """
    sizes = {name: None if source is None else known_size(source) for name, source in sources.items()}
    known = {name: size for name, size in sizes.items() if size is not None}
    for name, size in known.items():
        if problem := size_problem(*size, level):
            return f"{name}: {problem}"
    if len(set(known.values())) > 1:
        return different_sizes("REAL", known["real"], "FAKE", known["fake"])
    if asked:
        return None
    by_name = f"ask for it by name: {option('metrics', 'fwd')}"
    if unknown := [name for name in sizes if name not in known]:
        return (
            f"it takes images of one size, and the size of the {' and '.join(unknown)} images is not the same for "
            f"all, or not known before they are drawn; {by_name}"
        )
    needed = {name: None if source is None else packet_bytes(source) for name, source in sources.items()}
    if large := [name for name, size in needed.items() if size is None or size > MOST_BYTES]:
        return (
            f"the wavelet packets of the {' and '.join(large)} images take more than {MOST_BYTES >> 20} MB; {by_name}"
        )
    return None
