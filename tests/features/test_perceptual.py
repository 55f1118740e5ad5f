"""Perceptual distances against the ``lpips`` package under the same random weights, and against their formula."""

from __future__ import annotations

import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from support.peers import needs_peer
from torch import Tensor

from ganeval.errors import ConfigError, InputError, WeightsError
from ganeval.features.perceptual import PerceptualDistance, load_distance, prepare
from ganeval.features.published import EFFICIENTNET_LITE0
from ganeval.features.registry import DISTANCES
from ganeval.features.weights import status

CPU = torch.device("cpu")
needs_lite = pytest.mark.skipif(not status(EFFICIENTNET_LITE0).verified, reason="needs ganeval[imagenet]")
TRUNKS = {"vgg": "vgg16", "alex": "alexnet", "squeeze": "squeezenet1_1"}


def random_trunk(net: str) -> dict[str, Tensor]:
    """The convolutions of torchvision's network; the classifier, which LPIPS does not use, is left away."""
    torch.manual_seed(0)
    with torch.device("meta"):
        module = getattr(torchvision.models, TRUNKS[net])(weights=None).features
    return {
        f"features.{name}": torch.randn(value.shape) / max(1, value[0].numel()) ** 0.5
        for name, value in module.state_dict().items()
    }


@pytest.fixture(scope="module", params=["vgg", "alex", "squeeze"])
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    net = str(request.param)
    path = tmp_path_factory.mktemp("trunk") / f"{net}.pth"
    torch.save(random_trunk(net), path)
    return net, path


def pictures(n: int = 3, size: int = 64, seed: int = 1) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    one = torch.rand(n, 3, size, size, generator=random) * 2 - 1
    return one, one + 0.2 * torch.randn(one.shape, generator=random)


def of_the_package(net: str, trunk: dict[str, Tensor]) -> Any:
    import lpips

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchvision's, of the arguments that lpips uses
        module = lpips.LPIPS(net=net, pretrained=True, pnet_rand=True, verbose=False)
    names = [name for name in module.state_dict() if name.startswith("net.")]
    module.load_state_dict({name: trunk[f"features.{name.split('.', 2)[2]}"] for name in names}, strict=False)
    return module


def test_distance_against_lpips(loaded: tuple[str, Path]) -> None:
    net, path = loaded
    ours = load_distance(f"lpips-{net}", device=CPU, weights=path)
    theirs = of_the_package(net, random_trunk(net))
    a, b = pictures()
    with torch.no_grad():
        expected = theirs(a, b).flatten()
    torch.testing.assert_close(ours(a, b), expected, rtol=2e-5, atol=0)
    assert ours(a, a).tolist() == [0.0] * 3
    torch.testing.assert_close(ours(b, a), ours(a, b), rtol=1e-6, atol=0)


def test_distance_against_its_formula(loaded: tuple[str, Path]) -> None:
    net, path = loaded
    ours = load_distance(f"lpips-{net}", device=CPU, weights=path, dtype=torch.float64)
    module = of_the_package(net, random_trunk(net)).double()
    a, b = (x.double() for x in pictures())
    total = torch.zeros(3, dtype=torch.float64)
    with torch.no_grad():
        for k, (one, other) in enumerate(zip(*(module.net(module.scaling_layer(x)) for x in (a, b)), strict=True)):
            for image in range(3):
                u, v = one[image], other[image]
                u, v = (x / (x.norm(dim=0) + 1e-10) for x in (u, v))
                w = module.lins[k].model[-1].weight.flatten()
                total[image] += ((u - v) ** 2 * w[:, None, None]).sum(0).mean()
    torch.testing.assert_close(ours(a, b), total, rtol=1e-12, atol=0)
    assert ours(a, b).dtype == torch.float64


def test_compact_against_its_formula() -> None:
    from ganeval.features.compact import load_compact
    from ganeval.features.registry import COMPACT_FILE
    from ganeval.features.weights import load_state_dict

    ours = load_distance("compact", device=CPU)
    assert ours.verified
    a, b = pictures(size=32)
    network = load_compact(load_state_dict(COMPACT_FILE), device=CPU).network
    with torch.no_grad():
        one, other = network(a), network(b)
    expected = torch.zeros(3)
    for block in ("block1", "block2", "block3"):
        u, v = (x[block] / (x[block].norm(dim=1, keepdim=True) + 1e-10) for x in (one, other))
        expected += ((u - v) ** 2).sum(1).mean((1, 2))
    torch.testing.assert_close(ours(a, b), expected, rtol=1e-5, atol=0)
    assert ours(a, a).tolist() == [0.0] * 3


