"""Values outside the declared range are refused, or moved to its ends; grey arrays need no channel axis."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ganeval.api import evaluate
from ganeval.errors import ConfigError, InputError
from ganeval.images.open import open_images

pytestmark = pytest.mark.filterwarnings("ignore::ganeval.errors.GanEvalWarning")
GREY = np.random.default_rng(0).normal(0.0, 0.5, (24, 16, 16)).astype(np.float32)
ON = {"protocol": "compact", "device": "cpu", "value_range": (-1, 1)}


def pixels(source: object, **options: object) -> np.ndarray:
    batches = open_images(source, **options).batches(64)  # type: ignore[arg-type]
    return np.concatenate([np.asarray(batch.images) for batch in batches])


def test_values_outside_are_refused_or_moved_and_counted(tmp_path: Path) -> None:
    colour = np.repeat(GREY[..., None], 3, axis=3)
    with pytest.raises(InputError, match="--clamp"):
        evaluate(colour, colour[::-1], **ON)  # type: ignore[arg-type]
    expected = np.floor(np.clip((colour + 1) * 127.5 + 0.5, 0, 255)).astype(np.uint8).transpose(0, 3, 1, 2)
    np.save(tmp_path / "set.npy", colour)
    tensor = torch.from_numpy(colour.transpose(0, 3, 1, 2).copy())
    for source in (colour, tmp_path / "set.npy", tensor, iter([tensor])):
        assert np.array_equal(pixels(source, value_range=(-1, 1), clamp=True), expected)
    far = int((np.abs(colour) > 1 + 2 / 510).any(axis=(1, 2, 3)).sum())
    run = evaluate(colour, colour[::-1], clamp=True, **ON)  # type: ignore[arg-type]
    moved = f"real: {far} images: values outside the declared range moved to its ends (--clamp, clamp=True)"
    assert moved in run.warnings


def test_a_generator_that_overshoots_may_be_clamped() -> None:
    def generator(z: torch.Tensor) -> torch.Tensor:
        return 0.6 * torch.randn(len(z), 3, 16, 16, generator=torch.Generator().manual_seed(len(z)))

    generator.value_range = (-1.0, 1.0)  # type: ignore[attr-defined]
    options = {"num_samples": 20, "latent_dim": 4, "protocol": "compact", "device": "cpu"}
    with pytest.raises(InputError, match="outside the declared range"):
        evaluate("dataset:shapes", generator, **options)  # type: ignore[arg-type]
    run = evaluate("dataset:shapes", generator, clamp=True, **options)  # type: ignore[arg-type]
    assert any("moved to its ends" in warning for warning in run.warnings)


def test_clamp_without_values_is_refused() -> None:
    with pytest.raises(ConfigError, match="--clamp"):
        evaluate(np.zeros((20, 8, 8, 3), np.uint8), np.ones((20, 8, 8, 3), np.uint8), clamp=True, protocol="compact")
    with pytest.raises(ConfigError, match="--clamp"):
        evaluate("dataset:shapes", "dataset:shapes@1", num_samples=20, clamp=True, protocol="compact")


def test_three_axes_are_grey_images(tmp_path: Path) -> None:
    grey = np.random.default_rng(1).integers(0, 256, (7, 10, 12)).astype(np.uint8)
    np.save(tmp_path / "set.npy", grey)
    np.savez(tmp_path / "set.npz", arr_0=grey)
    expected = np.repeat(grey[:, None], 3, axis=1)
    for source in (grey, torch.from_numpy(grey), tmp_path / "set.npy", tmp_path / "set.npz"):
        assert np.array_equal(pixels(source), expected)


@pytest.mark.parametrize("shape", [(3, 16, 16), (16, 16, 3)])
def test_what_may_be_one_colour_image_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="It may be one colour image"):
        open_images(np.zeros(shape, np.uint8))
