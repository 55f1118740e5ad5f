"""Several files as one set of images: archives, or files of columns, that a pattern with braces names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from ganeval.errors import InputError, listed
from ganeval.images.indexed import EncodedFiles, class_labels
from ganeval.images.specs import expand_braces


class Shards(EncodedFiles):
    """Several files as one set: in the order of the shards, each in its own order."""

    kind = "shards"

    def __init__(self, names: list[str], shards: Sequence[EncodedFiles]) -> None:
        super().__init__(names, sum((shard.ignored for shard in shards), Counter()))
        self._shards = shards
        self._ends = np.cumsum([len(shard) for shard in shards])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def name(self, index: int) -> str:
        shard, row = self._find(index)
        return f"{self._names[shard]}/{self._shards[shard].name(row)}"

    def read(self, index: int) -> bytes:
        shard, row = self._find(index)
        return self._shards[shard].read(row)

    def stamp(self, index: int) -> tuple[int, ...] | None:
        shard, row = self._find(index)
        return self._shards[shard].stamp(row)

    def caption(self, index: int) -> bytes | None:
        shard, row = self._find(index)
        return self._shards[shard].caption(row)

    def columns(self) -> list[str] | None:
        found = [shard.columns() for shard in self._shards]
        known = [set(columns) for columns in found if columns is not None]
        if found[0] is None or len(known) < len(found):
            return None
        return [name for name in found[0] if all(name in columns for columns in known)]

    def cells(self, column: str) -> Iterator[object]:
        return chain.from_iterable(shard.cells(column) for shard in self._shards)

    def labels(self) -> list[str] | None:
        if all(shard.listed_labels for shard in self._shards):
            return [label for shard in self._shards for label in shard.listed_labels or ()]
        return class_labels([shard.name(row) for shard in self._shards for row in range(len(shard))])

    def facts(self) -> dict[str, object]:
        return {"shards": len(self._shards), **self._shards[0].facts()}

    def _find(self, index: int) -> tuple[int, int]:
        shard = int(np.searchsorted(self._ends, index, side="right"))
        return shard, index - int(self._ends[shard] - len(self._shards[shard]))


def open_shards(pattern: str, open_file: Callable[[Path], EncodedFiles | None]) -> Shards:
    """Open ``shards-{000..099}.tar`` and the like: ranges keep their leading zeros; ``{a,b}`` lists alternatives.

    Args:
        open_file: opens one of them; None for a file of another kind.

    Raises:
        InputError: shards that are missing, by name, or of another kind.
    """
    paths = [Path(name) for name in expand_braces(pattern)]
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise InputError(
            f"{len(missing)} of the {len(paths)} files of {pattern} are missing: {listed(missing)}. "
            "Check the path and the numbers in braces."
        )
    shards: list[EncodedFiles] = []
    for path in paths:
        if (shard := open_file(path)) is None:
            raise InputError(
                f"{pattern}: braces name several files at once; expected .tar, .tar.gz, .zip, .parquet or .arrow files."
            )
        shards.append(shard)
    return Shards([path.name for path in paths], shards)
