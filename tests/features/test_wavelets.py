"""Haar wavelet packets: an orthogonal map to frequency bands."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ganeval.errors import InputError
from ganeval.features.wavelets import HaarPackets, haar_packets, size_problem, walsh_functions
from ganeval.images.types import ImageBatch
from ganeval.protocol import wavelet_protocol

CPU = torch.device("cpu")


def by_steps(image: np.ndarray, level: int) -> list[np.ndarray]:
    """Packets of one channel, by sums and differences of neighbours."""
    if level == 0:
        return [image]
    a, b, c, d = image[::2, ::2], image[::2, 1::2], image[1::2, ::2], image[1::2, 1::2]
    parts = [a + b + c + d, a + b - c - d, a - b + c - d, a - b - c + d]
    return [packet for part in parts for packet in by_steps(part / 2, level - 1)]


@pytest.mark.parametrize("level", [1, 2, 3])
def test_packets_against_repeated_sums_and_differences(level: int) -> None:
    images = torch.rand(2, 3, 16, 24, dtype=torch.float64)
    found = haar_packets(images, level)
    assert found.shape == (2, 4**level, 3 * 16 * 24 // 4**level)
    expected = [by_steps(image.numpy(), level) for image in images[0]]
    packets = [np.concatenate([channel[i].ravel() for channel in expected]) for i in range(4**level)]
    for packet in found[0].numpy():  # up to order and sign
        assert sum(np.allclose(np.abs(packet), np.abs(other)) for other in packets) == 1


def test_the_map_keeps_lengths_and_is_exact_on_pixels() -> None:
    images = torch.randint(0, 256, (4, 3, 32, 32)).float()
    found = haar_packets(images, 4)
    assert torch.equal(found, haar_packets(images.double(), 4).float())
    assert (found.double() ** 2).sum() == (images.double() ** 2).sum()


def test_bands_are_ordered_by_changes_of_sign() -> None:
    changes = (np.diff(walsh_functions(3), axis=1) != 0).sum(axis=1)
    assert changes.tolist() == list(range(8))
    y, x = np.mgrid[:16, :16]
    for pattern, band in ((np.ones((16, 16)), 0), (x % 2, 15), (y % 2, 240), ((x + y) % 2, 255)):
        image = torch.from_numpy(2.0 * pattern - 1).expand(1, 3, 16, 16)
        energy = (haar_packets(image, 4)[0] ** 2).sum(1)
        expected = 0 if pattern.all() else band
        assert int(energy.argmax()) == expected
        assert energy[expected] == energy.sum()


@pytest.mark.parametrize(
    ("height", "width", "level", "problem"),
    [
        (32, 48, 4, None),
        (32, 40, 4, "multiples of 16 pixels; found 40 x 32 pixels"),
        (8, 64, 4, "at least 16 pixels; found 64 x 8 pixels"),
        (40, 40, 3, None),
    ],
)
def test_sizes_iv(height: int, width: int, level: int, problem: str | None) -> None:
    found = size_problem(height, width, level)
    assert (found is None) == (problem is None)
    assert problem is None or problem in str(found)


def test_all_batches_have_one_size() -> None:
    extractor = HaarPackets(wavelet_protocol(1), CPU)
    first = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    assert extractor(ImageBatch(first, ["a", "b"], None))["1"].shape == (2, 48)
    mixed = [torch.zeros(3, 4, 4, dtype=torch.uint8), torch.zeros(3, 4, 6, dtype=torch.uint8)]
    with pytest.raises(InputError, match=r"found 6 x 4 pixels in d and 4 x 4 in the images before it.*--prepare"):
        extractor(ImageBatch(mixed, ["c", "d"], None))
    with pytest.raises(InputError, match=r"cannot take e: wavelet level 1 needs sides that are multiples of 2"):
        HaarPackets(wavelet_protocol(1), CPU)(ImageBatch(torch.zeros(1, 3, 5, 4, dtype=torch.uint8), ["e"], None))
