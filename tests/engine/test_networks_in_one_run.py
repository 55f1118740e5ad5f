"""Metrics on two networks in one run: every image is decoded once, and goes once through each network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image
from support.weights import of

from ganeval import protocol as protocols
from ganeval.api import build_statistics, evaluate
from ganeval.errors import ConfigError, IncomparableError, WeightsError
from ganeval.features.extractor import FeatureExtractor
from ganeval.images import indexed, loading
from ganeval.images.shapes import render
from ganeval.images.types import ImageBatch
from ganeval.statistics.reference import save_statistics

ON = {"protocol": "compact", "device": "cpu"}


@pytest.fixture
def routed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under ``compact``, KID is on Inception with Pillow's resize."""
    monkeypatch.setattr(protocols, "ROUTES", {"compact": {"kid": "clean"}})


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Images of different sizes, so that every one is resized by itself."""
    folders = []
    for name, start in (("real", 0), ("fake", 100)):
        folder = tmp_path_factory.mktemp(name)
        for i in range(6):
            picture = Image.fromarray(render(start + i)).resize((24 + 4 * i, 40))
            picture.save(folder / f"{i}.png")
        folders.append(folder)
    return folders[0], folders[1]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    counts: Counter[str] = Counter()
    load, call = loading.load_chunk, FeatureExtractor.__call__

    def load_chunk(images: object, indices: list[int], *rest: object, **options: object) -> object:
        counts["decoded"] += len(indices)
        return load(images, indices, *rest, **options)  # type: ignore[arg-type]

    def through(self: FeatureExtractor, batch: ImageBatch) -> object:
        counts[self.protocol.extractor] += len(batch.names)
        return call(self, batch)

    monkeypatch.setattr(indexed, "load_chunk", load_chunk)
    monkeypatch.setattr(FeatureExtractor, "__call__", through)
    return counts


@pytest.mark.usefixtures("routed")
def test_one_decode_and_one_forward_pass_a_network(
    sets: tuple[Path, Path], counted: Counter[str], surrogate_weights: Path
) -> None:
    names = ("fid", "kid", "mind", "vendi")
    run = evaluate(*sets, metrics=names, weights={"inception": surrogate_weights}, **ON)
    assert counted == {"decoded": 12, "compact-v1": 12, "inception-2015-12-05": 12}
    assert list(run.results) == list(names)
    assert run["fid"].label == run["mind"].label.replace("MIND", "FD") == "FD[compact-v1]"
    assert run["kid"].label == f"KID[inception-{(run['kid'].protocol.weights or '')[:8]}]"
    assert [p["extractor"] for p in run.to_dict()["protocols"]] == ["compact-v1", "inception-2015-12-05"]
    assert any("not the published ones" in w for w in run["kid"].warnings)
    assert not any("not the published ones" in w for w in run["fid"].warnings)


@pytest.mark.usefixtures("routed")
@pytest.mark.parametrize("workers", [0, 1])
def test_values_are_those_of_single_runs(sets: tuple[Path, Path], surrogate_weights: Path, workers: int) -> None:
    """Pillow's resize happens in the main process here, and in the decode workers of the single run."""
    both = evaluate(
        *sets, metrics=("fid", "kid"), weights={"inception": surrogate_weights}, workers=workers, batch_size=3, **ON
    )
    kid = evaluate(*sets, metrics=("kid",), protocol="clean", weights=surrogate_weights, device="cpu", batch_size=3)
    assert both["kid"].value == kid["kid"].value
    assert both["kid"].comparison_key() == kid["kid"].comparison_key()
    assert both["fid"].value == evaluate(*sets, batch_size=3, **ON)["fid"].value


