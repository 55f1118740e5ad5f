"""The architecture, held against what the paper says of it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ganeval.errors import ConfigError
from ganeval.generators.dcgan import SIZES, Discriminator, Generator, initialise


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_shapes(size: int, channels: int) -> None:
    generator = Generator(size=size, channels=channels, latent_dim=7, width=2)
    images = generator(torch.randn(3, 7))
    assert images.shape == (3, channels, size, size)
    assert images.abs().max() <= 1
    assert Discriminator(size=size, channels=channels, width=2)(images).shape == (3,)
    assert (generator.latent_dim, generator.value_range) == (7, (-1.0, 1.0))


def test_generator_against_the_paper() -> None:
    """64 pixels: 1024, 512, 256 and 128 maps at 4, 8, 16 and 32 pixels, as in its figure 1."""
    seen = []
    network = Generator(size=64, latent_dim=100, width=128)
    for layer in network.layers:
        if isinstance(layer, nn.ConvTranspose2d):
            layer.register_forward_hook(lambda _, inputs, output: seen.append(tuple(output.shape[1:])))
    network(torch.zeros(2, 100))
    assert seen == [(1024, 4, 4), (512, 8, 8), (256, 16, 16), (128, 32, 32), (3, 64, 64)]
    kinds = [type(layer) for layer in network.layers]
    assert set(kinds) == {nn.ConvTranspose2d, nn.BatchNorm2d, nn.ReLU, nn.Tanh}
    assert kinds[-2:] == [nn.ConvTranspose2d, nn.Tanh]  # no normalisation at the output
    assert kinds.count(nn.BatchNorm2d) == 4


def test_discriminator_against_the_paper() -> None:
    network = Discriminator(size=64, width=64)
    kinds = [type(layer) for layer in network.layers]
    assert set(kinds) == {nn.Conv2d, nn.BatchNorm2d, nn.LeakyReLU}  # no pooling, nothing fully connected
    assert kinds[:2] == [nn.Conv2d, nn.LeakyReLU]  # no normalisation at the input
    assert kinds[-1] is nn.Conv2d
    assert kinds.count(nn.BatchNorm2d) == 3
    assert {layer.negative_slope for layer in network.layers if isinstance(layer, nn.LeakyReLU)} == {0.2}
    strides = [layer.stride for layer in network.layers if isinstance(layer, nn.Conv2d)]
    assert strides == [(2, 2)] * 4 + [(1, 1)]


def test_first_weights_against_the_paper() -> None:
    network = Generator(width=32)
    initialise(network, torch.Generator().manual_seed(0))
    weights = torch.cat([m.weight.flatten() for m in network.modules() if isinstance(m, nn.ConvTranspose2d)])
    assert weights.mean().item() == pytest.approx(0, abs=2e-4)
    assert weights.std().item() == pytest.approx(0.02, rel=0.01)
    again = Generator(width=32)
    initialise(again, torch.Generator().manual_seed(0))
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), again.parameters(), strict=True))


def test_arguments_build_it_again() -> None:
    network = Generator(size=64, channels=1, latent_dim=5, width=3)
    Generator(**network.arguments).load_state_dict(network.state_dict())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 48}, "--size must be one of 32, 64, 128; got 48"),
        ({"size": 0}, "got 0"),
        ({"channels": 4}, "--channels must be 3, or 1 for grey; got 4"),
        ({"width": 0}, "--width must be at least 1; got 0"),
        ({"latent_dim": 0}, "--latent-dim must be at least 1; got 0"),
    ],
)
def test_architecture_iv(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Generator(**arguments)
