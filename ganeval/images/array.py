"""Arrays of images: npy and npz files, read one image at a time, and arrays or tensors in memory."""

from __future__ import annotations

import hashlib
import math
import threading
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ganeval.errors import InputError
from ganeval.images.decode import Pixels, UnreadableImage
from ganeval.images.indexed import Images, PerProcess
from ganeval.images.labels import class_names
from ganeval.images.pixels import ValueRange, channels_first, check_dtype, dtype_name, to_uint8

MEMBER = "arr_0"
LABELS = "arr_1"  # of ADM's sampling scripts: the class of each image
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError)


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
        labels: the class of each image, where it is known.
    """

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
        labels: list[str] | None = None,
    ) -> None:
        if not shape or shape[0] == 0:
            raise InputError(f"{what} holds no images: its shape is {tuple(shape)}.")
        check_dtype(dtype, value_range, what)
        first = channels_first(shape, prefer=prefer, what=what)
        self.kind = kind
        self.ignored: Counter[str] = Counter()
        self._what = what
        self._layout = "NCHW" if first else "NHWC"
        self._shape = shape
        self._dtype = dtype
        self._range = None if self._dtype == "uint8" else value_range
        self._rows = PerProcess(rows)
        self._labels = labels if labels is not None and len(labels) == shape[0] else None

    def __len__(self) -> int:
        return self._shape[0]

    def load(self, index: int) -> Pixels:
        try:
            image = self._rows.get()[index]
        except _BROKEN as error:
            raise UnreadableImage(f"{self._what} cannot be read here ({error or type(error).__name__})") from error
        images, notes = to_uint8(image[None], value_range=self._range, prefer=self._layout, what=self._what)
        return Pixels(images[0].permute(1, 2, 0).numpy(), tuple(notes.elements()))

    @property
    def on_disk(self) -> bool:
        return self.kind in ("npy", "npz")

    def fingerprint(self, index: int) -> bytes | None:
        try:
            image = np.ascontiguousarray(self._rows.get()[index])
        except _BROKEN:
            return None
        told = f"{image.dtype.str} {image.shape} {self._layout} {self._range}"
        return hashlib.blake2b(told.encode() + image.tobytes(), digest_size=16).digest()

    def fault(self, index: int) -> str | None:
        if self._dtype == "uint8":
            return None
        try:
            self.load(index)
        except UnreadableImage as error:
            return str(error)
        return None

    def labels(self) -> list[str] | None:
        return self._labels

    def facts(self) -> dict[str, object]:
        return {
            "layout": self._layout,
            "shape": list(self._shape),
            "dtype": self._dtype,
            "value_range": None if self._range is None else list(self._range),
        }


class DeviceImages(ArrayImages):
    """A tensor on an accelerator: batches are taken from it there."""

    on_accelerator = True

    def take(self, indices: Sequence[int]) -> tuple[Tensor, Counter[str]]:
        images: Tensor = self._rows.get()[list(indices)]
        return to_uint8(images, value_range=self._range, prefer=self._layout, what=self._what)

    def load(self, index: int) -> Pixels:
        images, notes = self.take([index])
        return Pixels(images[0].permute(1, 2, 0).cpu().numpy(), tuple(notes.elements()))


class _Same:
    """Gives back an array that is in memory; picklable, unlike a lambda."""

    def __init__(self, array: Any) -> None:
        self._array = array

    def __call__(self) -> Any:
        return self._array


def open_array(array: np.ndarray | Tensor, value_range: ValueRange | None) -> ArrayImages:
    """A tensor (NCHW where the shape leaves it open) or an array (NHWC where the shape leaves it open)."""
    tensor = isinstance(array, Tensor)
    kind, prefer = ("tensor", "NCHW") if tensor else ("array", "NHWC")
    if isinstance(array, Tensor):
        array = array.detach()
    make = DeviceImages if isinstance(array, Tensor) and array.device.type != "cpu" else ArrayImages
    images = make(
        kind, _Same(array), tuple(array.shape), dtype_name(array), value_range, prefer=prefer, what=f"This {kind}"
    )
    images.in_memory = True
    return images


def open_npy(path: Path, value_range: ValueRange | None) -> ArrayImages:
    """Raises InputError for what is no npy file, pickled objects, and shapes or dtypes that are no images."""
    try:
        with open(path, "rb") as file:
            shape, _, dtype = _header(file)
        if not dtype.hasobject:
            rows = partial(np.load, path, mmap_mode="r", allow_pickle=False)
            rows()
    except _BROKEN as error:
        raise InputError(f"{path} is not a readable npy file ({error}). Write it again with numpy.save.") from error
    _refuse_objects(dtype, str(path))
    return ArrayImages("npy", rows, shape, dtype.name, value_range, prefer="NHWC", what=str(path))


def open_npz(path: Path, value_range: ValueRange | None) -> ArrayImages:
    """The member ``arr_0``, as ADM's sampling scripts write it: mapped into memory, or inflated on the way.

    Where there is a member ``arr_1`` with a number or text for each image, those are the labels.

    Raises:
        InputError: statistics instead of images, pickled objects, a broken archive, no ``arr_0``.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [name.removesuffix(".npy") for name in archive.namelist()]
            if MEMBER not in members:
                raise InputError(_no_images(path, members))
            info = archive.getinfo(f"{MEMBER}.npy")
            with archive.open(info) as member:
                shape, fortran, dtype = _header(member)
                start = member.tell()
    except _BROKEN as error:
        raise InputError(
            f"{path} is not a readable npz file ({error or type(error).__name__}). It may be cut short: write it again."
        ) from error
    what = f"{MEMBER} of {path}"
    _refuse_objects(dtype, what)
    if info.file_size - start != math.prod(shape) * dtype.itemsize:
        raise InputError(f"{what} is damaged: its size does not fit its shape {shape}. Write the file again.")
    if info.compress_type == zipfile.ZIP_STORED:
        offset = _data_offset(path, info) + start
        rows: Callable[[], Any] = partial(
            np.memmap, path, dtype=dtype, mode="r", offset=offset, shape=shape, order="F" if fortran else "C"
        )
    elif fortran and math.prod(shape) > 1:
        raise InputError(f"{what} is compressed in Fortran order; save numpy.ascontiguousarray of it instead.")
    else:
        rows = partial(_Inflated, path, start, shape, dtype)
    return ArrayImages(
        "npz", rows, shape, dtype.name, value_range, prefer="NHWC", what=what, labels=_labels(path, shape)
    )


