"""Why a result has no interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# The code in the JSON document, and its sentence, in which the numbers are filled in.
# "unknown" has a sentence and nothing else: a document of an earlier version, or a metric that was registered outside.
REASONS: Mapping[str, str] = {
    "unknown": "{sentence}",
    "no_standard_error": "{metric} has no known standard error",
    "no_fake_rows": "only the moments of the fake features are available (a statistics file without rows); build the "
    "file with `ganeval stats build --rows`",
    "no_real_rows": "only the moments of the real features are available (a statistics file without rows); build the "
    "file with `ganeval stats build --rows`, or pass --reference population to take the reference as the target itself",
    "too_few_images": "too few {image_set} images to estimate an error: found {n}, expected at least {needed}",
    "too_few_distinct": "too few distinct {image_set} images to estimate an error: found {n}, expected at least "
    "{needed}",
    "too_few_for_rank": "too few {image_set} images for a covariance of rank {rank}: found {n} ({distinct} distinct), "
    "expected more than 2.5 distinct images per rank ({needed} are enough at any rank)",
    "too_few_in_class": "too few images in this class: found {n_real} real and {n_fake} fake, expected at least "
    "{needed} of each",
    "classes_without_error": "{n} of the {classes} classes have no error, for instance {first}: see details.per_class",
    "too_few_in_half": "too few different images in a half: expected at least {needed} real and {needed} fake",
    "too_few_in_block": "blocks of {n} images are too small for {neighbours} neighbours",
    "too_few_groups": "too few groups of {image_set} images to estimate an error: found {n}, expected at least "
    "{needed}",
    "not_by_group": "the error of {metric} cannot count groups of images as one",
    "too_few_pairs": "too few pairs to estimate an error: found {n}, expected at least {needed}",
    "shared_images": "images that are in both sets: {n}; the sets are not independent samples",
    "shared_features": "feature rows that are in both sets, bit for bit: {n}; the sets are not independent samples",
    "shared_test_images": "held-out images that are also in REAL: {n}; they were not held out",
    "copies": "only {distinct} of the {n} {image_set} images are distinct: copies are not independent images",
    "no_spread": "the images, or the blocks of images, do not vary, so the error cannot be estimated",
    "zero_error": "the standard error is zero up to rounding: both sets are the same, or constant",
    "rounding": "the standard error is smaller than the rounding of the value",
    "judged_alike": "all images of one kind were classified alike: without spread the error cannot be estimated",
    "none_authentic": "none of the {n} fake images is authentic: there is no spread; see details.exact_interval",
    "all_authentic": "all {n} fake images are authentic: there is no spread; see details.exact_interval",
    "all_nearer": "every fake image is nearer to the training set than every held-out image: there is no spread",
    "all_farther": "every fake image is farther from the training set than every held-out image: there is no spread",
    "constant_distances": "all distances are equal, so the error cannot be estimated",
}


@dataclass(frozen=True, slots=True, init=False)
class Reason:
    """Why a result has no interval: a code of ``REASONS`` with its numbers; ``str`` gives the sentence.

    >>> str(Reason("too_few_pairs", n=3, needed=10))
    'too few pairs to estimate an error: found 3, expected at least 10'
    >>> str(Reason("unknown", sentence="a maximum has no standard error"))
    'a maximum has no standard error'
    """

    code: str
    numbers: Mapping[str, int | float | str]

    def __init__(self, code: str, **numbers: int | float | str) -> None:
        object.__setattr__(self, "code", code)
        object.__setattr__(self, "numbers", numbers)

    def __str__(self) -> str:
        template = "{sentence}" if "sentence" in self.numbers else REASONS[self.code]
        return template.format_map(self.numbers)

    def to_dict(self) -> dict[str, int | float | str]:
        """The object ``reason_code`` of the JSON document, next to the sentence."""
        return {"code": self.code, **{key: x for key, x in self.numbers.items() if key != "sentence"}}

    @classmethod
    def from_document(cls, sentence: str, code: Mapping[str, Any] | None) -> Reason:
        """The inverse of ``to_dict``; the document's sentence stays where this version has none for the code."""
        numbers = {key: x for key, x in (code or {}).items() if isinstance(x, int | float | str)}
        name = str(numbers.pop("code", "unknown"))
        numbers.pop("sentence", None)
        known = cls(name, **numbers)
        try:
            str(known)
        except KeyError:  # a code or a number of another version
            return cls(name, **numbers, sentence=sentence)
        return known
