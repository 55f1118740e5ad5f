"""Resize modes: golden rows, and the peers' own functions at sizes that are not 299."""

from __future__ import annotations

import functools
import pickle
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from support.peers import needs_peer
from torch.nn import functional

from ganeval.errors import ConfigError, InputError
from ganeval.images.resize import PIL_MODES, RESIZE_MODES, resize, resize_pil

SIZES = [(32, 32), (64, 64), (200, 150), (512, 512), (300, 700), (1, 1), (2, 401)]
ROW = (0.0, 60.0, 120.0, 255.0, 10.0)

BICUBIC_UP = [-4.3173, 20.6667, 63.6127, 95.7111, 169.4049, 256.8622, 113.5215, -7.6292]
BICUBIC_DOWN = [18.9231, 147.0465, 117.7692]
BILINEAR_UP = [0, 26.25, 63.75, 101.25, 162.1875, 246.5625, 117.1875, 10]
# Every row of the image is ROW and its height is that of the result; made with the peers' own functions
# (torch-fidelity 0.4.0, PyTorch, clean-fid 0.1.35, Pillow 12).
GOLDEN = {
    "tf1-bilinear": ([0, 37.5, 75, 112.5, 187.5, 224.375, 71.25, 10], [0, 100, 173.3333]),
    "torch-bilinear": (BILINEAR_UP, [20, 120, 91.6667]),
    "torch-bilinear-antialias": (BILINEAR_UP, [25.7143, 136.6667, 115]),
    "pil-bicubic-float": (list(np.clip(BICUBIC_UP, 0, 255)), BICUBIC_DOWN),
    "pil-bicubic-uint8": ([0, 21, 64, 96, 169, 255, 114, 0], [19, 147, 118]),
    "torch-bicubic-antialias": (BICUBIC_UP, BICUBIC_DOWN),
    # 5 x 3 pixels: the middle three columns, whose size is that of the result
    "square-pil-bicubic-uint8": ([0, 21, 64, 96, 169, 255, 114, 0], [60, 120, 255]),
    "pil-bicubic-uint8-square": ([0, 21, 64, 96, 169, 255, 114, 0], [60, 120, 255]),
}


def noise(height: int, width: int, *, count: int = 1, seed: int = 0) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, height, width), generator=random).float()


def as_pixels(image: torch.Tensor) -> np.ndarray:
    return image.permute(1, 2, 0).numpy().astype(np.uint8)


def test_every_mode_has_a_golden_row_and_a_statement() -> None:
    assert set(GOLDEN) == set(RESIZE_MODES)
    assert set(RESIZE_MODES) >= PIL_MODES


@pytest.mark.parametrize("mode", RESIZE_MODES)
def test_golden_rows(mode: str) -> None:
    tolerance = 4e-3 if mode == "torch-bicubic-antialias" else 6e-5  # the golden rows of Pillow, not of PyTorch
    for expected in GOLDEN[mode]:
        size = len(expected)
        image = torch.tensor(ROW).expand(1, 3, size, 5).contiguous()
        rows = resize(image, size, mode)[0].reshape(-1, size)
        assert rows.shape == (3 * size, size)
        np.testing.assert_allclose(rows.numpy(), np.tile(expected, (3 * size, 1)), atol=tolerance)
        turned = resize(image.mT.contiguous(), size, mode)[0]  # the same along the other axis
        np.testing.assert_allclose(turned.mT.reshape(-1, size).numpy(), rows.numpy(), atol=tolerance)


@needs_peer("torch_fidelity")
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_tf1_bilinear_against_torch_fidelity(height: int, width: int) -> None:
    from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

    images = noise(height, width, count=2)
    for size in (299, 224, 31):
        peer = interpolate_bilinear_2d_like_tensorflow1x(images, size=(size, size), align_corners=False)
        assert torch.equal(resize(images, size, "tf1-bilinear"), peer)


