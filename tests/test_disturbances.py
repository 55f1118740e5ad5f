"""The faults that other tests do to images are what they say."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from support import disturbances as faults

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
OTHERS = np.full((40, 32, 32, 3), 7, np.uint8)


@pytest.mark.parametrize(
    ("fault", "nothing", "something"),
    [
        (faults.noise, 0, 0.5),
        (faults.blur, 0, 1),
        (faults.rectangles, 0, 0.25),
        (faults.swirl, 0, 1),
        (faults.salt_and_pepper, 0, 0.2),
        (faults.shuffle_tiles, 1, 4),
        (lambda x, share: faults.contaminate(x, OTHERS, share), 0, 0.5),
        (faults.collapse, 40, 4),
    ],
)
def test_level_zero_changes_nothing_and_others_do(
    fault: Callable[..., np.ndarray], nothing: float, something: float
) -> None:
    before = IMAGES.copy()
    np.testing.assert_array_equal(fault(IMAGES, nothing), IMAGES)
    done = fault(IMAGES, something)
    assert (done.dtype, done.shape) == (np.uint8, IMAGES.shape)
    assert (done != IMAGES).mean() > 0.05
    np.testing.assert_array_equal(fault(IMAGES, something), done)
    np.testing.assert_array_equal(IMAGES, before)


def test_noise_against_theory() -> None:
    grey = np.full((20, 32, 32, 3), 128, np.uint8)
    noisy = faults.noise(grey, 0.1) / 127.5 - 1
    assert noisy.std() == pytest.approx(0.1, rel=0.02)
    assert abs(noisy.mean() - 0.9 * (128 / 127.5 - 1)) < 0.002
    assert faults.noise(grey, 1.0).min() == 0
    assert faults.noise(grey, 1.0).max() == 255


def test_blur_keeps_the_mean_and_channels_apart() -> None:
    image = np.zeros((1, 32, 32, 3), np.uint8)
    image[0, 16, 16, 1] = 255
    blurred = faults.blur(image, 1)
    assert blurred[..., [0, 2]].sum() == 0
    assert blurred[0, 16, 16, 1] == round(255 * 0.3989**2)  # a normal density of variance 1, squared


def test_rectangles_cover_five_squares_at_most() -> None:
    white = np.full((200, 32, 32, 3), 255, np.uint8)
    black = (faults.rectangles(white, 0.25) == 0).all(axis=3).sum(axis=(1, 2))
    assert black.max() <= 5 * 64
    assert black.min() >= 64
    assert black.mean() > 200


def test_salt_and_pepper_against_theory() -> None:
    grey = np.full((40, 32, 32, 3), 128, np.uint8)
    done = faults.salt_and_pepper(grey, 0.3)
    assert ((done == done[..., :1]).all(axis=3)).all()
    assert (done[..., 0] != 128).mean() == pytest.approx(0.3, abs=0.01)
    assert (done[..., 0] == 255).mean() == pytest.approx(0.15, abs=0.01)


def test_swirl_turns_the_middle_and_hardly_the_corners() -> None:
    y, x = np.mgrid[:32, :32] - 15.5
    wedge = np.broadcast_to(np.uint8(255) * (np.abs(np.arctan2(y, x)) < 0.5)[None, :, :, None], (1, 32, 32, 3))
    turned = faults.swirl(wedge.astype(np.uint8), np.pi)[0, :, :, 0].astype(float)
    near = np.hypot(x, y) < 1.5
    assert (turned * x)[near].sum() < 0  # the wedge's bright side has gone to the left
    assert turned[16, 31] > 200


def test_tiles_are_moved_whole() -> None:
    done = faults.shuffle_tiles(IMAGES, 4)

    def tiles(images: np.ndarray) -> list[list[bytes]]:
        corners = [(r, c) for r in range(0, 32, 8) for c in range(0, 32, 8)]
        return [sorted(image[r : r + 8, c : c + 8].tobytes() for r, c in corners) for image in images]

    assert tiles(done) == tiles(IMAGES)
    with pytest.raises(ValueError, match="equal tiles"):
        faults.shuffle_tiles(IMAGES, 5)


def test_contamination_is_nested() -> None:
    replaced = [(faults.contaminate(IMAGES, OTHERS, share) == 7).all(axis=(1, 2, 3)) for share in (0.25, 0.5, 0.75)]
    assert [int(r.sum()) for r in replaced] == [10, 20, 30]
    assert (replaced[0] <= replaced[1]).all()
    assert (replaced[1] <= replaced[2]).all()


def test_dropped_modes_are_replaced_evenly_and_without_copies() -> None:
    labels = np.arange(40) % 4
    reserve = np.random.default_rng(1).integers(0, 256, (60, 32, 32, 3), dtype=np.uint8)
    reserve_labels = np.arange(60) % 4
    done = faults.drop_modes(IMAGES, labels, 2, reserve, reserve_labels)
    kept = labels < 2
    np.testing.assert_array_equal(done[kept], IMAGES[kept])
    classes = {image.tobytes(): label for image, label in zip(reserve, reserve_labels, strict=True)}
    assert sorted(classes[image.tobytes()] for image in done[~kept]) == [0] * 10 + [1] * 10
    assert len({image.tobytes() for image in done}) == 40


def test_collapse_keeps_so_many() -> None:
    assert len({image.tobytes() for image in faults.collapse(IMAGES, 5)}) == 5
