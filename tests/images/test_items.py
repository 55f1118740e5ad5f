"""Where the image of an item is: by known names, by suffixes, by looks, or as the caller names it."""

from __future__ import annotations

import io
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset

import ganeval
from ganeval.cli.main import main
from ganeval.errors import ConfigError, InputError
from ganeval.images.open import open_images
from ganeval.images.types import ImageSource

IMAGES = np.random.default_rng(0).integers(0, 256, (7, 6, 5, 3), dtype=np.uint8)
NCHW = torch.from_numpy(IMAGES).permute(0, 3, 1, 2).contiguous()
PIL_ITEMS = [Image.fromarray(image) for image in IMAGES]
MASK = Image.new("L", (5, 6), 255)
Sample = namedtuple("Sample", ["key", "picture"])


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


class Items(Dataset[Any]):
    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


class Stream(IterableDataset[Any]):
    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __iter__(self) -> Iterator[Any]:
        return iter(self.items)


def pixels(source: ImageSource, **options: Any) -> np.ndarray:
    return np.concatenate([b.images.permute(0, 2, 3, 1).numpy() for b in source.batches(3, **options)])  # type: ignore[union-attr]


ITEMS: dict[str, list[Any]] = {
    "WebDataset, decoded": [{"__key__": f"{i}", "jpg": x, "cls": i} for i, x in enumerate(PIL_ITEMS)],
    "WebDataset, a name before the suffix": [{"__key__": "0", "input.PNG": x, "json": {}} for x in PIL_ITEMS],
    "WebDataset, encoded": [{"__key__": "0", "png": encoded(x), "cls": b"3", "txt": b"cat"} for x in PIL_ITEMS],
    "webp": [{"webp": encoded(x), "width": 5} for x in PIL_ITEMS],
    "a known name before a suffix": [{"image": x, "mask.png": MASK} for x in PIL_ITEMS],
    "the only image-like column": [{"id": i, "photo": x, "text": "cat"} for i, x in enumerate(PIL_ITEMS)],
    "beside boxes and embeddings": [
        {"x": x, "boxes": np.zeros((2, 4)), "embedding": torch.zeros(8), "depth": [1, 2]} for x in NCHW
    ],
    "bytes": [encoded(x) for x in PIL_ITEMS],
    "bytearrays in a tuple": [(bytearray(encoded(x, "TIFF")), 1) for x in PIL_ITEMS],
    "Hugging Face, bytes": [{"image": {"bytes": encoded(x), "path": None}, "label": 1} for x in PIL_ITEMS],
    "Hugging Face, a column alone": [{"bytes": encoded(x), "path": "gone.png"} for x in PIL_ITEMS],
    "the image comes second": [(f"{i}", x) for i, x in enumerate(PIL_ITEMS)],
    "numpy, second": [[i, x] for i, x in enumerate(IMAGES)],
}


@pytest.mark.parametrize("kind", ITEMS)
def test_items_by_every_door(kind: str) -> None:
    for spec in (Items(ITEMS[kind]), Stream(ITEMS[kind]), ITEMS[kind], iter(ITEMS[kind])):
        np.testing.assert_array_equal(pixels(open_images(spec)), IMAGES)
    np.testing.assert_array_equal(pixels(open_images(Items(ITEMS[kind])), workers=1), IMAGES)


def test_paths_of_hugging_face_that_is_not_decoded(tmp_path: Path) -> None:
    for i, image in enumerate(PIL_ITEMS):
        image.save(tmp_path / f"{i}.png")
    items = [{"image": {"bytes": None, "path": str(tmp_path / f"{i}.png")}} for i in range(7)]
    np.testing.assert_array_equal(pixels(open_images(Items(items))), IMAGES)
    (tmp_path / "3.png").unlink()
    with pytest.raises(InputError, match=r"#3: the file .*3\.png cannot be read \(No such file or directory\)"):
        pixels(open_images(Items(items)))
    assert len(pixels(open_images(Stream(items)), on_error="skip")) == 6


@pytest.mark.parametrize(
    "batches",
    [
        lambda: DataLoader(Items([{"jpg": x, "cls": 1} for x in NCHW]), batch_size=3),
        lambda: [{"png": PIL_ITEMS[:3], "cls": [0, 1, 2]}, {"png": PIL_ITEMS[3:], "cls": [0] * 4}],
        lambda: [([encoded(x) for x in PIL_ITEMS[:5]], [1] * 5), ([encoded(x) for x in PIL_ITEMS[5:]], [1] * 2)],
        lambda: [{"image": [{"bytes": encoded(x), "path": None} for x in PIL_ITEMS]}],
        lambda: [{"ids": torch.arange(4), "frames": NCHW[:4]}, {"ids": torch.arange(3), "frames": NCHW[4:]}],
    ],
)
def test_batches(batches: Any) -> None:
    np.testing.assert_array_equal(pixels(open_images(batches())), IMAGES)


NAMED = {
    "mapping": ([{"image": MASK, "after": x} for x in PIL_ITEMS], "after"),
    "several suffixes": ([{"input.png": MASK, "target.png": x} for x in PIL_ITEMS], "target.png"),
    "named tuple": ([Sample(MASK, x) for x in PIL_ITEMS], "picture"),
    "tuple": ([(MASK, x) for x in PIL_ITEMS], "1"),
}