@pytest.mark.usefixtures("routed")
def test_weights_that_are_not_at_hand(
    sets: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, surrogate_weights: Path
) -> None:
    """Unasked, the metric is left out with a note; by name, it is an error."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv("GANEVAL_WEIGHTS_DIR", raising=False)
    monkeypatch.setenv("GANEVAL_OFFLINE", "1")
    run = evaluate(*sets, metrics=None, **ON)
    assert "kid" not in run.results
    assert any(
        "kid is not computed: the weights of inception-2015-12-05 are not on this machine" in n for n in run.notes
    )
    with pytest.raises(WeightsError, match="GANEVAL_OFFLINE"):
        evaluate(*sets, metrics=("fid", "kid"), **ON)
    assert "kid" in evaluate(*sets, metrics=None, weights={"inception": surrogate_weights}, **ON).results


@pytest.mark.usefixtures("routed")
def test_statistics_serve_one_network(sets: tuple[Path, Path], surrogate_weights: Path, tmp_path: Path) -> None:
    real, fake = sets
    weights = {"inception": surrogate_weights}
    compact = save_statistics(tmp_path / "compact.npz", build_statistics(real, rows=True, **ON))
    clean = save_statistics(
        tmp_path / "clean.npz",
        build_statistics(real, rows=True, protocol="clean", weights=surrogate_weights, device="cpu"),
    )
    run = evaluate(compact, fake, metrics=None, weights=weights, **ON)
    assert "fid" in run.results
    assert any("kid is not computed: it needs the network inception-2015-12-05" in n for n in run.notes)
    with pytest.raises(ConfigError, match="the statistics .*compact.npz are of another; give images"):
        evaluate(compact, fake, metrics=("kid",), weights=weights, **ON)
    from_images = evaluate(real, fake, metrics=("kid",), weights=weights, **ON)["kid"]
    from_file = evaluate(clean, fake, metrics=("kid",), weights=weights, **ON)["kid"]
    assert from_file.value == pytest.approx(from_images.value, rel=1e-6)
    with pytest.raises(IncomparableError, match="resize: "):
        evaluate(clean, fake, metrics=("fid",), **ON)


def test_weights_by_network_iv(sets: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="networks of this run are compact-v1, not 'vgg'"):
        evaluate(*sets, weights={"vgg": tmp_path}, **ON)
    with pytest.raises(WeightsError, match=r"weights file not found: .*none\.pth"):
        evaluate(*sets, weights=tmp_path / "none.pth", **ON)
    file = tmp_path / "w.pth"
    file.write_bytes(b"x")
    with pytest.raises(WeightsError, match="two files of weights are named for compact-v1"):
        evaluate(*sets, weights={"": file, "compact": file}, **ON)


def test_weights_on_the_command_line(
    sets: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Several, one a network; from the file, one or a list."""
    from ganeval.cli.main import main

    file = tmp_path / "a=b.pth"
    file.write_bytes(b"x")
    command = ["fid", str(sets[0]), str(sets[1]), "--protocol", "compact", "-q"]
    for extra, message in (
        (["--weights", str(file), "--weights", str(file)], "two files for one network"),
        (["--weights", f"compact={file}", "--weights", f"vgg={file}"], "not 'vgg'"),
        (["--weights", str(file)], "a=b.pth"),
    ):
        assert main([*command, *extra]) == 2
        assert message in capsys.readouterr().err
    config = tmp_path / "ganeval.toml"
    for value in (f'"compact={file}"', f'["compact={file}"]'):
        config.write_text(f"weights = {value}\n")
        assert main([*command, "--config", str(config)]) == 2
        assert "a=b.pth" in capsys.readouterr().err


@pytest.mark.nightly
def test_stylegan_is_on_two_networks(sets: tuple[Path, Path], surrogate_weights: Path, tmp_path: Path) -> None:
    """FID and IS on Inception with covariances over n, precision and recall on VGG16: in one run."""
    from torchvision.models import vgg16

    torch.save(of(lambda: vgg16(weights=None, init_weights=False)), tmp_path / "vgg16.pth")
    weights = {"inception": surrogate_weights, "vgg16": tmp_path / "vgg16.pth"}
    run = evaluate(
        *sets, metrics=("fid", "precision", "recall", "is"), protocol="stylegan", weights=weights, device="cpu"
    )
    assert [run[m].protocol.extractor for m in ("fid", "is")] == ["inception-2015-12-05"] * 2
    assert [run[m].protocol.extractor for m in ("precision", "recall")] == ["vgg16-fc2"] * 2
    assert {r.protocol.name for r in run.results.values()} == {"stylegan"}
    assert run["precision"].settings == {"k": 3, "radius": None, "strict": False}
    assert run["is"].details["splits"]["shuffle"] is False  # type: ignore[index]
    ttur = evaluate(*sets, protocol="ttur", weights=surrogate_weights, device="cpu")["fid"]
    mean_term = ttur.details["mean_term"]
    assert isinstance(mean_term, float)
    assert run["fid"].value == pytest.approx(mean_term + (ttur.value - mean_term) * 5 / 6, rel=1e-6)
    assert len(run.to_dict()["protocols"]) == 3  # two layers of Inception, one of VGG16
