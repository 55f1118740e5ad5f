"""The networks of CycleGAN (Zhu, Park, Isola, Efros 2017), as the paper says, for images of any size from 16 pixels.

Two generators translate between two domains, and a PatchGAN discriminator judges each domain. Width and depth are
parameters, so that small images need no network made for 256 pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ganeval.errors import ConfigError

PATCHES = {16: 1, 34: 2, 70: 3}  # receptive field of a discriminator in pixels: its convolutions of stride 2
MIN_SIZE = 16


_MOST_BLOCKS = 100


class TranslationGenerator(nn.Module):
    """c7s1-k, d2k, d4k, R4k x blocks, u2k, uk, c7s1-3, with instance normalisation (the paper's k is 64).

    c7s1 is a 7 x 7 convolution, d a 3 x 3 one of stride 2, R a residual block of two 3 x 3 ones, u a transposed 3 x 3
    one of stride 2. Borders are reflected, and the output is a tanh.

    With ``skip`` it departs from the paper, for domains that share most of their pixels: the output is what is added
    to the input, and it starts as the identity; and only the residual blocks are normalised. Normalised from the first
    layer on, a network cannot see how bright or how rich in contrast an image is.

    Shape:
        float (N, 3, H, W) in [-1, 1], H and W multiples of 4 and at least 16 -> the same.
    """

    def __init__(self, *, width: int = 64, blocks: int = 9, skip: bool = False) -> None:
        super().__init__()
        require_positive(width=width, blocks=blocks)
        if blocks > _MOST_BLOCKS:  # a model card that asks for millions is not built before its weights are looked at
            raise ConfigError(f"a generator has at most {_MOST_BLOCKS} residual blocks, the paper's 9; got {blocks}.")
        self.arguments: dict[str, Any] = {"width": width, "blocks": blocks, "skip": skip}
        self.skip = skip
        k = width
        outer = nn.Identity if skip else nn.InstanceNorm2d
        self.layers = nn.Sequential(
            Reflected(3), nn.Conv2d(3, k, 7, bias=skip), outer(k), nn.ReLU(),
            Reflected(1), nn.Conv2d(k, 2 * k, 3, stride=2, bias=skip), outer(2 * k), nn.ReLU(),
            Reflected(1), nn.Conv2d(2 * k, 4 * k, 3, stride=2, bias=skip), outer(4 * k), nn.ReLU(),
            *[ResidualBlock(4 * k) for _ in range(blocks)],
            _up(4 * k, 2 * k, bias=skip), outer(2 * k), nn.ReLU(),
            _up(2 * k, k, bias=skip), outer(k), nn.ReLU(),
            Reflected(3), nn.Conv2d(k, 3, 7),
        )  # fmt: skip
        self.apply(_initialise)
        if skip:
            for layer in self.layers:
                if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):  # without normalisation, scale matters
                    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(self.layers[-1].weight)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> Tensor:
        made: Tensor = self.layers(images)
        return (images + made).clamp(-1, 1) if self.skip else made.tanh()


class Reflected(nn.Module):
    """Borders of ``width`` pixels that mirror the image, bit for bit those of ``nn.ReflectionPad2d``.

    On an accelerator made of flipped slices: the gradient of that layer adds up in any order on CUDA, and a training
    would not repeat.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type == "cpu":
            return nn.functional.pad(x, (self.width,) * 4, mode="reflect")
        return mirrored(x, self.width)


def mirrored(x: Tensor, width: int) -> Tensor:
    """(..., H, W) with borders of ``width`` pixels that mirror it, whose gradient has one order."""
    for axis in (-1, -2):
        first = x.narrow(axis, 1, width)
        last = x.narrow(axis, x.shape[axis] - 1 - width, width)
        x = torch.cat([first.flip(axis), x, last.flip(axis)], dim=axis)
    return x


class ResidualBlock(nn.Module):
    """R: two 3 x 3 convolutions with reflected borders, added to what went in."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            Reflected(1), nn.Conv2d(channels, channels, 3, bias=False), _norm(channels), nn.ReLU(),
            Reflected(1), nn.Conv2d(channels, channels, 3, bias=False), _norm(channels),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.layers(x)
        return out


class PatchDiscriminator(nn.Module):
    """Ck, C2k, C4k, C8k, then one channel: 4 x 4 convolutions, LeakyReLU 0.2, each output a judgement of one patch.

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
            layers += [nn.Conv2d(before, after, 4, stride, 1, bias=False), _norm(after), nn.LeakyReLU(0.2)]
        layers.append(nn.Conv2d(width * 2**strided, 1, 4, padding=1))
        self.layers = nn.Sequential(*layers)
        self.apply(_initialise)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layers(images)
        return logits


class ImagePool:
    """The last translations, so that a discriminator is not shown only the newest (Shrivastava et al. 2017).

    Until it is full it keeps and returns what comes. Then each image is, by the toss of a coin, returned as it is, or
    exchanged for one of the pool, drawn at random. A pool of size 0 returns what comes.
    """

    def __init__(self, size: int = 50, *, seed: int = 0) -> None:
        if size < 0:
            raise ConfigError(f"an image pool holds 0 images or more; got {size}. The paper's holds 50.")
        self.size = size
        self._images: Tensor | None = None  # room for all, of which so many are held
        self._held = 0
        self._random = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return self._held

    def exchange(self, images: Tensor) -> Tensor:
        """As many images as come, some of them older ones. Gradients stop here.

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
            f"CycleGAN takes images of {MIN_SIZE} pixels a side or more, in steps of 4, because it halves them twice; "
            f"got {size}. The next that it takes is {max(MIN_SIZE, -(-size // 4) * 4)}."
        )
    patch = default_patch(size) if patch is None else patch
    _require_patch(patch)
    if size < 2 ** PATCHES[patch] * 4:
        fits = [p for p, strided in PATCHES.items() if size >= 2**strided * 4]
        raise ConfigError(f"a discriminator's patch of {patch} pixels is too large for {size}; take {_listed(fits)}.")


def _require_patch(patch: int) -> None:
    if patch not in PATCHES:
        raise ConfigError(f"a discriminator's patch is one of {_listed(PATCHES)} pixels; got {patch}.")


def require_positive(**numbers: int) -> None:
    for name, number in numbers.items():
        if number < 1:
            raise ConfigError(f"{name} is a number from 1 on; got {number}.")


def _norm(channels: int) -> nn.InstanceNorm2d:
    return nn.InstanceNorm2d(channels)  # each channel of each image to mean 0 and variance 1, without weights


def _up(channels_in: int, channels_out: int, *, bias: bool) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(channels_in, channels_out, 3, stride=2, padding=1, output_padding=1, bias=bias)


def _initialise(module: nn.Module) -> None:
    """Weights from N(0, 0.02)."""
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _listed(numbers: Any) -> str:
    return ", ".join(map(str, sorted(numbers)))
