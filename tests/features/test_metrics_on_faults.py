"""Which metric reacts to which fault, on photographs under the network that ships, beyond noise.

Data as in ``test_compact_acceptance``. The same source images are at every level: changes are counted in standard
errors of paired differences (block by block, or influence by influence), those of the game in both games' own.
"""

from __future__ import annotations

import functools
import io
import itertools
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from support import disturbances as faults

from ganeval.features.extractor import FeatureExtractor
from ganeval.images.shapes import render
from ganeval.images.types import ImageBatch
from ganeval.metrics.diversity import Diversity, vendi
from ganeval.metrics.frechet import frechet_distance
from ganeval.metrics.kernel import KernelDistance, kernel_distance
from ganeval.metrics.precision_recall import neighbourhoods
from ganeval.metrics.two_sample import Game, one_nearest_neighbour, play
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
FOUR = ("precision", "recall", "density", "coverage")
KEPT = (9, 7, 5, 3, 1)


def read(name: str, counts: list[int]) -> tuple[Images, NDArray[np.int64]]:
    """The first images of each class folder in the order of their names' digests, classes mixed."""
    images, labels = [], []
    with zipfile.ZipFile(Path(DATA) / name) as archive:
        files = sorted(file for file in archive.namelist() if not file.endswith("/"))
        for number, folder in enumerate(sorted({file.rsplit("/", 1)[0] for file in files})):
            of_class = [file for file in files if file.rsplit("/", 1)[0] == folder]
            of_class.sort(key=lambda file: blake2b(file.encode()).digest())
            for file in of_class[: counts[number]]:
                with Image.open(io.BytesIO(archive.read(file))) as image:
                    images.append(np.asarray(image.convert("RGB")))
                labels.append(number)
    order = np.random.default_rng(0).permutation(len(labels))
    return np.stack(images)[order], np.array(labels)[order]


@dataclass(frozen=True)
class Faulty:
    """Every number of one set of fakes."""

    features: np.ndarray
    values: dict[str, float]
    blocks: np.ndarray  # (6, 4, 4): partition, block, value
    game: Game
    kid: KernelDistance
    vendi: Diversity
    fd: float


class Bench:
    def __init__(self) -> None:
        self.network, self.layer = FeatureExtractor(get_protocol("compact"), device=torch.device("cpu")), "256"
        images, labels = read("cifar10-test.zip", [300] * 10)
        place = np.array([np.sum(labels[:i] == label) for i, label in enumerate(labels)])
        self.source, self.labels = images[place >= 200], labels[place >= 200]
        self.real = self.extract(images[place < 200])
        self.clean = self.measure(self.extract(self.source))

    def extract(self, images: Images) -> np.ndarray:
        parts = (torch.from_numpy(images[i : i + 250].transpose(0, 3, 1, 2).copy()) for i in range(0, len(images), 250))
        return np.concatenate([self.network(ImageBatch(part, [], None))[self.layer].numpy() for part in parts])

    def measure(self, fake: np.ndarray) -> Faulty:
        random, blocks, both = np.random.default_rng(0), [], []
        for _ in range(6):
            orders = [np.array_split(random.permutation(len(points)), 4) for points in (self.real, fake)]
            parts = [neighbourhoods(self.real[i], fake[j]).values() for i, j in zip(*orders, strict=True)]
            blocks.append([[part[name] for name in FOUR] for part in parts])
        for points in (self.real, fake):
            moments, rows = Moments(points.shape[1]), FeatureRows(points.shape[1])
            moments.update(points)
            rows.append(points)
            both.append((moments.finish(), rows))
        groups = np.concatenate([rows.hashes for _, rows in both])
        return Faulty(
            fake, neighbourhoods(self.real, fake).values(), np.array(blocks), play(self.real, fake, groups=groups),
            kernel_distance(self.real, fake), vendi(both[1][1]), frechet_distance(both[0][0], both[1][0]).value,
        )  # fmt: skip

    def levels(self, fault: Callable[..., Images], levels: tuple[float, ...]) -> list[Faulty]:
        return [self.clean, *(self.measure(self.extract(fault(self.source, level))) for level in levels)]

    @functools.cached_property
    def fewer_classes(self) -> list[Faulty]:
        reserve = read("cifar10-train.zip", [900, 234, 234, 100, 100, 43, 43, 12, 12, 0])
        return self.levels(lambda images, kept: faults.drop_modes(images, self.labels, int(kept), *reserve), KEPT)

    @functools.cached_property
    def collapsed(self) -> list[Faulty]:
        return [self.clean, *(self.measure(faults.collapse(self.clean.features, n)) for n in (500, 100, 20, 5))]


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench()


