"""Class labels of the usual data sets, and that subsets, shards and skipped images keep them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    StackDataset,
    Subset,
    TensorDataset,
    random_split,
)

import ganeval
from ganeval.api import evaluate
from ganeval.images.labels import class_names
from ganeval.images.open import open_images
from ganeval.images.shapes import render
from ganeval.images.types import ImageSource, NumberedSource

IMAGES = np.random.default_rng(0).integers(0, 256, (7, 6, 5, 3), dtype=np.uint8)
NCHW = torch.from_numpy(IMAGES).permute(0, 3, 1, 2).contiguous()
NUMBERS = [0, 1, 0, 1, 0, 0, 1]
NAMES = ["cat", "dog"]
AS_NAMES = [NAMES[i] for i in NUMBERS]
AS_NUMBERS = [str(i) for i in NUMBERS]


class Pictures(Dataset[Any]):
    """Items (image, label), of which attributes may tell the label too."""

    def __init__(self, *, items: list[int] | None = None, unreadable: int | None = None, **attributes: Any) -> None:
        self.items, self.unreadable = items, unreadable
        vars(self).update(attributes)

    def __len__(self) -> int:
        return 7

    def __getitem__(self, index: int) -> Any:
        if index == self.unreadable:
            raise OSError("gone")
        image = Image.fromarray(IMAGES[index])
        return image if self.items is None else (image, self.items[index])


class Streamed(IterableDataset[Any]):
    classes = NAMES

    def __iter__(self) -> Iterator[Any]:
        yield from zip(map(Image.fromarray, IMAGES), NUMBERS, strict=True)


def drawn(source: ImageSource, **options: Any) -> list[str] | None:
    for _ in source.batches(3, **options):
        pass
    return source.labels()


def split(dataset: Dataset[Any]) -> list[Subset[Any]]:
    return random_split(dataset, [4, 3], generator=torch.Generator().manual_seed(0))


def hugging_face(**columns: Any) -> Any:
    class Table(Pictures):
        features = {name: feature for name, (feature, _) in columns.items()}  # noqa: RUF012

        def __getitem__(self, index: Any) -> Any:
            return columns[index][1] if isinstance(index, str) else super().__getitem__(index)

    return Table()


CLASSES = SimpleNamespace(names=NAMES)
TOLD: dict[str, tuple[Callable[[], Any], list[str]]] = {
    "targets and classes": (lambda: Pictures(targets=NUMBERS, classes=NAMES), AS_NAMES),
    "targets alone": (lambda: Pictures(targets=NUMBERS), AS_NUMBERS),
    "a tensor of targets": (lambda: Pictures(targets=torch.tensor(NUMBERS), classes=tuple(NAMES)), AS_NAMES),
    "targets with numbers by class": (lambda: Pictures(targets=NUMBERS, class_to_idx={"dog": 1, "cat": 0}), AS_NAMES),
    "labels": (lambda: Pictures(labels=np.array(NUMBERS)), AS_NUMBERS),
    "labels in words": (lambda: Pictures(labels=AS_NAMES), AS_NAMES),
    "torchvision's newer ones": (lambda: Pictures(_labels=NUMBERS, classes=NAMES), AS_NAMES),
    "Subset": (lambda: Subset(Pictures(targets=NUMBERS, classes=NAMES), [6, 0, 2]), ["dog", "cat", "cat"]),
    "Subset of a Subset": (lambda: Subset(Subset(Pictures(targets=NUMBERS), [6, 0, 2]), [2, 0]), ["0", "1"]),
    "ConcatDataset": (
        lambda: ConcatDataset([Pictures(targets=NUMBERS, classes=NAMES), Subset(Pictures(labels=AS_NAMES), [1])]),
        [*AS_NAMES, "dog"],
    ),
    "random_split": (
        lambda: ConcatDataset(split(Pictures(targets=list(range(7))))),
        [str(i) for part in split(Pictures()) for i in part.indices],
    ),
    "TensorDataset": (lambda: TensorDataset(NCHW, torch.tensor(NUMBERS)), AS_NUMBERS),
    "TensorDataset, a column of labels": (lambda: TensorDataset(NCHW, torch.tensor(NUMBERS)[:, None]), AS_NUMBERS),
    "a list": (lambda: list(zip(map(Image.fromarray, IMAGES), NUMBERS, strict=True)), AS_NUMBERS),
    "a list of mappings": (lambda: [{"png": x, "cls": n} for x, n in zip(NCHW, AS_NAMES, strict=True)], AS_NAMES),
    "Hugging Face": (lambda: hugging_face(image=(None, None), label=(CLASSES, NUMBERS)), AS_NAMES),
    "Hugging Face, another name": (lambda: hugging_face(kind=(CLASSES, NUMBERS), id=(None, range(7))), AS_NAMES),
    "Hugging Face, numbers": (lambda: hugging_face(label=(SimpleNamespace(dtype="int64"), NUMBERS)), AS_NUMBERS),
}


@pytest.mark.parametrize("kind", TOLD)
def test_labels_that_a_data_set_tells(kind: str) -> None:
    make, expected = TOLD[kind]
    source = open_images(make())
    assert source.labels() == expected
    assert drawn(source) == expected


DRAWN: dict[str, tuple[Callable[[], Any], list[str]]] = {
    "items of a data set": (lambda: Pictures(items=NUMBERS), AS_NUMBERS),
    "items, and names": (lambda: Pictures(items=NUMBERS, classes=NAMES), AS_NAMES),
    "a Subset of items": (lambda: Subset(Pictures(items=NUMBERS, classes=NAMES), [6, 0]), ["dog", "cat"]),
    "a StackDataset": (lambda: StackDataset(Pictures(), NUMBERS), AS_NUMBERS),
    "a stream": (Streamed, AS_NAMES),
    "a loader of a stream": (lambda: DataLoader(Streamed(), batch_size=None), AS_NAMES),
    "a loader": (lambda: DataLoader(TensorDataset(NCHW, torch.tensor(NUMBERS)), batch_size=3), AS_NUMBERS),
    "mappings": (lambda: iter([{"jpg": x, "cls": n} for x, n in zip(NCHW, NUMBERS, strict=True)]), AS_NUMBERS),
    "WebDataset, encoded": (
        lambda: iter([{"jpg": x, "cls": str(n).encode()} for x, n in zip(NCHW, NUMBERS, strict=True)]),
        AS_NUMBERS,
    ),
}


@pytest.mark.parametrize("kind", DRAWN)
@pytest.mark.parametrize("workers", [0, 1])
def test_labels_that_only_the_items_tell(kind: str, workers: int) -> None:
    make, expected = DRAWN[kind]
    source = open_images(make())
    assert source.labels() is None
    assert drawn(source, workers=workers) == expected


@pytest.mark.parametrize(
    "make",
    [
        lambda: Pictures(),
        lambda: Pictures(targets=[0, 1]),  # of other images
        lambda: Pictures(targets=[0, 1, -1, 0, 0, 0, 0], classes=NAMES),
        lambda: Pictures(targets=[0, 1, 2, 0, 0, 0, 0], classes=NAMES),
        lambda: Pictures(targets=np.eye(7)),
        lambda: Pictures(targets=[0.5] * 7),
        lambda: Pictures(targets=lambda: NUMBERS),
        lambda: ConcatDataset([Pictures(targets=NUMBERS), Pictures()]),
        lambda: TensorDataset(NCHW),
        lambda: TensorDataset(NCHW, torch.rand(7)),
        lambda: hugging_face(a=(CLASSES, NUMBERS), b=(CLASSES, NUMBERS)),  # which of the two
        lambda: [(x, f"{i}.png") for i, x in enumerate(NCHW)],  # a text beside an image may be anything
        lambda: [(x, 0) if i else x for i, x in enumerate(NCHW)],
    ],
)
def test_no_labels_rather_than_wrong_ones(make: Callable[[], Any]) -> None:
    assert drawn(open_images(make())) is None


def test_class_names_degenerate() -> None:
    assert class_names([], None) == []
    assert class_names([True], None) is None
    assert class_names([torch.tensor([1]), np.int64(0)], NAMES) == ["dog", "cat"]
    assert class_names(["dog", 1, b"1"], NAMES) == ["dog", "dog", "dog"]


@pytest.mark.parametrize("compressed", [False, True])
def test_the_second_array_of_a_sampling_script(compressed: bool, tmp_path: Path) -> None:
    save = np.savez_compressed if compressed else np.savez
    for name, labels, expected in (
        ("numbers", np.array(NUMBERS), AS_NUMBERS), ("words", np.array(AS_NAMES), AS_NAMES),
        ("others", np.array(NUMBERS[:3]), None), ("scores", np.linspace(0, 1, 7), None),
        ("many", np.eye(7, dtype=int), None),
    ):  # fmt: skip
        save(tmp_path / f"{name}.npz", IMAGES, labels)
        assert open_images(tmp_path / f"{name}.npz").labels() == expected
    np.savez(tmp_path / "objects.npz", IMAGES, np.array([None] * 7))
    assert open_images(tmp_path / "objects.npz").labels() is None
    assert open_images(tmp_path / "numbers.npz", num=3, seed=1).labels() is not None


@pytest.mark.parametrize("make", [lambda: Pictures(targets=list(range(7))), lambda: Pictures(items=list(range(7)))])
def test_subsets_and_shards_keep_the_labels(make: Callable[[], Any]) -> None:
    whole = open_images(make())
    assert isinstance(whole, NumberedSource)
    subset = whole.subset(4, seed=3)
    names = [name.removeprefix("#") for batch in subset.batches(3) for name in batch.names]
    assert subset.labels() == names
    assert [label for k in (1, 2) for label in drawn(whole.shard(k, 2)) or []] == [str(i) for i in range(7)]


# --- within classes ----------------------------------------------------------------------------------------------

SHAPES = np.stack([render(i, seed=1) for i in range(24)])
OF_SHAPES = [i % 2 for i in range(24)]


class Shapes(Dataset[Any]):
    def __init__(self, *, told: bool, unreadable: tuple[int, ...] = (), seed: int = 1) -> None:
        self.told, self.unreadable, self.seed = told, unreadable, seed
        self.classes = NAMES
        if told:
            self.targets = OF_SHAPES

    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int) -> Any:
        if index in self.unreadable:
            raise OSError("gone")
        image = Image.fromarray(render(index, seed=self.seed))
        return image if self.told else (image, OF_SHAPES[index])


@pytest.mark.parametrize("told", [True, False])
def test_images_that_are_skipped_do_not_shift_the_labels(told: bool, tmp_path: Path) -> None:
    options: dict[str, Any] = {"protocol": "compact", "device": "cpu", "per_class": True}
    left = [i for i in range(24) if i not in (0, 5, 11)]
    expected = ganeval.fid(Subset(Shapes(told=True), left), SHAPES_WITH_LABELS, **options).details["per_class"]
    found = ganeval.fid(Shapes(told=told, unreadable=(0, 5, 11)), SHAPES_WITH_LABELS, on_error="skip", **options)
    assert found.details["per_class"] == expected
    for name in NAMES:
        (tmp_path / name).mkdir()
    for i, image in enumerate(SHAPES):
        Image.fromarray(image).save(tmp_path / NAMES[OF_SHAPES[i]] / f"{i}.png")
    (tmp_path / "cat" / "0.png").write_bytes(b"not an image")
    folder = ganeval.fid(tmp_path, SHAPES_WITH_LABELS, on_error="skip", **options).details["per_class"]
    assert [entry["n_real"] for entry in folder.values()] == [11, 12]  # type: ignore[attr-defined]


SHAPES_WITH_LABELS = Shapes(told=True, seed=2)


def test_labels_through_an_evaluation_of_every_route() -> None:
    options: dict[str, Any] = {"protocol": "compact", "device": "cpu", "per_class": True, "num_real": 20}
    tensors = torch.from_numpy(SHAPES).permute(0, 3, 1, 2)
    loader = DataLoader(Shapes(told=False), batch_size=7, collate_fn=lambda items: tuple(zip(*items, strict=True)))
    fakes = SHAPES_WITH_LABELS
    expected = evaluate(Shapes(told=True), fakes, **options)["fid"].details["per_class"]
    assert evaluate(Shapes(told=False), fakes, **options)["fid"].details["per_class"] == expected
    first = evaluate(Subset(Shapes(told=True), range(20)), fakes, **options)["fid"].details["per_class"]
    assert evaluate(loader, fakes, **options)["fid"].details["per_class"] == first  # of a stream, the first twenty
    numbers = TensorDataset(tensors, torch.tensor(OF_SHAPES)), list(zip(tensors, OF_SHAPES, strict=True))
    by_number = [evaluate(one, numbers[1], **options)["fid"].details["per_class"] for one in numbers]
    assert by_number[0] == by_number[1]
    assert list(by_number[0]) == ["0", "1"]  # type: ignore[call-overload]


def test_hugging_face_itself() -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=NAMES)})
    columns = {"image": list(map(Image.fromarray, IMAGES)), "label": NUMBERS}
    table = datasets.Dataset.from_dict(columns, features=features)
    undecoded = table.cast_column("image", datasets.Image(decode=False))
    renamed = table.rename_columns({"image": "picture", "label": "kind"})
    for spec in (table, undecoded, renamed, table.with_format("torch"), Subset(table, range(7))):
        source = open_images(spec)
        assert source.labels() == AS_NAMES
        (batch,) = source.batches(7)
        np.testing.assert_array_equal(batch.images.permute(0, 2, 3, 1), IMAGES)  # type: ignore[union-attr]
    assert drawn(open_images(table.to_iterable_dataset())) == AS_NAMES
    assert drawn(open_images(DataLoader(table.with_format("torch"), batch_size=3))) == AS_NAMES
