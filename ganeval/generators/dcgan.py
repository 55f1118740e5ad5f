"""DCGAN (Radford, Metz and Chintala, ICLR 2016): two networks of strided convolutions only.

No pooling and no fully connected hidden layers. The generator's first layer is a transposed convolution from 1 x 1 to
4 x 4, which is the paper's projection of z; every further one doubles the size. The discriminator has the same
layers in reverse. Kernels are 4 x 4 (the paper's figure has 5 x 5), which cover every pixel equally often at stride 2.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from ganeval.errors import ConfigError

SIZES = (32, 64, 128)
_SLOPE = 0.2


class Generator(nn.Module):
    """Map z to images: transposed convolutions, batch normalisation and ReLU; tanh and no normalisation at the end.

    Shape:
        float (N, latent_dim), standard normal -> (N, channels, size, size) in [-1, 1].

    Args:
        size: height and width of an image: 32, 64 or 128.
        channels: 3, or 1 for grey.
        latent_dim: size of z.
        width: channels of the last hidden layer; each layer before it has twice as many. The paper has 128.

    Attributes:
        latent_dim: size of z.
        value_range: values of black and white.
        arguments: arguments of the constructor.

    Raises:
        ConfigError: a number that the architecture does not support.
    """

    value_range = (-1.0, 1.0)

    def __init__(self, *, size: int = 32, channels: int = 3, latent_dim: int = 100, width: int = 64) -> None:
        super().__init__()
        check_architecture(size=size, channels=channels, latent_dim=latent_dim, width=width)
        self.latent_dim = latent_dim
        self.arguments = {"size": size, "channels": channels, "latent_dim": latent_dim, "width": width}
        widths = _widths(size, width)[::-1]
        layers: list[nn.Module] = [nn.ConvTranspose2d(latent_dim, widths[0], 4, bias=False)]
        for before, after in pairwise(widths):
            layers += [nn.BatchNorm2d(before), nn.ReLU(inplace=True)]
            layers += [nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=False)]
        layers += [nn.BatchNorm2d(widths[-1]), nn.ReLU(inplace=True)]
        layers += [nn.ConvTranspose2d(widths[-1], channels, 4, stride=2, padding=1), nn.Tanh()]
        self.layers = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        images: Tensor = self.layers(z[:, :, None, None])
        return images


class Discriminator(nn.Module):
    """Map images to logits of being real: strided convolutions, LeakyReLU 0.2, batch normalisation but at the input.

    Shape:
        float (N, channels, size, size) in [-1, 1] -> (N,).

    Args:
        size, channels, width: as the generator's.

    Raises:
        ConfigError: a number that the architecture does not support.
    """

    def __init__(self, *, size: int = 32, channels: int = 3, width: int = 64) -> None:
        super().__init__()
        check_architecture(size=size, channels=channels, latent_dim=1, width=width)
        widths = _widths(size, width)
        layers: list[nn.Module] = [nn.Conv2d(channels, widths[0], 4, stride=2, padding=1)]
        for before, after in pairwise(widths):
            layers += [nn.LeakyReLU(_SLOPE, inplace=True)]
            layers += [nn.Conv2d(before, after, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(after)]
        layers += [nn.LeakyReLU(_SLOPE, inplace=True), nn.Conv2d(widths[-1], 1, 4)]
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layers(images)
        return logits.flatten()


def initialise(network: nn.Module, generator: torch.Generator | None = None) -> None:
    """Draw weights from N(0, 0.02) and scales of normalisations from N(1, 0.02), and set biases to 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.BatchNorm2d):
            centre = 1.0 if isinstance(module, nn.BatchNorm2d) else 0.0
            nn.init.normal_(module.weight, centre, 0.02, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def check_architecture(*, size: int, channels: int, latent_dim: int, width: int, named: str = "width") -> None:
    """Raise ConfigError unless a DCGAN can have this architecture; the message names the width ``named``."""
    if size not in SIZES:
        sizes = ", ".join(map(str, SIZES))
        raise ConfigError(f"--size must be one of {sizes}; got {size}. Images are resized to it.")
    if channels not in (1, 3):
        raise ConfigError(f"--channels must be 3, or 1 for grey; got {channels}.")
    for name, value in (("latent-dim", latent_dim), (named, width)):
        if value < 1:
            raise ConfigError(f"--{name} must be at least 1; got {value}.")


def _widths(size: int, width: int) -> list[int]:
    """Channels of the hidden layers from the image inward, the last at 4 x 4 pixels."""
    return [width * 2**i for i in range((size // 4).bit_length() - 1)]
