"""Datasets, DataLoaders and iterables: whatever holds images in Python."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from ganeval.errors import InputError
from ganeval.images.open import open_images
from ganeval.images.types import ImageSource

IMAGES = np.random.default_rng(0).integers(0, 256, (7, 6, 5, 3), dtype=np.uint8)
NCHW = torch.from_numpy(IMAGES).permute(0, 3, 1, 2).contiguous()
FLOATS = NCHW / 127.5 - 1
RANGE = (-1.0, 1.0)


class Items(Dataset[Any]):
    """A map-style dataset of whatever it is given."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter(NCHW)


def pixels(source: ImageSource, **options: Any) -> np.ndarray:
    found = []
    for batch in source.batches(3, **options):
        assert batch.digests is not None
        assert len(batch.digests) == len(batch.names)
        found.append(batch.images.permute(0, 2, 3, 1).numpy())
    return np.concatenate(found)


PIL_ITEMS = [Image.fromarray(image) for image in IMAGES]
ITEMS = {
    "pil": PIL_ITEMS,
    "pil and label": [(image, i) for i, image in enumerate(PIL_ITEMS)],
    "mapping": [{"label": 1, "image": image} for image in PIL_ITEMS],
    "tensors": list(NCHW),
    "tensors and labels": [(image, torch.tensor(1)) for image in NCHW],
    "floats": list(FLOATS),
    "arrays": list(IMAGES),
    "lists": [[image, 3] for image in IMAGES],
}


@pytest.mark.parametrize("kind", ITEMS)
@pytest.mark.parametrize("workers", [0, 1])
def test_items_of_datasets_and_lists(kind: str, workers: int) -> None:
    value_range = RANGE if kind == "floats" else None
    for spec in (Items(ITEMS[kind]), ITEMS[kind]):
        source = open_images(spec, value_range=value_range)
        assert source.length == 7
        np.testing.assert_array_equal(pixels(source, workers=workers), IMAGES)
        np.testing.assert_array_equal(pixels(source, workers=workers), IMAGES)
    assert open_images(Items(ITEMS[kind]), value_range=value_range, num=3, seed=1).length == 3


LOADERS = {
    "images": lambda: DataLoader(Items(list(NCHW)), batch_size=2),
    "images and labels": lambda: DataLoader(TensorDataset(NCHW, torch.arange(7)), batch_size=2),
    "mappings": lambda: DataLoader(Items([{"image": x, "label": 1} for x in NCHW]), batch_size=4),
    "lists of Pillow images": lambda: DataLoader(
        Items(PIL_ITEMS), batch_size=3, collate_fn=lambda items: (list(items), 0)
    ),
    "no batches": lambda: DataLoader(TensorDataset(NCHW, torch.arange(7)), batch_size=None),
    "iterable": lambda: DataLoader(Stream(), batch_size=2),
    "iterable without a loader": lambda: Stream(),
    "list of batches": lambda: [NCHW[:3], NCHW[3:4], NCHW[4:]],
    "list of arrays of batches": lambda: [(IMAGES[:5], "labels"), (IMAGES[5:], "labels")],
    "generator": lambda: (image for image in PIL_ITEMS),
    "generator of batches": lambda: (x for x in NCHW.split(4)),
}


@pytest.mark.parametrize("kind", LOADERS)
def test_streams_are_batched_anew(kind: str) -> None:
    source = open_images(LOADERS[kind]())
    source.check()
    batches = list(source.batches(3))
    assert [batch.names for batch in batches] == [["#0", "#1", "#2"], ["#3", "#4", "#5"], ["#6"]]
    np.testing.assert_array_equal(np.concatenate([b.images.permute(0, 2, 3, 1).numpy() for b in batches]), IMAGES)
    assert source.report.used == 7
    known = {"images", "images and labels", "mappings", "lists of Pillow images"}
    assert source.length == (7 if kind in known else None)
    first = open_images(LOADERS[kind](), num=4, seed=9)
    assert first.length == 4
    assert first.describe()["subset"] == {"first": 4}
    np.testing.assert_array_equal(pixels(first), IMAGES[:4])


