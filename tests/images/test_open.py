"""The one door: which spec opens what, and what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import TensorDataset

from ganeval.errors import ConfigError, InputError
from ganeval.images.open import open_images
from ganeval.images.types import ImageSource

IMAGES = np.random.default_rng(0).integers(0, 256, (20, 6, 5, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "images"
    path.mkdir()
    for i, image in enumerate(IMAGES):
        Image.fromarray(image).save(path / f"{i:02d}.png")
    return path


def digests(source: ImageSource) -> list[int]:
    found: list[int] = []
    for batch in source.batches(7):
        assert batch.digests is not None
        found.extend(batch.digests.tolist())
    return found


def test_every_container_of_the_same_images_reads_the_same(folder: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", IMAGES)
    np.save(tmp_path / "a.npy", IMAGES)
    nchw = torch.from_numpy(IMAGES).permute(0, 3, 1, 2)
    expected = digests(open_images(folder))
    specs: list[Any] = [
        str(folder),
        f"{folder}/",
        tmp_path / "a.npz",
        str(tmp_path / "a.npy"),
        IMAGES,
        nchw,
        TensorDataset(nchw),
        nchw.split(3),
        iter(IMAGES),
        [Image.fromarray(image) for image in IMAGES],
        open_images(folder),
    ]
    for spec in specs:
        source = open_images(spec)
        source.check()
        assert digests(source) == expected
        json.dumps(source.describe())


def test_subsets(folder: Path) -> None:
    source = open_images(folder)
    everything = digests(source)
    chosen = open_images(folder, num=8, seed=4)
    found = digests(chosen)
    assert [key for key in everything if key in set(found)] == found  # in the original order
    assert len(set(found)) == 8
    assert digests(source.subset(8, 4)) == found
    assert digests(source.subset(8, 5)) != found
    assert digests(open_images(folder, num=20, seed=4)) == everything
    assert chosen.describe()["subset"] == {"n": 8, "of": 20, "seed": 4}
    assert chosen.length == 8
    again = chosen.subset(3, 0)
    assert set(digests(again)) < set(found)
    with pytest.raises(InputError, match="21 images were requested, but it has only 20"):
        open_images(folder, num=21)


def test_a_subset_against_uniform_theory() -> None:
    source = open_images(np.zeros((10, 2, 2, 3), np.uint8))
    counts = np.zeros(10)
    for seed in range(3000):
        counts[source.subset(3, seed).indices] += 1  # type: ignore[attr-defined]
    assert np.all(abs(counts - 900) < 5 * np.sqrt(3000 * 0.3 * 0.7))


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        ("nowhere/", {}, "No such file or folder: 'nowhere/'"),
        (Path("nowhere.zip"), {}, "No such file or folder: 'nowhere.zip'"),
        ("stats:cifar10-test", {}, "names reference statistics; expected images"),
        ("gen:dcgan-cifar10", {}, "names a generator; expected images"),
        ("", {}, "an empty name"),
        (" ", {}, "an empty name"),
        (IMAGES, {"num": 0}, "must be at least 1; got 0"),
        (IMAGES, {"num_samples": -1}, "must be at least 1; got -1"),
        (IMAGES, {"seed": -1}, "must be at least 0; got -1"),
        (IMAGES, {"value_range": (1, 0)}, "two finite numbers in order"),
        ({"a": IMAGES}, {}, "Cannot read images from a dict"),
        (3, {}, "Cannot read images from a int; expected a path"),
        (None, {}, "Cannot read images from a NoneType"),
    ],
)
def test_specs_iv(spec: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises((ConfigError, InputError), match=message):
        open_images(spec, **options)


def test_other_files_iv(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x")
    with pytest.raises(
        InputError, match=r"is not a folder, .zip, .tar, .tar.gz, .parquet, .arrow, .h5, .npz or .npy file"
    ):
        open_images(tmp_path / "a.csv")


def test_a_folder_named_like_an_archive_is_a_folder(folder: Path) -> None:
    renamed = folder.rename(folder.with_name("images.zip"))
    assert open_images(renamed).length == 20


def test_the_door_loads_no_torchvision_and_no_scipy(folder: Path) -> None:
    code = (
        "import sys; from ganeval.images.open import open_images; next(iter(open_images(sys.argv[1]).batches(3))); "
        "print(sorted({'torchvision', 'scipy', 'faiss'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
    assert found.stderr == ""
