"""Floats to 8 bits: rounded, never truncated or wrapped; and which arrays are images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from ganeval.errors import InputError
from ganeval.images.decode import GREY, UnreadableImage
from ganeval.images.pixels import CLAMPED, DARK, channels_first, check_range, to_uint8

LEVELS = torch.arange(256, dtype=torch.float64).reshape(1, 1, 16, 16)


def quantise(images: torch.Tensor, value_range: tuple[float, float]) -> tuple[torch.Tensor, dict[str, int]]:
    """Of grey images in three channels the first channel, and the notes."""
    levels, notes = to_uint8(images.expand(-1, 3, -1, -1), value_range=value_range, prefer="NCHW", what="x")
    return levels[:, :1], notes


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("value_range", [(-1.0, 1.0), (0.0, 1.0), (0.0, 255.0), (-0.5, 0.5), (-3.0, 7.0)])
def test_256_levels_survive_the_round_trip(value_range: tuple[float, float], dtype: torch.dtype) -> None:
    low, high = value_range
    floats = (low + LEVELS * (high - low) / 255).to(dtype)
    levels, notes = quantise(floats, value_range)
    assert levels.flatten().tolist() == list(range(256))
    assert not notes


def test_half_precision_survives_the_round_trip_where_it_can() -> None:
    assert quantise((LEVELS / 255).half(), (0, 1))[0].flatten().tolist() == list(range(256))


def test_rounding_is_half_up_not_truncation() -> None:
    x = torch.tensor([[[[0.49, 0.5, 0.51, 127.5, 254.49, 254.5]]]])
    assert quantise(x, (0, 255))[0].flatten().tolist() == [0, 1, 1, 128, 254, 255]
    assert quantise(torch.zeros(1, 1, 1, 1), (-1, 1))[0].item() == 128  # 127.5, as (x * 127.5 + 128) gives it


def test_tiny_overshoots_are_clamped_and_counted_by_image() -> None:
    x = torch.full((3, 1, 2, 2), 0.5)
    x[0, 0, 0, 0], x[0, 0, 0, 1], x[2, 0, 1, 1] = 1.0001, 1.0019, -0.001
    levels, notes = quantise(x, (0, 1))
    assert levels[0].flatten().tolist() == [255, 255, 128, 128]
    assert levels[2, 0, 1, 1] == 0
    assert notes == {CLAMPED: 2}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (1.01, r"reach from 0.5 to 1.01, outside the declared range 0\.\.1"),
        (-0.01, r"reach from -0.01 to 0.5, outside"),
        (float("inf"), "to inf"),
        (float("nan"), "NaN"),
    ],
)
def test_out_of_range_iv(value: float, message: str) -> None:
    x = torch.full((2, 3, 4, 4), 0.5)
    x[1, 2, 3, 3] = value
    with pytest.raises(UnreadableImage, match=message):
        quantise(x, (0, 1))


def test_a_range_of_255_with_values_up_to_1_is_noted() -> None:
    assert quantise(torch.rand(5, 3, 4, 4), (0, 255))[1] == {DARK: 5}
    assert not quantise(torch.zeros(5, 3, 4, 4), (0, 255))[1]


@pytest.mark.parametrize("value_range", [(1, 1), (1, -1), (0, float("inf")), (0,), "0,1", 3, (float("nan"), 1)])
def test_check_range_iv(value_range: object) -> None:
    with pytest.raises(InputError, match="two numbers in order"):
        check_range(value_range)


@pytest.mark.parametrize(
    ("dtype", "message"),
    [
        (torch.float32, "need a declared range of values. Pass --value-range"),
        (torch.bool, "bool need a declared range"),
        (torch.int64, "int64 need a declared range"),
        (torch.int8, "int8"),
    ],
)
def test_dtypes_iv(dtype: torch.dtype, message: str) -> None:
    with pytest.raises(InputError, match=message):
        to_uint8(torch.zeros(1, 3, 4, 4).to(dtype), value_range=None, prefer="NCHW", what="these")


@pytest.mark.parametrize("dtype", [np.complex64, object, "datetime64[s]"])
def test_numpy_dtypes_iv(dtype: Any) -> None:
    with pytest.raises(InputError, match="no agreed meaning"):
        to_uint8(np.zeros((1, 4, 4, 3), dtype), value_range=(0, 1), prefer="NHWC", what="these")


@pytest.mark.parametrize("dtype", ["uint16", ">u2", "int16", "int32", "uint32", "int64", "uint64"])
@pytest.mark.parametrize("tensor", [False, True])
def test_whole_numbers_with_a_range_are_mapped_as_floats_are(dtype: str, tensor: bool) -> None:
    high = 32767 if dtype == "int16" else 65535
    values = np.random.default_rng(0).integers(0, high + 1, (3, 5, 6, 3))
    expected, _ = to_uint8(values.astype(np.float64), value_range=(0, high), prefer="NHWC", what="")
    given = values.astype(dtype)
    made, notes = to_uint8(
        torch.from_numpy(given.astype(given.dtype.newbyteorder("="))) if tensor else given,
        value_range=(0, high), prefer="NHWC", what="",
    )  # fmt: skip
    assert torch.equal(made, expected)
    assert not notes
    with pytest.raises(UnreadableImage, match=r"outside the declared range 0\.\.255"):
        to_uint8(given, value_range=(0, 255), prefer="NHWC", what="")


@pytest.mark.parametrize("tensor", [False, True])
def test_truth_values_are_black_and_white(tensor: bool) -> None:
    values = np.random.default_rng(0).random((2, 4, 4, 3)) < 0.5
    given = torch.from_numpy(values) if tensor else values
    made, _ = to_uint8(given, value_range=(0, 1), prefer="NHWC", what="")
    np.testing.assert_array_equal(made.permute(0, 2, 3, 1).numpy(), values * 255)
    with pytest.raises(InputError, match="three values at most"):
        to_uint8(values.astype(np.int8), value_range=(-1, 1), prefer="NHWC", what="")


def test_layouts() -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 6, 7, 3), dtype=np.uint8)
    nhwc, _ = to_uint8(images, value_range=None, prefer="NHWC", what="")
    nchw, _ = to_uint8(images.transpose(0, 3, 1, 2), value_range=None, prefer="NHWC", what="")
    assert nhwc.shape == (5, 3, 6, 7)
    assert torch.equal(nhwc, nchw)
    assert torch.equal(nhwc, torch.from_numpy(images).permute(0, 3, 1, 2))
    grey, notes = to_uint8(images[..., :1], value_range=None, prefer="NHWC", what="")
    assert torch.equal(grey, nhwc[:, :1].expand(-1, 3, -1, -1))
    assert notes == {GREY: 5}
    assert channels_first((2, 3, 8, 3), prefer="NCHW", what="")
    assert not channels_first((2, 3, 8, 3), prefer="NHWC", what="")


@pytest.mark.parametrize("shape", [(4, 8, 8), (8, 8), (2, 4, 8, 8), (2, 8, 8, 4), (2, 3, 0, 8), (2, 3, 4, 4, 4)])
def test_shapes_iv(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="is not a set of images"):
        to_uint8(np.zeros(shape, np.uint8), value_range=None, prefer="NHWC", what="these")


def test_foreign_byte_order_and_long_floats() -> None:
    x = np.linspace(0, 1, 48).reshape(1, 4, 4, 3)
    expected, _ = to_uint8(x, value_range=(0, 1), prefer="NHWC", what="")
    for dtype in (">f8", ">f4", np.longdouble):
        assert torch.equal(to_uint8(x.astype(dtype), value_range=(0, 1), prefer="NHWC", what="")[0], expected)