def test_digests_against_the_array() -> None:
    (expected,) = open_images(IMAGES).batches(7)
    for kind in LOADERS:
        (batch,) = open_images(LOADERS[kind]()).batches(7)
        np.testing.assert_array_equal(batch.digests, expected.digests)


def test_prepare_in_streams() -> None:
    (batch,) = open_images(LOADERS["images"]()).batches(9, prepare=lambda x: torch.from_numpy(x[0] * np.float32(2)))
    np.testing.assert_array_equal(batch.images, IMAGES[:, 0] * np.float32(2))


def test_a_generator_object_is_read_once_iv() -> None:
    source = open_images(LOADERS["generator"]())
    pixels(source)
    with pytest.raises(InputError, match="can be read only once, and was"):
        pixels(source)
    pixels(open_images(again := LOADERS["list of batches"]()))
    pixels(open_images(again))


def test_a_stream_that_is_too_short_iv() -> None:
    with pytest.raises(InputError, match="9 images were requested, but it ended after 7"):
        pixels(open_images(LOADERS["generator"](), num=9))
    with pytest.raises(InputError, match="9 images were requested, but it has only 7"):
        open_images(LOADERS["images"](), num=9)


@pytest.mark.parametrize("empty", [[], Items([]), (), iter([])])
def test_empty_iv(empty: Any) -> None:
    if empty == [] or empty == () or isinstance(empty, Items):
        with pytest.raises(InputError, match="holds no images"):
            open_images(empty)
    else:
        assert list(open_images(empty).batches(2)) == []


def test_floats_without_a_range_iv() -> None:
    for spec in (Items(list(FLOATS)), list(FLOATS), DataLoader(Items(list(FLOATS))), [FLOATS]):
        with pytest.raises(InputError, match="need a declared range of values. Pass --value-range"):
            pixels(open_images(spec))


def test_a_missing_range_is_found_before_the_long_part_iv() -> None:
    for spec in (Items(list(FLOATS)), list(FLOATS), [FLOATS]):
        with pytest.raises(InputError, match="need a declared range of values"):
            open_images(spec).check()
        open_images(spec, value_range=RANGE).check()


def spoilt() -> Tensor:
    images = FLOATS.clone()
    images[4, 1, 2, 3] = float("nan")
    return images


@pytest.mark.parametrize(
    "spec", [Items(list(spoilt())), [spoilt()[:3], spoilt()[3:]], DataLoader(Items(list(spoilt())))]
)
def test_bad_images_are_named_or_skipped(spec: Any) -> None:
    source = open_images(spec, value_range=RANGE)
    with pytest.raises(InputError, match="has an image that cannot be used: #4: it holds NaN"):
        pixels(source)
    np.testing.assert_array_equal(pixels(source, on_error="skip"), np.delete(IMAGES, 4, axis=0))
    assert [name for name, _ in source.report.skipped] == ["#4"]


class Broken(Items):
    def __getitem__(self, index: int) -> Any:
        if index == 2:
            raise KeyError("no such row")
        return super().__getitem__(index)


