"""The networks of CycleGAN are those of the paper, and the image pool mixes old and new."""

from __future__ import annotations

import pytest
import torch
from support.dispatch import Dispatched
from torch import Tensor, nn

from ganeval.errors import ConfigError
from ganeval.generators.cyclegan import (
    PATCHES,
    ImagePool,
    PatchDiscriminator,
    Reflected,
    TranslationGenerator,
    check_size,
    default_patch,
    mirrored,
)


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def images(n: int, size: int = 16) -> Tensor:
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1


# --- networks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("blocks", [6, 9])
def test_generator_against_theory(blocks: int) -> None:
    """c7s1-64, d128, d256, R256 x blocks, u128, u64, c7s1-3; biases only where no normalisation follows."""
    k = 64
    expected = 49 * 3 * k + 9 * k * 2 * k + 9 * 2 * k * 4 * k  # down
    expected += blocks * 2 * 9 * (4 * k) ** 2
    expected += 9 * 4 * k * 2 * k + 9 * 2 * k * k + 49 * k * 3 + 3  # up
    with torch.device("meta"):
        network = TranslationGenerator(width=k, blocks=blocks)
        assert parameters(network) == expected
        assert network(torch.empty(1, 3, 256, 256)).shape == (1, 3, 256, 256)
    norms = [m for m in network.modules() if isinstance(m, nn.InstanceNorm2d)]
    assert len(norms) == 5 + 2 * blocks
    assert all(not m.affine and not m.track_running_stats for m in norms)
    assert sum(isinstance(m, Reflected) for m in network.modules()) == 4 + 2 * blocks
    assert all(m.padding == (0, 0) for m in network.modules() if isinstance(m, nn.Conv2d))


def test_discriminator_against_theory() -> None:
    """C64-C128-C256-C512 and one channel; no normalisation in the first layer; 30 x 30 patches of 256 pixels."""
    with torch.device("meta"):
        network = PatchDiscriminator()
        assert parameters(network) == 16 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512 + 512) + 64 + 1
        assert network(torch.empty(1, 3, 256, 256)).shape == (1, 1, 30, 30)
    assert not isinstance(network.layers[1], nn.InstanceNorm2d)
    assert {m.negative_slope for m in network.modules() if isinstance(m, nn.LeakyReLU)} == {0.2}


