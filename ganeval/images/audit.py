"""What is wrong with a set of images, before any compute is spent on it; and what differs between two sets."""

from __future__ import annotations

import functools
import io
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from ganeval.errors import listed, listed_counts, number_of
from ganeval.images.decode import UnreadableImage, digest, find_fault, format_of, open_image
from ganeval.images.indexed import IndexedSource
from ganeval.images.names import ignored_files_text
from ganeval.images.summary import (
    MIXED,
    TURNED,
    add_counts,
    differing_values,
    impossible_values,
    lossy_share,
    summarise,
    turned_share,
)
from ganeval.images.types import ImageSource

_INSIDE = ("first_names", "summary", "value_range")
_LISTED = 20  # names in a report; the counts are complete


@dataclass(slots=True)
class Audit:
    """The findings on one image set. Lists of names hold the first few; the counts are complete.

    Attributes:
        spec: the set.
        n: images that can be used.
        formats: encoded images, by format.
        modes: encoded images, by Pillow's name of their mode.
        suffixes: encoded images, by suffix.
        sizes: images, by "WIDTHxHEIGHT".
        ignored: files that were left out, by suffix, or as ``hidden``.
        notes: what decoding does to images that are not plain 8-bit RGB.
        corrupt: (name, reason).
        n_corrupt: how many.
        duplicates: groups of names whose pixels are identical.
        n_duplicates: images that have an identical one before them.
        jpeg_quality: lowest, median and highest estimate, of the scale of the Independent JPEG Group.
        grey: images whose three channels are equal.
        levels: the smallest and the largest value, in 0..255, over all pixels.
        channel_mean: of red, green and blue, in 0..255, over all pixels.
        channel_std: their standard deviations, over all pixels.
        summary: see ``ganeval.images.summary``; not in ``to_dict``.
        value_range: the declared range of values; not in ``to_dict``.
        first_names: digest of every different image, and the first name it has; not in ``to_dict``.
    """

    spec: str
    n: int = 0
    formats: Counter[str] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)
    suffixes: Counter[str] = field(default_factory=Counter)
    sizes: Counter[str] = field(default_factory=Counter)
    ignored: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    corrupt: list[tuple[str, str]] = field(default_factory=list)
    n_corrupt: int = 0
    duplicates: list[list[str]] = field(default_factory=list)
    n_duplicates: int = 0
    jpeg_quality: dict[str, float] | None = None
    grey: int = 0
    levels: list[int] | None = None
    channel_mean: list[float] | None = None
    channel_std: list[float] | None = None
    summary: Counter[str] = field(default_factory=Counter)
    value_range: tuple[float, float] | None = None
    first_names: dict[int, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The same in values that JSON can hold; counts from the most frequent down."""
        found = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _INSIDE}
        for name, value in found.items():
            if isinstance(value, Counter):
                found[name] = dict(value.most_common())
        found["corrupt"] = [list(pair) for pair in self.corrupt]
        return found

    def problems(self) -> list[str]:
        """A sentence for everything that someone who is about to compute a metric should know."""
        sentences = []
        if self.n_corrupt:
            names = ", ".join(name for name, _ in self.corrupt[:3])
            more = f" and {self.n_corrupt - 3} more" if self.n_corrupt > 3 else ""
            sentences.append(f"{number_of(self.n_corrupt, 'image')} cannot be read: {names}{more}.")
        if self.n_duplicates:
            example = ", ".join(self.duplicates[0][:3])
            copies = number_of(self.n_duplicates, "image is an exact copy", "images are exact copies")
            sentences.append(f"{copies} of another one, for example {example}.")
        if len(self.sizes) > 1:
            sentences.append(f"{len(self.sizes)} different sizes: {listed_counts(self.sizes)}.")
        if len(self.formats) > 1:
            sentences.append(f"Several file formats: {listed_counts(self.formats)}.")
        if (others := ignored_files_text(self.ignored)) is not None:
            sentences.append(f"{others}.")
        sentences.extend(_sentences(impossible_values(self.summary, self.value_range, self.n)))
        sentences.extend(f"{number_of(count, 'image')}: {note}." for note, count in self.notes.most_common())
        return sentences


def audit(source: ImageSource, *, decode: bool = True) -> Audit:
    """Look at every image of a source.

    Args:
        source: what ``open_images`` returned.
        decode: decode the pixels too. Without, only headers and ends of files are read: no damage in the middle of a
            file, no duplicates, no channel statistics, no notes; a source without files is then only counted.
    """
    ends = source.describe().get("value_range")
    value_range = (float(ends[0]), float(ends[1])) if isinstance(ends, list) else None
    found = Audit(source.spec, ignored=Counter(source.report.ignored), value_range=value_range)
    pixels = _PixelFindings() if decode else None
    if isinstance(source, IndexedSource) and source.images.encoded:
        _look_at_files(source, found, pixels)
    elif pixels is not None:
        _look_at_pixels(source, found, pixels)
    else:
        found.n = source.length or 0
    if pixels is not None:
        pixels.write_to(found)
    return found


def compare_audits(real: Audit, fake: Audit) -> list[str]:
    """What differs between two sets in a way that moves a metric without saying anything about the generator."""
    sentences = []
    lossy = [lossy_share(one.formats) for one in (real, fake)]
    if None not in lossy and abs((lossy[0] or 0) - (lossy[1] or 0)) > MIXED:
        sentences.append(
            f"File formats differ: real {listed_counts(real.formats)}, fake {listed_counts(fake.formats)}. "
            "The traces of JPEG compression alone move a Frechet distance; save both sets losslessly, or both the same "
            "way."
        )
    elif real.jpeg_quality and fake.jpeg_quality:
        one, other = real.jpeg_quality["median"], fake.jpeg_quality["median"]
        if abs(one - other) >= 5:
            sentences.append(f"JPEG qualities differ: median about {one:g} for real, {other:g} for fake.")
    turned = [turned_share(one.notes, one.n) for one in (real, fake)]
    if abs(turned[0] - turned[1]) > MIXED:
        sentences.append(TURNED.format("real", turned[0], "fake", turned[1]) + ".")
    sentences.extend(_sentences(differing_values(real.summary, fake.summary, ("real", "fake"), (real.n, fake.n))))
    if real.channel_mean and fake.channel_mean:
        sentences.extend(_compare_pixels(real, fake))
    shared = sorted(fake.first_names[key] for key in real.first_names.keys() & fake.first_names.keys())
    if shared:
        sentences.append(
            f"{number_of(len(shared), 'image is', 'images are')} in both sets, pixel by pixel: {listed(shared)}. "
            "If the fakes are meant to be new, the sets are mixed up, or the generator copies."
        )
    return sentences


class _PixelFindings:
    """Findings that need decoded pixels; the moments come from exact histograms."""

    def __init__(self) -> None:
        self._grey = 0
        self._summary = Counter[str]()
        self._histograms = np.zeros((3, 256), dtype=np.int64)
        self._groups: dict[int, list[str]] = {}

    def update(self, name: str, array: np.ndarray) -> None:
        """Take in one image, uint8 (H, W, 3)."""
        for channel in range(3):
            self._histograms[channel] += np.bincount(array[..., channel].ravel(), minlength=256)
        add_counts(self._summary, summarise(array))
        self._grey += bool((array == array[..., :1]).all())
        self._groups.setdefault(digest(array), []).append(name)

    def write_to(self, found: Audit) -> None:
        found.grey, found.summary = self._grey, self._summary
        if self._groups:
            shares = self._histograms / self._histograms.sum(1, keepdims=True)
            found.levels = np.flatnonzero(self._histograms.any(axis=0))[[0, -1]].tolist()
            levels = np.arange(256)
            mean = shares @ levels
            found.channel_mean = mean.tolist()
            found.channel_std = np.sqrt((shares * (levels - mean[:, None]) ** 2).sum(1)).tolist()
        copies = [names for names in self._groups.values() if len(names) > 1]
        found.n_duplicates = sum(len(names) - 1 for names in copies)
        found.duplicates = [names[:_LISTED] for names in copies[:_LISTED]]
        found.first_names = {key: names[0] for key, names in self._groups.items()}


def jpeg_quality(table: Sequence[int]) -> int:
    """The quality, 1 to 100, whose luminance table in the Independent JPEG Group's scale is nearest in sum.

    Args:
        table: 64 quantisation steps, in any order.
    """
    return int(np.abs(_quality_sums() - sum(table)).argmin()) + 1


@functools.cache
def _quality_sums() -> np.ndarray:
    """The sum of the luminance table of each quality from 1 to 100, as libjpeg writes it."""
    sums = []
    for quality in range(1, 101):
        file = io.BytesIO()
        Image.new("L", (8, 8)).save(file, "JPEG", quality=quality)
        image: Any = open_image(io.BytesIO(file.getvalue()))
        sums.append(sum(image.quantization[0]))
    return np.array(sums)


def _look_at_files(source: IndexedSource, found: Audit, pixels: _PixelFindings | None) -> None:
    qualities: list[int] = []
    for index in source.indices.tolist():
        name = source.images.name(index)
        found.suffixes[PurePosixPath(name).suffix.lower()] += 1
        try:
            data = source.images.read(index)
            image: Any = open_image(io.BytesIO(data))
            decoded = source.images.decoder(data) if pixels is not None else None
            if decoded is None and (fault := find_fault(io.BytesIO(data))):
                raise UnreadableImage(fault)
        except UnreadableImage as error:
            _corrupt(found, name, str(error))
            continue
        found.n += 1
        found.formats[str(format_of(image, data))] += 1
        found.modes[image.mode] += 1
        if tables := getattr(image, "quantization", None):
            qualities.append(jpeg_quality(tables[min(tables)]))
        width, height = image.size
        if pixels is not None and decoded is not None:
            height, width = decoded.array.shape[:2]
            found.notes.update(decoded.notes)
            pixels.update(name, decoded.array)
        found.sizes[f"{width}x{height}"] += 1
    if qualities:
        median = float(statistics.median(qualities))
        found.jpeg_quality = {"min": min(qualities), "median": median, "max": max(qualities)}


def _look_at_pixels(source: ImageSource, found: Audit, pixels: _PixelFindings) -> None:
    for batch in source.batches(64, on_error="skip"):
        for name, image in zip(batch.names, batch.images, strict=True):
            found.n += 1
            found.sizes[f"{image.shape[2]}x{image.shape[1]}"] += 1
            pixels.update(name, image.permute(1, 2, 0).cpu().numpy())
    found.notes.update(source.report.notes)
    for name, reason in source.report.skipped:
        _corrupt(found, name, reason)


def _corrupt(found: Audit, name: str, reason: str) -> None:
    found.n_corrupt += 1
    if len(found.corrupt) < _LISTED:
        found.corrupt.append((name, reason))


def _compare_pixels(real: Audit, fake: Audit) -> list[str]:
    sentences = []
    shares = [side.grey / side.n for side in (real, fake)]
    if abs(shares[0] - shares[1]) > 0.1:
        sentences.append(f"Grey images: {shares[0]:.0%} of real, {shares[1]:.0%} of fake.")
    means, stds = [side.channel_mean or [] for side in (real, fake)], real.channel_std or []
    shift = max(abs(a - b) for a, b in zip(*means, strict=True))
    # a shift beyond what sampling explains: a tenth of the spread of pixels, and two grey levels at least
    if shift > max(2.0, 0.1 * max(stds)):
        one, other = (", ".join(f"{m:.1f}" for m in mean) for mean in means)
        sentences.append(f"Mean colours differ by up to {shift:.1f} grey levels: real ({one}), fake ({other}).")
    return sentences


def _sentences(clauses: Sequence[str]) -> list[str]:
    return [f"{clause[0].upper()}{clause[1:]}." for clause in clauses]
