"""The networks of CycleGAN (Zhu, Park, Isola, Efros 2017), as in the paper, for images of any size from 16 pixels.

Two generators translate between two domains, and a PatchGAN discriminator judges each domain. Width and depth are
parameters, so that small images do not need networks for 256 pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ganeval.errors import ConfigError
from ganeval.generators.dcgan import initialise

PATCHES = {16: 1, 34: 2, 70: 3}  # receptive field of a discriminator in pixels: its convolutions of stride 2
MIN_SIZE = 16
_MOST_BLOCKS = 100


class TranslationGenerator(nn.Module):
    """c7s1-k, d2k, d4k, R4k x blocks, u2k, uk, c7s1-3, with instance normalisation (the paper's k is 64).

    c7s1 is a 7 x 7 convolution, d a 3 x 3 one of stride 2, R a residual block of two 3 x 3 ones, u a transposed 3 x 3
    one of stride 2. Borders are reflected, and the output is a tanh.

    ``skip`` departs from the paper, for domains that share most of their pixels: the layers compute a change that is
    added to the input and is 0 at first, and only the residual blocks are normalised. A network that is normalised
    from its first layer on cannot see the brightness and the contrast of an image.

    Shape:
        float (N, 3, H, W) in [-1, 1], H and W multiples of 4 and at least 16 -> the same.
    """

    def __init__(self, *, width: int = 64, blocks: int = 9, skip: bool = False) -> None:
        super().__init__()
        require_positive(width=width, blocks=blocks)
        if blocks > _MOST_BLOCKS:  # a model card may ask for millions before its weights are checked
            raise ConfigError(f"A generator has at most {_MOST_BLOCKS} residual blocks; got {blocks}. The paper has 9.")
        self.arguments: dict[str, Any] = {"width": width, "blocks": blocks, "skip": skip}
        self.skip = skip
        k = width
        outer = nn.Identity if skip else nn.InstanceNorm2d

        def convolution(before: int, after: int, kernel: int, stride: int = 1) -> list[nn.Module]:
            layer = nn.Conv2d(before, after, kernel, stride=stride, bias=skip)
            return [Reflected(kernel // 2), layer, outer(after), nn.ReLU()]

        def transposed(before: int, after: int) -> list[nn.Module]:
            layer = nn.ConvTranspose2d(before, after, 3, stride=2, padding=1, output_padding=1, bias=skip)
            return [layer, outer(after), nn.ReLU()]

        self.layers = nn.Sequential(
            *convolution(3, k, 7),
            *convolution(k, 2 * k, 3, stride=2),
            *convolution(2 * k, 4 * k, 3, stride=2),
            *[ResidualBlock(4 * k) for _ in range(blocks)],
            *transposed(4 * k, 2 * k),
            *transposed(2 * k, k),
            *[Reflected(3), nn.Conv2d(k, 3, 7)],
        )
        initialise(self)
        if skip:
            for layer in self.layers:
                if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):  # without normalisation, scale matters
                    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(self.layers[-1].weight)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> Tensor:
        made: Tensor = self.layers(images)
        return (images + made).clamp(-1, 1) if self.skip else made.tanh()


class Reflected(nn.Module):
    """Add borders of ``width`` pixels that mirror the image, bit for bit those of ``nn.ReflectionPad2d``.

    On an accelerator they are made of flipped slices: the gradient of that layer adds up in any order on CUDA, and a
    training would not repeat.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type == "cpu":
            return nn.functional.pad(x, (self.width,) * 4, mode="reflect")
        return mirrored(x, self.width)


def mirrored(x: Tensor, width: int) -> Tensor:
    """Add mirrored borders of ``width`` pixels to (..., H, W); the gradient is summed in one order."""
    for axis in (-1, -2):
        first = x.narrow(axis, 1, width)
        last = x.narrow(axis, x.shape[axis] - 1 - width, width)
        x = torch.cat([first.flip(axis), x, last.flip(axis)], dim=axis)
    return x


class ResidualBlock(nn.Module):
    """R: two 3 x 3 convolutions with reflected borders, added to the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()

        def convolution() -> list[nn.Module]:
            return [Reflected(1), nn.Conv2d(channels, channels, 3, bias=False), nn.InstanceNorm2d(channels)]

        self.layers = nn.Sequential(*convolution(), nn.ReLU(), *convolution())

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.layers(x)
        return out


class PatchDiscriminator(nn.Module):
    """Ck, C2k, C4k, C8k, then one channel: 4 x 4 convolutions, LeakyReLU 0.2, each output judges one patch.

    With ``patch=70``, the paper's, three convolutions have stride 2; 34 and 16 have two and one, for small images.

    Shape:
        float (N, 3, H, W) in [-1, 1] -> logits (N, 1, h, w), one for each overlapping patch.
    """

    def __init__(self, *, width: int = 64, patch: int = 70) -> None:
        super().__init__()
        require_positive(width=width)
        _require_patch(patch)
        self.arguments: dict[str, Any] = {"width": width, "patch": patch}
        strided = PATCHES[patch]
        layers: list[nn.Module] = [nn.Conv2d(3, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        for i in range(1, strided + 1):
            stride = 2 if i < strided else 1
            before, after = width * 2 ** (i - 1), width * 2**i
            layers += [nn.Conv2d(before, after, 4, stride, 1, bias=False), nn.InstanceNorm2d(after), nn.LeakyReLU(0.2)]
        layers.append(nn.Conv2d(width * 2**strided, 1, 4, padding=1))
        self.layers = nn.Sequential(*layers)
        initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layers(images)
        return logits


class ImagePool:
    """The last translations, so that a discriminator sees not only the newest (Shrivastava et al. 2017).

    Until it is full, the pool keeps and returns its inputs. Then each image is, with probability 1/2 each, returned as
    it is or exchanged for one of the pool, drawn at random. A pool of size 0 returns its inputs.
    """

    def __init__(self, size: int = 50, *, seed: int = 0) -> None:
        if size < 0:
            raise ConfigError(f"The size of an image pool must be at least 0; got {size}. The paper has 50.")
        self.size = size
        self._images: Tensor | None = None  # room for ``size`` images, of which ``_held`` are present
        self._held = 0
        self._random = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return self._held

    def exchange(self, images: Tensor) -> Tensor:
        """Return as many images as are given, some of them older ones. Gradients stop here.

        Shape:
            (N, C, H, W) -> the same.
        """
        images = images.detach()
        if self.size == 0:
            return images
        if self._images is None:
            self._images = images.new_empty(self.size, *images.shape[1:])
        out = images.clone()
        for i, image in enumerate(images):
            if self._held < self.size:
                self._images[self._held] = image
                self._held += 1
            elif torch.rand((), generator=self._random, device="cpu") < 0.5:
                place = int(torch.randint(self.size, (), generator=self._random, device="cpu"))
                out[i] = self._images[place]
                self._images[place] = image
        return out

    def state_dict(self) -> dict[str, Tensor]:
        state = {"random": self._random.get_state()}
        return state if self._images is None else {**state, "images": self._images[: self._held].clone()}

    def load_state_dict(self, state: Mapping[str, Tensor], device: torch.device | None = None) -> None:
        self._random.set_state(state["random"].cpu())
        self._images, self._held = None, 0
        if (images := state.get("images")) is not None:
            self._held = len(images)
            self._images = images.new_empty(self.size, *images.shape[1:], device=device or images.device)
            self._images[: self._held] = images


def default_patch(size: int) -> int:
    """Receptive field of the discriminators: the paper's 70 pixels from 128 on, about half the image below."""
    return 70 if size >= 128 else 34 if size >= 48 else 16


def check_size(size: int, patch: int | None = None) -> None:
    """Raise ConfigError unless generator and discriminator can take images of this size."""
    if size < MIN_SIZE or size % 4:
        raise ConfigError(
            f"CycleGAN needs images with a side of at least {MIN_SIZE} pixels, a multiple of 4; got {size}. The next "
            f"size is {max(MIN_SIZE, -(-size // 4) * 4)}."
        )
    patch = default_patch(size) if patch is None else patch
    _require_patch(patch)
    if size < 2 ** PATCHES[patch] * 4:
        fits = [p for p, strided in PATCHES.items() if size >= 2**strided * 4]
        raise ConfigError(f"--patch {patch} is too large for images of {size} pixels. Choose from {_listed(fits)}.")


def _require_patch(patch: int) -> None:
    if patch not in PATCHES:
        raise ConfigError(f"--patch must be one of {_listed(PATCHES)} pixels; got {patch}.")


def require_positive(**numbers: int) -> None:
    for name, number in numbers.items():
        if number < 1:
            raise ConfigError(f"{name} must be at least 1; got {number}.")


def _listed(numbers: Any) -> str:
    return ", ".join(map(str, sorted(numbers)))
