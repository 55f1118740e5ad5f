"""What fwd notices at 256 x 256 pixels and compact does not; docs/gate.md has these figures."""

from __future__ import annotations

import io
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import disturbances

from ganeval import Evaluation, evaluate
from ganeval.images.shapes import render
from ganeval.metrics.difference import variance_of_difference
from ganeval.results import MetricResult

SIZE, NUMBER = 256, 500
PHOTOGRAPHS = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png", "retina.jpg")


def checkerboard(images: np.ndarray, share: float) -> np.ndarray:
    """Every other pixel lighter by this share of the range, the others darker."""
    y, x = np.mgrid[: images.shape[1], : images.shape[2]]
    pattern = 127.5 * share * (2 * ((x + y) % 2) - 1)
    return np.clip(np.rint(images + pattern[None, :, :, None]), 0, 255).astype(np.uint8)


def noise(images: np.ndarray, share: float) -> np.ndarray:
    """Gaussian noise with a standard deviation of that share of the range."""
    drawn = np.random.default_rng(5).normal(0, 255 * share, images.shape)
    return np.clip(np.rint(images + drawn), 0, 255).astype(np.uint8)


def jpeg(images: np.ndarray, quality: int) -> np.ndarray:
    out = []
    for image in images:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=quality)
        out.append(np.array(Image.open(file)))
    return np.stack(out)


FAULTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "blur 1": lambda images: disturbances.blur(images, 1),
    "checkerboard 5 %": lambda images: checkerboard(images, 0.05),
    "JPEG 75": lambda images: jpeg(images, 75),
    "noise 2 %": lambda images: noise(images, 0.02),
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


def change(before: MetricResult, after: MetricResult) -> float:
    """By how many standard errors of the paired difference a result changed, corrected where both are."""
    values = [one.value if one.corrected is None else one.corrected for one in (before, after)]
    variance = 0.0
    for side in ("fake", "real"):
        one, other = (result.per_image[f"{result.name}_influence_{side}"] for result in (before, after))
        ids = np.arange(len(one), dtype=np.uint64)
        variance += variance_of_difference(one, other, ids, ids)[0]
    return (values[1] - values[0]) / float(np.sqrt(variance))


@pytest.mark.nightly
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("images", [rendered, photographs])
def test_fwd_reacts_beyond_noise_where_compact_does_not(images: Callable[[int, int], np.ndarray]) -> None:
    real, fake = images(NUMBER, 1), images(NUMBER, 2)

    def measured(fake: np.ndarray) -> Evaluation:
        return evaluate(real, fake, metrics=("fid", "fwd"), protocol="compact", wavelet_level=6, device="cpu")

    before = measured(fake)
    for fault, disturb in FAULTS.items():
        after = measured(disturb(fake))
        found = {name: change(before[name], after[name]) for name in ("fid", "fwd")}
        assert found["fwd"] > 3 > abs(found["fid"]), (fault, found)