@pytest.mark.parametrize("patch", PATCHES)
def test_receptive_field_against_theory(patch: int) -> None:
    """What the middle output sees, by its gradient; without normalisation, which sees the whole image."""
    network = PatchDiscriminator(width=2, patch=patch).double()
    for i, layer in enumerate(network.layers):
        if isinstance(layer, nn.InstanceNorm2d):
            network.layers[i] = nn.Identity()
    x = torch.randn(1, 3, 160, 160, dtype=torch.float64, requires_grad=True)
    out = network(x)
    out[0, 0, out.shape[2] // 2, out.shape[3] // 2].backward()
    assert x.grad is not None
    rows = (x.grad[0].abs().sum(0).sum(1) != 0).nonzero().flatten()
    assert int(rows.max() - rows.min()) + 1 == patch


def test_first_weights_against_theory() -> None:
    network = TranslationGenerator(width=32, blocks=2)
    weights = torch.cat([p.detach().flatten() for p in network.parameters() if p.ndim == 4])
    assert abs(float(weights.mean())) < 1e-4
    assert float(weights.std()) == pytest.approx(0.02, rel=0.01)


def test_images_of_a_batch_do_not_meet_batch() -> None:
    torch.manual_seed(0)
    network = TranslationGenerator(width=4, blocks=2).double()
    x = images(5).double()
    with torch.no_grad():
        together = network(x)
        apart = torch.cat([network(one[None]) for one in x])
        assert torch.equal(network.eval()(x), together)
    assert torch.allclose(together, apart, atol=1e-12)
    assert together.abs().max() <= 1


def test_skip_starts_as_the_identity_and_stays_in_range() -> None:
    x = images(2, 20)
    network = TranslationGenerator(width=4, blocks=1, skip=True)
    assert torch.equal(network(x), x)
    nn.init.constant_(network.layers[-1].bias, 5.0)
    assert torch.equal(network(x), torch.ones_like(x))
    assert not torch.equal(TranslationGenerator(width=4, blocks=1)(x), x)


def test_arguments_build_the_same_network_again() -> None:
    network = TranslationGenerator(width=3, blocks=2, skip=True)
    again = TranslationGenerator(**network.arguments)
    again.load_state_dict(network.state_dict())
    discriminator = PatchDiscriminator(width=3, patch=34)
    PatchDiscriminator(**discriminator.arguments).load_state_dict(discriminator.state_dict())


# --- sizes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "patch"), [(16, 16), (32, 16), (48, 34), (64, 34), (128, 70), (256, 70)])
def test_default_patch(size: int, patch: int) -> None:
    assert default_patch(size) == patch
    check_size(size)
    with torch.device("meta"):
        PatchDiscriminator(width=4, patch=patch)(torch.empty(1, 3, size, size))
        TranslationGenerator(width=4, blocks=1)(torch.empty(1, 3, size, size))


@pytest.mark.parametrize(
    ("size", "patch", "message"),
    [
        (8, None, "at least 16 pixels, a multiple of 4; got 8. The next size is 16"),
        (30, None, "got 30. The next size is 32"),
        (33, None, "got 33. The next size is 36"),
        (16, 70, "--patch 70 is too large for images of 16 pixels. Choose from 16, 34"),
    ],
)
def test_size_iv(size: int, patch: int | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_size(size, patch)


def test_arguments_iv() -> None:
    with pytest.raises(ConfigError, match="width must be at least 1; got 0"):
        TranslationGenerator(width=0)
    with pytest.raises(ConfigError, match="blocks must be at least 1; got -1"):
        TranslationGenerator(blocks=-1)
    with pytest.raises(ConfigError, match="one of 16, 34, 70 pixels; got 50"):
        PatchDiscriminator(patch=50)
    with pytest.raises(ConfigError, match="image pool must be at least 0; got -1"):
        ImagePool(-1)


# --- the pool ------------------------------------------------------------------------------------------------------


def numbered(first: int, n: int) -> Tensor:
    return torch.arange(first, first + n, dtype=torch.float32)[:, None, None, None].expand(n, 3, 2, 2)


def test_pool_fills_and_then_mixes() -> None:
    pool = ImagePool(50, seed=3)
    for start in range(0, 50, 10):
        assert torch.equal(pool.exchange(numbered(start, 10)), numbered(start, 10))
    assert len(pool) == 50
    given = [pool.exchange(numbered(50 + i, 1))[0, 0, 0, 0].item() for i in range(2000)]
    new = sum(value == 50 + i for i, value in enumerate(given))
    assert 900 < new < 1100  # the toss of a coin
    assert all(value <= 50 + i for i, value in enumerate(given))
    old = [value for i, value in enumerate(given) if value != 50 + i]
    assert len(set(old)) == len(old)  # what leaves the pool was replaced
    assert len(pool) == 50


def test_pool_of_nothing_degenerate() -> None:
    pool = ImagePool(0)
    for start in (0, 7):
        assert torch.equal(pool.exchange(numbered(start, 3)), numbered(start, 3))
    assert len(pool) == 0


def test_pool_smaller_than_a_batch_degenerate() -> None:
    pool = ImagePool(2, seed=0)
    out = pool.exchange(numbered(0, 9))
    assert len(out) == 9
    assert len(pool) == 2


def test_pool_stops_gradients_and_keeps_copies() -> None:
    pool = ImagePool(1, seed=0)
    x = numbered(4, 1).clone().requires_grad_()
    assert not pool.exchange(x).requires_grad
    with torch.no_grad():
        x.zero_()
    taken = [pool.exchange(numbered(5, 1))[0, 0, 0, 0].item() for _ in range(20)]
    assert taken[next(i for i, value in enumerate(taken) if value != 5)] == 4


def test_pool_goes_on_from_its_state() -> None:
    one, other = ImagePool(4, seed=1), ImagePool(4, seed=2)
    one.exchange(numbered(0, 30))
    other.load_state_dict(one.state_dict())
    assert torch.equal(one.exchange(numbered(30, 30)), other.exchange(numbered(30, 30)))
    fresh = ImagePool(4)
    fresh.load_state_dict(ImagePool(4, seed=1).state_dict())
    assert len(fresh) == 0


def test_pool_of_an_accelerator_is_neither_read_nor_copied() -> None:
    """On ``meta`` nothing can be read, so a CUDA device is not waited for; a step moves its own images alone."""
    pool = ImagePool(50, seed=3)
    for start in range(100):
        image = numbered(start, 1).to("meta")
        with Dispatched() as seen:
            assert pool.exchange(image).device.type == "meta"
        assert seen.largest <= (50 if start == 0 else 1) * image.numel()
        assert len(seen.names) <= 13
    assert len(pool) == 50


def test_pool_leaves_the_global_random_state_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(2)
    torch.manual_seed(0)
    ImagePool(1, seed=5).exchange(numbered(0, 9))
    assert torch.equal(torch.rand(2), expected)


def test_borders_on_an_accelerator_have_a_gradient_of_one_order() -> None:
    """On CUDA the gradient of torch's own layer adds up in any order: a training would not repeat."""
    dispatched = {}
    for device in ("cpu", "meta"):
        network = TranslationGenerator(width=2, blocks=1).to(device)
        with Dispatched() as seen:
            network(torch.zeros(1, 3, 16, 16, device=device)).sum().backward()
        dispatched[device] = {name for name in seen.names if "reflection" in name}
    assert dispatched == {"cpu": {"reflection_pad2d", "reflection_pad2d_backward"}, "meta": set()}


@pytest.mark.parametrize("width", [1, 3])
def test_borders_against_torch(width: int) -> None:
    """Bit for bit, gradients too: what runs on an accelerator, where torch's own gradient has no order."""
    x = torch.randn(2, 3, 9, 12, generator=torch.Generator().manual_seed(0), requires_grad=True)
    made, expected = mirrored(x, width), nn.ReflectionPad2d(width)(x)
    assert torch.equal(made, expected)
    assert torch.equal(Reflected(width)(x), expected)
    weights = torch.rand_like(expected)
    gradients = [torch.autograd.grad((y * weights).sum(), x)[0] for y in (made, expected)]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-6)
    on_accelerator = Reflected(width)(torch.empty(1, 3, 9, 12, device="meta"))
    assert on_accelerator.shape == expected[:1].shape
