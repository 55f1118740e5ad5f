"""Classes from files next to the images, in a folder, a zip, a tar and shards, and from a table."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganeval.api import evaluate
from ganeval.cli.main import main
from ganeval.errors import InputError
from ganeval.images.open import open_images
from ganeval.images.side_files import stylegan_labels

NAMES = [f"{i // 4:05}/img{i:08}.png" for i in range(8)]
CLASSES = ["3", "1", "1", "0", "3", "3", "0", "1"]


def png(i: int) -> bytes:
    data = io.BytesIO()
    pixels = np.random.default_rng(i).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(data, "PNG")
    return data.getvalue()


def write(path: Path, files: Mapping[str, bytes]) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
    elif path.suffix == ".tar":
        with tarfile.open(path, "w") as tar:
            for name, data in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    else:
        for name, data in files.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(data)
    return path


@pytest.mark.parametrize("name", ["set", "set.zip", "set.tar"])
def test_classes_of_stylegans_file(tmp_path: Path, name: str) -> None:
    document = {"labels": [[image, int(label)] for image, label in zip(NAMES, CLASSES, strict=True)][::-1]}
    files = {"dataset.json": json.dumps(document).encode()} | {image: png(i) for i, image in enumerate(NAMES)}
    source = open_images(write(tmp_path / name, files))
    assert source.labels() == CLASSES
    assert source.subset(3, 0).labels() is not None


@pytest.mark.parametrize("name", ["set.tar", "shards-{0..1}.tar", "set.zip"])
def test_classes_of_webdataset_files(tmp_path: Path, name: str) -> None:
    keys = [f"sample{i:03}" for i in range(8)]
    halves = [range(8)] if "{" not in name else [range(4), range(4, 8)]
    for number, part in enumerate(halves):
        files = {f"{keys[i]}.png": png(i) for i in part} | {f"{keys[i]}.cls": f"{CLASSES[i]}\n".encode() for i in part}
        write(tmp_path / name.replace("{0..1}", str(number)), files)
    assert open_images(tmp_path / name).labels() == CLASSES


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{",
        b'{"labels": null}',
        b'{"labels": [["a", 1]]}',
        b'{"labels": [3]}',
        b'{"labels": [["x.png", [0.5]]]}',
    ],
)
def test_another_document_names_no_class(data: bytes) -> None:
    assert stylegan_labels(data, ["x.png"]) is None


def test_classes_of_a_table(tmp_path: Path) -> None:
    folders = [
        write(tmp_path / side, {f"{i:02}.png": png(100 * k + i) for i in range(24)}) for k, side in enumerate("ab")
    ]
    table = tmp_path / "labels.csv"
    table.write_text("image,label\n" + "".join(f"{i:02}.png,{'cat' if i % 2 else 'dog'}\n" for i in range(24)))
    found = evaluate(
        *folders,
        protocol="compact",
        metrics=("fid",),
        device="cpu",
        labels_real=table,
        labels_fake=table,
        per_class=True,
    )["fid"]
    run = ["fid", *map(str, folders), "--protocol", "compact", "--per-class", "--labels-real", str(table)]
    assert main([*run, "--labels-fake", str(table), "-q"]) == 0
    assert set(found.details["per_class"]) == {"cat", "dog"}  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,label\n00.png,1\n", "has no label for 1 of 2 images"),
        ("image,label\n", "found no row"),
        ("image,label\n00.png,1\n00.png,2\n", "names the image '00.png' twice"),
        (None, "no such file"),
    ],
)
def test_a_bad_table_is_one_message(tmp_path: Path, text: str | None, message: str) -> None:
    folder = write(tmp_path / "set", {f"{i:02}.png": png(i) for i in range(2)})
    if text is not None:
        (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        evaluate(folder, folder, protocol="compact", device="cpu", labels_real=tmp_path / "labels.csv")


@pytest.mark.parametrize("key", ["{}", "a.{}"])
def test_classes_in_json_files_and_keys_with_dots(tmp_path: Path, key: str) -> None:
    keys = [key.format(i) for i in range(6)]
    files = {f"{name}.png": png(i) for i, name in enumerate(keys)}
    notes = {f"{name}.json": json.dumps({"label": i % 2, "width": 9}).encode() for i, name in enumerate(keys)}
    write(tmp_path / "a.tar", files | notes)
    assert open_images(tmp_path / "a.tar").labels() == [str(i % 2) for i in range(6)]
    write(tmp_path / "b.tar", files | notes | {f"{keys[3]}.json": b"{}"})
    assert open_images(tmp_path / "b.tar").labels() is None


def test_classes_of_keys_with_dots(tmp_path: Path) -> None:
    files = {f"a.{i}.png": png(i) for i in range(6)} | {f"a.{i}.cls": f"{i % 3}".encode() for i in range(6)}
    write(tmp_path / "a.tar", files)
    assert open_images(tmp_path / "a.tar").labels() == [str(i % 3) for i in range(6)]
