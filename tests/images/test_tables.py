"""Columns of images in Parquet and Arrow files that pyarrow and Hugging Face's library wrote."""

from __future__ import annotations

import io
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import ganeval
from ganeval.cli.main import main
from ganeval.errors import ConfigError, InputError
from ganeval.images.open import open_images
from ganeval.images.shapes import render
from ganeval.images.types import ImageSource

arrow = pytest.importorskip("pyarrow", reason="needs ganeval[parquet]")
parquet = pytest.importorskip("pyarrow.parquet", reason="needs ganeval[parquet]")
N = 10
IMAGES = [render(i, seed=3, size=24) for i in range(N)]


def png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def rows(paths: bool = True) -> list[dict[str, Any]]:
    return [{"bytes": png(image), "path": f"{i:03}.png" if paths else None} for i, image in enumerate(IMAGES)]


def plain_table(**more: list[Any]) -> Any:
    return arrow.table({"image": rows(), **more})


def write(path: Path, table: Any, form: str = "parquet") -> Path:
    if form == "parquet":
        parquet.write_table(table, path, row_group_size=3)
    else:
        new = arrow.ipc.new_file if form == "file" else arrow.ipc.new_stream
        with new(str(path), table.schema) as writer:
            writer.write_table(table, max_chunksize=3)
    return path


def pixels(source: ImageSource) -> np.ndarray:
    return np.concatenate([np.asarray(batch.images) for batch in source.batches(4)]).transpose(0, 2, 3, 1)


@pytest.mark.parametrize(("form", "name"), [("parquet", "a.parquet"), ("file", "a.arrow"), ("stream", "a.ARROW")])
def test_images_names_and_labels(tmp_path: Path, form: str, name: str) -> None:
    path = write(tmp_path / name, plain_table(label=[i % 3 for i in range(N)]), form)
    source = open_images(path)
    assert np.array_equal(pixels(source), IMAGES)
    assert source.names() == [f"{i:03}.png" for i in range(N)]
    assert source.labels() == [str(i % 3) for i in range(N)]
    assert source.describe()["image_column"] == "image"
    assert source.report.formats == {"PNG": N}


@pytest.mark.parametrize("form", ["parquet", "arrow"])
def test_a_data_set_of_hugging_face(tmp_path: Path, form: str) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"pic": datasets.Image(), "kind": datasets.ClassLabel(names=["cat", "dog", "none"])})
    made = datasets.Dataset.from_dict({"pic": rows(), "kind": [i % 2 for i in range(N)]}, features=features)
    if form == "parquet":
        path = tmp_path / "a.parquet"
        made.to_parquet(str(path))
    else:
        made.save_to_disk(str(tmp_path / "saved"))
        (path,) = (tmp_path / "saved").glob("*.arrow")
    source = open_images(path)
    assert np.array_equal(pixels(source), IMAGES)
    assert source.labels() == [("cat", "dog")[i % 2] for i in range(N)]
    assert source.classes() == ["cat", "dog", "none"]


def test_plain_bytes_are_called_by_their_rows_and_read_in_processes(tmp_path: Path) -> None:
    images = [png(image) for image in IMAGES]
    source = open_images(write(tmp_path / "a.parquet", arrow.table({"content": images, "id": list(range(N))})))
    assert source.names() == [f"#{i}" for i in range(N)]
    assert source.labels() is None
    assert pickle.loads(pickle.dumps(source)).images.read(9) == images[9]
    drawn = np.concatenate([np.asarray(batch.images) for batch in source.batches(4, workers=1)])
    assert np.array_equal(drawn.transpose(0, 2, 3, 1), IMAGES)


def test_shards_are_one_set(tmp_path: Path) -> None:
    for number, part in enumerate((slice(0, 4), slice(4, N))):
        table = plain_table(label=["ab"[i % 2] for i in range(N)])
        write(tmp_path / f"s-{number:03}.parquet", table.slice(part.start, part.stop - part.start))
    source = open_images(f"{tmp_path}/s-{{000..001}}.parquet")
    assert np.array_equal(pixels(source), IMAGES)
    names = source.names()
    assert names is not None
    assert (names[0], names[4]) == ("s-000.parquet/000.png", "s-001.parquet/004.png")
    assert source.labels() == ["ab"[i % 2] for i in range(N)]