@pytest.mark.parametrize("workers", [0, 1])
def test_what_a_dataset_raises_is_said_of_its_item_iv(workers: int) -> None:
    with pytest.raises(InputError, match=r"#2: Broken raises KeyError: 'no such row'") as error:
        pixels(open_images(Broken(PIL_ITEMS)), workers=workers)
    assert "Traceback" not in str(error.value)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("text", "a str is not an image"),
        ({"text": 1}, "the item has no image: its columns are text. Name the one that holds it: image_column"),
        (torch.zeros(5), r"shape \(5,\) is not one image"),
        (torch.zeros(2, 9, 9, dtype=torch.uint8), "is not a set of images"),
        (torch.zeros(3, 4, 4, dtype=torch.int64), "int64 need a declared range"),
    ],
)
def test_items_that_are_no_images_iv(item: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        pixels(open_images(Items([PIL_ITEMS[0], item])))


def test_grey_items() -> None:
    source = open_images(Items([x[0] for x in NCHW]))
    np.testing.assert_array_equal(pixels(source), np.repeat(IMAGES[..., :1], 3, axis=3))
    assert source.report.notes == {"grey replicated to three channels": 7}


def test_labels_of_a_dataset() -> None:
    dataset = Items(PIL_ITEMS)
    assert open_images(dataset).labels() is None
    dataset.targets, dataset.classes = [0, 1, 0, 1, 0, 0, 1], ["cat", "dog"]  # type: ignore[attr-defined]
    assert open_images(dataset).labels() == ["cat", "dog", "cat", "dog", "cat", "cat", "dog"]


# --- torchvision, by name ----------------------------------------------------------------------------------------


class CIFAR10(Items):
    def __init__(self, root: str, train: bool = True, download: bool = False) -> None:
        marker = Path(root) / "there"
        if download:
            marker.touch()
        if not marker.exists():
            raise RuntimeError("Dataset not found or corrupted. You can use download=True to download it")
        super().__init__([(image, 3) for image in (PIL_ITEMS[:4] if train else PIL_ITEMS[4:])])


class SVHN(Items):
    def __init__(self, root: str, split: str = "train") -> None:
        if split not in ("train", "test", "extra"):
            raise ValueError(f"Unknown value '{split}' for argument split.")
        super().__init__(PIL_ITEMS[:2])


@pytest.fixture
def torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision import datasets

    monkeypatch.setattr(datasets, "CIFAR10", CIFAR10)
    monkeypatch.setattr(datasets, "SVHN", SVHN)
    monkeypatch.delenv("GANEVAL_OFFLINE", raising=False)


@pytest.mark.usefixtures("torchvision")
def test_torchvision_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "data"
    with pytest.raises(
        InputError, match=f"Dataset not found.*Looked in {root}. Fetch it with --download, or point --d"
    ):
        open_images("dataset:cifar10:test", data_root=root)
    monkeypatch.setenv("GANEVAL_OFFLINE", "1")
    with pytest.raises(InputError, match="GANEVAL_OFFLINE is set"):
        open_images("dataset:cifar10:test", data_root=root, download=True)
    monkeypatch.setenv("GANEVAL_OFFLINE", "0")
    source = open_images("dataset:cifar10:test", data_root=root, download=True)
    np.testing.assert_array_equal(pixels(source), IMAGES[4:])
    np.testing.assert_array_equal(pixels(open_images("dataset:CIFAR10:train", data_root=str(root))), IMAGES[:4])
    assert source.describe()["dataset"] == "CIFAR10"
    assert open_images("dataset:svhn:extra", data_root=root).length == 2


@pytest.mark.usefixtures("torchvision")
@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("dataset:cifar11:test", "does not name a data set; expected dataset:NAME:SPLIT"),
        ("dataset:cifar10", "does not name a data set"),
        ("dataset:cifar10:", "does not name a data set"),
        ("dataset:cifar10:test:x", "does not name a data set"),
        ("dataset:cifar10:valid", "CIFAR10 has no split 'valid'; its splits are train and test"),
        ("dataset:svhn:valid", "Unknown value 'valid'"),
        ("dataset:semeion:test", "has no splits that can be named"),
    ],
)
def test_torchvision_iv(spec: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        open_images(spec, data_root=tmp_path)


def test_the_default_root_is_in_the_users_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    import platformdirs

    from ganeval.images.dataset import _default_root

    assert sys.modules["platformdirs"] is platformdirs
    assert _default_root() == platformdirs.user_cache_path("ganeval") / "datasets"


@pytest.mark.parametrize("by_sampler", [False, True])
def test_an_incomplete_last_batch_that_is_dropped_is_told(by_sampler: bool) -> None:
    data = TensorDataset(NCHW)
    batches = torch.utils.data.BatchSampler(torch.utils.data.SequentialSampler(data), 3, drop_last=True)
    dropping: DataLoader[Any] = (
        DataLoader(data, batch_sampler=batches) if by_sampler else DataLoader(data, 3, drop_last=True)
    )
    for loader, dropped in ((dropping, 1), (DataLoader(data, 3), 0)):
        source = open_images(loader)
        assert sum(len(batch.names) for batch in source.batches(4)) == 7 - dropped
        told = {what: n for what, n in source.report.notes.items() if "drop_last=True of the DataLoader" in what}
        assert list(told.values()) == [1] * dropped
