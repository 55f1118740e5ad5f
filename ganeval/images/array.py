"""Arrays of images: npy and npz files, read one image at a time, and arrays or tensors in memory."""

from __future__ import annotations

import hashlib
import math
import threading
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ganeval.errors import InputError
from ganeval.images.decode import Pixels, UnreadableImage, too_many_pixels
from ganeval.images.indexed import PerProcess
from ganeval.images.labels import class_names
from ganeval.images.pixels import ValueRange, check_dtype, dtype_name, layout_of, to_uint8
from ganeval.images.types import Images
from ganeval.parsing.array_files import Header, NpzReader, read_header
from ganeval.parsing.zip_members import BROKEN_ZIP, open_member, read_exactly, require_end

MEMBER = "arr_0"
LABELS = "arr_1"  # of ADM's sampling scripts: the class of each image


class ArrayImages(Images):
    """Images along the first axis of an array.

    Args:
        kind: one word for the provenance.
        rows: what opens the array in each process; it has ``len`` and gives one image by its number.
        shape: of the array.
        dtype: its name, of numpy or torch.
        value_range: of floats.
        prefer: NCHW or NHWC, where the shape allows for both.
        what: the array, in messages.

    Attributes:
        notes: on every image.
        classes_of_images: the class of each image, where it is known.
        column: the name of the array among those of its file.
    """

    notes: tuple[str, ...] = ()
    classes_of_images: list[str] | None = None
    column: str | None = None

    def __init__(
        self,
        kind: str,
        rows: Callable[[], Any],
        shape: tuple[int, ...],
        dtype: str,
        value_range: ValueRange | None,
        *,
        prefer: str,
        what: str,
    ) -> None:
        if not shape or shape[0] == 0:
            raise InputError(f"{what} holds no images: its shape is {tuple(shape)}.")
        check_dtype(dtype, value_range, what)
        self._layout = layout_of(shape, prefer=prefer, what=what)
        self.kind, self._rows, self._shape, self._dtype, self._what = kind, PerProcess(rows), shape, dtype, what
        self._range = None if dtype == "uint8" else value_range
        self.ignored: Counter[str] = Counter()
        self.sizes = {(shape[2], shape[3]) if self._layout == "NCHW" else (shape[1], shape[2])}

    def __len__(self) -> int:
        return self._shape[0]

    def load(self, index: int) -> Pixels:
        try:
            image = self._rows.get()[index]
        except BROKEN_ZIP as error:
            raise UnreadableImage(f"{self._what} cannot be read here ({error or type(error).__name__})") from error
        images, notes = to_uint8(image[None], value_range=self._range, prefer=self._layout, what=self._what)
        return Pixels(images[0].permute(1, 2, 0).numpy(), (*notes.elements(), *self.notes))

    @property
    def on_disk(self) -> bool:
        return self.kind in ("npy", "npz", "hdf5")

    def fingerprint(self, index: int) -> bytes | None:
        try:
            image = np.ascontiguousarray(self._rows.get()[index])
        except BROKEN_ZIP:
            return None
        description = f"{image.dtype.str} {image.shape} {self._layout} {self._range}"
        return hashlib.blake2b(description.encode() + image.tobytes(), digest_size=16).digest()

    def fault(self, index: int) -> str | None:
        if self._dtype == "uint8":
            return None
        try:
            self.load(index)
        except UnreadableImage as error:
            return str(error)
        return None

    @property
    def takes_range(self) -> bool:
        return self._dtype != "uint8"

    def labels(self) -> list[str] | None:
        return self.classes_of_images

    def facts(self) -> dict[str, object]:
        return {
            **({} if self.column is None else {"image_column": self.column}),
            "layout": self._layout,
            "shape": list(self._shape),
            "dtype": self._dtype,
            "value_range": None if self._range is None else list(self._range),
        }


class DeviceImages(ArrayImages):
    """A tensor on an accelerator: batches are taken from it there."""

    on_accelerator = True

    def take(self, indices: Sequence[int]) -> tuple[Tensor, Counter[str]]:
        rows, chosen = self._rows.get(), list(indices)
        first = chosen[0] if chosen else 0
        run = range(first, first + len(chosen))
        # copies, because an iterable may fill the same tensor again; the host waits for no copy of a slice
        images: Tensor = rows[first : run.stop].clone() if chosen == list(run) else rows[chosen]
        return to_uint8(images, value_range=self._range, prefer=self._layout, what=self._what)

    def load(self, index: int) -> Pixels:
        images, notes = self.take([index])
        return Pixels(images[0].permute(1, 2, 0).cpu().numpy(), tuple(notes.elements()))


def _itself(array: Any) -> Any:
    return array


def open_array(array: np.ndarray | Tensor, value_range: ValueRange | None) -> ArrayImages:
    """A tensor (NCHW where the shape leaves it open) or an array (NHWC where the shape leaves it open)."""
    tensor = isinstance(array, Tensor)
    kind, prefer = ("tensor", "NCHW") if tensor else ("array", "NHWC")
    make = ArrayImages
    if isinstance(array, Tensor):
        array = array.detach()
        make = ArrayImages if array.device.type == "cpu" else DeviceImages
    rows, shape = partial(_itself, array), tuple(array.shape)
    images = make(kind, rows, shape, dtype_name(array), value_range, prefer=prefer, what=f"This {kind}")
    images.in_memory = True
    return images


