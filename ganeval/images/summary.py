"""A summary of the pixels of an image set, and sentences on values that are probably a mistake.

A summary is a ``Counter`` of whole numbers, added up image by image, rank by rank and update by update. It covers the
images that were decoded in this run: where ``n`` is less than the images of the set, some were recalled, and nothing is
reported on values.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

import numpy as np

from ganeval.errors import listed_counts
from ganeval.images.decode import ORIENTATION

LOSSY = ("JPEG", "MPO", "WEBP")
MIXED = 0.01  # difference of two shares from which on it is reported
TURNED = "EXIF orientation is ignored, and {} has it in {:.0%} of its images, {} in {:.0%}: turned in one set alone"
_SIZE = "size "
_LEVEL = "level "
_CHANNELS = ("red", "green", "blue")
_UNIT = 256  # of sums of channel means, so that they are whole numbers
_GRID = 64  # rows and columns of an image of which the means are taken
_DIM = 16  # levels of a 12-bit image that is read as one of 16 bits
_FEW = 8  # images; with fewer nothing is reported
# differences of mean logarithms, of area and of aspect ratio, from which on it is reported
_SCALED, _RESHAPED = 0.1, 0.02
_LISTED = 20  # sizes in a document
_MOST, _LITTLE = 0.98, 0.5  # shares of stretched images: of nearly all of one set, and no more than this of the other


def summarise(array: np.ndarray) -> dict[str, int]:
    """One image, uint8 (H, W, 3)."""
    height, width = array.shape[:2]
    low, high = int(array.min()), int(array.max())
    part = array[:: max(1, height // _GRID), :: max(1, width // _GRID)].astype(np.float32).reshape(-1, 3)
    sums = np.ones(len(part), np.float32) @ part  # whole numbers below 2^24, so exact
    means = sums.astype(np.float64) / len(part)
    counts = {"n": 1, "dark": int(high <= 1), "dim": int(high <= _DIM), "bright": int(low >= 127), "stretched": 0}
    counts[f"{_SIZE}{width}x{height}"] = 1
    for name, mean in zip(_CHANNELS, means.tolist(), strict=True):
        counts[name] = round(mean * _UNIT)
        counts[f"{name} squared"] = round(mean * mean * _UNIT)
    if low == 0 and high == 255 and ((part > 0) & (part < 255)).any():  # of two values nothing was stretched
        counts["stretched"] = 1
    if low == high:
        counts[f"{_LEVEL}{low}"] = 1
    return counts


def add_counts(total: Counter[str], image: Mapping[str, int]) -> None:
    """Add one image; ``Counter.update`` takes fifty microseconds for it."""
    for key, count in image.items():
        total[key] = total.get(key, 0) + count


def sizes_of(summary: Mapping[str, int]) -> Counter[str]:
    """Images by "WIDTHxHEIGHT"."""
    return Counter({key.removeprefix(_SIZE): count for key, count in summary.items() if key.startswith(_SIZE)})


def listed_sizes(summary: Mapping[str, int], n: int) -> dict[str, int] | None:
    """The most frequent sizes, and how many images have another; None where not all images are known."""
    if summary.get("n", 0) != n:
        return None
    sizes = sizes_of(summary)
    found = dict(sizes.most_common(_LISTED))
    return found | ({"other": rest} if (rest := n - sum(found.values())) else {})


def impossible_values(summary: Mapping[str, int], value_range: tuple[float, float] | None, n: int) -> list[str]:
    """What the values of one set cannot be, as they were declared.

    Args:
        value_range: the declared one; None for 8-bit images.
        n: images of the set.
    """
    if n < _FEW or summary.get("n", 0) != n:
        return []
    levels = {key: count for key, count in summary.items() if key.startswith(_LEVEL)}
    if sum(levels.values()) == n:
        if len(levels) == 1:
            return [f"all {n} images are of one single value: nothing was drawn, or what was drawn was not kept"]
        return [f"each of the {n} images is of one single value: there is nothing in them to compare"]
    low, high = value_range or (0.0, 255.0)
    if summary["dark"] == n and (low, high) == (0.0, 255.0):
        return [
            f"no value of the {n} images is above 1, in a range of 0 to 255: values of 0 to 1 were cast without "
            "scaling. Multiply by 255 before the cast, or declare the range of the floats"
        ]
    if value_range is not None and summary.get("dim") == n:
        return [
            f"all values of the {n} images are in the lowest sixteenth of the declared range {low:g}..{high:g}: it is "
            "probably far too wide, as 0..65535 is for values of 8 or 12 bits. Declare the range that the values have"
        ]
    if summary["bright"] == n and low < 0:
        return [
            f"no value of the {n} images is below the middle of the declared range {low:g}..{high:g}: they are "
            f"probably in 0..{high:g}. Declare that range"
        ]
    return []


def differing_values(
    one: Mapping[str, int], other: Mapping[str, int], names: tuple[str, str], n: tuple[int, int]
) -> list[str]:
    """What of two sets differs by how their images were made, not by what they show.

    Args:
        names: of the sets, for messages.
        n: images of the sets.
    """
    sentences = []
    sets = one, other
    sizes = [sizes_of(summary) for summary in sets]
    known = all(summary.get("n", 0) == count for summary, count in zip(sets, n, strict=True))
    if not known or min(n) == 0:
        return []
    (mean, error), (another, its_error) = map(_logarithms, sizes)
    scaled, reshaped = np.abs(mean - another) > np.maximum((_SCALED, _RESHAPED), 4 * np.sqrt(error + its_error))
    # two draws of many sizes have hardly one in common; what moves a metric is how far they are scaled
    if set(sizes[0]) != set(sizes[1]) and (min(map(len, sizes)) == 1 or scaled):
        each = ", ".join(f"{name} {listed_counts(size, 4)}" for name, size in zip(names, sizes, strict=True))
        text = f"sizes differ: {each}. Resizing one set more than the other moves a metric by itself"
        sentences.append(text + ("; so do their aspect ratios" if reshaped else ""))
    if min(n) < _FEW:
        return sentences
    if channels_swapped(*sets):
        sentences.append(
            f"the mean colours of {names[0]} and {names[1]} agree much better with red and blue exchanged: one of them "
            "was probably written as BGR"
        )
    shares = [summary["stretched"] / count for summary, count in zip(sets, n, strict=True)]
    for i, j in ((0, 1), (1, 0)):
        if shares[i] >= _MOST and shares[j] <= _LITTLE:
            sentences.append(
                f"{shares[i]:.0%} of {names[i]} reach from 0 to 255 exactly, {shares[j]:.0%} of {names[j]} do: each "
                f"image of {names[i]} was probably stretched to its own extremes (normalize=True). Save them by a "
                "fixed range"
            )
    return sentences


def channels_swapped(one: Mapping[str, int], other: Mapping[str, int]) -> bool:
    """Whether the mean colours agree within sampling error with red and blue exchanged, and far from it as they are."""

    def moments(summary: Mapping[str, int], name: str) -> tuple[float, float]:
        n = summary["n"]
        mean = summary[name] / n / _UNIT
        return mean, max(0.0, summary[f"{name} squared"] / n / _UNIT - mean * mean) / n + 1e-4

    def distance(pairs: tuple[tuple[str, str], ...]) -> float:
        found = 0.0
        for a, b in pairs:
            (mean, error), (another, its_error) = moments(one, a), moments(other, b)
            found = max(found, abs(mean - another) / math.sqrt(error + its_error))
        return found

    as_they_are = distance((("red", "red"), ("blue", "blue")))
    exchanged = distance((("red", "blue"), ("blue", "red")))
    return as_they_are > 6 and exchanged < 3


def _logarithms(sizes: Counter[str]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and squared standard error of the logarithms of area and of aspect ratio."""
    sides = np.log([[int(side) for side in size.split("x")] for size in sizes])
    both = np.stack([sides.sum(axis=1), sides[:, 0] - sides[:, 1]], axis=1)
    counts = np.array(list(sizes.values()))
    mean = np.average(both, axis=0, weights=counts)
    return mean, np.average((both - mean) ** 2, axis=0, weights=counts) / counts.sum()


def lossy_share(formats: Mapping[str, int]) -> float | None:
    """The share of files with lossy compression; None where there are no files."""
    total = sum(formats.values())
    return sum(formats.get(name, 0) for name in LOSSY) / total if total else None


def turned_share(notes: Mapping[str, int], n: int | None) -> float:
    """The share of images whose orientation is said in their file, and ignored."""
    return notes.get(ORIENTATION, 0) / n if n else 0.0