@pytest.mark.parametrize(("height", "width"), [(40, 61), (61, 40), (300, 333), (224, 225), (223, 500)])
def test_square_modes_against_torchvision_and_the_published_crop(height: int, width: int) -> None:
    from PIL import Image
    from torchvision.transforms import CenterCrop, InterpolationMode, Resize

    image = as_pixels(noise(height, width)[0])
    clip_fid = CenterCrop(224)(Resize(224, interpolation=InterpolationMode.BICUBIC)(Image.fromarray(image)))
    assert np.array_equal(as_pixels(resize_pil(image, 224, "pil-bicubic-uint8-square")), np.asarray(clip_fid))
    side, top, left = min(height, width), max(0, height - width) // 2, max(0, width - height) // 2
    square = Image.fromarray(image[top : top + side, left : left + side]).resize((336, 336), Image.Resampling.BICUBIC)
    assert np.array_equal(as_pixels(resize_pil(image, 336, "square-pil-bicubic-uint8")), np.asarray(square))


@pytest.mark.parametrize(("pixels", "limit"), [(32, 0.001), (256, 0.01), (512, 0.02)])
def test_tf1_bilinear_against_theory(pixels: int, limit: float) -> None:
    """As an affine grid (the form that NVIDIA's scripts use) it is the same map up to float32 noise."""
    images, size = noise(pixels, pixels), 299
    shift = 1 / pixels - 1 / size
    theta = torch.tensor([[[1.0, 0.0, shift], [0.0, 1.0, shift]]])
    grid = functional.affine_grid(theta, [1, 3, size, size], align_corners=False)
    other = functional.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    difference = (resize(images, size, "tf1-bilinear") - other).abs().max()
    assert 0 < difference < limit