@pytest.mark.parametrize("kind", NAMED)
def test_image_column(kind: str) -> None:
    items, column = NAMED[kind]
    for spec in (Items(items), Stream(items), items):
        source = open_images(spec, image_column=column)
        np.testing.assert_array_equal(pixels(source), IMAGES)
        assert source.describe()["image_column"] == column
        with pytest.raises(InputError, match="#0: the item has no column 'x'.*columns"):
            pixels(open_images(spec, image_column="x"))


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"a": 1, "b": "text"}, r"the item has no image: its columns are a, b\. Name the one.*image_column"),
        ({"a.png": MASK, "b.jpg": MASK}, r"several columns that may be the image: a\.png, b\.jpg\. Name one"),
        ({"before": MASK, "after": MASK}, "several columns that may be the image: before, after"),
        ({"png": b"no image"}, "not an image in a format known here"),
        (b"", "the file is empty"),
        ({"image": {"bytes": None, "path": None}}, "neither its bytes nor its path are given"),
        (None, "a NoneType is not an image"),
    ],
)
def test_items_iv(item: Any, message: str) -> None:
    items = [PIL_ITEMS[0], PIL_ITEMS[1], item, *PIL_ITEMS[2:]]
    for spec, name in ((Items(items), "Items"), (Stream(items), "Stream"), (DataLoader(Stream(items), None), "Data")):
        with pytest.raises(InputError, match=f"{name}.* has an image that cannot be used: #2: .*{message}"):
            pixels(open_images(spec))
        source = open_images(spec)
        np.testing.assert_array_equal(pixels(source, on_error="skip"), IMAGES)
        assert [place for place, _ in source.report.skipped] == ["#2"]


def test_batches_in_which_no_image_is_found_are_named_or_left_out() -> None:
    batches = [NCHW[:2], {"scores": torch.zeros(4)}, torch.zeros(2, 9, 9, 9, dtype=torch.uint8), NCHW[2:]]
    with pytest.raises(InputError, match="#2: the item has no image: its columns are scores"):
        pixels(open_images(iter(batches)))
    with pytest.raises(InputError, match=r"#2: .*shape \(2, 9, 9, 9\) is not a set of images"):
        pixels(open_images(iter(batches[:1] + batches[2:])))
    source = open_images(batches)
    np.testing.assert_array_equal(pixels(source, on_error="skip"), IMAGES)
    assert [name for name, _ in source.report.skipped] == ["#2", "#3"]
    np.testing.assert_array_equal(pixels(open_images(batches, num=5), on_error="skip"), IMAGES[:3])  # the first five


class Failing(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        yield from PIL_ITEMS[:4]
        raise ValueError("a shard is gone")


@pytest.mark.parametrize("on_error", ["stop", "skip"])
def test_what_a_stream_raises_is_told_with_its_name_and_number(on_error: str) -> None:
    for spec, name in ((Failing(), "Failing"), (DataLoader(Failing(), batch_size=None), "DataLoader")):
        with pytest.raises(InputError, match=f"{name} raises ValueError at #4: a shard is gone") as error:
            pixels(open_images(spec), on_error=on_error)
        assert isinstance(error.value.__cause__, ValueError)


def test_the_distance_is_that_of_the_array() -> None:
    """Every form of the same images has the same value, to the last digit."""
    random = np.random.default_rng(1)
    real, fake = (random.integers(0, 256, (40, 16, 16, 3), dtype=np.uint8) for _ in range(2))
    options: dict[str, Any] = {"protocol": "compact", "device": "cpu"}
    expected = ganeval.fid(real, fake, **options).value
    pictures = [Image.fromarray(x) for x in real]
    for items in ([{"jpg": x} for x in pictures], [(i, encoded(x)) for i, x in enumerate(pictures)]):
        assert ganeval.fid(Items(items), fake, **options).value == expected
        assert ganeval.fid(Stream(items), fake, **options).value == expected
    named = [{"a": MASK, "b": Image.fromarray(x)} for x in real]
    assert ganeval.fid(Stream(named), fake, image_column="b", **options).value == expected


def test_too_few_because_of_what_was_left_out_says_why() -> None:
    with pytest.raises(InputError, match=r"found 0 images in Stream, without 7 that cannot be used \(#0: .*no image"):
        ganeval.fid(Stream([{"a": 1}] * 7), IMAGES, protocol="compact", device="cpu", on_error="skip")


def test_image_column_where_no_set_has_columns_iv(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "a.npy", IMAGES)
    for real, fake in ((tmp_path / "a.npy", IMAGES), (NCHW, str(tmp_path / "a.npy"))):
        with pytest.raises(ConfigError, match=r"image_column=\) names .* no image set here is a data set"):
            ganeval.fid(real, fake, protocol="compact", device="cpu", image_column="image")
    path = str(tmp_path / "a.npy")
    assert main(["fid", path, path, "--protocol", "compact", "--image-column", "image"]) == 2
    assert "no image set here is a data set" in capsys.readouterr().err


def test_an_evaluator_has_the_column_for_its_fakes() -> None:
    named = [{"a": MASK, "b": Image.fromarray(x)} for x in IMAGES]
    options: dict[str, Any] = {"protocol": "compact", "device": "cpu"}
    with ganeval.Evaluator(IMAGES[::-1].copy(), image_column="b", **options) as evaluator:
        evaluator.update(Items(named))
        assert evaluator.compute()["fid"].value == ganeval.fid(IMAGES[::-1].copy(), IMAGES, **options).value
