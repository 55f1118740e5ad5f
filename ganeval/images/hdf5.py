"""Arrays of images in HDF5 files, read by rows; needs h5py.

Read is the data set ``images``, or the one that ``image_column`` names (``train/images`` in groups), or the only one
that looks like images; labels are in ``labels``, or where ``label_column`` says. Values are as in npy files: uint8, or
floats with a declared range. Data in other files (external links, external storage, virtual data sets) is refused.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ganeval.errors import InputError
from ganeval.images.array import ArrayImages, of_rows
from ganeval.images.columns import image_column, label_column, require_labels
from ganeval.images.labels import class_names
from ganeval.images.libraries import optional_library
from ganeval.images.options import OpenOptions

_BROKEN = (OSError, RuntimeError, ValueError, KeyError, TypeError, OverflowError, MemoryError)
_MOST_DATASETS = 10_000  # that are looked at
_MOST_BLOCK = 2**28  # bytes of rows that are read at once


class _Rows:
    """Images by their numbers; the rows of one chunk are held, because the library unpacks a chunk as a whole."""

    def __init__(self, path: Path, name: str) -> None:
        self._data = _library().File(path, "r")[name]
        row = int(np.prod(self._data.shape[1:], dtype=np.int64)) * self._data.dtype.itemsize
        self._step = max(1, min((self._data.chunks or (1,))[0], _MOST_BLOCK // max(row, 1)))
        self._lock = threading.Lock()
        self._held: tuple[int, np.ndarray] | None = None

    def __getitem__(self, index: int) -> np.ndarray:
        start = index - index % self._step
        with self._lock:
            if self._held is None or self._held[0] != start:
                self._held = start, self._data[start : start + self._step]
            found: np.ndarray = self._held[1][index - start]
        return found


def open_hdf5(path: Path, options: OpenOptions) -> ArrayImages:
    """Open an HDF5 file.

    Raises:
        ConfigError: h5py is not installed.
        InputError: it is not such a file, or no data set of it holds images.
    """
    what = str(path)
    try:
        with _library().File(path, "r") as file:
            found = dict(_datasets(file))
            likely = [name for name, data in found.items() if _holds_images(data)]
            name = image_column(what, found, likely, options.image_column)
            data = found[name]
            _require_inside(what, name, data)
            shape, dtype = data.shape, data.dtype
            label = label_column(what, found, [], options.label_column)
            labels = None if label is None else _labels(what, label, found[label], shape[:1], options)
    except _BROKEN as error:
        reason = " ".join(str(error).split())[:200].rstrip(".")
        raise InputError(f"{what} is not a readable HDF5 file ({reason}). Write it again.") from error
    if dtype.kind not in "uif":
        raise InputError(
            f"{name} of {what} holds {dtype.name}, not numbers. Encoded images belong in a folder, an archive or a "
            "Parquet file."
        )
    images = of_rows("hdf5", partial(_Rows, path, name), shape, dtype.name, options.value_range, f"{name} of {what}")
    images.classes_of_images, images.column = labels, name
    return images


def _datasets(group: Any, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """The data sets of a file by their paths; no link is followed."""
    h5py = _library()
    for number, name in enumerate(group):
        if number == _MOST_DATASETS or depth > 16:
            return
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            continue
        item = group[name]
        if isinstance(item, h5py.Dataset):
            yield prefix + name, item
        elif isinstance(item, h5py.Group):
            yield from _datasets(item, f"{prefix}{name}/", depth + 1)


def _holds_images(data: Any) -> bool:
    """Whether an array is likely to be images: of four axes with 1 or 3 channels, or uint8 of three axes."""
    shape = data.shape
    if shape is None or data.dtype.kind not in "uif" or 0 in shape:
        return False
    if len(shape) == 4:
        return shape[3] in (1, 3) or shape[1] in (1, 3)
    return len(shape) == 3 and data.dtype == np.uint8 and min(shape[1:]) > 1


def _require_inside(what: str, name: str, data: Any) -> None:
    """Raises InputError for data that is in another file."""
    if data.external or data.is_virtual:
        raise InputError(
            f"{what}: the data of {name!r} is in other files, which are not opened. Write it into one file."
        )


def _labels(what: str, name: str, data: Any, shape: tuple[int, ...], options: OpenOptions) -> list[str] | None:
    """The class of each image, where the data set holds one."""
    _require_inside(what, name, data)
    found = None
    if data.shape is not None and data.shape[:1] == shape and data.size == shape[0]:
        values = data[()].reshape(-1)
        found = class_names(values.tolist(), None)
    return require_labels(what, name, found, options.label_column)


def _library() -> Any:
    """h5py.

    Raises:
        ConfigError: it is not installed.
    """
    return optional_library("h5py", "HDF5 files", "hdf5")
