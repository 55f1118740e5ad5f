"""What the surrounding program has set reaches no number, and is afterwards as it was."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support.precisions import HERE, kept, precisions
from support.weights import of
from torch import Tensor, nn

import ganeval
from ganeval.arithmetic import plain_defaults
from ganeval.cli.main import main
from ganeval.distributed import Group
from ganeval.evaluator import Evaluator
from ganeval.features.clip import load_clip
from ganeval.features.compact import load_compact
from ganeval.features.custom import load_custom
from ganeval.features.dinov2 import load_dinov2
from ganeval.features.inception import FIDInception, load_inception
from ganeval.features.perceptual import load_distance
from ganeval.features.registry import COMPACT_FILE, NETWORKS
from ganeval.features.torchvision_inception import load_torchvision_inception
from ganeval.features.vgg16 import load_vgg16
from ganeval.features.weights import load_state_dict
from ganeval.training.cyclegan import train_cyclegan
from ganeval.training.dcgan import train_dcgan

CPU = torch.device("cpu")
REAL, FAKE = np.random.default_rng(0).integers(0, 256, (2, 40, 12, 12, 3), dtype=np.uint8)
ON: dict[str, Any] = {"protocol": "compact", "device": "cpu", "cache": False}


class Generator(nn.Module):
    latent_dim, value_range = 4, (0, 1)

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            self.linear = nn.Linear(4, 3 * 8 * 8, dtype=torch.float32, device="cpu")
        with torch.no_grad():
            self.linear.weight.copy_(torch.linspace(-1, 1, 768, dtype=torch.float32, device="cpu").view(192, 4))
            self.linear.bias.zero_()

    def forward(self, z: Tensor) -> Tensor:
        return torch.sigmoid(self.linear(z)).view(-1, 3, 8, 8)


@contextmanager
def restored(getter: Callable[[], Any], setter: Callable[[Any], Any], value: Any) -> Iterator[None]:
    before = getter()
    setter(value)
    try:
        yield
    finally:
        setter(before)


def default_dtype(dtype: torch.dtype) -> AbstractContextManager[None]:
    return restored(torch.get_default_dtype, torch.set_default_dtype, dtype)


@contextmanager
def default_device(device: str) -> Iterator[None]:
    torch.set_default_device(device)
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextmanager
def newer_name(precision: str) -> Iterator[None]:
    """Of all float32 arithmetic; PyTorch then raises where the older names are asked."""
    if not HERE:
        pytest.skip("this PyTorch has no fp32_precision")
    with kept():
        torch.backends.fp32_precision = precision  # type: ignore[attr-defined]
        yield


SURROUNDINGS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "float64": lambda: default_dtype(torch.float64),
    "bfloat16": lambda: default_dtype(torch.bfloat16),
    "a default device": lambda: default_device("meta"),
    "inside a device": lambda: torch.device("meta"),
    "inference mode": torch.inference_mode,
    "gradients": torch.enable_grad,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "deterministic": lambda: restored(
        torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms, True
    ),
    "matrix products": lambda: restored(
        torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "medium"
    ),
    "precision by its newer name": lambda: newer_name("tf32"),
}


def everything(folder: Path) -> dict[str, float]:
    """Numbers by every door and from every kind of images."""
    found = {name: r.value for name, r in ganeval.evaluate(folder, FAKE, metrics=None, **ON).results.items()}
    found["workers"] = ganeval.fid(folder, REAL, workers=1, **ON).value
    found["generator"] = ganeval.fid(REAL, Generator(), num_samples=20, **ON).value
    found["shipped"] = ganeval.fid(REAL, "gen:dcgan-cifar10", num_samples=20, **ON).value
    translation = "gen:cyclegan-plain2striped(dataset:shapes-plain:64)"
    found["translation"] = ganeval.fid(REAL, translation, num_samples=16, **ON).value
    found["statistics"] = float(ganeval.build_statistics(REAL, **ON).covariance.sum())
    found["ppl"] = ganeval.path_length(Generator(), pairs=10, distance="compact", device="cpu").value
    floats = torch.from_numpy(FAKE.astype(np.float32) / 255)
    with Evaluator(REAL, metrics=("fid", "kid"), value_range=(0, 1), **ON) as evaluator:
        evaluator.update(floats[:20])
        evaluator.update_from(Generator(), 10)
        state = evaluator.state_dict()
        evaluator.reset()
        evaluator.load_state_dict(state)
        found["Evaluator"] = evaluator.compute()["fid"].value
    return found


def program() -> list[Any]:
    numpys: Any = np.random.get_state()  # noqa: NPY002
    return [
        torch.get_rng_state().tolist(), numpys[1].tolist(), numpys[2:], random.getstate(),
        torch.get_default_dtype(), torch.get_default_device(), torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(), precisions(),
        torch.are_deterministic_algorithms_enabled(), torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu"),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("real")
    for i, image in enumerate(REAL):
        Image.fromarray(image).save(path / f"{i:02d}.png")
    return path


@pytest.fixture(scope="module")
def expected(folder: Path) -> dict[str, float]:
    return everything(folder)


@pytest.mark.parametrize(
    "surroundings",
    [
        name if name in ("float64", "a default device", "autocast") else pytest.param(name, marks=pytest.mark.nightly)
        for name in SURROUNDINGS
    ],
)
def test_numbers_are_the_same_and_the_program_as_it_was(
    surroundings: str, folder: Path, expected: dict[str, float]
) -> None:
    with SURROUNDINGS[surroundings]():
        before = program()
        found = everything(folder)
        assert program() == before
    assert found == expected


# --- training, samples and messages of ranks --------------------------------------------------------------------------


def trained(folder: Path) -> list[Any]:
    """The numbers and the weights of two steps of either game."""
    shared: dict[str, Any] = {
        "width": 2, "steps": 2, "batch_size": 4, "num_samples": 8, "log_every": 1, "eval_every": 0, "sample_every": 0,
        "device": "cpu",
    }  # fmt: skip
    train_dcgan("dataset:shapes", folder / "dcgan", latent_dim=4, flip=True, **shared)
    plain, striped = "dataset:shapes-plain:16@1", "dataset:shapes-striped:16@2"
    small: dict[str, Any] = {"size": 16, "blocks": 1, "discriminator_width": 2, "num_test": 4, "cycle_noise": 0.1}
    train_cyclegan(plain, striped, folder / "cyclegan", **small, **shared)
    found: list[Any] = [path.read_bytes() for path in sorted(folder.glob("*/[abg]*.safetensors"))]
    for name in ("dcgan", "cyclegan"):
        lines = map(json.loads, (folder / name / "log.jsonl").read_text().splitlines())
        found += [{key: value for key, value in line.items() if key != "seconds"} for line in lines]
    assert len(found) == 3 + 2 * 3
    return found


def sampled(folder: Path) -> list[bytes]:
    assert main(["sample", "gen:dcgan-cifar10", "-n", "3", "-o", str(folder / "images"), "--device", "cpu"]) == 0
    return [path.read_bytes() for path in sorted((folder / "images").iterdir())]


class Echo:
    """Stands for ``torch.distributed`` of two ranks, of which the other one says what this one says."""

    def __init__(self) -> None:
        self.asked: list[Tensor] = []

    def irecv(self, tensor: Tensor, **_: Any) -> Echo:
        self.asked.append(tensor)
        return self

    def isend(self, tensor: Tensor, **_: Any) -> Echo:
        self.asked.pop().copy_(tensor)
        return self

    def wait(self, timeout: object) -> None:
        return None

    def all_reduce(self, tensor: Tensor, **_: Any) -> None:
        tensor.mul_(2)

    def all_gather(self, tensors: list[Tensor], tensor: Tensor, **_: Any) -> None:
        for one in tensors:
            one.copy_(tensor)


def exchanged(_: Path) -> list[Any]:
    echo, group = Echo(), Group(rank=0, size=2)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("irecv", "isend", "all_reduce", "all_gather"):
            patch.setattr(f"torch.distributed.{name}", getattr(echo, name))
        sums = group.sums([np.arange(3.0), np.array(4)], "sums")
        rows = group.gather(np.ones((2, 3), np.float32), "rows")
        return [[one.tolist() for one in (*sums, *rows)], group.gather_json({"a": 1}, "json")]


@pytest.mark.parametrize(
    "door", [pytest.param(trained, marks=pytest.mark.nightly), sampled, exchanged], ids=lambda f: f.__name__
)
def test_other_doors_whatever_the_defaults_of_new_tensors(door: Callable[[Path], Any], tmp_path: Path) -> None:
    expected = door(tmp_path / "plain")
    for name in ("float64", "a default device", "inside a device"):
        with SURROUNDINGS[name]():
            before = program()
            found = door(tmp_path / name)
            assert program() == before, name
        assert found == expected, name


# --- networks ------------------------------------------------------------------------------------------------------


def compact() -> Callable[[], Tensor]:
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    return lambda: load_compact(load_state_dict(COMPACT_FILE), device=CPU)(x, ("256", "logits-6"))["logits-6"]


def network(load: Callable[..., Any], weights: dict[str, Tensor], tap: str, size: int) -> Callable[[], Tensor]:
    x = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0))

    def features() -> Tensor:
        with plain_defaults(), torch.no_grad():
            return load(dict(weights), device=CPU)(x, (tap,))[tap]  # type: ignore[no-any-return]

    return features


def inception() -> Callable[[], Tensor]:
    return network(load_inception, of(FIDInception), "2048", 299)


def torchvision() -> Callable[[], Tensor]:
    from torchvision.models import inception_v3

    weights = of(lambda: inception_v3(weights=None, aux_logits=False, init_weights=False))
    return network(load_torchvision_inception, weights, "2048", 299)


def vgg() -> Callable[[], Tensor]:
    from torchvision.models import vgg16

    return network(load_vgg16, of(lambda: vgg16(weights=None, init_weights=False)), "4096", 224)


def dinov2() -> Callable[[], Tensor]:
    timm = pytest.importorskip("timm")
    name = "vit_small_patch14_dinov2"
    weights = of(lambda: timm.create_model(name, pretrained=False, num_classes=0, img_size=224))
    return network(lambda w, device: load_dinov2(w, "vit_small_patch14_dinov2", device=device), weights, "384", 224)


def clip() -> Callable[[], Tensor]:
    towers = pytest.importorskip("open_clip.transformer")
    shape = NETWORKS["clip-vitb32"].options
    weights = of(
        lambda: towers.VisionTransformer(
            image_size=224, patch_size=32, width=768, layers=12, heads=12, mlp_ratio=4.0, output_dim=512,
            act_layer=towers.QuickGELU,
        )
    )  # fmt: skip
    return network(lambda w, device: load_clip(w, **shape, device=device), weights, "512", 224)


def distance(tmp_path: Path) -> Callable[[], Tensor]:
    from torchvision.models import alexnet

    torch.save(of(lambda: alexnet(weights=None)), tmp_path / "alexnet.pth")
    a, b = torch.rand(2, 1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    return lambda: load_distance("lpips-alex", device=CPU, weights=tmp_path / "alexnet.pth")(a, b)


def custom(tmp_path: Path) -> Callable[[], Tensor]:
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 5))
    torch.jit.trace(model, torch.zeros(1, 3, 8, 8)).save(tmp_path / "net.pt")
    x = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return lambda: load_custom(tmp_path / "net.pt", 8, CPU).module(x, ("5",))["5"].detach()


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning", "ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize(
    "made",
    [
        compact,
        inception,
        dinov2,
        clip,
        distance,
        custom,
        *(pytest.param(made, marks=pytest.mark.nightly) for made in (torchvision, vgg)),
    ],
    ids=lambda f: f.__name__,
)
def test_networks_are_float32_on_the_cpu_and_draw_nothing(made: Callable[..., Any], tmp_path: Path) -> None:
    features = made(tmp_path) if made in (distance, custom) else made()
    expected = features()
    assert expected.dtype == torch.float32
    for name in ("float64", "bfloat16", "a default device", "inside a device", "inference mode"):
        with SURROUNDINGS[name]():
            before = program()
            found = features()
            assert program() == before, name
            assert found.dtype == torch.float32, name
            assert found.device == CPU, name
        assert torch.allclose(found, expected, rtol=1e-5, atol=1e-5), name