def _labels(path: Path, shape: tuple[int, ...]) -> list[str] | None:
    """The member ``arr_1``, where it holds a whole number or a text for each image; None otherwise."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{LABELS}.npy") as member:
            size = archive.getinfo(f"{LABELS}.npy").file_size
            lengths, _, dtype = _header(member)
            if lengths != shape[:1] or dtype.kind not in "iuU" or size - member.tell() != shape[0] * dtype.itemsize:
                return None
            return class_names(np.frombuffer(member.read(), dtype=dtype), None)
    except (KeyError, *_BROKEN):
        return None


class _Inflated:
    """Images of a compressed member: read forward, one at a time; a step back starts over."""

    def __init__(self, path: Path, start: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._member = zipfile.ZipFile(path).open(f"{MEMBER}.npy")  # noqa: SIM115 - open as long as this is
        self._start, self._shape, self._dtype = start, shape[1:], dtype
        self._bytes = math.prod(shape[1:]) * dtype.itemsize
        self._lock = threading.Lock()

    def __getitem__(self, index: int) -> np.ndarray:
        with self._lock:
            self._member.seek(self._start + index * self._bytes)
            data = self._member.read(self._bytes)
        if len(data) < self._bytes:
            raise EOFError("the archive ends too early")
        return np.frombuffer(data, dtype=self._dtype).reshape(self._shape)


def _header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(file)
    raise ValueError(f"version {version} of the format holds structured data")


def _data_offset(path: Path, info: zipfile.ZipInfo) -> int:
    """Where a stored member begins in the file: after its local header, whose extra field has a length of its own."""
    with open(path, "rb") as file:
        file.seek(info.header_offset + 26)
        name, extra = (int.from_bytes(file.read(2), "little") for _ in range(2))
    return info.header_offset + 30 + name + extra


def _refuse_objects(dtype: np.dtype[Any], what: str) -> None:
    if dtype.hasobject:
        raise InputError(
            f"{what} holds pickled Python objects, which are never loaded: they can run code. "
            "Save a plain uint8 array (N, H, W, 3); images of several sizes belong in a folder or an archive."
        )


def _no_images(path: Path, members: list[str]) -> str:
    if {"mu", "sigma"} <= set(members):
        return (
            f"{path} holds reference statistics (mu, sigma), not images. "
            "Give it where statistics are taken, or name the images themselves."
        )
    found = ", ".join(members[:6]) or "nothing"
    return f"{path} has no array {MEMBER!r}; it holds {found}. Save the images with numpy.savez(FILE, images)."
