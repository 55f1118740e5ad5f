"""The form of FID's Inception-v3 that a CPU computes, against the plain one; its peers are met in test_extractor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import ganeval.features.packed as module
from ganeval.features import inception
from ganeval.features.extractor import FeatureExtractor
from ganeval.features.inception import TAPS, FIDInception, load_inception
from ganeval.features.packed import Convolution, has_onednn, packed
from ganeval.features.residence import Residence
from ganeval.features.weights import load_state_dict
from ganeval.protocol import get_protocol


@pytest.fixture(scope="module")
def state_dict(surrogate_weights: Path) -> dict[str, Tensor]:
    return load_state_dict(surrogate_weights)


@pytest.fixture(scope="module")
def plain(state_dict: dict[str, Tensor]) -> FIDInception:
    return load_inception(state_dict, fast=False)


@pytest.fixture(scope="module")
def batch() -> Tensor:
    random = np.random.default_rng(0)
    coarse = torch.from_numpy(random.uniform(-1, 1, (3, 3, 20, 20)).astype(np.float32))
    return nn.functional.interpolate(coarse, (299, 299), mode="bilinear")


def count_calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    called: list[str] = []
    for name in ("_convolution_pointwise", "_reorder_convolution_weight"):
        operation = getattr(torch.ops.mkldnn, name)
        monkeypatch.setattr(
            torch.ops.mkldnn, name, lambda *a, name=name, operation=operation: called.append(name) or operation(*a)
        )
    return called


@pytest.mark.skipif(not has_onednn(), reason="this PyTorch has no oneDNN")
def test_against_plain_and_weights_are_laid_out_once(
    state_dict: dict[str, Tensor], plain: FIDInception, batch: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = count_calls(monkeypatch)
    network = packed(load_inception(state_dict))
    assert not any(isinstance(m, (nn.Conv2d, nn.BatchNorm2d)) for m in network.modules())
    with torch.inference_mode():
        expected = plain(batch, taps=TAPS)
        for images in (batch[:2], batch):  # weights laid out for two images serve any number
            found = network(images, taps=TAPS)
            for tap, width in TAPS.items():
                assert found[tap].shape == (len(images), width)
                error = (found[tap] - expected[tap][: len(images)]).abs().max()
                assert error < 1e-5 * expected[tap].abs().max(), tap
    # of 94 convolutions 36 stand at the heads of branches: in three, three and four heads, one and one
    convolutions = sum(isinstance(m, Convolution) for m in network.modules())
    assert convolutions == 94 - (3 * 3 + 4 * 3 + 1 + 3 + 2)
    assert called.count("_convolution_pointwise") == 2 * convolutions
    assert called.count("_reorder_convolution_weight") == convolutions


def test_without_onednn(
    state_dict: dict[str, Tensor], plain: FIDInception, batch: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = count_calls(monkeypatch)
    monkeypatch.setattr(module, "has_onednn", lambda: False)
    with torch.inference_mode():
        found = packed(load_inception(state_dict))(batch[:1], taps=["2048"])["2048"]
        expected = plain(batch[:1], taps=["2048"])["2048"]
    assert not called
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()


def test_shallow_taps_stop_early(state_dict: dict[str, Tensor], batch: Tensor) -> None:
    network = packed(load_inception(state_dict))
    called: list[str] = []
    for name, child in network.named_children():
        child.register_forward_hook(lambda *_, name=name: called.append(name))
    with torch.inference_mode():
        assert list(network(batch[:1], taps=["192"])) == ["192"]
    assert called[-1] == "Conv2d_4a_3x3"


def test_convolutions_side_by_side_against_theory() -> None:
    """One after the other in float64, and rectified unless said otherwise."""
    torch.manual_seed(0)
    parts = [nn.Module() for _ in range(2)]
    for part, width in zip(parts, (5, 3), strict=True):
        part.conv = nn.Conv2d(4, width, (1, 3), stride=2, padding=(0, 1)).eval().requires_grad_(False)
    x = torch.randn(2, 4, 9, 9)
    expected = torch.cat([part.conv.double()(x.double()) for part in parts], 1)
    for part in parts:
        part.conv.float()
    with torch.inference_mode():
        raw, rectified = Convolution(*parts, rectify=False)(x), Convolution(*parts)(x)
    assert (expected < -0.1).any()
    torch.testing.assert_close(raw.double(), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(rectified.double(), expected.clamp_min(0), atol=1e-5, rtol=0)


class Convolutions(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.number = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.number += function.overloadpacket in (torch.ops.aten.conv2d, torch.ops.aten.convolution)
        return function(*args, **(kwargs or {}))


def test_heads_are_one_convolution_on_an_accelerator_too(
    surrogate_weights: Path, plain: FIDInception, batch: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of ordinary kernels, and with weights that can move: 67 calls for 94, the same features."""
    meta = torch.device("meta")
    network = FeatureExtractor(get_protocol("ttur"), device=meta, weights=surrogate_weights)._network
    there = Residence(network, meta)
    there.enter()
    assert {tensor.device for tensor in network.parameters()} == {meta}
    with torch.inference_mode(), Convolutions() as counted:
        assert network(batch[:1].to(meta))["2048"].shape == (1, 2048)
    assert counted.number == sum(isinstance(m, Convolution) for m in network.modules()) == 67
    there.leave()
    monkeypatch.setattr(module, "_fused", lambda x: False)  # the CPU with an accelerator's kernels
    with torch.inference_mode():
        expected, found = plain(batch[:1], taps=TAPS), network(batch[:1], taps=TAPS)
    for tap in TAPS:
        assert (found[tap] - expected[tap]).abs().max() < 1e-5 * expected[tap].abs().max(), tap


def test_the_last_mean_is_float32_in_half_precision() -> None:
    """Against float64: bfloat16 would round the mean itself to 8 bits."""
    x = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)).bfloat16()
    found = inception._mean(x)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), x.double().mean(dim=(2, 3)), atol=1e-6, rtol=0)