@needs_lite
def test_lite_against_its_formula() -> None:
    from ganeval.features.efficientnet import load_efficientnet
    from ganeval.features.weights import load_state_dict

    ours = load_distance("lite", device=CPU, dtype=torch.float64)
    assert (ours.name, ours.verified) == ("efficientnet-lite0", True)
    a, b = (x.double() for x in pictures(2, size=224))
    network = load_efficientnet(load_state_dict(status(EFFICIENTNET_LITE0).path), fast=False).double()
    with torch.no_grad():
        maps = [network.maps(((x + 1) * 127.5 - 127) / 128) for x in (a, b)]
    expected = torch.zeros(2, dtype=torch.float64)
    for one, other in zip(*maps, strict=True):
        u, v = (x / (x.norm(dim=1, keepdim=True) + 1e-10) for x in (one, other))
        expected += ((u - v) ** 2).sum(1).mean((1, 2))
    assert len(maps[0]) == 7
    torch.testing.assert_close(ours(a, b), expected, rtol=1e-4, atol=0)
    assert ours(a, a).tolist() == [0.0] * 2


@pytest.mark.parametrize("name", ["compact", pytest.param("lite", marks=needs_lite)])
def test_distances_without_a_download_grow_with_what_is_wrong_and_take_any_size(name: str) -> None:
    ours = load_distance(name, device=CPU)
    for size in (16, 32, 100):
        a, _ = pictures(2, size)
        noise = torch.randn(a.shape, generator=torch.Generator().manual_seed(3))
        found = [float(ours(a, a + level * noise).mean()) for level in (0.0, 0.01, 0.05, 0.3)]
        assert found == sorted(found)
        assert found[0] == 0 < found[1] * 2 < found[2]


def test_nothing_of_the_surroundings_matters(loaded: tuple[str, Path]) -> None:
    """Autocast, the default device of a block and the random state; and they are afterwards as they were."""
    net, path = loaded
    a, b = pictures()
    expected = load_distance(f"lpips-{net}", device=CPU, weights=path)(a, b)
    state = torch.get_rng_state()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        again = load_distance(f"lpips-{net}", device=CPU, weights=path)
        assert torch.equal(again(a, b), expected)
        assert torch.is_autocast_enabled("cpu")
    assert torch.equal(state, torch.get_rng_state())
    assert again.weights is not None
    assert not again.verified
    assert "not the published ones" in again.warnings[0]


@pytest.mark.nightly
def test_loading_says_nothing_on_stdout(loaded: tuple[str, Path]) -> None:
    net, path = loaded
    code = (
        "import sys, torch; from pathlib import Path; from ganeval.features.perceptual import load_distance;"
        f"load_distance('lpips-{net}', device=torch.device('cpu'), weights=Path(sys.argv[1]))"
    )
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    assert run.stdout == ""


def test_weights_iv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv("GANEVAL_WEIGHTS_DIR", raising=False)
    for name, file in (("vgg", "vgg16-397923af"), ("alex", "alexnet-owt-7be5be79"), ("squeeze", "squeezenet1_1-b8a5")):
        with pytest.raises(
            WeightsError, match=rf"GANEVAL_OFFLINE is set, so nothing is downloaded.*{file}.*--distance compact"
        ):
            load_distance(f"lpips-{name}", device=CPU)
    with pytest.raises(ConfigError, match="Unknown perceptual distance 'vgg'. Available: lpips-vgg, "):
        load_distance("vgg", device=CPU)
    torch.save(random_trunk("alex"), tmp_path / "alex.pth")
    with pytest.raises(WeightsError, match=r"no weights of the network of LPIPS squeeze: features.3"):
        load_distance("lpips-squeeze", device=CPU, weights=tmp_path / "alex.pth")
    with pytest.raises(WeightsError, match="does not fit LPIPS vgg"):
        load_distance("lpips-vgg", device=CPU, weights=_squashed(tmp_path))
    with pytest.raises(WeightsError, match="compact network"):
        load_distance("compact", device=CPU, weights=tmp_path / "alex.pth")
    other = replace(DISTANCES["lpips-alex"], options={"net": "alex", "heads_sha256": "0" * 64})
    monkeypatch.setitem(DISTANCES, "lpips-alex", other)
    with pytest.raises(WeightsError, match=r"alex.pth is not the file of lpips 0.1.4"):
        load_distance("lpips-alex", device=CPU, weights=tmp_path / "alex.pth")


