"""What the discriminator sees is changed within the stated limits, at random, and gradients pass."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ganeval.training import augmentation
from ganeval.training.augmentation import augment


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(n: int = 200, channels: int = 3, size: int = 16, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(n, channels, size, size, generator=random(9), dtype=dtype) * 2 - 1


@pytest.mark.parametrize("channels", [1, 3])
def test_same_seed_same_images(channels: int) -> None:
    some = images(5, channels)
    once, again, other = augment(some, random(1)), augment(some, random(1)), augment(some, random(2))
    assert torch.equal(once, again)
    assert once.shape == some.shape
    assert not torch.equal(once, other)
    assert torch.equal(some, images(5, channels))  # the images themselves stay as they are


def test_gradients_are_those_of_the_function() -> None:
    some = images(2, size=8, dtype=torch.float64).requires_grad_()
    torch.autograd.gradcheck(lambda x: augment(x, random(3)), (some,))


def test_colours_within_their_limits() -> None:
    """Brightness moves the mean, contrast scales what is left of it, saturation the colours."""
    some = images(2000, size=4, dtype=torch.float64)
    changed = augmentation._coloured(some, random())
    moved = (changed - some).mean((1, 2, 3))
    grey, grey_changed = some.mean(1), changed.mean(1)
    contrast = grey_changed.std((1, 2)) / grey.std((1, 2))
    colour = (changed - grey_changed[:, None]).std((1, 2, 3)) / (some - grey[:, None]).std((1, 2, 3))
    saturation = colour / contrast
    for drawn, low, high in ((moved, -0.5, 0.5), (contrast, 0.5, 1.5), (saturation, 0.0, 2.0)):
        edge = 0.02 * (high - low)
        assert low - 1e-9 <= drawn.min() < low + edge
        assert high - edge < drawn.max() <= high + 1e-9
        assert drawn.mean() == pytest.approx((low + high) / 2, abs=4 * (high - low) / 12**0.5 / 2000**0.5)


def test_shifts_by_whole_pixels_up_to_an_eighth() -> None:
    some = images(300)
    seen = set()
    for before, after in zip(some, augmentation._shifted(some, random()), strict=True):
        padded = torch.zeros(3, 20, 20)
        padded[:, 2:18, 2:18] = before
        fits = [(y, x) for y in range(5) for x in range(5) if torch.equal(padded[:, y : y + 16, x : x + 16], after)]
        assert len(fits) == 1
        seen.add(fits[0])
    assert len(seen) == 25


def test_cuts_one_square_of_half_the_side() -> None:
    some = images(2000)
    cut = augmentation._cut(some, random()) == 0
    assert torch.equal(cut.all(1), cut.any(1))  # in all channels
    rows, columns = cut.any(1).any(2), cut.any(1).any(1)
    assert torch.equal(cut.any(1), rows[:, :, None] & columns[:, None, :])  # a rectangle
    for line in (rows.sum(1), columns.sum(1)):
        assert set(line.tolist()) <= {4, 5, 6, 7, 8}  # a centre at the edge leaves half of it
        assert {4, 8} <= set(line.tolist())
    assert torch.equal(augmentation._cut(some, random())[~cut], some[~cut])