def open_npy(path: Path, value_range: ValueRange | None) -> ArrayImages:
    """Open an npy file of images.

    Raises:
        InputError: it is not an npy file, holds pickled objects, or a shape or dtype that images do not have.
    """
    try:
        with open(path, "rb") as file:
            header = read_header(file, path.stat().st_size, str(path))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}. Check its permissions.") from error
    return _opened("npy", path, header, header.offset, value_range, str(path))


def open_npz(path: Path, value_range: ValueRange | None) -> ArrayImages:
    """The member ``arr_0``, as ADM's sampling scripts write it: mapped into memory, or inflated on the way.

    Where there is a member ``arr_1`` with a number or text for each image, those are the labels.

    Raises:
        InputError: statistics instead of images, pickled objects, a broken archive, no ``arr_0``.
    """
    what = f"{MEMBER} of {path}"
    with NpzReader(path) as archive:
        if MEMBER not in archive.names:
            raise InputError(_no_images(path, archive.names))
        header, start = archive.header(MEMBER), archive.place(MEMBER)
        labels, unused = _labels(archive, header.shape[:1])
    if start is None and header.fortran and math.prod(header.shape) > 1:
        raise InputError(f"{what} is compressed in Fortran order; save numpy.ascontiguousarray of it instead.")
    images = _opened("npz", path, header, start, value_range, what)
    images.classes_of_images = labels
    images.notes = () if unused is None else (f"{LABELS} is not used as labels: {unused}",)
    return images


def _labels(archive: NpzReader, shape: tuple[int, ...]) -> tuple[list[str] | None, str | None]:
    """The member ``arr_1``, where it holds a whole number or a text for each image, or why it is not used."""
    if LABELS not in archive.names:
        return None, None
    try:
        header = archive.header(LABELS)
        if header.shape != shape:
            return None, f"its shape is {header.shape}, not {shape}"
        if header.dtype.kind not in "iuU":
            return None, f"it holds {header.dtype.name}, not whole numbers or text"
        labels = class_names(archive.read(LABELS), None)
    except InputError:
        return None, "it cannot be read"
    return labels, "not all of its values are labels: whole numbers from 0 on, or text" if labels is None else None


def _opened(
    kind: str, path: Path, header: Header, start: int | None, value_range: ValueRange | None, what: str
) -> ArrayImages:
    """Images of an array whose data begins at ``start`` in the file; None: it is compressed."""
    shape, dtype, order = header.shape, header.dtype, "F" if header.fortran else "C"
    rows: Callable[[], Any] = partial(_Inflated, path, header)
    if start is not None:
        rows = partial(np.memmap, path, dtype=dtype, mode="r", offset=start, shape=shape, order=order)
    return of_rows(kind, rows, shape, dtype.name, value_range, what)


def of_rows(
    kind: str,
    rows: Callable[[], Any],
    shape: tuple[int, ...],
    dtype: str,
    value_range: ValueRange | None,
    what: str,
) -> ArrayImages:
    """Images along the first axis of an array in a file; for the arguments see ``ArrayImages``.

    Raises:
        InputError: a shape or dtype that images do not have, or too many pixels.
    """
    images = ArrayImages(kind, rows, shape, dtype, value_range, prefer="NHWC", what=what)
    axes = shape[2:] if images.facts()["layout"] == "NCHW" else shape[1:3]
    if (problem := too_many_pixels(*axes)) is not None:
        raise InputError(f"{what} holds {problem}. Cut the images into pieces.")
    return images


class _Inflated:
    """Images of a compressed member: read forward, one at a time; a step back starts over."""

    def __init__(self, path: Path, header: Header) -> None:
        archive = zipfile.ZipFile(path)
        self._info = archive.getinfo(f"{MEMBER}.npy")
        self._member = open_member(archive, self._info)  # open as long as this is
        self._start, self._shape, self._dtype = header.offset, header.shape[1:], header.dtype
        self._bytes = math.prod(self._shape) * self._dtype.itemsize
        self._last = header.shape[0] - 1
        self._lock = threading.Lock()

    def __getitem__(self, index: int) -> np.ndarray:
        with self._lock:
            self._member.seek(self._start + index * self._bytes)
            data = read_exactly(self._member, self._bytes, self._info)
            if index == self._last:
                require_end(self._member)
        return np.frombuffer(data, dtype=self._dtype).reshape(self._shape)


def _no_images(path: Path, members: list[str]) -> str:
    if {"mu", "sigma"} <= set(members):
        return (
            f"{path} holds reference statistics (mu, sigma), not images. "
            "Give it where statistics are taken, or name the images themselves."
        )
    found = ", ".join(members[:6]) or "nothing"
    return f"{path} has no array {MEMBER!r}; it holds {found}. Save the images with numpy.savez(FILE, images)."
