"""Is the network that ships fit to measure with? Faults in degrees must raise the distance, beyond noise.

Needs CIFAR-10 as ``cifar10-test.zip`` and ``cifar10-train.zip``, ten class folders each, in the folder that
GANEVAL_TEST_DATA names. The reference and the faulty images are of the test set, which the network has not seen. The
same source images are at every level, so levels are compared in pairs: a gap is the paired, bias-corrected difference
in its own standard errors. Every image, fault and network is fixed: the numbers repeat, but for rounding.
"""

from __future__ import annotations

import functools
import io
import itertools
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from support import disturbances as faults
from support.differences import frechet_difference

from ganeval.features.extractor import FeatureExtractor
from ganeval.images.shapes import render
from ganeval.images.types import ImageBatch
from ganeval.metrics.frechet import FrechetInference, frechet_inference
from ganeval.protocol import get_protocol
from ganeval.statistics.moments import Moments
from ganeval.statistics.rows import FeatureRows

DATA = os.environ.get("GANEVAL_TEST_DATA", "")
pytestmark = [
    pytest.mark.nightly,
    pytest.mark.skipif(
        not DATA, reason="GANEVAL_TEST_DATA names no folder with cifar10-test.zip and cifar10-train.zip"
    ),
]

Images = NDArray[np.uint8]
N = 1500


def read(name: str, counts: list[int]) -> tuple[Images, NDArray[np.int64]]:
    """So many images of each class folder, drawn by a seed, classes mixed."""
    rng = np.random.default_rng(0)
    images, labels = [], []
    with zipfile.ZipFile(Path(DATA) / name) as archive:
        files = sorted(file for file in archive.namelist() if not file.endswith("/"))
        for number, folder in enumerate(sorted({file.rsplit("/", 1)[0] for file in files})):
            of_class = [file for file in files if file.rsplit("/", 1)[0] == folder]
            for place in rng.permutation(len(of_class))[: counts[number]]:
                with Image.open(io.BytesIO(archive.read(of_class[place]))) as image:
                    images.append(np.asarray(image.convert("RGB")))
                labels.append(number)
    order = rng.permutation(len(labels))
    return np.stack(images)[order], np.array(labels)[order]


@dataclass(frozen=True)
class Bench:
    """The reference, the images that faults are done to, and the network."""

    source: Images
    labels: NDArray[np.int64]
    clean: tuple[Images, ...]  # further sets of 1000 each
    reserve: tuple[Images, NDArray[np.int64]]
    others: Images
    real: tuple[Moments, FeatureRows]
    extract: Callable[[Images], tuple[Moments, FeatureRows]]

    def measure(self, images: Images) -> FrechetInference:
        (real, real_rows), (fake, fake_rows) = self.real, self.extract(images)
        return frechet_inference(real.finish(), fake.finish(), real_rows, fake_rows)

    @functools.cached_property
    def untouched(self) -> FrechetInference:
        return self.measure(self.source)

    def levels(
        self, fault: Callable[..., Images], levels: tuple[float, ...], *details: object
    ) -> list[FrechetInference]:
        return [self.untouched, *(self.measure(fault(self.source, *details, level)) for level in levels)]


def in_classes(rows: NDArray[np.int64], counts: int) -> NDArray[np.bool_]:
    """Which rows are among the first ``counts`` of their class."""
    return np.array([np.sum(rows[:i] == label) < counts for i, label in enumerate(rows)])


@pytest.fixture(scope="module")
def bench() -> Bench:
    protocol = get_protocol("compact")
    network = FeatureExtractor(protocol, device=torch.device("cpu"))

    def extract(images: Images) -> tuple[Moments, FeatureRows]:
        width = network.dimensions[protocol.layer]
        moments, rows = Moments(width), FeatureRows(width)
        for start in range(0, len(images), 250):
            part = torch.from_numpy(images[start : start + 250].transpose(0, 3, 1, 2).copy())
            features = network(ImageBatch(part, [], None))[protocol.layer]
            moments.update(features)
            rows.append(features)
        return moments, rows

    images, labels = read("cifar10-test.zip", [1000] * 10)
    reference = in_classes(labels, 500)
    source = in_classes(labels, 650) & ~reference
    rest = images[~reference & ~source]
    return Bench(
        source=images[source],
        labels=labels[source],
        clean=tuple(rest[start : start + 1000] for start in (0, 1000, 2000)),
        reserve=read("cifar10-train.zip", [1350, 450, 450, 270, 270, 193, 193, 167, 167, 0]),
        others=np.stack([render(i) for i in range(3000)]),
        real=extract(images[reference]),
        extract=extract,
    )