def growth(levels: list[Faulty], name: str) -> list[float]:
    """From level to level, in standard errors of the difference."""
    steps = []
    for a, b in itertools.pairwise(levels):
        if name == "ind":
            change = b.game.advantage - a.game.advantage
            error = np.hypot(a.game.standard_error or np.nan, b.game.standard_error or np.nan)
        elif name == "kid":
            change = b.kid.value - a.kid.value
            pairs = ((a.kid.influence_fake, b.kid.influence_fake), (a.kid.influence_real, b.kid.influence_real))
            error = np.sqrt(sum(np.var(y - x, ddof=1) / len(x) for x, y in pairs))
        elif name == "vendi":
            change = b.vendi.value - a.vendi.value
            error = np.std(b.vendi.influence - a.vendi.influence, ddof=1) / np.sqrt(len(a.vendi.influence))
        else:
            change = b.values[name] - a.values[name]
            differences = (b.blocks - a.blocks)[:, :, FOUR.index(name)]
            error = np.sqrt((differences.var(axis=1, ddof=1) / 4).mean())
        steps.append(float(change / error))
    return steps


def assert_falls(levels: list[Faulty], name: str) -> None:
    assert max(growth(levels, name)) < -3, (name, growth(levels, name))


def assert_grows(levels: list[Faulty], name: str) -> None:
    assert min(growth(levels, name)) > 3, (name, growth(levels, name))


def test_rectangles(bench: Bench) -> None:
    """Five squares of one, two and four pixels: those of a quarter of the side leave density nothing to lose."""
    levels = bench.levels(faults.rectangles, (1 / 32, 2 / 32, 4 / 32))
    for name in ("density", "coverage"):
        assert_falls(levels, name)
    assert_falls([levels[0], *levels[2:]], "precision")
    for name in ("ind", "kid"):
        assert_grows(levels, name)


def test_contamination(bench: Bench) -> None:
    others = np.stack([render(i) for i in range(750)])
    levels = bench.levels(lambda images, share: faults.contaminate(images, others, share), (0.25, 0.5, 0.75))
    for name in ("density", "coverage", "precision"):
        assert_falls(levels, name)
    for name in ("ind", "kid"):
        assert_grows(levels, name)


def test_classes_are_missing(bench: Bench) -> None:
    """Coverage falls about as the share of classes, recall with it; precision and density do not see it."""
    levels = bench.fewer_classes
    assert_falls(levels, "coverage")
    assert_falls(levels, "vendi")
    assert_grows(levels, "kid")
    assert_grows(levels[1:], "ind")  # a tenth of the images that are missing is little for an adversary
    for level, kept in zip(levels[1:], KEPT, strict=True):
        share = level.values["coverage"] / bench.clean.values["coverage"]
        assert share == pytest.approx(kept / 10, abs=0.15)
        assert level.values["precision"] == pytest.approx(bench.clean.values["precision"], abs=0.06)
        assert level.values["density"] == pytest.approx(bench.clean.values["density"], abs=0.12)
    recalls = [level.values["recall"] for level in levels]
    assert recalls == sorted(recalls, reverse=True)
    assert_falls([levels[0], levels[2], levels[4], levels[5]], "recall")


def test_images_repeat(bench: Bench) -> None:
    """500, 100, 20 and 5 different images of 1000: precision is what it was, but for fewer trials; all others react."""
    levels = bench.collapsed
    assert_falls(levels, "coverage")
    assert all(b.fd > 1.2 * a.fd for a, b in itertools.pairwise(levels)), [level.fd for level in levels]
    assert all(b.vendi.value < a.vendi.value for a, b in itertools.pairwise(levels))
    assert_falls(levels[1:], "vendi")
    assert_grows(levels[1:], "kid")  # half of the images twice is a smaller sample, and KID has no bias
    share = bench.clean.values["precision"]
    for level, distinct in zip(levels[1:], (500, 100, 20, 5), strict=True):  # so many trials of precision are left
        assert level.values["precision"] > share - 3 * np.sqrt(share * (1 - share) / distinct)
    # of the game the second adversary reacts: copies stay in one half of the first, so that none is known by memory
    for level, before in zip(levels[1:], levels, strict=False):
        now, then = (one_nearest_neighbour(bench.real, each.features) for each in (level, before))
        assert now.p_value <= 0.001
        assert now.accuracy_fake >= then.accuracy_fake
        assert now.accuracy_fake > 0.99
