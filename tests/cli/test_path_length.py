"""``ganeval ppl`` through the program."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision

from ganeval.cli.main import main
from ganeval.results import Evaluation

Capture = pytest.CaptureFixture[str]
SHIPPED = ["ppl", "gen:dcgan-cifar10", "--distance", "compact", "--device", "cpu"]


def test_one_document_on_stdout_and_the_pairs_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "ppl.json"
    command = [sys.executable, "-m", "ganeval", *SHIPPED, "--pairs", "30", "--json", "-o", str(target)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    document = json.loads(run.stdout)
    entry = document["results"]["ppl"]
    assert entry["label"] == "PPL[compact-v1]"
    assert entry["higher_is_better"] is False
    assert entry["n_fake"] == 30
    assert entry["settings"]["trim"] == 0.01
    assert entry["protocol"]["extractor"] == "compact-v1"
    assert json.loads(target.read_text()) == document
    assert Evaluation.from_dict(document)["ppl"].to_dict() == entry
    samples = np.load(tmp_path / document["samples"]["file"], allow_pickle=False)
    assert set(samples.files) == {"ppl_distance", "ppl_influence_fake", "ppl_latent_digests"}
    assert all(len(samples[name]) == 30 for name in samples.files)


def test_lpips_says_nothing_on_stdout_but_the_document(tmp_path: Path) -> None:
    """The whole program with the lpips package, under random weights; warnings are errors there too."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        trunk = torchvision.models.alexnet(weights=None).features.state_dict()
    torch.save({f"features.{name}": value for name, value in trunk.items()}, tmp_path / "alex.pth")
    command = [sys.executable, "-W", "error", "-m", "ganeval", "ppl", "gen:dcgan-cifar10", "--distance", "lpips-alex"]
    command += ["--weights", str(tmp_path / "alex.pth"), "--resize", "64", "--pairs", "6", "--device", "cpu", "--json"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    document = json.loads(run.stdout)
    entry = document["results"]["ppl"]
    assert entry["label"].startswith("PPL[lpips-alex-")
    assert entry["value"] > 0
    assert entry["details"]["pixels"] == [64, 64]
    assert "not the published ones" in document["warnings"][0]


@pytest.mark.nightly
def test_options_reach_the_number(capsys: Capture) -> None:
    values = {}
    choices = ["", "--sampling end", "--no-trim", "--crop", "--resize 64", "--unit", "--seed 3"]
    for options in choices:
        assert main([*SHIPPED, "--pairs", "110", "--json", "-q", *options.split()]) == 0
        values[options] = json.loads(capsys.readouterr().out)["results"]["ppl"]["value"]
    assert len(set(values.values())) == len(values), values
    assert main([*SHIPPED, "--pairs", "20", "--epsilon", "0.01", "--crop", "-q"]) == 0
    assert "(z-full, eps 0.01, crop, 20 pairs)" in capsys.readouterr().out


def test_a_callable_with_a_mapping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    (tmp_path / "mapped_generator.py").write_text(
        "import torch\n"
        "class G:\n"
        "    latent_dim, value_range = 4, (0.0, 1.0)\n"
        "    def mapping(self, z): return z * 2\n"
        "    def synthesis(self, w): return torch.sigmoid(w[:, :3, None, None].expand(-1, -1, 16, 16))\n"
        "    def __call__(self, z): return self.synthesis(self.mapping(z))\n"
        "g = G()\n"
        "def rounds(z): return (g(z) * 255).round().to(torch.uint8)\n"
    )
    monkeypatch.chdir(tmp_path)
    arguments = ["--distance", "compact", "--device", "cpu", "--pairs", "20", "-q"]
    assert main(["ppl", "gen:mapped_generator:g", "--space", "w", *arguments]) == 0
    assert "(w-full, 20 pairs)" in capsys.readouterr().out
    assert main(["ppl", "gen:mapped_generator:rounds", "--latent-dim", "4", *arguments, "--json"]) == 2
    document = json.loads(capsys.readouterr().out)
    assert "this generator rounds: it makes images of uint8" in document["error"]["message"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["dataset:shapes"], "it takes a generator, and FAKE is not one"),
        (["gen:dcgan-cifar10", "--space", "w"], "mapping(z) to w and synthesis(w)"),
        (["gen:dcgan-cifar10", "--epsilon", "0"], "0"),
        (["gen:dcgan-cifar10", "--pairs", "1"], "x>=2"),
        (["gen:dcgan-cifar"], "Did you mean gen:dcgan-cifar10?"),
    ],
)
def test_bad_input(arguments: list[str], message: str, capsys: Capture) -> None:
    assert main(["ppl", *arguments, "--distance", "compact", "--device", "cpu"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert "Traceback" not in err


def test_without_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Capture) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv("GANEVAL_WEIGHTS_DIR", raising=False)
    assert main(["ppl", "gen:dcgan-cifar10", "--device", "cpu"]) == 2
    assert "vgg16-397923af.pth" in (err := capsys.readouterr().err)
    assert "--distance compact" in err
