"""Whether images suit wavelet packets, before the first one is drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganeval.engine.packets import known_size, obstacle_to_packets, packet_bytes
from ganeval.images.open import open_images
from ganeval.images.options import OpenOptions
from ganeval.images.preparation import parse_preparation, prepared
from ganeval.images.types import ImageSource


def images(height: int, width: int, n: int = 4) -> np.ndarray:
    return np.zeros((n, height, width, 3), np.uint8)


def opened(spec: object, steps: str | None = None, **options: object) -> ImageSource:
    source = open_images(spec, options=OpenOptions(**options))  # type: ignore[arg-type]
    if steps is not None:
        source = prepared(source, parse_preparation(steps), 0)
    source.check()
    return source


def saved(folder: Path, *sizes: tuple[int, int], suffix: str = "png") -> str:
    folder.mkdir(exist_ok=True)
    for i, (height, width) in enumerate(sizes):
        Image.fromarray(images(height, width, 1)[0]).save(folder / f"{i}.{suffix}")
    return str(folder)


def test_size_is_known_of_arrays_folders_rendered_images_and_generators(tmp_path: Path) -> None:
    import torch

    assert known_size(opened(images(16, 24))) == (16, 24)
    assert known_size(opened(images(16, 24).transpose(0, 3, 1, 2))) == (16, 24)
    assert known_size(opened(images(16, 24)[..., 0])) == (16, 24)
    assert known_size(opened(saved(tmp_path / "a", (16, 24), (16, 24)))) == (16, 24)
    assert known_size(opened("dataset:shapes:48", num_samples=3)) == (48, 48)
    made = {"num_samples": 3, "latent_dim": (2,), "value_range": (-1.0, 1.0)}
    assert known_size(opened(lambda z: torch.zeros(len(z), 3, 8, 4), **made)) == (8, 4)


def test_size_is_not_known_of_mixed_images_streams_and_unchecked_files(tmp_path: Path) -> None:
    assert known_size(opened(saved(tmp_path / "a", (16, 24), (24, 16)))) is None
    assert known_size(opened(saved(tmp_path / "b", (16, 24), suffix="tif"))) is None  # its orientation may turn it
    assert known_size(opened(iter([images(16, 16)]))) is None
    source = open_images(saved(tmp_path / "c", (16, 16), (16, 16)), options=OpenOptions())
    source.check("skip")
    assert known_size(source) is None


@pytest.mark.parametrize(
    ("steps", "size"), [("resize:32x16:box", (16, 32)), ("center-crop:8", (8, 8)), ("patches:4x2", (4, 4))]
)
def test_steps_come_first(steps: str, size: tuple[int, int], tmp_path: Path) -> None:
    mixed = saved(tmp_path / "a", (16, 24), (24, 16))
    assert known_size(opened(mixed, steps)) == size
    assert known_size(opened(mixed, "center-crop:64")) is None  # every image is too small


def test_obstacles() -> None:
    one, other, stream = opened(images(16, 16)), opened(images(16, 32)), opened(iter([images(16, 16)]))
    assert obstacle_to_packets({"real": one, "fake": one}, 4, asked=False) is None
    unequal = str(obstacle_to_packets({"real": one, "fake": other}, 4, asked=True))
    assert "found 16 x 16 pixels in REAL and 32 x 16 in FAKE" in unequal
    assert "real: wavelet level 5 needs" in str(obstacle_to_packets({"real": one, "fake": one}, 5, asked=True))
    for unknown in (stream, None):
        assert obstacle_to_packets({"real": one, "fake": unknown}, 4, asked=True) is None
        text = str(obstacle_to_packets({"real": one, "fake": unknown}, 4, asked=False))
        assert "the size of the fake images" in text
        assert "--metrics fwd" in text


def test_many_large_images_are_not_taken_unasked() -> None:
    many = opened("dataset:shapes:256", num_samples=400)
    assert packet_bytes(many) == 400 * 256 * 256 * 12
    assert "take more than 256 MB" in str(obstacle_to_packets({"real": many, "fake": many}, 4, asked=False))
    assert obstacle_to_packets({"real": many, "fake": many}, 4, asked=True) is None
