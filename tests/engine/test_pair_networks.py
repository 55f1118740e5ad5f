"""CLIP-I and DINO-I of pairs of images: against the features of the networks, weights, and their place by default."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.weights import clip_image_side, of

import ganeval
from ganeval.cli.main import main
from ganeval.errors import GanEvalWarning, WeightsError
from ganeval.features.extractor import FeatureExtractor
from ganeval.features.registry import NETWORKS
from ganeval.images.types import ImageBatch
from ganeval.protocol import get_protocol

CPU = torch.device("cpu")
SMALL = {"image_size": 224, "patch_size": 112, "width": 64, "layers": 1, "output_dim": 512}


@pytest.fixture
def clip(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A file of random weights of a small network, which stands in for CLIP ViT-B/32."""
    small = dataclasses.replace(NETWORKS["clip-vitb32"], options=SMALL)
    monkeypatch.setitem(NETWORKS.data, "clip-vitb32", small)
    path = tmp_path / "clip.pth"
    torch.save(clip_image_side(SMALL), path)
    return path


@pytest.fixture
def dino(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The same for DINOv2 ViT-B/14: one of its 12 layers."""
    timm = pytest.importorskip("timm")
    create = timm.create_model

    def shallow(name: str, **settings: Any) -> torch.nn.Module:
        return create(name, **{**settings, "depth": 1})  # type: ignore[no-any-return]

    monkeypatch.setattr(timm, "create_model", shallow)
    path = tmp_path / "dino.pth"
    torch.save(of(lambda: shallow("vit_base_patch14_dinov2", pretrained=False, num_classes=0, img_size=518)), path)
    return path


def images() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    real = np.kron(rng.integers(0, 256, (12, 6, 5, 3), np.uint8), np.ones((1, 20, 20, 1), np.uint8))
    return real, np.clip(real + rng.normal(0, 40, real.shape), 0, 255).astype(np.uint8)


def cosines(protocol: str, weights: Path) -> np.ndarray:
    extractor = FeatureExtractor(get_protocol(protocol), device=CPU, weights=weights)
    rows = []
    for one in images():
        batch = ImageBatch(torch.from_numpy(one).permute(0, 3, 1, 2), ["x"] * len(one), None)
        rows.append(extractor(batch)[extractor.protocol.layer].double().numpy())
    a, b = (row / np.linalg.norm(row, axis=1, keepdims=True) for row in rows)
    return (a * b).sum(axis=1)


def test_cosines_of_the_features(clip: Path, dino: Path) -> None:
    weights = {"clip-vitb32": clip, "dinov2-vitb14": dino}
    with pytest.warns(GanEvalWarning, match="are not the published ones"):
        found = ganeval.paired(*images(), metrics="clip-i,dino-i", weights=weights, device="cpu", batch_size=5)
    for name, protocol, path in (("clip-i", "clip-fid", clip), ("dino-i", "fld", dino)):
        result, expected = found[name], cosines(protocol, path)
        assert result.per_image[f"{name}_score_fake"].tolist() == pytest.approx(expected.tolist(), abs=1e-5)
        assert result.value == pytest.approx(expected.mean(), abs=1e-5)
        assert result.label == f"{name.upper()}[{name.split('-')[0]}{'v2' * (name == 'dino-i')}-{_hash(result)}]"
        assert result.protocol.resize == get_protocol(protocol).resize
        assert 0 < (result.standard_error or 0) < 0.1


def _hash(result: ganeval.MetricResult) -> str:
    return (result.protocol.weights or "")[:8]


def test_without_weights_they_are_left_out_by_default_and_stop_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("GANEVAL_OFFLINE", "1")
    found = ganeval.paired(*images(), device="cpu", distance="compact")
    assert not {"clip-i", "dino-i"} & set(found.results)
    (note,) = [note for note in found.notes if "clip-i" in note]
    assert "clip-i is not computed: the weights of clip-vitb32 are not on this machine" in note
    assert "dino-i is not computed: the weights of dinov2-vitb14 are not on this machine" in note
    with pytest.raises(WeightsError, match="The weights of CLIP ViT-B/32 are not on this machine"):
        ganeval.paired(*images(), metrics="clip-i", device="cpu")


@pytest.mark.filterwarnings("ignore::ganeval.errors.GanEvalWarning")
def test_command(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = []
    for name, one in zip("ab", images(), strict=True):
        files.append(str(tmp_path / f"{name}.npy"))
        np.save(files[-1], one)
    page = tmp_path / "page.html"
    options = ["--metrics", "clip-i", "--weights", f"clip-vitb32={clip}", "--device", "cpu", "--report", str(page)]
    assert main(["paired", *files, *options, "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)["results"]) == ["clip-i"]
    assert "Worst pairs by CLIP-I" in page.read_text("utf-8")