@needs_peer("cleanfid")
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_clean_against_cleanfid(height: int, width: int) -> None:
    from cleanfid.resize import build_resizer

    pixels = as_pixels(noise(height, width)[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = build_resizer("clean")(pixels).transpose(2, 0, 1)
    ours = resize_pil(pixels, 299, "pil-bicubic-float")
    assert ours.dtype == torch.float32
    assert np.array_equal(ours.numpy(), peer)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_bicubic_uint8_against_pillow(height: int, width: int) -> None:
    pixels = as_pixels(noise(height, width)[0])
    peer = np.asarray(Image.fromarray(pixels, "RGB").resize((224, 224), Image.Resampling.BICUBIC))
    assert np.array_equal(resize_pil(pixels, 224, "pil-bicubic-uint8").numpy(), peer.transpose(2, 0, 1))


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize(
    ("mode", "settings"),
    [
        ("torch-bilinear", {"mode": "bilinear"}),
        ("torch-bilinear-antialias", {"mode": "bilinear", "antialias": True}),
        ("torch-bicubic-antialias", {"mode": "bicubic", "antialias": True}),
    ],
)
def test_torch_modes_against_pytorch(height: int, width: int, mode: str, settings: dict[str, object]) -> None:
    images = noise(height, width, count=2)
    peer = functional.interpolate(images, (299, 299), align_corners=False, **settings)  # type: ignore[arg-type]
    assert torch.equal(resize(images, 299, mode), peer)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_bilinear_against_pytorch_fid(height: int, width: int) -> None:
    """pytorch-fid resizes in 0..1, we in 0..255: the difference is float32 noise, and grows to 6e-5 grey levels."""
    images = noise(height, width)
    peer = functional.interpolate(images / 255, (299, 299), mode="bilinear", align_corners=False) * 255
    assert (resize(images, 299, "torch-bilinear") - peer).abs().max() < 1e-4


@pytest.mark.parametrize("pixels", [32, 64, 512, 1024])
def test_bicubic_antialias_clamped_against_pillow(pixels: int) -> None:
    images = noise(pixels, pixels)
    ours = resize(images, 299, "torch-bicubic-antialias")
    if pixels < 299:
        assert ours.min() < -1  # not clipped: the peer does not
        assert ours.max() > 256
    assert (ours.clamp(0, 255) - resize(images, 299, "pil-bicubic-float")).abs().max() < 0.0035


@pytest.mark.parametrize(("pixels", "grey_levels"), [(32, 35.7), (64, 32.6), (512, 30.6)])
def test_modes_disagree_on_noise(pixels: int, grey_levels: float) -> None:
    images = noise(pixels, pixels)
    distance = (resize(images, 299, "tf1-bilinear") - resize(images, 299, "torch-bilinear")).abs().mean()
    assert distance == pytest.approx(grey_levels, rel=0.06)


@pytest.mark.parametrize("mode", RESIZE_MODES)
def test_identity_at_the_target_size(mode: str) -> None:
    images = noise(40, 40, count=2)
    assert torch.equal(resize(images, 40, mode), images)
    if mode in PIL_MODES:
        assert torch.equal(resize_pil(as_pixels(images[0]), 40, mode), images[0])


@pytest.mark.parametrize("mode", RESIZE_MODES)
@pytest.mark.parametrize(("height", "width"), [(20, 90), (90, 20)])
def test_resize_batch(mode: str, height: int, width: int) -> None:
    images = noise(height, width, count=3)
    before = images.clone()
    together = resize(images, 48, mode)
    assert together.shape == (3, 3, 48, 48)
    assert together.dtype == torch.float32
    assert torch.equal(images, before)
    assert torch.equal(torch.cat([resize(image[None], 48, mode) for image in images]), together)
    channels_last = resize(images.to(memory_format=torch.channels_last), 48, mode)
    np.testing.assert_allclose(channels_last.numpy(), together.numpy(), atol=1e-4)
    if mode in PIL_MODES:
        assert torch.equal(torch.stack([resize_pil(as_pixels(image), 48, mode) for image in images]), together)


@pytest.mark.parametrize("mode", RESIZE_MODES)
def test_resize_degenerate(mode: str) -> None:
    flat = torch.full((1, 3, 1, 7), 77.0)
    np.testing.assert_allclose(resize(flat, 13, mode).numpy(), np.full((1, 3, 13, 13), 77.0), atol=1e-4)
    assert resize(torch.empty(0, 3, 5, 6), 8, mode).shape == (0, 3, 8, 8)
    assert resize(noise(5, 6), 1, mode).shape == (1, 3, 1, 1)


def test_decode_workers_can_take_it() -> None:
    prepare = pickle.loads(pickle.dumps(functools.partial(resize_pil, size=16, mode="pil-bicubic-float")))
    pixels = as_pixels(noise(20, 30)[0])
    mirrored = np.ascontiguousarray(pixels[:, ::-1])[:, ::-1]  # the same pixels behind negative strides
    read_only = pixels.copy()
    read_only.flags.writeable = False
    expected = resize_pil(pixels, 16, "pil-bicubic-float")
    for form in (pixels, mirrored, read_only, np.asfortranarray(pixels)):
        assert torch.equal(prepare(form), expected)


def test_resize_iv() -> None:
    images = noise(8, 8)
    with pytest.raises(ConfigError, match=r"Unknown resize mode 'bilinear'. Available: .*tf1-bilinear"):
        resize(images, 4, "bilinear")
    with pytest.raises(ConfigError, match="at least 1"):
        resize(images, 0, "tf1-bilinear")
    for wrong in (images.byte(), images[0], images[:, :1], images.double(), torch.empty(1, 3, 0, 4)):
        with pytest.raises(InputError, match=r"expected float32 \(N, 3, H, W\)"):
            resize(wrong, 4, "tf1-bilinear")


def test_resize_pil_iv() -> None:
    pixels = as_pixels(noise(8, 8)[0])
    with pytest.raises(ConfigError, match=r"'tf1-bilinear'. Available: pil-bicubic-float, pil-bicubic-uint8, "):
        resize_pil(pixels, 4, "tf1-bilinear")
    for wrong in (pixels.astype(np.float32), pixels[..., 0], pixels[..., :1], pixels[:0]):
        with pytest.raises(InputError, match=r"expected uint8 \(H, W, 3\)"):
            resize_pil(wrong, 4, "pil-bicubic-float")
