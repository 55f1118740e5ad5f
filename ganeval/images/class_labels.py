"""Class labels for the images of a conditional generator."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ganeval.errors import InputError
from ganeval.images.options import LikeReal, OpenOptions
from ganeval.images.types import ImageSource

Options = TypeVar("Options", bound=OpenOptions)
_LABEL, _ORDER, _START = 1, 4, 5  # parts of the stream of one number, see ``ganeval.images.latents``
_GOLDEN = (5**0.5 - 1) / 2
_LISTED = 5
_WHOLE, _LONGEST = re.compile(r"-?[0-9]+"), 40  # of a label in a file, and its characters
_DIGITS = 18  # of the largest label that is taken for a number


class ClassLabels:
    """Labels of generated images: the label of image i depends only on (seed, i), or is given.

    ``uniform`` draws each label independently. ``balanced`` gives every class once, in a random order, to each run of
    ``num_classes`` images. ``like-real`` reads the cumulated frequencies of the real images at the places
    u, u + g, u + 2 g, ... modulo 1, with u of the seed and the golden ratio g: any run of images has them to
    within a few labels, and their chance adds nothing to a distance.

    Args:
        spec: the generator, as the user knows it.
        options: ``num_classes``, None to derive it from the given labels; ``label_distribution``, see above, None for
            ``uniform``; ``labels`` of the images, or a text file with one label a line; ``num_samples``.

    Raises:
        InputError: options that contradict each other, labels out of range, or another number of them than of images.
    """

    def __init__(self, spec: str, options: OpenOptions) -> None:
        num_classes, distribution, given = options.num_classes, options.label_distribution, options.labels
        self.given = None if given is None else read_labels(given)
        if self.given is not None:
            if distribution is not None:
                raise InputError("labels and label_distribution both say which labels to use; give one of them.")
            what = given if isinstance(given, str | Path) else "labels"
            if len(self.given) != options.num_samples:
                raise InputError(
                    f"{what} holds {len(self.given)} labels for {options.num_samples} images of {spec}; expected one "
                    "for each image (num_samples, --num-samples)."
                )
            num_classes = num_classes or int(self.given.max()) + 1
            wrong = np.flatnonzero((self.given < 0) | (self.given >= num_classes))
            if len(wrong):
                raise InputError(
                    f"{what}: label {self.given[wrong[0]]} of image {wrong[0]} is out of range; expected 0 to "
                    f"{num_classes - 1} (num_classes, --num-classes)."
                )
        if num_classes is None:
            if distribution is not None:
                raise InputError(
                    f"{spec}: label_distribution (--label-distribution) is for generators that take a label; say how "
                    "many classes there are: num_classes (--num-classes)."
                )
        elif distribution == "like-real":
            raise InputError("label_distribution like-real needs real images with labels; found none.")
        self.num_classes = num_classes
        self.kind = "like-real" if isinstance(distribution, LikeReal) else distribution or "uniform"
        self.frequencies: np.ndarray | None = None
        if isinstance(distribution, LikeReal):
            self.frequencies = np.array(distribution.frequencies, dtype=np.float64)
            if len(self.frequencies) != num_classes:
                raise InputError(f"{spec}: {len(self.frequencies)} class frequencies for {num_classes} classes.")

    def label(self, number: int, stream: Callable[[int, int], np.random.Generator]) -> int:
        """The label of image ``number``.

        Args:
            stream: random numbers of (number, part).
        """
        assert self.num_classes is not None
        if self.given is not None:
            return int(self.given[number])
        if self.kind == "balanced":
            run, place = divmod(number, self.num_classes)
            return int(stream(run, _ORDER).permutation(self.num_classes)[place])
        if self.frequencies is not None:
            borders = np.cumsum(self.frequencies)
            share = (stream(0, _START).random() + number * _GOLDEN) % 1
            return int(np.searchsorted(borders[:-1], share * borders[-1], side="right"))
        return int(stream(number, _LABEL).integers(self.num_classes))

    def describe(self) -> dict[str, object]:
        """Facts for the provenance."""
        if self.num_classes is None:
            return {}
        described: dict[str, object] = {"num_classes": self.num_classes}
        if self.given is not None:
            digest = hashlib.sha256(self.given.astype("<i8").tobytes()).hexdigest()
            return {**described, "label_distribution": "given", "labels_sha256": digest}
        if self.frequencies is not None:
            described["class_frequencies"] = self.frequencies.tolist()
        return {**described, "label_distribution": self.kind}


def read_labels(given: str | Path | Sequence[int]) -> np.ndarray:
    """Labels as int64 (N,).

    Raises:
        InputError: not a file that can be read, or a value that is not a whole number.
    """
    if isinstance(given, str | Path):
        try:
            lines = Path(given).read_text(encoding="utf-8-sig").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not a text file"
            raise InputError(
                f"labels cannot be read from {given}: {reason}. Expected a text file with one whole number a line."
            ) from error
        while lines and not lines[-1].strip():
            lines.pop()
        values: list[Any] = [line.strip() for line in lines]
        what, first = f"{given}: line", 1
    else:
        values = given.tolist() if hasattr(given, "tolist") else list(given)
        what, first = "labels: entry", 0
    numbers = []
    for place, value in enumerate(values, first):
        text = str(value)
        if isinstance(value, bool) or not isinstance(value, str | int | np.integer) or not _WHOLE.fullmatch(text):
            raise InputError(f"{what} {place} is not a whole number: {text[:40]!r}.")
        if len(text) > _LONGEST or not -(2**62) < int(text) < 2**62:
            raise InputError(f"{what} {place} is out of range: {text[:40]}.")
        numbers.append(int(text))
    if not numbers:
        raise InputError(
            f"{given if isinstance(given, str | Path) else 'labels'} holds no labels; expected one for each image."
        )
    return np.array(numbers, dtype=np.int64)


def like_real(options: Options, real: ImageSource | None) -> Options:
    """The options, with the frequencies of ``real`` where they ask for ``like-real``.

    Raises:
        InputError: there are no real images, their labels are not known, or they have more classes than the generator.
    """
    if options.label_distribution != "like-real" or options.num_classes is None:
        return options
    if real is None:
        raise InputError(
            "label_distribution like-real takes the class frequencies of real images, and REAL does not hold "
            "images. Give images with labels (class folders, a data set, an npz file with arr_1), or --labels."
        )
    labels = real.labels()
    if labels is None:
        raise InputError(
            f"label_distribution like-real: the labels of {real.spec} are not known before its images are read. Give "
            "class folders, a data set with labels, an npz file with arr_1, or the labels: labels=, --labels."
        )
    return replace(
        options, label_distribution=LikeReal(frequencies_of(labels, real.classes(), options.num_classes, real.spec))
    )


def frequencies_of(
    labels: Sequence[str], classes: Sequence[str] | None, num_classes: int, spec: str
) -> tuple[float, ...]:
    """Share of each class 0, 1, ..., num_classes - 1 among labels.

    Args:
        classes: names of the classes in the order of their numbers. None: labels that are all whole numbers are those
            numbers; others are numbered in sorted order, as torchvision numbers class folders.

    Raises:
        InputError: there are more classes.
    """
    counts = Counter(labels)
    if classes is None and all(name.isdecimal() and len(name) <= _DIGITS for name in counts):
        numbers = range(max(map(int, counts)) + 1)
        _require_few(len(numbers), [str(number) for number in numbers[:_LISTED]], num_classes, spec)
        classes = [str(number) for number in numbers]
        counts = Counter({str(int(name)): n for name, n in counts.items()})
    classes = sorted(counts) if classes is None else classes
    _require_few(len(classes), classes, num_classes, spec)
    return tuple(counts[name] / len(labels) for name in classes) + (0.0,) * (num_classes - len(classes))


def _require_few(n: int, classes: Sequence[str], num_classes: int, spec: str) -> None:
    if n > num_classes:
        raise InputError(
            f"label_distribution like-real: {spec} has {n} classes ({', '.join(list(classes)[:_LISTED])}"
            f"{', ...' if n > _LISTED else ''}), the generator {num_classes} (num_classes, --num-classes)."
        )
