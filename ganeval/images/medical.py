"""Slices of DICOM series and NIfTI volumes: ``medical:FOLDER`` or ``medical:FILE``, with pydicom and nibabel.

The window is the declared range of values, for instance ``--value-range -160,240`` in Hounsfield units: what is black
and what is white. It is part of the protocol, and of this kind alone values outside it always saturate, as on a screen.
The slices of a volume, or of a series, belong together in every error bar.

DICOM pixels are rescaled by their slope and intercept; of MONOCHROME1 the low values are white. Files without a suffix
are read as DICOM with ``--any-suffix`` where they begin as such. A NIfTI volume is cut along its third axis, in the
orientation of its file; of four axes volume by volume.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ganeval.errors import ConfigError, InputError
from ganeval.images.decode import Pixels, UnreadableImage
from ganeval.images.libraries import optional_library
from ganeval.images.options import OpenOptions
from ganeval.images.pixels import ClampedRange, ValueRange, to_uint8
from ganeval.images.types import Images
from ganeval.parsing.arguments import option

DICOM, NIFTI = (".dcm", ".dicom"), (".nii", ".nii.gz")
_READERS = {"dicom": "pydicom", "nifti": "nibabel"}


@dataclass(frozen=True, slots=True)
class _Slice:
    """One slice: its file, its place in it, and the series or volume that it is of."""

    path: Path
    name: str
    group: str
    number: int
    form: str
    inverted: bool = False


class MedicalImages(Images):
    """Slices in order of their files, and of their places in those."""

    kind = "medical"

    def __init__(self, slices: list[_Slice], window: ValueRange, ignored: Counter[str]) -> None:
        self._slices, self._window, self.ignored = slices, ClampedRange(window), ignored
        self.deep_range = window  # the decode policy of the set, and so part of the protocol

    def __len__(self) -> int:
        return len(self._slices)

    def name(self, index: int) -> str:
        return self._slices[index].name

    def group(self, index: int) -> str | None:
        return self._slices[index].group

    def load(self, index: int) -> Pixels:
        one = self._slices[index]
        values = _volume(one.path, one.form)[one.number]
        made, _ = to_uint8(values[None, ..., None], value_range=self._window, prefer="NHWC", what=one.name)
        levels = made[0].permute(1, 2, 0).numpy()
        return Pixels(255 - levels if one.inverted else levels)

    def facts(self) -> dict[str, object]:
        return {"volumes": len({one.group for one in self._slices})}


def open_medical(text: str, options: OpenOptions) -> MedicalImages:
    """Open a file, or all DICOM and NIfTI files below a folder.

    Raises:
        ConfigError: no window, or the library that reads such files is not installed.
        InputError: nothing there, no such files, or a damaged one.
    """
    if options.value_range is None:
        raise ConfigError(
            f"medical:{text} needs the window, {option('value_range')}: which values are black and white, for instance "
            "--value-range -160,240 for soft tissue in Hounsfield units."
        )
    root = Path(text)
    if not root.exists():
        raise InputError(f"medical:{text}: no such file or folder: {text!r}.")
    files = [root] if root.is_file() else sorted(path for path in root.rglob("*") if path.is_file())
    slices: list[_Slice] = []
    ignored: Counter[str] = Counter()
    for path in files:
        if (form := _form(path, any_suffix=options.any_suffix)) is None:
            ignored[path.suffix.lower() or "no suffix"] += 1
        else:
            name = path.name if path == root else path.relative_to(root).as_posix()
            slices += _slices_of(path, name, form)
    if not slices:
        raise InputError(f"medical:{text} holds no file of {', '.join((*DICOM, *NIFTI))}.")
    return MedicalImages(slices, options.value_range, ignored)


def _form(path: Path, *, any_suffix: bool) -> str | None:
    name = path.name.lower()
    if name.endswith(NIFTI):
        return "nifti"
    if name.endswith(DICOM):
        return "dicom"
    if any_suffix:
        with path.open("rb") as file:
            return "dicom" if file.read(132)[128:] == b"DICM" else None
    return None


def _slices_of(path: Path, name: str, form: str) -> list[_Slice]:
    """The slices of a file, from its header."""
    try:
        if form == "dicom":
            header = _reader(form).dcmread(path, stop_before_pixels=True)
            n, group = int(header.get("NumberOfFrames") or 1), str(header.get("SeriesInstanceUID") or name)
            inverted = header.get("PhotometricInterpretation") == "MONOCHROME1"
        else:
            shape = _reader(form).load(path).shape
            n, group, inverted = int(np.prod(shape[2:], dtype=int)), name, False
    except (ConfigError, KeyboardInterrupt):
        raise
    except Exception as error:  # of a foreign file anything may be raised
        raise InputError(f"{path} cannot be read as {form}: {error}.") from error
    return [_Slice(path, f"{name}#{number}", group, number, form, inverted) for number in range(n)]


@lru_cache(maxsize=4)
def _volume(path: Path, form: str) -> np.ndarray:
    """The values of all slices of a file, (n, H, W) float32."""
    try:
        values = _dicom_values(path) if form == "dicom" else _nifti_values(path)
    except ConfigError:
        raise
    except Exception as error:
        raise UnreadableImage(f"it cannot be decoded as {form} ({error})") from error
    if values.ndim != 3 or 0 in values.shape:
        raise UnreadableImage(f"it holds values of shape {values.shape}; expected slices of one channel")
    return values


def _dicom_values(path: Path) -> np.ndarray:
    reader = _reader("dicom")
    header = reader.dcmread(path)
    values = np.asarray(header.pixel_array, dtype=np.float32)
    values = values * float(header.get("RescaleSlope") or 1.0) + float(header.get("RescaleIntercept") or 0.0)
    return values[None] if values.ndim == 2 else values


def _nifti_values(path: Path) -> np.ndarray:
    values = np.asarray(_reader("nifti").load(path).dataobj, dtype=np.float32)
    if values.ndim == 2:
        return values.T[None]
    flat = values.reshape(*values.shape[:2], -1, order="F")
    return np.ascontiguousarray(flat.transpose(2, 1, 0))


def _reader(form: str) -> Any:
    """The library that reads such files.

    Raises:
        ConfigError: it is not installed.
    """
    return optional_library(_READERS[form], f"{form} files", "medical")
