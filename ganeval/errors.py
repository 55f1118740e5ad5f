"""What can go wrong on the user's side. Every message says what happened, what was needed, and what to do."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches


class GanEvalError(Exception):
    """An expected failure with one clear message: the command line prints it without a traceback and exits 2."""

    kind = "error"


class GanEvalWarning(UserWarning):
    """Something that a reader of the numbers should know; the text is also in ``Evaluation.warnings``."""


def warn(texts: Iterable[str]) -> None:
    """A GanEvalWarning for each text, at the line outside this package from which it was called."""
    frame, level = sys._getframe(), 1
    inside = ("ganeval", "contextlib")  # the latter for functions that a context manager decorates
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in inside:
        frame, level = frame.f_back, level + 1
    for text in texts:
        warnings.warn(text, GanEvalWarning, stacklevel=level)


class InputError(GanEvalError):
    """Images, statistics or arguments that cannot be used as they are."""

    kind = "input"


class WeightsError(GanEvalError):
    """The weights of a network are missing, damaged, or not the ones that were asked for."""

    kind = "weights"


class NotEnoughSamplesError(InputError):
    """The metric is undefined for so few images."""

    kind = "not-enough-samples"


class IncomparableError(GanEvalError):
    """Two numbers, or two sets of statistics, of different protocols."""

    kind = "incomparable"


class ConfigError(GanEvalError):
    """A configuration file or an option that makes no sense."""

    kind = "configuration"


def number_of(n: int, one: str, many: str | None = None) -> str:
    """A number and what it counts.

    Args:
        one: of a single thing, a verb included where it depends on the number.
        many: of any other number; by default ``one`` with an s.

    >>> number_of(1, "image"), number_of(2, "image")
    ('1 image', '2 images')
    >>> number_of(1, "image is", "images are")
    '1 image is'
    """
    return f"{n} {one if n == 1 else many or one + 's'}"


def listed(names: Sequence[str], most: int = 3) -> str:
    """The first names, and how many more there are.

    >>> listed(["a", "b", "c", "d"])
    'a, b, c and 1 more'
    """
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def listed_counts(counts: Mapping[str, int], most: int = 5) -> str:
    """The kinds of things with their numbers, the most frequent first.

    >>> listed_counts({"PNG": 2, "JPEG": 3})
    '3 x JPEG, 2 x PNG'
    """
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return listed([f"{count} x {kind}" for kind, count in ordered], most)


def did_you_mean(name: str, known: Iterable[str], cutoff: float = 0.6, *, shown: str = "{!r}") -> str:
    """A hint at the known name that is most similar, to append to a message; empty where none is similar.

    Of names that are equally similar, one of the same letters is meant.

    Args:
        shown: how the name is written.

    >>> did_you_mean("fdi", ["fid", "fjd"])
    " Did you mean 'fid'?"
    """
    close = get_close_matches(name, list(known), cutoff=cutoff)
    close.sort(key=lambda one: sorted(one) != sorted(name))
    return f" Did you mean {shown.format(close[0])}?" if close else ""
