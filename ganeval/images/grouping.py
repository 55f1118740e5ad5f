"""Which images belong together: frames of one film, crops of one photograph, outputs of one input.

Images of a group are no independent draws. A group then counts as one observation in every standard error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import NoReturn

import numpy as np

from ganeval.errors import ConfigError, InputError, number_of
from ganeval.images.side_files import read_table
from ganeval.parsing.arguments import option

UNKNOWN = np.uint64(0)  # the id of an image of which the group is not known
_NAMED = 3


class Grouping:
    """The group of an image, from its name.

    Args:
        by: groups by the names of the images; or a CSV file of two columns, image and group, with a heading; or a
            regular expression that is searched in the name: its first group in parentheses is the group of the image,
            without parentheses all that it matches.

    Raises:
        ConfigError: neither a file nor a regular expression.
        InputError: the file is no such table, or names an image twice.

    >>> frames = Grouping(r"film\\d+")
    >>> ids = frames(["film1/a.png", "film1/b.png", "film2/a.png"])
    >>> (ids[0] == ids[1], ids[0] == ids[2])
    (True, False)
    """

    def __init__(self, by: str | Path | Mapping[str, str]) -> None:
        self._group: Callable[[str], str | None]
        if isinstance(by, Mapping):
            self.by, self._group = "the images", by.get
            return
        self.by, path = str(by), Path(by)
        if path.is_file():
            table = read_table(path, "group_by", "group")
            self._group = lambda name: table.get(name, table.get(name.rpartition("#")[0]))  # or the image of a patch
        elif path.suffix.lower() in (".csv", ".tsv", ".txt"):
            raise InputError(f"{option('group_by')}: no such file: {self.by!r}.")
        else:
            self._group = self._by_pattern(self.by)

    @staticmethod
    def _by_pattern(text: str) -> Callable[[str], str | None]:
        try:
            pattern = re.compile(text)
        except re.error as error:
            raise ConfigError(
                f"{option('group_by')} expected a CSV file or a regular expression; got {text!r}: {error}."
            ) from error

        def group(name: str) -> str | None:
            found = pattern.search(name)
            return None if found is None else found[1 if pattern.groups else 0]

        return group

    def __call__(self, names: Sequence[str]) -> np.ndarray:
        """Ids of the groups of these images, (n,) uint64; ``UNKNOWN`` where a name has none."""
        groups = (self._group(name) for name in names)
        return np.array([UNKNOWN if group is None else _id(group) for group in groups], np.uint64)

    def reject(self, examples: Mapping[str, str]) -> NoReturn:
        """Raises ConfigError: no image has a group.

        Args:
            examples: by image set, the name of an image.
        """
        named = ", ".join(f"{name}: {image!r}" for name, image in examples.items())
        raise ConfigError(
            f"{option('group_by')} {self.by!r} gives a group to no image here{f' ({named})' if named else ''}. It is "
            "searched in the names of images; generated and rendered ones have none."
        )

    def require_complete(self, name: str, spec: str, names: Sequence[str]) -> None:
        """Raises InputError where some images of a set have a group and others have none."""
        lacking = [image for image, known in zip(names, self(names), strict=True) if known == UNKNOWN]
        if lacking and len(lacking) < len(names):
            raise InputError(incomplete(self.by, f"{name} {spec}", len(lacking), len(names), lacking[:_NAMED]))


def incomplete(by: str, where: str, lacking: int, n: int, names: Sequence[str] = ()) -> str:
    """The message for a set of which only some images have a group."""
    named = f" ({', '.join(map(repr, names))}{', ...' if lacking > len(names) else ''})" if names else ""
    return (
        f"{option('group_by')} {by!r} gives no group to {lacking} of {number_of(n, 'image')} of {where}{named}. Name "
        "the group of every image, or of none of a set."
    )


def text_ids(texts: Sequence[str]) -> np.ndarray:
    """Ids of texts, (n,) uint64; none is ``UNKNOWN``."""
    return np.array([_id(text) for text in texts], np.uint64)


def _id(group: str) -> np.uint64:
    return np.uint64(int.from_bytes(blake2b(group.encode(errors="surrogateescape"), digest_size=8).digest()) | 1)
