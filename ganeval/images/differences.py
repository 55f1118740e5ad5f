"""What files of two sets tell of their history: shares that move a metric without the generator being to blame."""

from __future__ import annotations

from collections.abc import Mapping

from ganeval.images.decode import ORIENTATION

LOSSY = ("JPEG", "MPO", "WEBP")
MIXED = 0.01  # difference of two shares from which on it is told
TURNED = "EXIF orientation is ignored, and {} has it in {:.0%} of its images, {} in {:.0%}: turned in one set alone"


def lossy_share(formats: Mapping[str, int]) -> float | None:
    """The share of files with lossy compression; None where there are no files."""
    total = sum(formats.values())
    return sum(formats.get(name, 0) for name in LOSSY) / total if total else None


def turned_share(notes: Mapping[str, int], n: int | None) -> float:
    """The share of images whose orientation is said in their file, and ignored."""
    return notes.get(ORIENTATION, 0) / n if n else 0.0
