"""What fwd notices at 256 x 256 pixels and compact does not: blur, JPEG, a checkerboard, noise."""

from __future__ import annotations

import io
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import disturbances

from ganeval import evaluate
from ganeval.images.shapes import render
from ganeval.metrics.difference import variance_of_difference

SIZE = 256
PHOTOGRAPHS = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png", "retina.jpg")


def jpeg(images: np.ndarray, quality: int) -> np.ndarray:
    found = []
    for image in images:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=quality)
        found.append(np.array(Image.open(file)))
    return np.stack(found)


def checkerboard(images: np.ndarray, share: float) -> np.ndarray:
    """Every other pixel lighter by this share of the range, the others darker."""
    y, x = np.mgrid[: images.shape[1], : images.shape[2]]
    pattern = 127.5 * share * (2 * ((x + y) % 2) - 1)
    return np.clip(np.rint(images + pattern[None, :, :, None]), 0, 255).astype(np.uint8)


FAULTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "blur 1": lambda images: disturbances.blur(images, 1),
    "JPEG 75": lambda images: jpeg(images, 75),
    "checkerboard 5 %": lambda images: checkerboard(images, 0.05),
    "noise 2 %": lambda images: disturbances.noise(images, 0.02),
}


def rendered(n: int, seed: int) -> np.ndarray:
    return np.stack([render(i, seed=seed, size=SIZE, variant="mixed") for i in range(n)])


def photographs(n: int, seed: int) -> np.ndarray:
    """Crops at random places of the photographs in the wheel of scikit-image."""
    found = find_spec("skimage")
    if found is None or found.origin is None:
        pytest.skip("needs scikit-image")
    folder, random = Path(found.origin).parent / "data", np.random.default_rng(seed)
    pictures = [np.array(Image.open(folder / name).convert("RGB")) for name in PHOTOGRAPHS]
    crops = []
    for i in range(n):
        picture = pictures[i % len(pictures)]
        top, left = (random.integers(0, side - SIZE + 1) for side in picture.shape[:2])
        crops.append(picture[top : top + SIZE, left : left + SIZE])
    return np.stack(crops)


def changes(
    images: Callable[[int, int], np.ndarray], n: int, faults: dict[str, Callable[[np.ndarray], np.ndarray]]
) -> dict[str, dict[str, float]]:
    """By fault and metric, how many standard errors the distance changes by: the same fakes with and without it."""
    real, fake = images(n, 1), images(n, 2)

    def measured(fake: np.ndarray) -> dict[str, tuple[float, np.ndarray, np.ndarray]]:
        run = evaluate(real, fake, metrics=("fid", "fwd"), protocol="compact", device="cpu")
        return {
            name: (one.value, *(one.per_image[f"{name}_influence_{side}"] for side in ("fake", "real")))
            for name, one in run.results.items()
        }

    before, found = measured(fake), {}
    for fault, disturb in faults.items():
        after, found[fault] = measured(disturb(fake)), {}
        for name, (value, *influences) in after.items():
            pairs = zip(before[name][1:], influences, strict=True)
            ids = np.arange(n, dtype=np.uint64)
            variance = sum(variance_of_difference(one, other, ids, ids)[0] for one, other in pairs)
            found[fault][name] = (value - before[name][0]) / float(np.sqrt(variance))
    return found


@pytest.mark.nightly
@pytest.mark.parametrize("images", [rendered, photographs])
def test_fwd_reacts_beyond_noise_where_compact_does_not(images: Callable[[int, int], np.ndarray]) -> None:
    found = changes(images, 48, FAULTS)
    for fault, change in found.items():
        assert abs(change["fwd"]) > 3, (fault, change)
        assert abs(change["fid"]) < abs(change["fwd"]), (fault, change)
