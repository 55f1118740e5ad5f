"""Arrays of images in HDF5 files that h5py wrote."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ganeval.errors import ConfigError, InputError
from ganeval.images import libraries
from ganeval.images.open import open_images
from ganeval.images.shapes import render
from ganeval.images.types import ImageSource

h5py = pytest.importorskip("h5py", reason="needs ganeval[hdf5]")
N = 10
IMAGES = np.stack([render(i, seed=4, size=20) for i in range(N)])


def write(path: Path, **arrays: Any) -> Path:
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file.create_dataset(name, data=values)
    return path


def pixels(source: ImageSource) -> np.ndarray:
    return np.concatenate([np.asarray(batch.images) for batch in source.batches(4)]).transpose(0, 2, 3, 1)


def test_images_and_labels(tmp_path: Path) -> None:
    source = open_images(write(tmp_path / "a.h5", images=IMAGES, labels=np.arange(N)[:, None] % 3, masks=IMAGES))
    assert np.array_equal(pixels(source), IMAGES)
    assert source.labels() == [str(i % 3) for i in range(N)]
    assert (source.describe()["kind"], source.describe()["layout"]) == ("hdf5", "NHWC")
    assert np.array_equal(pickle.loads(pickle.dumps(source)).images.load(7).array, IMAGES[7])


def test_chunks_are_read_in_any_order(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file.create_dataset("imgs", data=IMAGES.transpose(0, 3, 1, 2), chunks=(4, 3, 20, 20), compression="gzip")
    images = open_images(tmp_path / "a.hdf5").images  # type: ignore[attr-defined]
    for index in (9, 0, 5, 4, 3, 9):
        assert np.array_equal(images.load(index).array, IMAGES[index])


def test_floats_need_their_range(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", x=IMAGES.astype(np.float32) / 127.5 - 1)
    with pytest.raises(InputError, match="--value-range"):
        open_images(path)
    assert np.array_equal(pixels(open_images(path, value_range=(-1, 1))), IMAGES)


def test_data_sets_are_chosen(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", **{"train/x": IMAGES, "test/x": IMAGES[::-1], "y": np.arange(N), "text": "no"})
    source = open_images(path, image_column="test/x", label_column="y")
    assert np.array_equal(pixels(source), IMAGES[::-1])
    assert source.labels() == [str(i) for i in range(N)]
    with pytest.raises(InputError, match="several columns that may be the images: test/x, train/x"):
        open_images(path)
    with pytest.raises(InputError, match="'train/x' does not hold a class for every image"):
        open_images(path, image_column="test/x", label_column="train/x")
    with pytest.raises(InputError, match="holds object, not numbers"):
        open_images(path, image_column="text")


def test_other_files_are_not_opened(tmp_path: Path) -> None:
    inside = write(tmp_path / "inside.h5", images=IMAGES)
    (tmp_path / "raw").write_bytes(IMAGES.tobytes())
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"] = h5py.ExternalLink(str(inside), "images")
    with pytest.raises(InputError, match="has no column of images"):
        open_images(tmp_path / "a.h5")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        stored = [(str(tmp_path / "raw"), 0, IMAGES.nbytes)]
        file.create_dataset("images", IMAGES.shape, np.uint8, external=stored)
        layout = h5py.VirtualLayout(IMAGES.shape, np.uint8)
        layout[:] = h5py.VirtualSource(str(inside), "images", IMAGES.shape)
        file.create_virtual_dataset("virtual", layout)
    for column in ("images", "virtual"):
        with pytest.raises(InputError, match="is in other files, which are not opened"):
            open_images(tmp_path / "b.h5", image_column=column)


def test_bad_files_are_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.h5"
    whole = write(path, images=IMAGES).read_bytes()
    for data in (b"", b"not one", whole[:600]):
        path.write_bytes(data)
        with pytest.raises(InputError, match="is not a readable HDF5 file"):
            open_images(path)

    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(libraries, "import_module", missing)
    with pytest.raises(ConfigError, match=r"pip install 'ganeval\[hdf5\]'"):
        open_images(path)
