"""A network of the user's own: TorchScript, module or function."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ganeval.api import build_statistics, evaluate, fid
from ganeval.cli.main import main
from ganeval.errors import ConfigError, IncomparableError, WeightsError
from ganeval.features.custom import CustomNetwork
from ganeval.images.shapes import render
from ganeval.statistics.reference import save_statistics

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit")
DECLARED = {"size": 16, "resize": "torch-bilinear-antialias", "scale": "x/255"}
REAL, FAKE = (np.stack([render(i) for i in range(a, a + 60)]) for a in (0, 100))
CPU = {"device": "cpu"}


class Means(nn.Module):
    """Six features: means and deviations of the channels, times a weight."""

    def __init__(self, weight: float = 2.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))
        self.drop = nn.Dropout(0.9)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(2)
        return self.drop(torch.cat([x.mean(2), x.std(2)], dim=1) * self.weight)


def means(x: Tensor) -> Tensor:
    return torch.cat([x.flatten(2).mean(2), x.flatten(2).std(2)], dim=1) * 2


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("network") / "means.pt"
    torch.jit.script(Means()).save(str(path))
    return path


def by_hand(images: np.ndarray) -> np.ndarray:
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    x = nn.functional.interpolate(x, (16, 16), mode="bilinear", antialias=True) / 255
    return means(x).double().numpy()


def test_value_by_hand_from_file_module_and_function(file: Path) -> None:
    from scipy.linalg import sqrtm

    y, x = by_hand(REAL), by_hand(FAKE)
    s, w = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    expected = ((y.mean(0) - x.mean(0)) ** 2).sum() + np.trace(s + w) - 2 * np.trace(sqrtm(s @ w)).real
    module = Means().train()
    results = [fid(REAL, FAKE, protocol=CustomNetwork(network=n, **DECLARED), **CPU) for n in (file, module, means)]
    for result in results:
        assert result.value == pytest.approx(expected, rel=1e-4)
        assert result.protocol.layer == "6"
        assert result.label == f"FD[custom-{(result.protocol.weights or '')[:8]}]"
    assert results[0].protocol.weights == hashlib.sha256(file.read_bytes()).hexdigest()
    assert len({r.protocol.key() for r in results}) == 3
    assert module.training  # a copy was put into evaluation mode
    assert any("no weights that could be hashed" in w for w in results[2].warnings)
    assert not any("hashed" in w for w in (*results[0].warnings, *results[1].warnings))


def test_what_is_declared_is_what_the_network_sees() -> None:
    seen: list[Tensor] = []

    def look(x: Tensor) -> Tensor:
        seen.append(x)
        return x.flatten(1)[:, :4].clone()

    white = np.full((3, 20, 30, 3), 255, np.uint8)
    white[:, 0, 0] = 0
    network = CustomNetwork(network=look, size=8, resize="pil-bicubic-uint8", scale="2*(x/255)-1")
    evaluate(None, white, metrics=("vendi",), protocol=network, **CPU)
    assert seen[-1].shape == (3, 3, 8, 8)
    assert seen[-1].dtype == torch.float32
    assert float(seen[-1].max()) == 1.0


def test_its_key_holds_weights_and_all_that_is_declared() -> None:
    def key(weight: float = 2.0, **other: object) -> str:
        network = CustomNetwork(network=Means(weight), **{**DECLARED, **other})  # type: ignore[arg-type]
        return build_statistics(REAL[:4], protocol=network, **CPU).protocol.key()  # type: ignore[union-attr]

    keys = [key(), key(3.0), key(size=20), key(resize="tf1-bilinear"), key(scale="x")]
    assert len(set(keys)) == 5
    assert key() == keys[0]


def test_statistics_meet_only_the_same_network(file: Path, tmp_path: Path) -> None:
    network = CustomNetwork(network=file, **DECLARED)
    real = save_statistics(tmp_path / "real.npz", build_statistics(REAL, rows=True, protocol=network, **CPU))
    fake = save_statistics(tmp_path / "fake.npz", build_statistics(FAKE, rows=True, protocol=network, **CPU))
    expected = fid(REAL, FAKE, protocol=network, **CPU)
    assert fid(real, FAKE, protocol=network, **CPU).value == pytest.approx(expected.value, rel=1e-9)
    assert fid(real, fake, protocol=network, **CPU).value == pytest.approx(expected.value, rel=1e-9)
    other = CustomNetwork(network=Means(3.0), **DECLARED)
    with pytest.raises(IncomparableError, match="weights: "):
        fid(real, FAKE, protocol=other, **CPU)
    with pytest.raises(IncomparableError, match="extractor: "):
        fid(real, FAKE, protocol="compact", **CPU)


def test_other_metrics_on_it_and_none_that_need_classes(file: Path) -> None:
    run = evaluate(REAL, FAKE, metrics=None, protocol=CustomNetwork(network=file, **DECLARED), **CPU)
    assert {"fid", "kid", "precision", "coverage"} <= set(run.results)
    assert any("is is not computed: the network custom has no output" in note for note in run.notes)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (lambda x: x, r"gives torch.float32 \(2, 3, 16, 16\) for 2 images, and float \(2, d\) is needed"),
        (lambda x: x.flatten(1).long(), "gives torch.int64"),
        (lambda x: [x], "gives a list"),
        (lambda x: x.flatten(1)[:1], r"gives torch.float32 \(1, 768\)"),
        (nn.Linear(7, 2), r"cannot take a batch of shape \(2, 3, 16, 16\)"),
    ],
)
def test_custom_network_iv(network: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        fid(REAL, FAKE, protocol=CustomNetwork(network=network, **DECLARED), **CPU)  # type: ignore[arg-type]


def test_declarations_iv(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="resize is one of tf1-bilinear, "):
        CustomNetwork(network=means, **{**DECLARED, "resize": "nearest"})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="scale is one of .*; got '0..1'"):
        CustomNetwork(network=means, **{**DECLARED, "scale": "0..1"})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="pixels from 1 on"):
        CustomNetwork(network=means, **{**DECLARED, "size": 0})  # type: ignore[arg-type]
    with pytest.raises(WeightsError, match="there is no file"):
        fid(REAL, FAKE, protocol=CustomNetwork(network=tmp_path / "none.pt", **DECLARED), **CPU)
    (tmp_path / "pickle.pt").write_bytes(b"\x80\x04 not code")
    with pytest.raises(WeightsError, match=r"pickle.pt is not a TorchScript file"):
        fid(REAL, FAKE, protocol=CustomNetwork(network=tmp_path / "pickle.pt", **DECLARED), **CPU)


def test_through_the_program(file: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    own = ["--network", str(file), "--network-size", "16", "--network-resize", "torch-bilinear-antialias"]
    own += ["--network-scale", "x/255", "--device", "cpu", "-q"]
    sets = ["dataset:shapes-plain@1", "dataset:shapes-striped@2", "--num-samples", "30"]
    assert main(["fid", *sets, *own]) == 0
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert capsys.readouterr().out.startswith(f"FD[custom-{digest[:8]}]")
    target = str(tmp_path / "own.npz")
    assert main(["stats", "build", sets[0], "--num-samples", "30", *own, "-o", target]) == 0
    assert main(["fid", target, *sets[1:], *own]) == 0
    capsys.readouterr()
    for arguments, message in (
        ([*sets, *own, "--protocol", "compact"], "--network replaces --protocol"),
        ([*sets, *own[:4]], "needs --network-resize, --network-scale"),
        ([*sets, "--network-scale", "x"], "needs --network, --network-size, --network-resize"),
        ([*sets, *own, "--network-scale", "y"], "imagenet, clip; got 'y'"),
        ([*sets, *own, "--network", str(tmp_path / "none.pt")], "there is no file"),
    ):
        assert main(["fid", *arguments]) == 2
        assert message in capsys.readouterr().err, arguments