def gap(one: FrechetInference, other: FrechetInference) -> float:
    value, error = frechet_difference(one, other, paired=True)
    return value / error


def assert_grows(measured: list[FrechetInference]) -> None:
    gaps = [gap(a, b) for a, b in itertools.pairwise(measured)]
    assert min(gaps) > 3, ([round(m.value, 3) for m in measured], gaps)


@pytest.mark.parametrize(
    ("fault", "levels"),
    [
        (faults.noise, (0.25, 0.5, 0.75)),
        (faults.blur, (1, 2, 4)),
        (faults.rectangles, (0.25, 0.5, 0.75)),
        (faults.swirl, (1, 2, 4)),
        (faults.salt_and_pepper, (0.1, 0.2, 0.3)),
        (faults.shuffle_tiles, (2, 4)),
    ],
)
def test_grows_with(fault: Callable[..., Images], levels: tuple[float, ...], bench: Bench) -> None:
    assert_grows(bench.levels(fault, levels))


def test_grows_with_contamination(bench: Bench) -> None:
    def fault(images: Images, share: float) -> Images:
        return faults.contaminate(images, bench.others, share)

    assert_grows(bench.levels(fault, (0.25, 0.5, 0.75)))


def test_grows_as_classes_are_missing(bench: Bench) -> None:
    def fault(images: Images, kept: int) -> Images:
        return faults.drop_modes(images, bench.labels, kept, *bench.reserve)

    assert_grows(bench.levels(fault, (9, 7, 5, 3, 1)))


def test_grows_as_images_repeat(bench: Bench) -> None:
    """Copies are not independent, so there is no error to count in: the values alone."""
    values = [m.value for m in bench.levels(faults.collapse, (500, 100, 20, 5))]
    assert all(b > 1.2 * a for a, b in itertools.pairwise(values)), values


def test_shuffled_tiles_are_worse_than_blur(bench: Bench) -> None:
    """Texture is all there, meaning is not: what a network with random weights cannot see."""
    blurred, shuffled = (
        bench.measure(faults.blur(bench.source, 1)),
        bench.measure(faults.shuffle_tiles(bench.source, 4)),
    )
    assert gap(blurred, shuffled) > 3, (blurred.value, shuffled.value)


def test_ten_per_cent_of_foreign_images_are_detected(bench: Bench) -> None:
    """With 1000 images: in pairs beyond 3 standard errors, and above every clean set."""
    clean = [bench.measure(images) for images in bench.clean]
    spoilt = [
        bench.measure(faults.contaminate(images, bench.others[1000 * i :], 0.1)) for i, images in enumerate(bench.clean)
    ]
    gaps = [gap(a, b) for a, b in zip(clean, spoilt, strict=True)]
    values = [[round(m.value, 3) for m in group] for group in (clean, spoilt)]
    assert min(gaps) > 3, (gaps, values)
    assert min(m.value for m in spoilt) > max(m.value for m in clean), values


def test_no_feature_is_dead(bench: Bench) -> None:
    """Fewer than 1 % of them hardly vary, on photographs, on drawings, on grey images and on plain noise."""
    scale = np.median(bench.real[1].to_array().std(axis=0))
    grey = np.repeat(bench.source.mean(axis=3, keepdims=True).astype(np.uint8), 3, axis=3)
    random = np.random.default_rng(0).integers(0, 256, bench.source.shape, dtype=np.uint8)
    for images in (bench.source, bench.others[:N], grey, random):
        spread = bench.extract(images)[1].to_array().std(axis=0)
        assert (spread < 1e-3 * scale).mean() < 0.01


def test_clean_sets_are_near_zero(bench: Bench) -> None:
    """Against 5000 images of the same kind; near zero the error is too large rather than too small."""
    for measured in (bench.untouched, *(bench.measure(images) for images in bench.clean)):
        assert measured.corrected is not None
        assert measured.standard_error is not None
        assert abs(measured.corrected) < 3 * measured.standard_error


def test_what_it_cannot_see(bench: Bench) -> None:
    """Noise of alpha 0.02 raises the distance by less than a hundredth of what alpha 0.25 does."""
    weak, strong = (bench.measure(faults.noise(bench.source, alpha)) for alpha in (0.02, 0.25))
    assert weak.value - bench.untouched.value < 0.01 * strong.value
