"""npz archives as ganeval writes them: equal arrays are equal bytes. ``ganeval.parsing.array_files`` reads them."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from ganeval.files import is_stream, written_whole

_EPOCH = (1980, 1, 1, 0, 0, 0)  # in every archive: the same arrays are the same bytes


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write an uncompressed npz: atomically and without times, so that equal arrays give equal bytes."""
    with written_whole(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            info = zipfile.ZipInfo(f"{name}.npy", date_time=_EPOCH)
            info.create_system = 3  # the same on every system
            info.external_attr = 0o644 << 16
            with archive.open(info, "w", force_zip64=True) as stream:
                npy.write_array(stream, np.asarray(array, order="C"), version=(1, 0), allow_pickle=False)


def with_suffix_npz(path: Path) -> Path:
    """``path`` with ``.npz`` appended unless it has that ending in some letter case, or is a device or a pipe.

    >>> with_suffix_npz(Path("Ref")).name, with_suffix_npz(Path("ref.v1")).name, with_suffix_npz(Path("REF.NPZ")).name
    ('Ref.npz', 'ref.v1.npz', 'REF.NPZ')
    """
    return path if path.name.lower().endswith(".npz") or is_stream(path) else path.with_name(path.name + ".npz")