def test_columns_are_chosen(tmp_path: Path) -> None:
    other = [{"bytes": png(255 - image), "path": None} for image in IMAGES]
    table = arrow.table({"left": rows(), "right": other, "label": [0] * N, "breed": list("xy" * 5)})
    path = write(tmp_path / "a.parquet", table)
    source = open_images(path, image_column="right", label_column="breed")
    assert np.array_equal(pixels(source), 255 - np.stack(IMAGES))
    assert source.labels() == list("xy" * 5)
    with pytest.raises(InputError, match=r"several columns that may be the images: left, right\. Name one"):
        open_images(path)
    with pytest.raises(
        InputError, match=r"--image-column \(image_column=\): .* has no column 'rihgt'; .*Did you mean 'right'"
    ):
        open_images(path, image_column="rihgt")
    with pytest.raises(InputError, match="holds int64; expected the bytes of image files"):
        open_images(path, image_column="label")
    with pytest.raises(InputError, match=r"--label-column .* has no column 'x'"):
        open_images(path, image_column="left", label_column="x")
    with pytest.raises(InputError, match="'left' does not hold a class for every image"):
        open_images(path, image_column="right", label_column="left")


def test_a_path_is_not_followed(tmp_path: Path) -> None:
    Image.fromarray(IMAGES[0]).save(tmp_path / "secret.png")
    table = arrow.table({"image": [*rows(), {"bytes": None, "path": str(tmp_path / "secret.png")}]})
    source = open_images(write(tmp_path / "a.parquet", table))
    with pytest.raises(InputError, match=r"secret\.png: the row has no bytes of an image; a path alone is not foll"):
        source.check()
    assert sum(len(batch.names) for batch in source.batches(4, on_error="skip")) == N
    with pytest.raises(InputError, match="an image file of .* bytes; at most 10 are read"):
        open_images(tmp_path / "a.parquet", max_image_bytes=10).check()


@pytest.mark.parametrize("form", ["parquet", "file", "stream"])
def test_damaged_files_are_one_message(tmp_path: Path, form: str) -> None:
    path = tmp_path / ("a.parquet" if form == "parquet" else "a.arrow")
    whole = write(path, plain_table(), form).read_bytes()
    for data in (b"", b"PAR1", whole[: len(whole) // 2], b"not a file of columns" * 9):
        path.write_bytes(data)
        with pytest.raises(InputError, match="is not a readable (Parquet|Arrow) file"):
            open_images(path)
    rng = np.random.default_rng(0)
    for _ in range(40):
        broken = bytearray(whole)
        for at in rng.integers(0, len(whole), 6):
            broken[at] = rng.integers(0, 256)
        path.write_bytes(broken)
        try:
            source = open_images(path)
            list(source.batches(4, on_error="skip"))
        except InputError:
            pass


def test_no_images_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no column of images; its columns are a, b\. Name the one"):
        open_images(write(tmp_path / "a.parquet", arrow.table({"a": [1], "b": ["x"]})))
    with pytest.raises(InputError, match="has no rows"):
        open_images(write(tmp_path / "b.parquet", plain_table().slice(0, 0)))


def test_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.parquet", plain_table())
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r"pip install 'ganeval\[parquet\]'"):
        open_images(path)


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    real = write(tmp_path / "a.parquet", arrow.table({"x": rows(), "y": rows(), "c": ["ab"[i % 2] for i in range(N)]}))
    columns = ["--image-column", "x", "--label-column", "c"]
    fid = ["fid", str(real), str(real), "--protocol", "compact", "--per-class", "--json", *columns]
    assert main(fid) == 0, capsys.readouterr().err
    capsys.readouterr()
    assert main(["fid", str(real), str(real), "--protocol", "compact"]) == 2
    assert "several columns" in capsys.readouterr().err


def test_a_label_column_of_items() -> None:
    items = [{"image": image, "kind": i % 2, "label": 0} for i, image in enumerate(IMAGES)]
    source = open_images(items, label_column="kind")
    list(source.batches(4))
    assert source.labels() == [str(i % 2) for i in range(N)]
    with pytest.raises(ConfigError, match=r"label_column=\) names a column of a data set's items, and no image set"):
        ganeval.fid(np.stack(IMAGES), np.stack(IMAGES), protocol="compact", label_column="kind")


def test_a_page_shows_the_images_of_the_chosen_column(tmp_path: Path) -> None:
    table = write(tmp_path / "a.parquet", arrow.table({"x": rows(), "y": rows()}))
    other = [{"bytes": png(255 - image), "path": None} for image in IMAGES]
    fakes = write(tmp_path / "b.parquet", arrow.table({"x": other, "y": other}))
    page = tmp_path / "page.html"
    kid = ["kid", str(table), str(fakes), "--protocol", "compact", "--image-column", "x", "--report", str(page), "-q"]
    assert main(kid) == 0
    assert "data:image" in page.read_text(encoding="utf-8")