def _squashed(folder: Path) -> Path:
    torch.save({name: value[:1] for name, value in random_trunk("vgg").items()}, folder / "vgg.pth")
    return folder / "vgg.pth"


def test_images_too_small_iv(loaded: tuple[str, Path]) -> None:
    net, path = loaded
    with pytest.raises(InputError, match=rf"images of 8 x 8 pixels are too small for lpips-{net}. Enlarge"):
        load_distance(f"lpips-{net}", device=CPU, weights=path)(*pictures(size=8))


# --- from a generator to the distance ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "crop", "resize", "expected"),
    [
        ((32, 32), False, None, (32, 32)),  # never enlarged
        ((1024, 1024), False, None, (256, 256)),
        ((1024, 1024), True, None, (256, 256)),  # StyleGAN's PyTorch scripts end at 128 here
        ((512, 512), True, None, (256, 256)),
        ((256, 256), True, None, (128, 128)),
        ((300, 600), False, None, (256, 512)),
        ((1024, 1024), True, 64, (64, 64)),
        ((32, 32), False, 64, (64, 64)),
    ],
)
def test_size_that_reaches_the_distance(
    shape: tuple[int, int], crop: bool, resize: int | None, expected: tuple[int, int]
) -> None:
    assert prepare(torch.zeros(2, 3, *shape), (-1, 1), crop=crop, size=resize).shape == (2, 3, *expected)


def test_prepare_against_theory() -> None:
    rows = torch.arange(64.0).reshape(1, 1, 64, 1).expand(1, 1, 64, 64) / 63
    out = prepare(rows, (0.0, 1.0), crop=True, size=None)
    assert out.shape == (1, 3, 32, 32)  # rows 24 to 55
    torch.testing.assert_close(out[0, 1, :, 0], 2 * torch.arange(24.0, 56.0) / 63 - 1)
    columns = prepare(rows.transpose(2, 3), (0.0, 1.0), crop=True, size=None)
    torch.testing.assert_close(columns[0, 2, 0], 2 * torch.arange(16.0, 48.0) / 63 - 1)
    big = torch.rand(1, 3, 768, 768, generator=torch.Generator().manual_seed(0))
    boxes = big.reshape(1, 3, 256, 3, 256, 3).mean((3, 5)) * 2 - 1
    torch.testing.assert_close(prepare(big, (0.0, 1.0), crop=False, size=None), boxes)
    beyond = torch.full((1, 3, 8, 8), 1.7)
    assert float(prepare(beyond, (-1.0, 1.0), crop=False, size=None).max()) == pytest.approx(1.7)  # not clamped


@needs_peer("torch_fidelity")
def test_resize_against_torch_fidelity() -> None:
    from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

    images = torch.rand(2, 3, 100, 100, generator=torch.Generator().manual_seed(0)) * 2 - 1
    expected = interpolate_bilinear_2d_like_tensorflow1x(images, size=(64, 64), align_corners=False)
    torch.testing.assert_close(prepare(images, (-1, 1), crop=False, size=64), expected, rtol=0, atol=1e-6)


def test_any_network() -> None:
    """A network of one's own, against squared error over unit vectors."""
    own = PerceptualDistance("own", lambda x: [x], (torch.tensor([1.0, 2.0, 0.0]),), CPU)
    a = torch.tensor([3.0, 4.0, 0.0]).reshape(1, 3, 1, 1).expand(1, 3, 5, 5)
    b = torch.tensor([0.0, 2.0, 0.0]).reshape(1, 3, 1, 1).expand(1, 3, 5, 5)
    assert own(a, b).tolist() == pytest.approx([0.36 + 2 * 0.04])


@pytest.mark.weights
@pytest.mark.parametrize("net", ["vgg", "alex", "squeeze"])
def test_published_weights_against_lpips(net: str) -> None:
    from ganeval.features.weights import load_state_dict

    spec = DISTANCES[f"lpips-{net}"].weights
    assert spec is not None
    found = status(spec)
    if not found.present:
        pytest.skip(f"needs {found.filename}, which is not part of the project")
    ours = load_distance(f"lpips-{net}", device=CPU)
    a, b = pictures()
    with torch.no_grad():
        expected = of_the_package(net, load_state_dict(found.path))(a, b).flatten()
    torch.testing.assert_close(ours(a, b), expected, rtol=1e-5, atol=0)
    assert ours.verified
