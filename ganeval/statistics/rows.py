"""Feature rows that are needed a second time: in memory up to a bound, in a temporary file beyond it.

The file has no name on systems that can unlink an open file, and is deleted by the operating system when its handle
closes on the others. It is gone after ``close``, an exception, Ctrl-C, the end of the interpreter, and a kill.
"""

from __future__ import annotations

import errno
import hashlib
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np

from ganeval.errors import InputError
from ganeval.parsing.arguments import option
from ganeval.statistics.moments import as_rows

DEFAULT_MEMORY = 64 * 2**20  # bytes, of one set: two sets and the network stay below 1.5 GB
_CHUNK_BYTES = 8 * 2**20
_LEAST_CHUNK_BYTES = 2**18  # the chunk being filled is memory too, and counts against the limit


class FeatureRows:
    """An append-only (n, d) float32 matrix that is read back in blocks.

    Every row leaves a 64-bit hash of its bits, so that distinct rows and rows shared with another set can be counted
    without reading the matrix again.

    Args:
        d: features in a row; None: as many as the first row has.
        memory_limit: bytes of rows that stay in memory; past it all rows move to the temporary file.
        expected: number of rows to come, if known: the disk space for them is then checked now.
        directory: for the temporary file; default the system's folder for them.

    Raises:
        InputError: too little disk space for ``expected`` rows.

    >>> with FeatureRows(3) as rows:
    ...     rows.append(np.ones((2, 3), dtype=np.float32))
    ...     (len(rows), rows.distinct())
    (2, 1)
    """

    def __init__(
        self,
        d: int | None,
        *,
        memory_limit: int = DEFAULT_MEMORY,
        expected: int | None = None,
        directory: str | PathLike[str] | None = None,
    ) -> None:
        if (d is not None and d < 1) or memory_limit < 0:
            raise InputError(f"FeatureRows needs d >= 1 and a memory limit >= 0; got d={d} and {memory_limit}.")
        self.dimension = 0  # not known yet
        self.memory_limit = memory_limit
        self.directory = Path(tempfile.gettempdir() if directory is None else directory)
        self._row_bytes, self._chunk_rows, self._expected = 0, 1, expected
        self._chunks: list[np.ndarray] = []  # full chunks in memory
        self._last = np.empty((0, 0), dtype=np.float32)  # the chunk being filled
        self._filled = 0
        self._n = 0
        self._file: IO[bytes] | None = None
        self._file_rows = 0
        self._close_file: weakref.finalize[..., Any] | None = None
        self._hashes: list[np.ndarray] = []
        self._digests: list[np.ndarray] | None = []
        self._closed = False
        if d is not None:
            self.take_width(d)

    def take_width(self, d: int) -> None:
        """Set the number of features in a row, where it is not known yet; 0 says nothing."""
        if self.dimension or not d:
            return
        self.dimension, self._row_bytes = d, 4 * d
        self._chunk_rows = max(1, min(_CHUNK_BYTES, max(self.memory_limit, _LEAST_CHUNK_BYTES)) // self._row_bytes)
        self._last = np.empty((0, d), dtype=np.float32)
        if self._expected is not None and self._expected * self._row_bytes > self.memory_limit:
            self._require_space(self._expected * self._row_bytes, f"The features of {self._expected} images")

    @classmethod
    def of(cls, rows: np.ndarray, hashes: np.ndarray) -> FeatureRows:
        """Rows that are in memory already.

        Args:
            rows: (n, d) float32; it is not copied.
            hashes: (n,) uint64, equal where images are.
        """
        found = cls(rows.shape[1], memory_limit=rows.nbytes)
        found._chunks, found._chunk_rows, found._n, found._hashes = [rows], max(1, len(rows)), len(rows), [hashes]
        return found

    def __len__(self) -> int:
        return self._n

    def __enter__(self) -> FeatureRows:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def in_memory(self) -> bool:
        return self._file is None

    @property
    def digests(self) -> np.ndarray | None:
        """(n,) uint64, the images' digests as they were appended; None unless every batch had them."""
        if self._digests is None or not len(self):
            return None
        return np.concatenate(self._digests)

    def append(self, rows: Any, digests: np.ndarray | None = None) -> None:
        """Add rows, in order.

        Args:
            rows: (b, d) numpy array or torch tensor; float64 is rounded to float32.
            digests: (b,) uint64, one an image.

        Raises:
            InputError: another width, NaN, a full disk.
        """
        self._require_open()
        if digests is None:
            self._digests = None
        elif self._digests is not None:
            if len(digests) != len(rows):
                raise InputError(f"{len(rows)} feature rows came with {len(digests)} digests.")
            self._digests.append(np.array(digests, dtype=np.uint64))
        if len(rows):
            self.take_width(np.shape(rows)[-1])
        for start in range(0, len(rows), self._chunk_rows):
            block = as_rows(rows[start : start + self._chunk_rows], self.dimension, first=len(self))
            block = np.ascontiguousarray(block, dtype=np.float32)
            self._hashes.append(row_hashes(block))
            self._store(block)

    def _store(self, block: np.ndarray) -> None:
        done = 0
        while done < len(block):
            if not len(self._last):
                self._last = np.empty((self._chunk_rows, self.dimension), dtype=np.float32)
            take = min(len(block) - done, self._chunk_rows - self._filled)
            self._last[self._filled : self._filled + take] = block[done : done + take]
            self._filled += take
            self._n += take
            done += take
            if self._filled == self._chunk_rows:
                self._chunks.append(self._last)
                self._last, self._filled = np.empty((0, self.dimension), dtype=np.float32), 0
                if self._file is not None or len(self) * self._row_bytes > self.memory_limit:
                    self._spill()
        if self._file is None and len(self) * self._row_bytes > self.memory_limit:
            self._spill()

    def _spill(self) -> None:
        """Move the full chunks to the file."""
        if self._file is None:
            try:
                self._file = tempfile.TemporaryFile(prefix="ganeval-", dir=self.directory)  # noqa: SIM115 (closed by close)
            except OSError as error:
                raise InputError(
                    f"cannot make a temporary file in {self.directory}: {error.strerror}. Choose another folder with "
                    f"TMPDIR, or keep more features in memory with {option('feature_memory')}."
                ) from error
            self._close_file = weakref.finalize(self, self._file.close)
        try:
            self._file.seek(self._file_rows * self._row_bytes)
            while self._chunks:
                self._file.write(self._chunks[0].data)
                self._file.flush()
                self._chunks.pop(0)
                self._file_rows += self._chunk_rows
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            self._require_space(None, "The features")

    def _require_space(self, needed: int | None, what: str) -> None:
        """Raise unless ``needed`` bytes are free; None: the disk is known to be full."""
        try:
            free = shutil.disk_usage(self.directory).free
        except OSError as error:
            raise InputError(
                f"the folder for temporary files, {self.directory}, cannot be used: {error.strerror}. Set TMPDIR to "
                "one that exists."
            ) from error
        if needed is None or free < needed:
            size = "more temporary disk space" if needed is None else f"{_size(needed)} of temporary disk space"
            megabytes = -(-(needed or 0) // 10**6)
            enough = (
                option("feature_memory")
                if needed is None
                else f"--feature-memory {megabytes}MB (feature_memory={megabytes * 10**6})"
            )
            raise InputError(
                f"{what} need {size}; {self.directory} has {_size(free)} free. Free some, choose another folder with "
                f"TMPDIR, or allow more memory with {enough}."
            )

    def blocks(self, rows_per_block: int = 1024) -> Iterator[np.ndarray]:
        """The rows in order, (b, d) float32, b = ``rows_per_block`` but for the last block; views are read-only."""
        if rows_per_block < 1:
            raise InputError(f"a block has at least 1 row; got {rows_per_block}.")
        for start in range(0, len(self), rows_per_block):
            yield self.read(start, min(start + rows_per_block, len(self)))

    def to_array(self) -> np.ndarray:
        """All rows at once, (n, d) float32: for metrics that need every pair of them."""
        self._require_open()
        return self.read(0, len(self))

    def read(self, start: int, stop: int) -> np.ndarray:
        """Rows ``start`` to ``stop``, (stop - start, d) float32; views are read-only."""
        self._require_open()
        parts = []
        if self._file is not None and start < self._file_rows:
            count = min(stop, self._file_rows) - start
            part = np.empty((count, self.dimension), dtype=np.float32)
            self._file.seek(start * self._row_bytes)
            if self._file.readinto(part.data.cast("B")) != part.nbytes:  # type: ignore[attr-defined]
                raise InputError(f"the temporary file of feature rows in {self.directory} was cut short. Run again.")
            parts.append(part)
            start += count
        while start < stop:
            index, offset = divmod(start - self._file_rows, self._chunk_rows)
            chunk = self._chunks[index] if index < len(self._chunks) else self._last[: self._filled]
            part = chunk[offset : offset + stop - start]
            parts.append(part)
            start += len(part)
        if len(parts) == 1:
            view = parts[0].view()
            view.flags.writeable = False
            return view
        return np.concatenate(parts) if parts else np.empty((0, self.dimension), dtype=np.float32)

    @property
    def hashes(self) -> np.ndarray:
        """(n,) uint64: the first 8 bytes of blake2b over each row's float32 bits."""
        return np.concatenate(self._hashes) if self._hashes else np.empty(0, dtype=np.uint64)

    def distinct(self) -> int:
        """Number of rows that differ in at least one bit."""
        return int(np.unique(self.hashes).size)

    def shared_with(self, other: FeatureRows) -> int:
        """Number of distinct rows that are, bit for bit, in both sets."""
        return int(np.intersect1d(self.hashes, other.hashes).size)

    def close(self) -> None:
        """Drop the rows and their file; hashes and counts stay. May be called twice."""
        self._closed = True
        self._chunks, self._last = [], np.empty((0, self.dimension), dtype=np.float32)
        if self._close_file is not None:
            self._close_file()
        self._file, self._filled = None, 0

    def _require_open(self) -> None:
        if self._closed:
            raise InputError("these feature rows were closed; compute them again.")


def row_hashes(rows: np.ndarray) -> np.ndarray:
    digests = b"".join(hashlib.blake2b(row.data, digest_size=8).digest() for row in rows)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB"


ROW_SAMPLE = 2500  # rows that stand for a reference in a calibration


def sampled_rows(n: int, k: int = ROW_SAMPLE) -> np.ndarray:
    """Sorted numbers of ``k`` of ``n`` rows, or of all, drawn without replacement by a fixed seed."""
    drawn: np.ndarray = np.sort(np.random.default_rng(0).permutation(n)[:k])
    return drawn
