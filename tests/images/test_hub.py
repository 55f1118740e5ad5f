"""Data sets that Hugging Face's library wrote: folders of save_to_disk, splits, and its objects."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ganeval.errors import ConfigError, InputError
from ganeval.images import libraries
from ganeval.images.decode import ORIENTATION
from ganeval.images.open import open_images
from ganeval.images.shapes import render
from ganeval.images.types import ImageSource

datasets = pytest.importorskip("datasets", reason="needs ganeval[hf]")
N = 6
IMAGES = np.stack([render(i, seed=5, size=20) for i in range(N)])
_ROTATED = 6


def encoded(image: np.ndarray, orientation: int = 1) -> bytes:
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(image).save(file, "PNG", exif=exif)
    return file.getvalue()


def data_set(images: np.ndarray = IMAGES, orientation: int = 1) -> Any:
    features = {
        "pic": datasets.Image(),
        "kind": datasets.ClassLabel(names=["cat", "dog"]),
        "other": datasets.Value("int64"),
    }
    rows = [{"bytes": encoded(image, orientation), "path": None} for image in images]
    columns = {"pic": rows, "kind": [i % 2 for i in range(len(images))], "other": list(range(len(images)))}
    return datasets.Dataset.from_dict(columns, features=datasets.Features(features))


def pixels(source: ImageSource, workers: int = 0) -> np.ndarray:
    drawn = source.batches(4, workers=workers)
    return np.concatenate([np.asarray(batch.images) for batch in drawn]).transpose(0, 2, 3, 1)


def test_a_saved_data_set(tmp_path: Path) -> None:
    data_set().save_to_disk(str(tmp_path / "saved"))
    source = open_images(f"hf:{tmp_path}/saved")
    assert np.array_equal(pixels(source), IMAGES)
    assert source.reopens
    assert source.labels() == ["cat", "dog"] * 3
    assert source.classes() == ["cat", "dog"]
    assert open_images(f"hf:{tmp_path}/saved", label_column="other").labels() == [str(i) for i in range(N)]
    assert open_images(f"hf:{tmp_path}/saved", num=3).length == 3
    with pytest.raises(InputError, match="has no split 'val'; the folder holds one data set"):
        open_images(f"hf:{tmp_path}/saved:val")


def test_splits(tmp_path: Path) -> None:
    saved = datasets.DatasetDict({"train": data_set(), "test": data_set(IMAGES[::-1])})
    saved.save_to_disk(str(tmp_path / "saved"))
    assert np.array_equal(pixels(open_images(f"hf:{tmp_path}/saved:test")), IMAGES[::-1])
    for text, problem in (("", "has several splits"), (":val", "has no split 'val'")):
        with pytest.raises(InputError, match=rf"{problem}; expected one of train, test"):
            open_images(f"hf:{tmp_path}/saved{text}")


def test_an_object_is_decoded_here(tmp_path: Path) -> None:
    source = open_images(data_set(orientation=_ROTATED))
    assert np.array_equal(pixels(source), IMAGES)  # datasets turns them
    assert source.report.notes == {ORIENTATION: N}
    assert source.report.formats == {"PNG": N}
    assert not source.reopens


def test_the_format_of_the_user_is_kept() -> None:
    inverted = data_set().with_transform(lambda rows: {"pic": [255 - np.asarray(image) for image in rows["pic"]]})
    assert np.array_equal(pixels(open_images(inverted)), 255 - IMAGES)


def test_columns_are_chosen() -> None:
    two = data_set().add_column("also", [{"bytes": encoded(255 - image), "path": None} for image in IMAGES])
    two = two.cast_column("also", datasets.Image())
    with pytest.raises(InputError, match="several columns that may be the images: pic, also"):
        open_images(two)
    assert np.array_equal(pixels(open_images(two, image_column="also")), 255 - IMAGES)


def test_nothing_is_fetched_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANEVAL_OFFLINE", "1")
    with pytest.raises(
        InputError, match=r"the folder 'some/name' does not exist, and nothing is fetched because GANEVAL_OFFLINE"
    ):
        open_images("hf:some/name:train")


def test_bad_input_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="names no data set"):
        open_images("hf:")
    (tmp_path / "dataset_dict.json").write_text("{")
    with pytest.raises(InputError, match="cannot be loaded: "):
        open_images(f"hf:{tmp_path}")

    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(libraries, "import_module", missing)
    with pytest.raises(ConfigError, match=r"pip install 'ganeval\[hf\]'"):
        open_images("hf:x")
